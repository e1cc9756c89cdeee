"""Fixes for the GPUs that the server uses: who has one of NVIDIA gets no advice about ROCm's variables. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from sentinel.model.alert import Fix

#: Signals that this reads.
READS = ("server.gpu_maker", "host.nvidia_gpu_count", "host.amd_gpu_count")
#: What only who has such a GPU can do, or has.
_ONLY: Mapping[str, re.Pattern[str]] = {
    "nvidia": re.compile(
        r"\bnvidia-smi\b|\bNVRM\b|\bnvidia[-_](?:uvm|modprobe|fabricmanager|container|ctk)|\bCUDA_VISIBLE_DEVICES\b|\bNVIDIA\b|\bcuBLAS\b"
    ),
    "amd": re.compile(
        r"\b(?:HSA|ROCR|HIP)_\w+|\brocminfo\b|\brocm-smi\b|\bamd-smi\b|/dev/kfd\b|\bamdgpu\b|\bROCm\b|\bRadeon\b|\bAdrenalin\b|\bAMD\b"
    ),
    "intel": re.compile(r"\bsycl-ls\b|\bONEAPI_\w+|\boneAPI\b|\bGGML_SYCL\w*|\b[Ll]evel.[Zz]ero\b|\bi915\b|\bIntel's\b|\bSYCL\b"),
    "apple": re.compile(r"\bMetal\b|\bmacOS\b"),
}
#: Said where several kinds are named beside each other.
_ALSO: Mapping[str, re.Pattern[str]] = {
    "nvidia": re.compile(r"\bCUDA\b"),
    "amd": re.compile(r"\bgfx\w+|\bHIP\b"),
    "intel": re.compile(r"\bIntel\b|\bxe\b"),
    "apple": re.compile(r"\bApple\b|\bMac\b"),
}
_SENTENCE = re.compile(r"(?<=\.) (?=[A-Z])")
_ASIDE = re.compile(r" \([^()]*\)")


def maker_of(look_up: Callable[[str], Any]) -> str:
    """The one maker of all its GPUs: as its log names them, else by the machine's PCI bus; empty if unknown or several."""
    if said := look_up("server.gpu_maker"):
        return str(said)
    nvidia, amd = look_up("host.nvidia_gpu_count"), look_up("host.amd_gpu_count")
    if not isinstance(nvidia, int) or not isinstance(amd, int) or bool(nvidia) is bool(amd):
        return ""
    return "nvidia" if nvidia else "amd"


def names_a_maker(text: str) -> bool:
    """Whether `on_gpu` may leave it out somewhere."""
    return any(sign.search(text) for sign in _ONLY.values())


def on_gpu(fixes: Iterable[Fix], maker: str) -> tuple[Fix, ...]:
    """The fixes without what is only for GPUs of other makers; all of them where the maker is not known."""
    if maker not in _ONLY:
        return tuple(fixes)
    return tuple(_for(maker, fixes))


def _for(maker: str, fixes: Iterable[Fix]) -> Iterator[Fix]:
    for fix in fixes:
        do = " ".join(said for part in _SENTENCE.split(fix.do) if (said := _own(part, maker)))
        if do:
            command, verify = ("" if _foreign(text, maker) else text for text in (fix.command, fix.verify))
            yield replace(fix, do=do, command=command, verify=verify)


def _own(sentence: str, maker: str) -> str:
    """The sentence, without what it says in brackets of other GPUs; empty if it is about those alone."""
    if not _foreign(sentence, maker):
        return sentence
    rest = _ASIDE.sub(lambda aside: "" if _foreign(aside[0], maker) else aside[0], sentence)
    return "" if _foreign(rest, maker) else rest


def _foreign(text: str, maker: str) -> bool:
    if _ONLY[maker].search(text) or _ALSO[maker].search(text):
        return False
    return any(sign.search(text) for other, sign in _ONLY.items() if other != maker)
