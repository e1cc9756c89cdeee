"""What is left out while hold times run out would have changed nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from sentinel.diagnose.diagnosis import Diagnosis, diagnose
from sentinel.engine.engine import Engine
from sentinel.engine.log.lines import LineSplitter
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.engine.worklist import Worklist
from sentinel.model.alert import Transition
from sentinel.model.reading import LogLines, Reading, Tick

_RECORDED = Path(__file__).parent.parent.parent / "eval" / "recordings"


def _clean(path: Path) -> bytes:
    splitter = LineSplitter()
    return splitter.feed(path.read_bytes()) + splitter.flush()


def _dated(log: bytes, each: float) -> bytes:
    """As a journal prints it, a line every so many seconds."""
    rows = []
    for number, row in enumerate(log.splitlines()):
        seconds = number * each
        rows.append(b"2026-03-01T%02d:%02d:%06.3fZ %s" % (seconds // 3600, seconds // 60 % 60, seconds % 60, row))
    return b"\n".join(rows)


_RUNS = b"".join(map(_clean, sorted(_RECORDED.glob("*.log"))))
_CASES: Mapping[str, bytes] = {
    "runs one after the other, undated: alerts flap": _RUNS,
    "dated, four lines a second": _dated(_RUNS, 0.25),
    "dated, a line every five seconds": _dated(_RUNS, 5.0),
}


@pytest.mark.parametrize("case", _CASES)
def test_a_tick_that_is_left_out_would_have_changed_nothing(ruleset: RuleSet, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[Reading] = []
    step = Engine.step

    def noted(engine: Engine, reading: Reading) -> list[Transition]:
        steps.append(reading)
        return step(engine, reading)

    def judged() -> tuple[Diagnosis, int]:
        steps.clear()
        return diagnose(ruleset, [("server.log", _CASES[case])], [], {}), sum(isinstance(one, Tick) for one in steps)

    monkeypatch.setattr(Engine, "step", noted)
    found, ticks = judged()
    monkeypatch.setattr(Worklist, "unchanged_until", lambda _: float("-inf"))
    whole, all_ticks = judged()
    # Texts and times of all alerts are part of it.
    assert repr(found) == repr(whole)
    readings = sum(isinstance(one, LogLines) for one in steps)
    assert ticks - readings < (all_ticks - readings) / 2
