"""Every architecture of llama.cpp is computed or named as one that is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.llama.architectures import COMPUTED, NOT_COMPUTED, caches
from sentinel.llama.model import Model
from sentinel.model.entity import Unknown

RECORDED = frozenset((Path(__file__).parent / "architectures/b11434.txt").read_text(encoding="utf-8").split())
#: in the library of b11549 and not in b11434
NEWER = frozenset({"gemma-embedding2", "k2-horizon"})


def test_all_that_the_newest_builds_know_is_known_by_name() -> None:
    assert RECORDED | NEWER == COMPUTED | NOT_COMPUTED
    assert not COMPUTED & NOT_COMPUTED


@pytest.mark.parametrize(
    ("arch", "says"),
    [
        ("deepseek4", "sentinel cannot compute the caches of the architecture deepseek4"),
        ("brand-new", "the architecture brand-new is none of those that sentinel knows, up to b11549 of llama.cpp"),
    ],
)
def test_what_is_not_computed_is_unknown_with_its_name(arch: str, says: str) -> None:
    assert caches(Model(arch, {f"{arch}.block_count": 4})) == Unknown(says)
