"""Where to set a flag of llama-server if a front end writes its command line: Ollama, Jan, Lemonade, llama-swap. Pure.

Ollama writes the command line itself and overwrites it at each load: `-c` there is advice that nobody can follow. Its names are
from its own documentation (docs/faq, docs/modelfile: num_ctx, num_gpu, num_batch, use_mmap; envconfig/config.go: variables).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

#: Flag -> Ollama's name for it, with its value. Parameters belong to a model or a request, variables to the service.
_OLLAMA: Mapping[str, Callable[[str], str]] = {
    "-c": lambda value: f"num_ctx {value}, or OLLAMA_CONTEXT_LENGTH={value} for all models",
    "-np": lambda value: f"OLLAMA_NUM_PARALLEL={value}",
    "-ctk": lambda value: f"OLLAMA_KV_CACHE_TYPE={value}",
    "-ctv": lambda value: f"OLLAMA_KV_CACHE_TYPE={value}",
    "-fa": lambda value: f"OLLAMA_FLASH_ATTENTION={'0' if value == 'off' else '1'}",
    "-ngl": lambda value: f"num_gpu {value}",
    "-b": lambda value: f"num_batch {value}",
    "-ub": lambda value: f"num_batch {value}",
    "-n": lambda value: f"num_predict {value}",
    "--no-mmap": lambda _: "use_mmap false",
}
_PLACES: Mapping[str, str] = {
    "llama-swap": "add `{flags}` to this model's cmd in llama-swap's configuration",
    "lemonade": "add `{flags}` to the llama.cpp arguments of Lemonade (its option llamacpp_args)",
    "jan": "in Jan: the model's settings; there is no command line to change",
}
_JAN: Mapping[str, str] = {
    "-c": "Context Size {value}",
    "-np": "Parallel Operations {value}",
    "-ngl": "GPU Layers {value}",
    "-b": "Batch Size {value}",
    "-ub": "uBatch Size {value}",
    "-fa": "Flash Attention {value}",
    "-ctk": "KV Cache K Type {value}",
    "-ctv": "KV Cache V Type {value}",
}


def placed(flags: str, front_end: str) -> str | None:
    """How to set `flags` in that front end, as the text after a fix; None if it has no way to set one of them."""
    given = _pairs(flags)
    if front_end == "ollama":
        if any(flag not in _OLLAMA for flag, _ in given):
            return None
        settings = dict.fromkeys(_OLLAMA[flag](value) for flag, value in given)
        return f" (in Ollama: {'; '.join(settings)})"
    if front_end == "jan" and all(flag in _JAN for flag, _ in given):
        settings = dict.fromkeys(_JAN[flag].format(value=value) for flag, value in given)
        return f" (in Jan, in the model's settings: {', '.join(settings)})"
    place = _PLACES.get(front_end)
    return None if place is None else f" ({place.format(flags=flags)})"


def _pairs(flags: str) -> list[tuple[str, str]]:
    words = flags.split()
    starts = [at for at, word in enumerate(words) if word.startswith("-")]
    ends = [*starts[1:], len(words)]
    return [(words[at], " ".join(words[at + 1 : end])) for at, end in zip(starts, ends, strict=True)]
