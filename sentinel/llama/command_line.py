"""What a llama-server was asked for: its command line and its LLAMA_ARG_* environment, as common/arg.cpp reads them.

The environment is read first and the command line overrides it; of two equal flags the last one wins (except
--override-tensor, which adds up). A word that cannot be understood never stops the reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sentinel.llama.flags import (
    BY_FLAG,
    BY_SWITCH,
    BY_VARIABLE,
    COMMAND_LINE_ONLY,
    HIDING_VARIABLES,
    MODEL_SWITCHES,
    ON_OR_OFF,
    OPTIONAL_VALUE_FLAGS,
    PAIR_FLAGS,
    PRINT_AND_EXIT,
    SETTLED_BY,
    SWITCHES,
    VALUE_FLAGS,
)
from sentinel.model.entity import Unknown, Value
from sentinel.model.text import clean

_FLAG = re.compile(r"--?[A-Za-z][\w.-]*\Z")
_FLAG_WITH_VALUE = re.compile(r"(--[A-Za-z][\w.-]*)=(.*)\Z", re.DOTALL)
#: std::stoi: leading blanks, a sign, digits; what follows is ignored
_NUMBER = re.compile(r"\s*([+-]?\d{1,18})")
_TRUE = frozenset({"on", "enabled", "true", "1"})
_FALSE = frozenset({"off", "disabled", "false", "0"})
_WORDS_AFTER_OPTIONAL = _TRUE | _FALSE | {"auto", "always", "never"}


@dataclass(frozen=True, slots=True)
class Setting:
    """A value as asked for, word for word, and the flag or variable that asked."""

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
    model_by_preset: bool = False
    prints_and_exits: bool = False

    def text(self, name: str, default: str = "") -> str:
        """The setting as written (may hold surrogate escapes), or the default."""
        given = self.settings.get(name)
        return default if given is None else given.text

    def flag(self, name: str) -> bool:
        return self.on(name, default=False)

    def on(self, name: str, *, default: bool) -> bool:
        """A setting that is on or off, as given or by default."""
        return self.text(name, "on" if default else "off").lower() in _TRUE

    @property
    def is_router(self) -> bool:
        """No model by any name: the process only starts children that serve one (tools/server, router mode).

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
        """Signals of the catalogue, every one of them, defaults included.

        `env_unreadable` says why the environment could not be read: then only what the command line gives is known.
        """
        layers = self.settings.get("gpu_layers")
        values: dict[str, Value | Unknown] = {
            "server.host": self.text("host", "127.0.0.1"),
            "server.port": self.number("port", 8080),
            "server.is_router": self.is_router,
            "server.embeddings": self.flag("embeddings"),
            "server.model_path": self.text("model"),
            "server.ctx_requested": self.number("ctx", 0),
            "server.ctx_explicit": "ctx" in self.settings,
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
            "server.rpc_requested": "rpc" in self.settings,
            "server.experts_on_cpu": self._experts_on_cpu(),
            "server.mlock_requested": self.flag("mlock"),
            "server.mmap_requested": self.on("mmap", default=True),
            "server.cache_type_k": self.text("cache_type_k", "f16"),
            "server.cache_type_v": self.text("cache_type_v", "f16"),
            "server.cache_ram_asked": self.number("cache_ram", -2),
            "server.context_shift_requested": self.flag("context_shift"),
            "server.rope_scaling_requested": "rope" in self.settings,
            "server.ubatch_requested": self.number("ubatch", 512),
            "server.predict_limit": self.number("predict", -1),
            "server.verbosity_requested": self.number("verbosity", -1),
            "server.log_file": self.text("log_file"),
            "server.unknown_flags": " ".join(self.unknown),
        }
        if env_unreadable:
            given = {signal for signal, names in SETTLED_BY.items() if any(name in self.settings for name in names)}
            values |= {name: Unknown(env_unreadable) for name in values.keys() - given - COMMAND_LINE_ONLY}
        return {name: clean(value) if isinstance(value, str) else value for name, value in values.items()}

    def gpu_layers(self) -> int | Unknown:
        """-ngl as asked: -1 auto or absent, -2 all."""
        word = self.text("gpu_layers", "auto")
        return {"auto": -1, "all": -2}.get(word) or self.number("gpu_layers", -1)

    def _experts_on_cpu(self) -> bool:
        count = self.number("n_cpu_moe", 0)
        if self.flag("cpu_moe") or (isinstance(count, int) and count > 0):
            return True
        # -ot REGEX=BUFFER,...: the regex is a stranger's, so it is not run against tensor names; experts are
        # ffn_{gate,up,down}_exps in every architecture (gguf constants).
        for part in self.text("override_tensor").split(","):
            pattern, _, buffer = part.rpartition("=")
            if buffer.strip().upper() == "CPU" and re.search(r"exp|ffn|\.\*$|^blk", pattern):
                return True
        return False


def decode(argv: Sequence[str], env: Mapping[str, str]) -> Requested:
    """Read a command line (``argv[0]`` is the program) and an environment. Never raises."""
    settings: dict[str, Setting] = {}
    unknown: list[str] = []
    by_preset = exits = False
    for name, setting in _from_environment(env):
        _put(settings, name, setting)
    for flag, value in words(argv):
        if flag in BY_FLAG:
            if value is not None or flag in OPTIONAL_VALUE_FLAGS:
                _put(settings, BY_FLAG[flag], Setting("on" if value is None else value, flag))
        elif flag in BY_SWITCH:
            name, text = BY_SWITCH[flag]
            _put(settings, name, Setting(text, flag))
        elif flag not in SWITCHES | VALUE_FLAGS | OPTIONAL_VALUE_FLAGS | PAIR_FLAGS:
            unknown.append(clean(flag)[:80])
        by_preset = by_preset or flag in MODEL_SWITCHES
        exits = exits or flag in PRINT_AND_EXIT
    hidden = tuple(f"{name}={clean(env[name])}" for name in HIDING_VARIABLES if name in env and _hides_all(name, env[name]))
    gfx = clean(env.get("HSA_OVERRIDE_GFX_VERSION", ""))
    vulkan = clean(env.get("GGML_VK_VISIBLE_DEVICES", ""))
    # ggml-cuda.cu asks whether it is set, not to what
    unified = "GGML_CUDA_ENABLE_UNIFIED_MEMORY" in env
    return Requested(settings, tuple(dict.fromkeys(unknown)), hidden, gfx, vulkan, unified, by_preset, exits)


def words(argv: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Flags with their values. llama-server takes no free words: what follows no flag that wants it is passed over."""
    at = 1
    while at < len(argv):
        word, value = argv[at], None
        at += 1
        assigned = _FLAG_WITH_VALUE.match(word)
        if assigned is not None:
            word, value = assigned[1], assigned[2]
        elif _FLAG.match(word) is None:
            continue
        if word.startswith("--"):
            # common/arg.cpp takes --ctx_size for --ctx-size
            word = word.replace("_", "-")
        if value is None and at < len(argv):
            if word in VALUE_FLAGS:
                value, at = argv[at], at + 1
            elif word in PAIR_FLAGS:
                at += 2
            elif word in OPTIONAL_VALUE_FLAGS and argv[at].lower() in _WORDS_AFTER_OPTIONAL:
                value, at = argv[at], at + 1
        yield word, value


def _from_environment(env: Mapping[str, str]) -> Iterator[tuple[str, Setting]]:
    for variable, name in BY_VARIABLE.items():
        text = env.get(variable)
        negated = variable.replace("LLAMA_ARG_", "LLAMA_ARG_NO_")
        if name in ON_OR_OFF and negated in env:
            # a variable of the form LLAMA_ARG_NO_X turns X off whatever it holds (common/arg.cpp, get_value_from_env)
            yield name, Setting("off", negated)
        elif text is None:
            continue
        elif name == "dio":
            if text.lower() in _TRUE:
                yield "mmap", Setting("off", variable)
        elif name not in ON_OR_OFF or text.lower() in _TRUE | _FALSE:
            yield name, Setting(text, variable)


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


def _hides_all(name: str, value: str) -> bool:
    """The first entry of such a list that names no device ends it (HIP and CUDA guides, environment variables).

    An index that is merely too large hides as much, but how many cards there are is not known here; ``0`` is a harmless habit.
    """
    if name == "GGML_DISABLE_VULKAN":
        # Its presence is what counts (ggml-vulkan.cpp).
        return True
    return value.split(",")[0].strip().lower() in {"", "-1", "none", "void", "nodevfiles", "all"}
