"""docs/quality.md states the numbers that decide, and the daemon does not pay for what it does not use."""

from __future__ import annotations

import re

from places import REPO

from sentinel.quality.comparison import CATEGORY_FLOOR, CHANCE, FEWEST, FLOOR, SCALE
from sentinel.quality.prefixes import prefixes
from sentinel.quality.resampling import RESAMPLES


def test_the_page_has_the_numbers_of_the_code() -> None:
    page = (REPO / "docs/quality.md").read_text(encoding="utf-8")
    for sentence in (
        f"{len(prefixes())} prefixes",
        f"{FEWEST} prefixes at least",
        f"at most {CHANCE:g} and the mean divergence above the floor, {FLOOR:g} bits",
        f"with {CATEGORY_FLOOR:g} bits",
        f"{RESAMPLES:,} times",
    ):
        assert sentence in page, sentence
    steps = re.findall(r"^\| (?:below ([\d.]+)|above) \| ([a-z ]+) \|", page, re.MULTILINE)
    assert [word for _, word in steps] == [word for _, word, _ in SCALE]
    assert [float(most) for most, _ in steps[:-1]] == [most for most, _, _ in SCALE[:-1]]


def test_only_the_command_imports_it() -> None:
    """The daemon at rest holds nothing of it."""
    root = REPO / "sentinel"
    users = {
        path.relative_to(root).parts[0] for path in root.rglob("*.py") if "sentinel.quality" in path.read_text(encoding="utf-8")
    }
    assert users == {"quality", "cli"}
