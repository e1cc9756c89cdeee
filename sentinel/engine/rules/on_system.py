"""Fixes for the system that the server runs on: a log from Windows or macOS gets no command of Linux. Pure.

The daemon itself runs on Linux only, but `diagnose` reads logs from everywhere (server.system).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from sentinel.model.alert import Fix

#: What only Linux has: its service manager, device files, permissions and boot parameters.
_OF_LINUX = re.compile(
    r"\b(?:systemctl|journalctl|chmod|chown|modprobe|dmesg|namei|ldconfig|apt(?:-get)?|setfacl|usermod|swapon|mkswap|ulimit"
    r"|sysctl|initramfs|ldd|rocm-smi|amd-smi|fuser|prlimit|sudo|ProtectHome|MemoryMax|LimitMEMLOCK|DeviceAllow|ExecStart)\b"
    r"|LD_LIBRARY_PATH|/(?:dev|sys|proc|etc|lib|usr)/|\bboot parameter|\bamdgpu\.|\bkernel\.|\bSELinux\b|\bvm\.\w+"
)
#: Programs that are the same everywhere.
_CORE_DUMP = re.compile(r"\bcore dump\b")
_EVERYWHERE = re.compile(r"(?:llama-server|ollama|nvidia-smi|docker|podman|git|cmake|curl|vulkaninfo|huggingface-cli|hf) ")
#: Where llama.cpp stands for who makes the server's program. A fork's own name ends in the same letters.
_OF_LLAMA_CPP = re.compile(r"(\b[Uu]pdate |\b(?:in|to|of) (?=llama\.cpp's issues))llama\.cpp\b")
_SHELL = re.compile(r"[|;&<>]|\$\(")


#: Programs that bring a llama.cpp of their own: nobody builds one for them.
BRING_THEIR_OWN = frozenset({"ollama", "jan", "lemonade", "koboldcpp", "lm-studio", "docker-model-runner", "localai"})


def of_its_own(fixes: Iterable[Fix], front_end: str) -> tuple[Fix, ...]:
    """The fixes without advice to build llama.cpp, for a program that brings its own."""
    if front_end not in BRING_THEIR_OWN:
        return tuple(fixes)
    return tuple(
        replace(fix, command="", verify="") if "cmake" in fix.command else fix
        for fix in fixes
        if "cmake" not in fix.do and not fix.do.startswith(("Build ", "Or build "))
    )


def of_fork(fixes: Iterable[Fix], fork: str) -> tuple[Fix, ...]:
    """The fixes for a fork of llama.cpp: the fork is updated, and has issues of its own."""
    if not fork:
        return tuple(fixes)
    return tuple(replace(fix, do=_OF_LLAMA_CPP.sub(rf"\1{fork}", fix.do)) for fix in fixes)


def on_system(fixes: Iterable[Fix], system: str) -> tuple[Fix, ...]:
    """The fixes that make sense there; all of them on Linux and where the system is not known."""
    if system not in ("windows", "macos"):
        return tuple(fixes)
    return tuple(
        replace(fix, command=_portable(fix.command), verify=_portable(fix.verify))
        for fix in fixes
        if _OF_LINUX.search(fix.do) is None
        and not (system == "windows" and _CORE_DUMP.search(fix.do) and "crash dump" not in fix.do)
    )


def first_alone(fixes: Iterable[Fix]) -> tuple[Fix, ...]:
    """The fixes, where the first does not begin with the "Or" that joined it to one that does not fit here."""
    all_of_them = tuple(fixes)
    if not all_of_them or not all_of_them[0].do.startswith("Or "):
        return all_of_them
    alone = all_of_them[0].do.removeprefix("Or ")
    return (replace(all_of_them[0], do=alone[:1].upper() + alone[1:]), *all_of_them[1:])


def _portable(command: str) -> str:
    plain = _EVERYWHERE.match(command) is not None and not _SHELL.search(command) and not _OF_LINUX.search(command)
    return command if plain else ""
