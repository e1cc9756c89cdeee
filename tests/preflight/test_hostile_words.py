"""Whatever stands on a command line, the answer is a verdict whose every text is one line that a terminal survives."""

from __future__ import annotations

from pathlib import Path

from effort import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentinel.cli.preflight import render
from sentinel.preflight.command import Command, Place
from sentinel.preflight.examine import examine
from sentinel.sources.processes.cgroup import Membership
from sentinel.terminal.style import Style

_FLAGS = ["-m", "-c", "-ngl", "-ot", "-ts", "-ctk", "--device", "-fa", "--mlock", "-np", "--n-cpu-moe", "--mmproj", "-dev", "--"]
_VALUES = [
    "",
    "-1",
    "9" * 30,
    "a=b,c",
    ".*=CPU",
    "0/0",
    "1e999",
    "\x1b[2J",
    "\udcff",
    "a\nb",
    "/dev/zero",
    "/",
    "../" * 50,
    "nan,inf",
]
_WORDS = st.lists(st.one_of(st.sampled_from(_FLAGS + _VALUES), st.text(max_size=12)), max_size=10)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_WORDS)
def test_no_command_line_breaks_it(words: list[str]) -> None:
    place = Place(0, frozenset({0}), Membership("/", "/", unified=True), -1)
    report = examine(Command(("llama-server", *words), {}, Path("/nonexistent"), None, place))

    assert report.verdict in ("fails", "unknown")
    for line in render(report, Style(), verbose=True):
        assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in line), line
        line.encode("utf-8")
    for why in report.whys:
        assert len(why.text) < 1200
