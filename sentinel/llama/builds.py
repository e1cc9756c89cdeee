"""Build numbers of llama.cpp: which are valid, and the builds at which something changed that the calculation depends on."""

from __future__ import annotations

import re

#: Distributions, wheels and forks number their own way: ``1``, ``b0-unknown``. The oldest log sentinel reads is of b1-e3 2024.
_LEAST, _MOST = 1000, 99_999
#: "6448 (24a6734d)"; since August 2026 "0.1.0 (build 10434, commit 7e4c0a9)" (common/build-info.cpp.in); /props: "b10434-7e4c0a9"
_VERSION = re.compile(r"b?(\d{1,9})(?= \(|-|\Z)|.{1,80}?\(build (\d{1,9}),")

#: The default address of a server; b11434 announces 9931 for a later build.
DEFAULT_PORT = 8080
#: --fit exists and is on by default; before, missing flags had fixed defaults
FIT_SINCE = 7407
#: flash attention is chosen by the build if not given; before, it was off
FLASH_AUTO_SINCE = 6325
#: the first build seen to reserve logits for the slots instead of for every token of a batch
FEW_LOGITS_SINCE = 10434
#: the last build seen to keep a cache for layers that predict further tokens, and the first seen not to
FURTHER_KEPT_UNTIL, FURTHER_LEFT_SINCE = 10434, 11434


def is_build(number: int) -> bool:
    """Whether a number can be a build of llama.cpp; any other number says nothing about its features."""
    return _LEAST <= number <= _MOST


def build_of(version: str) -> int | None:
    """The build of a version as ``--version`` and /props print it; None if it is not a build number of llama.cpp."""
    match = _VERSION.match(version)
    number = 0 if match is None else int(match[1] or match[2])
    return number if is_build(number) else None
