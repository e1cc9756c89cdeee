"""Which alerts are worth a restart, and how often: past transitions and the time are data."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sentinel.cure.decide import HOUR, Action, Decision, Later, Limit, Nothing, Restart, decide

NOW = 1_796_000_000.0
ACTION = Action("llama.service", frozenset({"server-wedged", "gpu-reset"}), frozenset(), "llama.service", 2, 600.0, 0.0)


def moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def alert(
    rule: str = "server-wedged", name: str = "llama.service", scope: str = "server", since: float = NOW - 5
) -> dict[str, Any]:
    return {
        "rule": rule,
        "entity": {"scope": scope, "name": name},
        "cause": {"id": "stuck"},
        "fingerprint": f"{rule}/{name}",
        "state": "firing",
        "since": moment(since),
    }


def past(at: float, reason: str = "restart", mark: str = "earlier") -> dict[str, Any]:
    return {**alert(), "fingerprint": mark, "at": moment(at), "reason": reason}


def decided(*transitions: dict[str, Any], action: Action = ACTION, now: float = NOW, since: float = NOW - 5) -> Decision:
    return decide(action, alert(since=since), transitions, now)


def test_an_action_is_for_its_rules_its_server_and_its_causes() -> None:
    assert ACTION.fits(alert())
    assert not ACTION.fits(alert("load-oom"))
    assert not ACTION.fits(alert(name="other.service"))
    assert ACTION.fits(alert("gpu-reset", "0000:03:00.0", "gpu"))
    assert not Action("a", ACTION.rules, frozenset({"late"}), "llama.service", 2, 600, 0).fits(alert())
    assert Action("a", ACTION.rules, frozenset({"stuck"}), "llama.service", 2, 600, 0).fits(alert())


def test_the_first_time_at_once_or_after_the_time_that_is_asked_for() -> None:
    assert decided() == Restart()
    patient = Action("llama.service", ACTION.rules, frozenset(), "llama.service", 2, 600.0, 60.0)
    assert decided(action=patient) == Later(NOW + 55)
    assert decided(action=patient, since=NOW - 60) == Restart()


def test_one_alert_is_worth_one_restart() -> None:
    own = alert()["fingerprint"]
    assert decided(past(NOW - 1, mark=own)) == Nothing()
    assert decided(past(NOW - 1, "restart-limit", own)) == Nothing()
    # An earlier episode of the same alert.
    assert decided(past(NOW - 700, mark=own)) == Restart()


def test_between_two_restarts_there_is_a_pause() -> None:
    assert decided(past(NOW - 100)) == Later(NOW + 500)
    assert decided(past(NOW - 600)) == Restart()


def test_no_more_than_so_many_in_an_hour() -> None:
    assert decided(past(NOW - 2000), past(NOW - 1000)) == Limit()
    assert decided(past(NOW - HOUR), past(NOW - 1000)) == Restart()


def test_what_systemd_refused_does_not_count_but_is_not_tried_again_for_the_same_alert() -> None:
    assert decided(past(NOW - 100), past(NOW - 99, "restart-failed")) == Restart()
    own = alert()["fingerprint"]
    assert decided(past(NOW - 1, mark=own), past(NOW - 1, "restart-failed", own)) == Nothing()


def test_a_clock_that_was_set_back_gives_no_restarts_away() -> None:
    assert decided(past(NOW + 5000), past(NOW + 6000)) == Limit()


@given(
    st.lists(st.tuples(st.floats(0, 2 * HOUR), st.sampled_from(["restart", "restart-failed", "restart-limit", "condition-met"])))
)
def test_whatever_was_before_the_limits_hold(found: list[tuple[float, str]]) -> None:
    """Restarts of the last hour that were not refused: below the limit, and none within the pause."""
    transitions = [past(NOW - back, reason, f"mark {n}") for n, (back, reason) in enumerate(sorted(found, reverse=True))]
    recent = [back for back, reason in found if reason == "restart" and back < HOUR - 1e-3]
    decision = decide(ACTION, alert(), transitions, NOW)
    if len(recent) >= 2:
        assert decision == Limit()
    elif any(back < 599.999 for back in recent):
        assert isinstance(decision, Later)
