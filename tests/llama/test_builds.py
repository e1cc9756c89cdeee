"""Which numbers are builds of llama.cpp."""

from __future__ import annotations

import pytest

from sentinel.llama.builds import FIT_SINCE, FLASH_AUTO_SINCE, build_of
from sentinel.llama.flags import OPTION, accepted


@pytest.mark.parametrize(
    ("version", "build"),
    [
        ("6448 (24a6734d)", 6448),
        ("0.1.0 (build 10434, commit 7e4c0a9)", 10434),
        ("b11434-7e4c0a9", 11434),
        # wheels of b10068, b10092, b10434 and b11549, and a tree without its history
        ("1 (571d0d5)", None),
        ("0.1.0-dev (build 1, commit 7e4c0a9)", None),
        ("b1-7e4c0a9", None),
        ("b0-unknown", None),
        ("0 (unknown)", None),
        ("5.2.1 (Debian)", None),
        ("", None),
        ("(" * 10_000, None),
    ],
)
def test_a_distributions_own_count_is_no_build(version: str, build: int | None) -> None:
    assert build_of(version) == build


def test_cut_offs_agree_with_the_table_of_flags() -> None:
    fit = accepted("--fit")
    assert fit is not None
    assert fit.low == FIT_SINCE
    assert OPTION["--flash-attn"].words[1].low == FLASH_AUTO_SINCE
