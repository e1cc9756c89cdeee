"""docs/quality.md states the numbers that decide, and the daemon does not pay for what it does not use."""

from __future__ import annotations

import re
import subprocess
import sys

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


def test_a_daemon_that_checks_no_answers_holds_nothing_of_it() -> None:
    said = "import sys, sentinel.daemon.daemon; print(*sorted(m for m in sys.modules if m.startswith('sentinel.quality')))"
    found = subprocess.run([sys.executable, "-c", said], cwd=REPO, capture_output=True, text=True, check=True).stdout.split()
    assert found == ["sentinel.quality", "sentinel.quality.daily", "sentinel.quality.daily.settings"]


def test_a_daemon_that_checks_answers_holds_no_prefix_and_no_statistics() -> None:
    said = "import sys, sentinel.daemon.daemon, sentinel.quality.daily.source; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", said], cwd=REPO, capture_output=True, text=True, check=True).stdout.split()
    child_only = ("asking", "comparison", "prefixes", "http", "reference", "resampling", "daily.errand", "daily.guard")
    assert not {f"sentinel.quality.{name}" for name in child_only} & set(found)
