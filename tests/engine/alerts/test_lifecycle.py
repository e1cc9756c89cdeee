"""The life of an alert, with time as data."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sentinel.engine.alerts.lifecycle import Change, Life, Observation, Timing, advance, deadline
from sentinel.model.alert import Verdict

MATCH, NO, UNKNOWN = Verdict.MATCH, Verdict.NO_MATCH, Verdict.UNKNOWN


def run(timing: Timing, *steps: Observation) -> tuple[Life, list[tuple[float, Change]]]:
    life, changes = Life(), []
    for seen in steps:
        life, change = advance(life, seen, timing)
        if change is not None:
            changes.append((seen.at, change))
    return life, changes


def states(changes: list[tuple[float, Change]]) -> list[tuple[float, str]]:
    return [(at, change.new) for at, change in changes]


def test_without_a_hold_time_it_fires_at_once() -> None:
    _, changes = run(Timing(0, 0, None), Observation(5, MATCH, False))
    assert changes == [(5, Change("inactive", "firing", "condition-met"))]


def test_it_fires_when_the_hold_time_is_over_and_not_before() -> None:
    steps = [Observation(t, MATCH, False) for t in (0, 9.9, 10)]
    _, changes = run(Timing(10, 0, None), *steps)
    assert states(changes) == [(0, "pending"), (10, "firing")]


def test_a_condition_that_ends_within_the_hold_time_never_fires() -> None:
    _, changes = run(Timing(10, 0, None), Observation(0, MATCH, False), Observation(5, NO, False), Observation(20, NO, False))
    assert changes[-1] == (5, Change("pending", "resolved", "condition-ended"))
    assert "firing" not in [c.new for _, c in changes]


def test_unknown_neither_fires_nor_resolves() -> None:
    pending, changes = run(Timing(10, 0, None), Observation(0, MATCH, False), Observation(30, UNKNOWN, None))
    assert (pending.state, len(changes)) == ("pending", 1)
    firing, changes = run(Timing(0, 0, None), Observation(0, MATCH, False), Observation(30, UNKNOWN, None))
    assert (firing.state, len(changes)) == ("firing", 1)


def test_a_flap_shorter_than_keep_is_not_reported() -> None:
    timing = Timing(0, 10, None)
    _, changes = run(
        timing,
        Observation(0, MATCH, False),
        Observation(5, NO, True),
        Observation(9, MATCH, False),
        Observation(12, NO, True),
        Observation(21.9, NO, True),
        Observation(22, NO, True),
    )
    assert states(changes) == [(0, "firing"), (22, "resolved")]


def test_what_only_happens_is_over_after_quiet_time_and_does_not_fire_again_by_itself() -> None:
    timing = Timing(0, 0, 60)
    steps = [Observation(10, MATCH, False, event_at=10), Observation(40, MATCH, False, event_at=40)]
    steps += [Observation(99.9, MATCH, False, event_at=40), Observation(100, MATCH, False, event_at=40)]
    steps += [Observation(101, MATCH, False, event_at=40)]
    life, changes = run(timing, *steps)
    assert states(changes) == [(10, "firing"), (100, "resolved")]
    _, again = advance(life, Observation(120, MATCH, False, event_at=119), timing)
    assert again == Change("inactive", "firing", "condition-met")


def test_a_condition_that_ended_by_itself_fires_again_although_its_event_is_old() -> None:
    timing = Timing(0, 0, None)
    steps = [
        Observation(0, MATCH, False, event_at=-5),
        Observation(1, NO, True, event_at=-5),
        Observation(2, MATCH, False, event_at=-5),
    ]
    assert states(run(timing, *steps)[1]) == [(0, "firing"), (1, "resolved"), (2, "firing")]


def test_the_end_of_the_server_ends_its_alert_after_keep() -> None:
    timing = Timing(0, 10, None)
    steps = [Observation(0, MATCH, False), Observation(5, NO, False, gone=True), Observation(15, NO, False, gone=True)]
    assert run(timing, *steps)[1][-1] == (15, Change("firing", "resolved", "server-gone"))


def test_a_restart_within_keep_is_one_alert() -> None:
    timing = Timing(0, 10, None)
    steps = [
        Observation(0, MATCH, False),
        Observation(5, NO, False, gone=True),
        Observation(8, MATCH, False),
        Observation(60, MATCH, False),
    ]
    assert states(run(timing, *steps)[1]) == [(0, "firing")]


observations = st.lists(
    st.tuples(
        st.floats(0, 30),
        st.sampled_from(Verdict),
        st.sampled_from([True, False, None]),
        st.none() | st.floats(0, 500),
        st.booleans(),
    ),
    max_size=40,
)


@given(st.floats(0, 20), st.floats(0, 20), st.none() | st.floats(1, 60), observations)
def test_changes_form_a_chain_and_firing_needs_a_match(
    hold: float, keep: float, quiet: float | None, raw: list[tuple[float, Verdict, bool | None, float | None, bool]]
) -> None:
    timing, life, at, state = Timing(hold, keep, quiet), Life(), 0.0, "inactive"
    for step, verdict, clear, event_at, gone in raw:
        at += step
        life, change = advance(life, Observation(at, verdict, clear, event_at, gone), timing)
        if change is None:
            continue
        assert change.old == state
        assert change.new != "firing" or verdict is MATCH
        assert not (verdict is UNKNOWN and change.new in ("pending", "firing"))
        state = "inactive" if change.new == "resolved" else change.new
    assert life.state == state


@given(st.floats(0.1, 20), st.floats(0.1, 20), observations)
def test_nothing_changes_before_the_deadline_while_nothing_new_is_seen(
    hold: float, keep: float, raw: list[tuple[float, Verdict, bool | None, float | None, bool]]
) -> None:
    timing, life, at = Timing(hold, keep, 30.0), Life(), 0.0
    for step, verdict, clear, event_at, gone in raw:
        at += step
        seen = Observation(at, verdict, clear, event_at, gone)
        life, _ = advance(life, seen, timing)
        same, _ = advance(life, seen, timing)
        due = deadline(same, timing)
        if due is not None and due > at and same == life:
            early = Observation(at + (due - at) * 0.5, verdict, clear, event_at, gone)
            assert advance(same, early, timing)[1] is None
