"""An alert that comes and goes: one notice, then quiet until it was steady."""

from __future__ import annotations

import json

from switch_rules import SERVER, Story, Switch, rules

from sentinel.engine.alerts.flapping import LIMITS
from sentinel.engine.engine import Engine
from sentinel.model.json_form import message
from sentinel.model.reading import ServerFound, ServerGone, Tick
from sentinel.rulefiles.testing.readings import EPOCH

FLICKER = Switch("flicker", "server.ctx_requested", hold="1s")


def flap(story: Story, start: int, end: int, period: int = 20) -> None:
    """On for half of a period, off for the other half."""
    for second in range(start, end):
        story.turn(second, flicker=(second - start) % period < period // 2)
        story.until(second, second)


def test_it_is_reported_once_that_it_flaps_and_then_nothing_while_it_does() -> None:
    story = Story(FLICKER)
    flap(story, 0, 1200)
    assert [(t.state, t.reason) for t in story.news()] == [
        ("firing", "hold-elapsed"),
        ("resolved", "condition-cleared"),
        ("firing", "hold-elapsed"),
        ("resolved", "condition-cleared"),
        ("firing", "flapping"),
    ]
    assert story.news()[-1].flapping
    assert "flapping" in message(story.news()[-1])


def test_when_it_stayed_away_it_is_reported_as_over() -> None:
    story = Story(FLICKER)
    flap(story, 0, 200)
    last = max(second for second in range(200) if second % 20 < 10) + 1
    story.until(200, 1000)
    over = story.news()[-1]
    assert (over.state, over.at) == ("resolved", EPOCH + last + LIMITS.steady)
    assert len(story.news()) == 6


def test_when_it_stays_it_no_more_flaps_and_its_end_is_reported_at_once() -> None:
    story = Story(FLICKER)
    flap(story, 0, 200)
    story.turn(200, flicker=True)
    story.until(201, 201 + int(LIMITS.steady) + 10)
    (record,) = story.engine.book.open()
    assert record.flaps.since is None
    story.turn(600, flicker=False)
    assert [(t.state, t.at) for t in story.news()][-1] == ("resolved", EPOCH + 600)


def test_after_it_was_steady_counting_begins_again() -> None:
    story = Story(FLICKER)
    flap(story, 0, 60)
    story.until(60, 400)
    assert story.news()[-1].state == "resolved"
    story.turn(401, flicker=True)
    story.until(402, 410)
    assert (story.news()[-1].state, story.news()[-1].reason) == ("firing", "hold-elapsed")


def test_what_comes_and_goes_slowly_is_reported_each_time() -> None:
    story = Story(FLICKER)
    flap(story, 0, 3000, period=400)
    assert not [t for t in story.news() if t.flapping]
    assert [t.state for t in story.news()] == ["firing", "resolved"] * 7 + ["firing"]


def test_a_server_that_fails_at_every_start_is_reported_once() -> None:
    story = Story(FLICKER)
    for start in range(0, 600, 20):
        found = ServerFound(EPOCH + start, "process", SERVER, 100 + start, EPOCH + start, {FLICKER.signal: 1})
        story.transitions += story.engine.step(found)
        story.until(start, start + 10)
        story.transitions += story.engine.step(ServerGone(EPOCH + start + 10, "process", SERVER, 100 + start))
        story.until(start + 11, start + 19)
    assert [t.state for t in story.news()] == ["firing", "resolved", "firing", "resolved", "firing"]


def test_it_is_remembered_over_a_restart_of_sentinel() -> None:
    story = Story(FLICKER)
    for start in range(0, 600, 30):
        flap(story, start, start + 30)
        again = Engine(rules(FLICKER))
        again.load(json.loads(json.dumps(story.engine.dump())))
        story.engine = again
    assert len(story.news()) == 5


def test_time_alone_ends_it() -> None:
    """No reading but the ticks comes after the last change."""
    story = Story(FLICKER)
    flap(story, 0, 200)
    story.transitions += story.engine.step(Tick(EPOCH + 5000))
    assert story.news()[-1].state == "resolved"
