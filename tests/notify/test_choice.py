"""What is news to a channel: filters, silences, ends, gaps, and lists that the stream tells once more."""

from __future__ import annotations

from typing import Any

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.notify.choice import Filter, Reported


def change(state: str = "firing", mark: str = "a", at: int = 1, **more: Any) -> dict[str, Any]:
    """A transition, short."""
    cause = {"id": "c", "text": "a cause", "confidence": "high"}
    stamp = f"2026-11-29T00:{at // 60:02d}:{at % 60:02d}.000Z"
    base = {"at": stamp, "rule": "r", "state": state, "previous": "firing" if state == "resolved" else "inactive"}
    return base | {"severity": "critical", "fingerprint": mark, "cause": cause, "evidence": [], "fixes": [], "reason": "x"} | more


def reported(chosen: Filter | None = None, **open_alerts: Any) -> Reported:
    return Reported(chosen or Filter(), open_alerts)


def test_what_fires_is_news_and_so_is_its_end_with_when_it_began() -> None:
    one = reported()
    assert one.take(change(at=1)) == change(at=1) | {"since": "2026-11-29T00:00:01.000Z"}
    over = one.take(change("resolved", at=9))
    assert over is not None
    assert over["since"] == "2026-11-29T00:00:01.000Z"
    assert one.open == {}


@pytest.mark.parametrize(
    "no_news",
    [
        change("pending"),
        change("resolved", previous="pending"),
        change(silenced="1"),
        change(severity="info"),
        change(rule="left-out"),
        change("inactive"),
    ],
    ids=lambda one: f"{one['state']}-{one['rule']}-{one['severity']}",
)
def test_what_only_the_history_needs_is_no_news(no_news: dict[str, Any]) -> None:
    assert reported(Filter(not_rules=frozenset({"left-out"}))).take(no_news) is None


def test_only_the_rules_that_are_named() -> None:
    one = reported(Filter(rules=frozenset({"mine"})))
    assert one.take(change()) is None
    assert one.take(change(rule="mine")) is not None


def test_the_end_of_what_was_no_news_is_none() -> None:
    one = reported()
    assert one.take(change(severity="info")) is None
    assert one.take(change("resolved", severity="info")) is None


def test_the_end_is_news_by_what_the_channel_was_told_not_by_its_severity_now() -> None:
    """A cause found later may make an alert worse or better."""
    one = reported()
    assert one.take(change(severity="critical")) is not None
    assert one.take(change("resolved", severity="info")) is not None


def test_an_end_under_a_silence_is_kept_to_itself_and_forgotten() -> None:
    one = reported()
    one.take(change())
    assert one.take(change("resolved", silenced="3")) is None
    assert one.open == {}


def test_a_channel_without_ends_gets_none() -> None:
    one = reported(Filter(resolved=False))
    one.take(change())
    assert one.take(change("resolved")) is None
    assert one.open == {}


def test_a_cause_found_later_is_news_with_the_old_begin() -> None:
    one = reported()
    one.take(change(at=1, cause=None))
    again = one.take(change(at=5, previous="firing"))
    assert again is not None
    assert again["since"] == "2026-11-29T00:00:01.000Z"


def test_a_gap_is_made_good_from_what_is_open() -> None:
    one = reported(a=change(mark="a") | {"since": change(at=1)["at"]}, b=change(mark="b"))
    news = list(
        one.reconcile([change(mark="b"), change(mark="c", since="s"), change(mark="d", silenced="1")], change(at=30)["at"])
    )

    assert [(n["fingerprint"], n["state"]) for n in news] == [("c", "firing"), ("a", "resolved")]
    assert set(one.open) == {"b", "c"}
    assert list(one.reconcile([change(mark="b"), change(mark="c")], change(at=31)["at"])) == []


def test_what_was_silenced_in_a_gap_has_not_ended() -> None:
    """It fires on, and its end is still reported."""
    one = reported(a=change(mark="a") | {"since": change(at=1)["at"]})
    assert list(one.reconcile([change(mark="a", silenced="3")], change(at=30)["at"])) == []
    assert one.take(change("resolved", mark="a", at=40)) is not None


def test_what_a_list_had_is_not_told_again_by_the_stream() -> None:
    """The list was asked for while the stream ran: what happened before it comes once more."""
    one = reported()
    assert len(list(one.reconcile([change(at=10)], change(at=20)["at"]))) == 1

    assert one.take(change(at=10)) is None
    assert one.take(change(at=15, cause=None)) is not None
    assert one.take(change("resolved", at=25)) is not None


@settings(max_examples=examples(200))
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=30),
    st.integers(0, 30),
    st.integers(0, 30),
)
def test_wherever_the_list_falls_in_the_stream_each_alert_is_told_as_it_ends(
    flips: list[tuple[str, bool]], asked: int, from_: int
) -> None:
    """`from_`: the stream is read from there; the list holds what happened up to `asked`."""
    state: dict[str, bool] = {}
    stream, listed = [], []
    asked, from_ = min(asked, len(flips)), min(from_, asked, len(flips))
    at = 0
    for number, (mark, on) in enumerate(flips):
        if number == asked:
            listed = [change(mark=m, at=1) for m, fires in state.items() if fires]
        if state.get(mark, False) != on:
            at += 1
            stream.append((number, change("firing" if on else "resolved", mark=mark, at=number + 1)))
        state[mark] = on
    if asked >= len(flips):
        listed = [change(mark=m, at=1) for m, fires in state.items() if fires]

    one, reported_of = reported(), {}
    for news in one.reconcile(listed, change(at=asked)["at"]):
        reported_of[news["fingerprint"]] = news["state"]
    for number, transition in stream:
        if number >= from_ and (said := one.take(transition)) is not None:
            reported_of[said["fingerprint"]] = said["state"]

    assert {m for m, fires in state.items() if fires} == set(one.open)
    assert {m for m, said in reported_of.items() if said == "firing"} == set(one.open)
