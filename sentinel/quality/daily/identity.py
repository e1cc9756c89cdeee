"""What acts on the answers of a server: program, model file, flags, GPU and driver; and what of it is not as it was.

Nothing here is a secret or a path: files are digests of their names, sizes and times, and a flag's value is kept only if it is
a plain word.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

from sentinel.gguf.header import parts_of
from sentinel.model.entity import Unknown
from sentinel.model.text import clean
from sentinel.quality.daily.computing import ON_GPU, device, libraries, replaced
from sentinel.sources.fs import Roots, read_text
from sentinel.sources.processes.fingerprint import program, stamps
from sentinel.sources.processes.paths import absolute, inside
from sentinel.sources.processes.server_process import ServerProcess

#: Settings with which the same file gives other numbers. Context, slots, batches and threads moved them by less than 0.0001
#: bits (docs/quality.md): a change of those is no cause.
_ACTING = (
    "rope", "lora", "flash_attn", "gpu_layers", "device", "override_tensor", "cpu_moe", "n_cpu_moe", "n_cpu_ffn", "split_mode",
    "tensor_split", "main_gpu", "kv_offload", "repack", "op_offload", "swa_full", "rpc",
)  # fmt: skip
_PLAIN = re.compile(r"[\w.,:=+-]{0,40}\Z", re.ASCII)
_MOST_GPUS = 32
#: Without it llama.cpp computes on no software renderer.
_CHOSEN = "GGML_VK_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class Identity:
    """One server as it was started. Empty: not known. `configuration` is the digest of all that matters for its speed."""

    configuration: str = ""
    program: str = ""
    model: str = ""
    model_name: str = ""
    cache: str = ""
    flags: str = ""
    gpus: str = ""
    driver: str = ""
    #: known only of a process that was asked (computing.py)
    device: str = ""
    libraries: str = ""

    def differs(self, other: Identity) -> bool:
        """It was started with another build, model or flags, or on another GPU."""
        return any(mine != theirs for mine, theirs in zip(_all(self), _all(other), strict=True) if mine and theirs)


def _all(one: Identity) -> tuple[str, ...]:
    return one.configuration, one.program, one.model, one.cache, one.flags, one.gpus, one.driver


@dataclass(frozen=True, slots=True)
class Changes:
    """Kinds, as ``build,cache``, and the same in words."""

    kinds: str
    words: str


def identify(server: ServerProcess, roots: Roots) -> Identity:
    """From /proc, and from the names, sizes and times of its files."""
    asked = server.requested.text("model")
    model = inside(roots, server.pid, absolute(roots, server.pid, asked)) if asked else ""
    configuration = server.values.get("server.configuration")
    k, v = (server.values.get(f"server.cache_type_{one}") for one in "kv")
    known = isinstance(k, str) and isinstance(v, str)
    return Identity(
        configuration="" if configuration is None or isinstance(configuration, Unknown) else str(configuration),
        program=_digest(lambda: program(roots, server.pid)),
        model=_digest(lambda: stamps(parts_of(model), os.stat if server.reader is None else server.reader.status))
        if model
        else "",
        model_name=clean(asked.rpartition("/")[2])[:120],
        cache=f"K {_plain(str(k))}, V {_plain(str(v))}" if known else "",
        flags=_flags(server),
        gpus=_gpus(roots),
        driver=_driver(roots),
    )


def as_asked(known: Identity, pid: int, roots: Roots) -> Identity:
    """The same, with what computes now."""
    return replace(known, device=device(roots, pid), libraries=libraries(roots, pid))


def _flags(server: ServerProcess) -> str:
    """As ``-fa off, --rope-freq-base 5000``; a word that none has where none is given, so that this is known too."""
    asked = server.requested
    given = asked.settings
    found = [f"{_plain(given[name].source)} {_plain(given[name].text)}" for name in _ACTING if name in given]
    found += [_plain(one) for one in asked.hidden_devices]
    if asked.gfx_override:
        found.append(f"HSA_OVERRIDE_GFX_VERSION {_plain(asked.gfx_override)}")
    if asked.vulkan_devices:
        found.append(f"{_CHOSEN} {_plain(asked.vulkan_devices)}")
    return ", ".join(found) or "none"


def _plain(text: str) -> str:
    return text if _PLAIN.match(text) else "(…)"


def _digest(found: Callable[[], Iterable[str]]) -> str:
    digest = blake2b(digest_size=8)
    try:
        for part in found():
            digest.update(os.fsencode(part) + b"\0")
    except (OSError, ValueError):
        return ""
    return digest.hexdigest()


def _gpus(roots: Roots) -> str:
    """PCI ids of the display devices. These two files wake no GPU."""
    found = []
    for card in sorted((roots.sys / "class/drm").glob("card*")):
        if card.name.removeprefix("card").isdigit():
            with suppress(OSError):
                found.append(":".join(read_text(card / "device" / name, 64).strip() for name in ("vendor", "device")))
    return " ".join(sorted(found)[:_MOST_GPUS]) or "none"


def _driver(roots: Roots) -> str:
    """The kernel, which has the drivers of AMD and Intel; AMD's own where it was installed beside it (DKMS), and NVIDIA's."""
    found = [f"Linux {_line(roots.proc / 'sys/kernel/osrelease')}"]
    # The kernel's own amdgpu has no version.
    if amd := _line(roots.sys / "module/amdgpu/version"):
        found.append(f"amdgpu {_plain(amd)}")
    if nvidia := re.search(r"\b\d{3}\.\d{2,3}(?:\.\d+)?\b", _line(roots.proc / "driver/nvidia/version")):
        found.append(f"NVIDIA {nvidia[0]}")
    return ", ".join(found)


def _line(path: Path) -> str:
    try:
        return clean(read_text(path, 4096).partition("\n")[0])[:120]
    except OSError:
        return ""


def changes(before: Identity, now: Identity, builds: tuple[str, str], weights: tuple[str, str]) -> Changes:
    """What differs. `builds` and `weights`: build and quantization as the server says them, before and now."""
    found: dict[str, str] = {}
    if _other(before.model_name, now.model_name):
        found["other-model"] = f"model file {before.model_name} -> {now.model_name}"
    elif _other(before.model, now.model):
        found["model"] = f"the model file {now.model_name} was replaced" + _step(weights)
    if _other(before.cache, now.cache):
        found["cache"] = f"KV cache {before.cache} -> {now.cache}"
    if _other(before.program, now.program) or _other(*builds):
        # Distributions call every build b1.
        found["build"] = (
            f"build {builds[0] or '?'} -> {builds[1] or '?'}"
            if _other(*builds)
            else f"program files of {builds[1] or 'the build'}"
        )
    if _other(before.flags, now.flags):
        found["flags"] = f"flags {before.flags} -> {now.flags}"
    if _other(before.gpus, now.gpus):
        found["gpu"] = f"GPU {before.gpus} -> {now.gpus}"
    if _other(before.device, now.device):
        found["device"] = f"computed with {before.device} -> with {now.device}"
    elif (now.device == ON_GPU or _CHOSEN in now.flags) and (library := replaced(before.libraries, now.libraries)):
        # Vulkan's loader maps Mesa's driver to count devices, also where the processor computes.
        found["library"] = library
    if _other(before.driver, now.driver):
        found["driver"] = f"driver {before.driver} -> {now.driver}"
    if not found and _other(before.configuration, now.configuration):
        found["other"] = "something of its command line or environment that is not named here"
    return Changes(",".join(found), "; ".join(found.values()))


def _other(before: str, now: str) -> bool:
    return bool(before and now) and before != now


def _step(weights: Iterable[str]) -> str:
    before, now = weights
    return f" ({before} -> {now})" if before and now and before != now else ""
