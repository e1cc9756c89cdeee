"""Parses a llama-server's command line and its LLAMA_ARG_* environment, as common/arg.cpp reads them.

The environment is read first and the command line overrides it; of two equal flags the last one wins (except
--override-tensor, which adds up). A word that is not understood never stops the parsing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sentinel.llama.builds import DEFAULT_PORT
from sentinel.llama.flags import MODEL_SWITCHES, OPTION, PRINT_AND_EXIT
from sentinel.llama.hidden_devices import hiding
from sentinel.llama.setting_flags import BY_FLAG, BY_SWITCH, BY_SWITCH_VARIABLE, BY_VARIABLE, OFF_VARIABLES
from sentinel.llama.tokenizer import FALSE, TRUE, flags
from sentinel.model.entity import Unknown, Value
from sentinel.model.input_limits import MOST_UNKNOWN
from sentinel.model.text import clean

#: std::stoi: leading blanks, a sign, digits; what follows is ignored
_NUMBER = re.compile(r"\s*([+-]?\d{1,18})")
#: signal -> settings that each settle it; without any of them the environment could still set it
_SETTLED_BY: Mapping[str, tuple[str, ...]] = {
    "server.host": ("host",),
    "server.port": ("port",),
    "server.is_router": ("model", "model_url", "hf_repo", "docker_repo"),
    "server.embeddings": ("embeddings", "rerank"),
    "server.reranking_asked": ("rerank",),
    "server.generation_prompt_forced": ("template_kwargs",),
    "server.model_path": ("model",),
    "server.ctx_requested": ("ctx",),
    "server.ctx_explicit": ("ctx",),
    "server.ctx_slot_limit": ("ctx_per_slot",),
    "server.slots_requested": ("slots",),
    "server.gpu_layers_requested": ("gpu_layers",),
    "server.gpu_layers_asked": ("gpu_layers",),
    "server.gpu_layers_explicit": ("gpu_layers",),
    "server.gpu_layers_source": ("gpu_layers",),
    "server.flash_attn_asked": ("flash_attn",),
    "server.tensor_split_asked": ("tensor_split",),
    "server.fit_requested": ("fit",),
    "server.kv_offload": ("kv_offload",),
    "server.device_none": ("device",),
    "server.devices_requested": ("device",),
    "server.rpc_requested": ("rpc",),
    "server.rpc_servers": ("rpc",),
    "server.draft_asked": ("draft_model", "spec_type"),
    "server.split_mode": ("split_mode",),
    "server.mmproj_asked": ("mmproj", "mmproj_url"),
    "server.experts_on_cpu": ("cpu_moe", "n_cpu_moe", "override_tensor"),
    "server.mlock_requested": ("mlock",),
    "server.mmap_requested": ("mmap",),
    "server.cache_type_k": ("cache_type_k",),
    "server.cache_type_v": ("cache_type_v",),
    "server.cache_ram_asked": ("cache_ram",),
    "server.timeout_asked": ("timeout",),
    "server.context_shift_requested": ("context_shift",),
    "server.rope_scaling_requested": ("rope",),
    "server.ubatch_requested": ("ubatch",),
    "server.predict_limit": ("predict",),
    "server.verbosity_requested": ("verbosity",),
    "server.log_file": ("log_file",),
}
_MODEL_INSIDE = (".llamafile", ".llamafile.exe")
_COMMAND_LINE_ONLY = frozenset({"server.unknown_flags"})


@dataclass(frozen=True, slots=True)
class Setting:
    """A value as given, word for word, and the flag or variable that set it."""

    text: str
    source: str


@dataclass(frozen=True, slots=True)
class Requested:
    """What was asked for. `settings` has only what was given; `unknown` are flags that the table does not have."""

    settings: Mapping[str, Setting] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    hidden_devices: tuple[str, ...] = ()
    gfx_override: str = ""
    vulkan_devices: str = ""
    unified_memory: bool = False
    vidmem_hidden: bool = False
    peer_copies: bool = False
    model_by_preset: bool = False
    prints_and_exits: bool = False

    def text(self, name: str, default: str = "") -> str:
        """The setting as written (may hold surrogate escapes), or the default."""
        given = self.settings.get(name)
        return default if given is None else given.text

    def flag(self, name: str) -> bool:
        return self.on(name, default=False)

    def on(self, name: str, *, default: bool) -> bool:
        """An on/off setting, as given or by default."""
        return self.text(name, "on" if default else "off").lower() in TRUE

    @property
    def is_router(self) -> bool:
        """No model is named in any way: the process only starts children that serve one (tools/server, router mode).

        Builds older than the router end at once without a model, so they are never seen in this state for long.
        """
        named = any(name in self.settings for name in ("model", "model_url", "hf_repo", "docker_repo"))
        return not (named or self.model_by_preset or self.prints_and_exits)

    def number(self, name: str, default: int) -> int | Unknown:
        """The setting as std::stoi reads it; text without a number is Unknown, never 0."""
        given = self.settings.get(name)
        if given is None:
            return default
        match = _NUMBER.match(given.text)
        if match is None:
            return Unknown(f"{given.source} {clean(given.text)!r} is no number: llama-server refuses to start with it")
        return int(match[1])

    def signals(self, env_unreadable: str = "") -> dict[str, Value | Unknown]:
        """Every signal of the catalogue, including defaults.

        `env_unreadable` is why the environment could not be read: then only what the command line gives is known.
        """
        layers = self.settings.get("gpu_layers")
        values: dict[str, Value | Unknown] = {
            "server.host": self.text("host", "127.0.0.1"),
            "server.port": self.number("port", DEFAULT_PORT),
            "server.is_router": self.is_router,
            "server.embeddings": self.flag("embeddings") or self.flag("rerank"),
            "server.reranking_asked": self.flag("rerank"),
            # llama.cpp switches it by itself, to find out where the thinking of an answer begins (common/chat.cpp)
            "server.generation_prompt_forced": "add_generation_prompt" in self.text("template_kwargs"),
            "server.model_path": clean(self.text("model")),
            "server.ctx_requested": self.number("ctx", 0),
            "server.ctx_explicit": "ctx" in self.settings,
            "server.ctx_slot_limit": self.number("ctx_per_slot", 0),
            "server.slots_requested": self.number("slots", -1),
            "server.gpu_layers_requested": self.gpu_layers(),
            "server.gpu_layers_asked": "auto" if layers is None else layers.text,
            "server.gpu_layers_explicit": layers is not None,
            "server.gpu_layers_source": "" if layers is None else layers.source,
            "server.device_none": self.text("device").strip().lower() == "none",
            "server.devices_requested": self.text("device"),
            "server.hidden_devices": ",".join(self.hidden_devices),
            "server.gfx_override": self.gfx_override,
            "server.vulkan_devices": self.vulkan_devices,
            "server.unified_memory": self.unified_memory,
            "server.vulkan_vidmem_hidden": self.vidmem_hidden,
            "server.peer_copies": self.peer_copies,
            "server.flash_attn_asked": self.text("flash_attn", "auto").lower(),
            "server.tensor_split_asked": "tensor_split" in self.settings,
            "server.fit_requested": self.on("fit", default=True),
            "server.kv_offload": self.on("kv_offload", default=True),
            "server.rpc_requested": "rpc" in self.settings,
            "server.rpc_servers": self.text("rpc"),
            "server.draft_asked": self._draft_asked(),
            "server.split_mode": self.text("split_mode", "layer"),
            "server.mmproj_asked": "mmproj" in self.settings or "mmproj_url" in self.settings,
            "server.experts_on_cpu": self._experts_on_cpu(),
            "server.mlock_requested": self.flag("mlock"),
            "server.mmap_requested": self.on("mmap", default=True),
            "server.cache_type_k": self.text("cache_type_k", "f16"),
            "server.cache_type_v": self.text("cache_type_v", "f16"),
            "server.cache_ram_asked": self.number("cache_ram", -2),
            "server.timeout_asked": self.number("timeout", -1),
            "server.context_shift_requested": self.flag("context_shift"),
            "server.rope_scaling_requested": "rope" in self.settings,
            "server.ubatch_requested": self.number("ubatch", 512),
            "server.predict_limit": self.number("predict", -1),
            "server.verbosity_requested": self.number("verbosity", -1),
            "server.log_file": self.text("log_file"),
            "server.unknown_flags": " ".join(self.unknown),
        }
        if env_unreadable:
            values |= {name: Unknown(env_unreadable) for name in values.keys() - self.settled() - _COMMAND_LINE_ONLY}
        return {name: clean(value) if isinstance(value, str) else value for name, value in values.items()}

    def settled(self) -> frozenset[str]:
        """The signals whose value is given, be it the default."""
        return frozenset(signal for signal, names in _SETTLED_BY.items() if any(name in self.settings for name in names))

    def gpu_layers(self) -> int | Unknown:
        """-ngl as given: -1 auto or absent, -2 all."""
        word = self.text("gpu_layers", "auto")
        return {"auto": -1, "all": -2}.get(word) or self.number("gpu_layers", -1)

    def _draft_asked(self) -> bool:
        """A draft model, or drafts by the model's own layers (MTP); n-gram drafts compute nothing on the GPU."""
        kind = self.text("spec_type")
        return "draft_model" in self.settings or kind.startswith("draft") or kind == "mtp"

    def _experts_on_cpu(self) -> bool:
        count = self.number("n_cpu_moe", 0)
        if self.flag("cpu_moe") or (isinstance(count, int) and count > 0):
            return True
        # -ot REGEX=BUFFER,...: the regex is untrusted, so it is not run against tensor names; experts are
        # ffn_{gate,up,down}_exps in every architecture (gguf constants).
        for part in self.text("override_tensor").split(","):
            pattern, _, buffer = part.rpartition("=")
            if buffer.strip().upper() == "CPU" and re.search(r"exp|ffn|\.\*$|^blk", pattern):
                return True
        return False


def decode(argv: Sequence[str], env: Mapping[str, str], files: Mapping[str, Sequence[str]] | None = None) -> Requested:
    """Parse a command line (``argv[0]`` is the program) and an environment. Never raises.

    `files` are the configuration files that apply before both, as the words that they stand for (config_file.py).
    """
    settings: dict[str, Setting] = {}
    unknown: list[str] = []
    # A llamafile has its model inside (and names it in its own .args).
    by_preset = bool(argv) and argv[0].lower().endswith(_MODEL_INSIDE)
    exits = False
    for path, words in (files or {}).items():
        for flag, value in flags(["", *words]):
            _apply(settings, flag, value, clean(path))
    for name, setting in _from_environment(env):
        _put(settings, name, setting)
    for flag, value in flags(argv):
        _apply(settings, flag, value, flag)
        if flag not in BY_FLAG and flag not in BY_SWITCH and flag not in OPTION and len(unknown) < MOST_UNKNOWN:
            unknown.append(clean(flag)[:80])
        by_preset = by_preset or flag in MODEL_SWITCHES
        exits = exits or flag in PRINT_AND_EXIT
    gfx = clean(env.get("HSA_OVERRIDE_GFX_VERSION", ""))
    vulkan = clean(env.get("GGML_VK_VISIBLE_DEVICES", ""))
    # ggml-cuda.cu checks whether it is set, not its value
    unified = "GGML_CUDA_ENABLE_UNIFIED_MEMORY" in env
    # ggml-vulkan.cpp does the same
    vidmem_hidden = "GGML_VK_DISABLE_HOST_VISIBLE_VIDMEM" in env
    # ggml-cuda.cu too: GGML_CUDA_P2P=0 switches it on
    peer = "GGML_CUDA_P2P" in env
    hidden, unique = hiding(env), tuple(dict.fromkeys(unknown))
    return Requested(settings, unique, hidden, gfx, vulkan, unified, vidmem_hidden, peer, by_preset, exits)


def _apply(settings: dict[str, Setting], flag: str, value: str | None, source: str) -> None:
    if flag in BY_FLAG:
        if value is not None or OPTION[flag].may_stand_alone:
            _put(settings, BY_FLAG[flag], Setting("on" if value is None else value, source))
    elif flag in BY_SWITCH:
        name, text = BY_SWITCH[flag]
        _put(settings, name, Setting(text, source))


def _from_environment(env: Mapping[str, str]) -> Iterator[tuple[str, Setting]]:
    for variable, (name, on, off) in BY_SWITCH_VARIABLE.items():
        text = env.get(variable, "").lower()
        if text in TRUE:
            yield name, Setting(on, variable)
        elif text in FALSE and off:
            yield name, Setting(off, variable)
    for variable, (name, off) in OFF_VARIABLES.items():
        if variable in env:
            yield name, Setting(off, variable)
    for variable, name in BY_VARIABLE.items():
        if variable in env:
            yield name, Setting(env[variable], variable)


def _put(settings: dict[str, Setting], name: str, setting: Setting) -> None:
    if name == "load_mode":
        mode = setting.text.lower()
        settings["load_mode"] = setting
        settings["mmap"] = Setting("on" if mode in ("auto", "mmap", "mmap+mlock") else "off", setting.source)
        settings["mlock"] = Setting("on" if "mlock" in mode else "off", setting.source)
    elif name == "override_tensor" and name in settings:
        settings[name] = Setting(f"{settings[name].text},{setting.text}", setting.source)
    else:
        settings[name] = setting
