"""Inline tests of rules: values over time, restarts, expectations at several times, and what a failing one shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample_rules import GOOD

from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.entity import Unknown
from sentinel.model.reading import Samples, Tick
from sentinel.model.rule import CaseDef, ExpectDef
from sentinel.rulefiles.files import load_paths
from sentinel.rulefiles.load import load
from sentinel.rulefiles.testing.readings import EPOCH, readings
from sentinel.rulefiles.testing.runner import run_case, run_tests
from sentinel.rulefiles.testing.series import UNREADABLE, SeriesError, parse_series


def with_test(test: str, events: dict[str, bytes]) -> RuleSet:
    """The sample rule with one more test."""
    ruleset, problems = load({"r.toml": (GOOD + "[[test]]\nname = 'mine'\n" + test).encode()}, events)
    assert ruleset is not None, [str(p) for p in problems]
    return ruleset


def failure_of(test: str, events: dict[str, bytes]) -> tuple[str, ...]:
    """What of the sample rule's additional test does not come out as expected."""
    found = [failure for _, name, failure in run_tests(with_test(test, events)) if name == "mine"]
    return found[0].what if found[0] is not None else ()


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("0.4x3", (0.4, 0.4, 0.4)),
        ("1..100x4", (1, 34, 67, 100)),
        ("3..1x3 1", (3, 2, 1, 1)),
        ("0.0..1x3", (0.0, 0.5, 1.0)),
        ("5..7", (5, 7)),
        ("-2 +3 1e3", (-2, 3, 1000.0)),
        ("true x1", None),
        ("true falsex2", (True, False, False)),
        ("'ready'x2 'a b'", ("ready", "ready", "a b")),
        ("''x2", ("", "")),
        ("1 _x2 ?", (1, None, None, UNREADABLE)),
        ("  1\n 2\t3 ", (1, 2, 3)),
    ],
)
def test_a_series_is_one_value_a_step(text: str, steps: tuple[object, ...] | None) -> None:
    if steps is None:
        with pytest.raises(SeriesError, match="'x1' is no value"):
            parse_series(text)
    else:
        assert parse_series(text) == steps
        assert [type(step) for step in parse_series(text)] == [type(step) for step in steps]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "has no value"),
        ("ready", "a text stands between single quotes: 'ready'"),
        ("1x0", "has no step"),
        ("1..2x1", "a ramp has two at least"),
        ("1x999999999", "more than 3600 steps"),
        ("1x2x3", "is no value"),
        ("1..", "is no value"),
        ("0x" + "9" * 5000, "is no value"),
        ("9" * 5000, "is no value"),
    ],
)
def test_what_is_no_series_is_said_with_what_to_write(text: str, what: str) -> None:
    with pytest.raises(SeriesError, match=what):
        parse_series(text)


def test_what_is_polled_is_read_between_steps_what_a_log_says_is_not(ruleset: RuleSet) -> None:
    """Steps of 20 s: resident memory is read each 5 s, a line with a speed is printed once."""
    case = CaseDef(
        "", 40.0, ExpectDef("quiet"), series={"server.rss_bytes": (1, 2, None), "server.generation_tps": (1.5, None)}, step=20.0
    )
    told = {"server.rss_bytes": [], "server.generation_tps": []}  # type: ignore[var-annotated]
    for reading in readings(ruleset.rules["cpu-fallback"].rule, case):
        if isinstance(reading, Samples):
            for signal, value in reading.values.items():
                if signal in told:
                    told[signal].append((reading.at - EPOCH, value))
    assert told["server.rss_bytes"] == [(0, 1), (5, 1), (10, 1), (15, 1), (20, 2), (25, 2), (30, 2), (35, 2)]
    assert told["server.generation_tps"] == [(0, 1.5)]


def test_time_passes_each_second_after_anything_happens_and_whenever_something_is_expected(ruleset: RuleSet) -> None:
    case = CaseDef("", 1000.5, ExpectDef("quiet"), earlier=((777.0, ExpectDef("quiet")),), log=((400.0, "x"),))
    ticks = [r.at - EPOCH for r in readings(ruleset.rules["cpu-fallback"].rule, case) if isinstance(r, Tick)]
    assert set(range(61)) | set(range(400, 461)) | set(range(0, 1001, 5)) | {776.0, 777.0, 1000.5} <= set(ticks)
    assert len(ticks) < 450


RAMP = """
series = { "server.generation_tps" = "20.0x30 20.0..0.2x10 0.2x40 20.0x80" }
[[test.expect]]
at = "30s"
state = "quiet"
[[test.expect]]
at = "79s"
state = "firing"
cause = "other"
fix_contains = ["look"]
fix_lacks = "nonsense"
[[test.expect]]
at = "150s"
state = "resolved"
reason = "condition-cleared"
"""


def test_expectations_at_several_times_are_each_held_against_that_time(events: dict[str, bytes]) -> None:
    assert failure_of(RAMP, events) == ()
    assert failure_of(RAMP.replace('"79s"', '"31s"'), events)[0] == "at 31s: expected state 'firing', got 'quiet'"
    assert failure_of(RAMP.replace('"condition-cleared"', '"server-gone"'), events) == (
        "at 150s: expected the reason 'server-gone' of its last change, got 'condition-cleared'",
    )
    assert failure_of(RAMP.replace('"nonsense"', '"loo"'), events)[0].startswith("at 79s: expected no 'loo' in a fix, got 'look")


def test_unknown_in_a_series_neither_fires_nor_resolves(events: dict[str, bytes]) -> None:
    gap = """
series = { "server.generation_tps" = "0.2x40 ?x80" }
[[test.expect]]
at = "39s"
state = "firing"
[[test.expect]]
at = "110s"
state = "firing"
missing = ["server.generation_tps"]
"""
    assert failure_of(gap, events) == ()
    assert failure_of('series = { "server.generation_tps" = "?x40" }\nexpect = { state = "unknown" }', events) == ()


def test_a_restart_of_sentinel_keeps_the_alert_and_a_hold_time_that_runs(events: dict[str, bytes]) -> None:
    """The window starts again, so that the condition is unknown for a moment: the alert goes on."""
    restarted = """
series = { "server.generation_tps" = "0.2x60" }
sentinel_restarts = ["2s", "30s"]
[[test.expect]]
at = "3s"
state = "pending"
[[test.expect]]
at = "40s"
state = "firing"
"""
    ruleset = with_test(restarted, events)
    assert failure_of(restarted, events) == ()
    compiled = ruleset.rules["too-slow"]
    outcome = run_case(compiled, compiled.rule.tests[-1], ruleset)
    assert [(t.previous, t.state) for t in outcome.transitions] == [("inactive", "pending"), ("pending", "firing")]


@pytest.mark.parametrize(
    ("test", "where", "what"),
    [
        ('series = { "server.generation_tps" = 3 }', "series.server.generation_tps", "must be a text"),
        ('series = { "server.generation_tps" = "x" }', "series.server.generation_tps", "is no value of a series"),
        ('series = { "server.generation_tp" = "1" }', "series.server.generation_tp", "did you mean 'server.generation_tps'"),
        ('series = { "server.generation_tps" = "\'a\'" }', "series.server.generation_tps", "which is float"),
        ('series = { "server.state" = "\'a\' 1" }', "series.server.state", "mixes types"),
        ('given = { "server.state" = "a" }\nseries = { "server.state" = "\'a\'" }', "series.server.state", "is in 'given' too"),
        ('step = "fast"', "step", "is not a duration"),
        ('sentinel_restarts = ["soon"]', "sentinel_restarts[1]", "is not a duration"),
        ('at = "3d"', "at", "no test lasts longer"),
    ],
)
def test_a_mistake_in_a_test_is_reported_with_its_key(test: str, where: str, what: str, events: dict[str, bytes]) -> None:
    text = GOOD + f"[[test]]\nname = 'mine'\n{test}\nexpect = {{ state = 'quiet' }}\n"
    found = load({"r.toml": text.encode()}, events)[1]
    assert [(p.where, what in p.what) for p in found] == [(f"test 'mine'.{where}", True)], [str(p) for p in found]


@pytest.mark.parametrize(
    ("expect", "where", "what"),
    [
        ('at = "5s"\nstate = "quiet"\n[[test.expect]]\nat = "5s"\nstate = "quiet"', "expect[2]", "must be later"),
        ('at = "5s"\nstate = "firing"\nreason = "condition-clear"', "expect[1].reason", "did you mean 'condition-cleared'"),
        ('state = "quiet"\ncause = "other"', "expect[1]", "of an alert that is quiet: it has none"),
    ],
)
def test_a_mistake_in_an_expectation_names_its_key(expect: str, where: str, what: str, events: dict[str, bytes]) -> None:
    text = GOOD + f"[[test]]\nname = 'mine'\n[[test.expect]]\n{expect}\n"
    found = load({"r.toml": text.encode()}, events)[1]
    assert [(p.where, what in p.what) for p in found] == [(f"test 'mine'.{where}", True)], [str(p) for p in found]


def test_a_failing_test_shows_which_check_had_which_value_when(events: dict[str, bytes], tmp_path: Path) -> None:
    text = GOOD + "[[test]]\nname = 'mine'\nlog = ['+3s what is this']\n" + RAMP.replace('"79s"', '"31s"')
    file = tmp_path / "r.toml"
    file.write_text(text)
    ruleset, _ = load_paths([file])
    assert ruleset is not None
    (failure,) = [failure for _, _, failure in run_tests(ruleset) if failure is not None]
    slow = next(line for line in failure.timeline if line.startswith("slow "))
    alert = next(line for line in failure.timeline if line.startswith("alert "))
    assert slow.split()[1].strip(".") == "#" * slow.count("#"), "quiet, slow for one stretch, quiet"
    assert alert.split()[1].lstrip("-").lstrip("p").lstrip("F").strip("r") == ""
    told = "\n".join(failure.timeline)
    assert "slow is true   (speed = " in told
    assert "+3s      llama-server line 'what is this' is no event that sentinel knows" in told
    assert "alert pending -> firing (hold-elapsed)" in told


def test_a_gap_is_something_else_than_unreadable() -> None:
    gap, unreadable = parse_series("_ ?")
    assert gap is None
    assert isinstance(unreadable, Unknown)
