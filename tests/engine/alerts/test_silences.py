"""Silences: what they cover, what is reported when they end, and what people may ask for."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from switch_rules import OTHER, SERVER, Story, Switch

from sentinel.api.routes import ApiError, Request
from sentinel.api.silence_handlers import Silencing
from sentinel.engine.alerts.silences import LONGEST, Silence, SilenceRefused, Silences
from sentinel.engine.inspect import explain, status
from sentinel.model.input_limits import MOST_SILENCES
from sentinel.model.json_form import to_json, transition_from_record, transition_to_dict, transition_to_record
from sentinel.rulefiles.testing.readings import EPOCH

ONE = Switch("one", "server.ctx_requested")
TWO = Switch("two", "server.slots_requested")


def silence(story: Story, at: float, seconds: float, rule: str = "one", name: str = "") -> Silence:
    made = story.engine.silences.add(rule, name, EPOCH + at, seconds, "maintenance", "root")
    story.transitions += story.engine.silence(made, EPOCH + at)
    return made


def unsilence(story: Story, at: float, made: Silence) -> None:
    assert story.engine.silences.end(made.id) == made
    story.transitions += story.engine.silence(made, EPOCH + at)


def test_what_is_silenced_is_in_the_history_and_on_the_screen_marked_and_not_reported() -> None:
    story = Story(ONE)
    made = silence(story, 0, 3600)
    story.turn(1, one=True)
    story.until(2, 100)
    assert story.told() == []
    (fired,) = [t for t in story.transitions if t.state == "firing"]
    assert (fired.silenced, transition_to_dict(fired)["silenced"]) == (made.id, made.id)
    assert transition_from_record(json.loads(json.dumps(transition_to_record(fired)))) == fired
    (alert,) = status.alerts(story.engine, EPOCH + 100)
    assert (alert["state"], alert["silenced"]) == ("firing", made.id)


def test_what_still_fires_when_its_silence_ends_notifies_then_once() -> None:
    story = Story(ONE)
    silence(story, 0, 60)
    story.turn(1, one=True)
    story.until(2, 100)
    assert story.told() == [(60, "one", "firing")]
    assert story.news()[0].reason == "silence-ended"
    story.turn(101, one=False)
    assert story.told()[1:] == [(101, "one", "resolved")]


def test_a_silence_that_is_ended_by_hand_notifies_at_once() -> None:
    story = Story(ONE, TWO)
    made = silence(story, 0, 3600)
    story.turn(1, one=True)
    unsilence(story, 5.5, made)
    assert story.told() == [(5.5, "one", "firing")]


def test_what_came_and_went_within_a_silence_is_never_reported() -> None:
    story = Story(ONE)
    silence(story, 0, 60)
    story.turn(1, one=True)
    story.turn(20, one=False)
    story.until(21, 100)
    assert story.told() == []
    assert [(t.state, t.silenced) for t in story.transitions] == [("firing", "1"), ("resolved", "1")]


def test_what_has_cleared_and_is_only_kept_is_not_reported_when_its_silence_ends() -> None:
    story = Story(ONE._replace(keep_firing_for="30s"))
    silence(story, 0, 60)
    story.turn(1, one=True)
    story.turn(50, one=False)
    story.until(51, 70)
    assert story.told() == []
    story.turn(71, one=True)
    assert story.told() == [(71, "one", "firing")]
    story.turn(72, one=False)
    story.until(73, 200)
    assert story.told()[1:] == [(102, "one", "resolved")]


def test_what_was_reported_before_is_reported_as_over_within_the_silence() -> None:
    story = Story(ONE)
    story.turn(1, one=True)
    silence(story, 10, 3600)
    story.turn(20, one=False)
    assert story.told() == [(1, "one", "firing"), (20, "one", "resolved")]


def test_who_silenced_what_was_reported_is_reminded_at_the_end() -> None:
    story = Story(ONE)
    story.turn(1, one=True)
    silence(story, 10, 60)
    story.until(11, 100)
    assert story.told() == [(1, "one", "firing"), (70, "one", "firing")]


def test_a_silence_covers_its_rule_and_its_server_alone() -> None:
    story = Story(ONE, TWO)
    silence(story, 0, 60, name=SERVER.name)
    story.turn(1, one=True, two=True)
    story.turn(1, OTHER, one=True)
    assert [(t.rule, t.entity) for t in story.news()] == [("two", SERVER), ("one", OTHER)]


def test_a_silence_of_all_rules_covers_all() -> None:
    story = Story(ONE, TWO)
    silence(story, 0, 60, rule="")
    story.turn(1, one=True, two=True)
    story.turn(1, OTHER, one=True)
    assert story.told() == []


def test_under_two_silences_it_is_quiet_until_the_last_has_ended() -> None:
    story = Story(ONE)
    silence(story, 0, 60, rule="")
    silence(story, 0, 30)
    story.turn(1, one=True)
    story.until(2, 100)
    assert story.told() == [(60, "one", "firing")]


def test_a_silenced_cause_still_hides_its_effect() -> None:
    story = Story(ONE._replace(inhibits=("two",)), TWO)
    silence(story, 0, 3600)
    story.turn(1, one=True, two=True)
    story.until(2, 100)
    assert story.told() == []


def test_they_are_the_same_after_a_checkpoint() -> None:
    silences = Silences()
    silences.add("one", SERVER.name, EPOCH, 60.0, 'ä "reason"', "root")
    silences.add("", "", EPOCH, 60.0, "x", "root")
    silences.end("2")
    again = Silences()
    again.load(msgspec.json.decode(msgspec.json.encode(silences.dump())))
    assert again.all() == silences.all()
    assert again.add("", "", EPOCH, 60.0, "x", "root").id == "3"


@pytest.mark.parametrize("seconds", [0.0, -1.0, 0.5, LONGEST + 1, float("inf"), float("nan")])
def test_a_silence_has_an_end_that_somebody_will_see(seconds: float) -> None:
    with pytest.raises(SilenceRefused, match="from 1 s to 90 days"):
        Silences().add("one", "", EPOCH, seconds, "x", "root")


def test_there_are_not_more_than_anybody_can_read() -> None:
    silences = Silences()
    for _ in range(MOST_SILENCES):
        silences.add("one", "", EPOCH, 60.0, "x", "root")
    with pytest.raises(SilenceRefused, match="unsilence"):
        silences.add("one", "", EPOCH, 60.0, "x", "root")


class Asking:
    """The routes over an engine with one rule and one server."""

    def __init__(self) -> None:
        self.story = Story(ONE)
        self.story.turn(0, one=False)
        self.changed: list[Silence] = []
        self.silencing = Silencing(lambda: self.story.engine, lambda: EPOCH, self.changed.append)

    def post(self, body: Any) -> dict[str, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return dict(self.silencing.silence(Request(body=data, uid=0))["silence"])


GOOD = {"rule": "one", "for": "2h", "reason": "new driver"}


def test_a_silence_is_set_with_its_author_and_listed_and_ended() -> None:
    asking = Asking()
    made = asking.post(GOOD | {"server": SERVER.name})
    assert made == {
        "id": "1",
        "rule": "one",
        "entity": SERVER.name,
        "at": "2001-09-09T01:46:40.000Z",
        "until": "2001-09-09T03:46:40.000Z",
        "reason": "new driver",
        "author": "root",
    }
    assert asking.silencing.list(Request()) == {"silences": [made]}
    assert asking.silencing.unsilence(Request({"id": "1"})) == {"silence": made}
    assert asking.silencing.list(Request()) == {"silences": []}
    assert [s.id for s in asking.changed] == ["1", "1"]


def test_an_author_without_a_name_is_a_number() -> None:
    asking = Asking()
    body = json.dumps(GOOD).encode()
    assert asking.silencing.silence(Request(body=body, uid=3_999_999_999))["silence"]["author"] == "user id 3999999999"


def test_a_hostile_reason_is_shown_harmlessly_and_kept() -> None:
    asking = Asking()
    made = asking.post(GOOD | {"reason": "x\x1b[2J\n\u202e<b>"})
    assert made["reason"] == "x\\x1b[2J\\n\\u202e<b>"
    assert "\x1b" not in to_json(made)
    msgspec.json.encode(asking.story.engine.silences.dump())


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "this is no silence"),
        (b"[" * 60_000, "this is no silence"),
        (b"\xff", "this is no silence"),
        (b'{"rule": "one", "for": "2h", "reason": "\\ud800"}', "this is no silence"),
        ([GOOD], "this is no silence"),
        ({"rule": "one", "reason": "x"}, "missing required field `for`"),
        (GOOD | {"untill": "2h"}, "unknown field `untill`"),
        (GOOD | {"for": 7200}, "$.for"),
        (GOOD | {"for": "2 hours"}, "is no duration; write 30m, 2h or 3d"),
        (GOOD | {"for": "9" * 400 + "d"}, "90 days"),
        (GOOD | {"for": "0s"}, "90 days"),
        (GOOD | {"for": "-2h"}, "is no duration"),
        (GOOD | {"reason": "x" * 501}, "longer than 500"),
        (GOOD | {"rule": ""}, "name one rule"),
        (GOOD | {"all": True}, "not both"),
        (GOOD | {"rule": "on"}, "there is no rule 'on'; did you mean 'one'"),
        (GOOD | {"rule": "x" * 50_000}, "there is no rule 'xxx"),
        (GOOD | {"server": "lama.service"}, "did you mean 'llama.service'"),
        (GOOD | {"server": "\x1b[2J"}, "there is no '\\x1b[2J'"),
        (GOOD | {"rule": "", "all": True, "server": "nobody"}, "known: llama.service"),
    ],
)
def test_a_mistake_is_answered_with_one_sentence(body: Any, said: str) -> None:
    asking = Asking()
    with pytest.raises(ApiError) as refused:
        asking.post(body)
    assert said in refused.value.message
    assert refused.value.code in (400, 404)
    assert len(refused.value.message) < 400
    assert "\x1b" not in refused.value.message
    assert not asking.changed


@pytest.mark.parametrize("silence_id", ["7", "", "\x1b", "x" * 5000])
def test_to_end_what_is_not_there_is_a_mistake(silence_id: str) -> None:
    asking = Asking()
    asking.post(GOOD)
    with pytest.raises(ApiError, match=r"active: 1$"):
        asking.silencing.unsilence(Request({"id": silence_id}))


def test_why_says_why_nothing_notifies() -> None:
    story = Story(ONE._replace(inhibits=("two",)), TWO)

    def silent(rule: str, at: float) -> Any:
        return explain.why(story.engine, rule, SERVER.name, EPOCH + at)["subjects"][0]["silent"]

    story.turn(0, one=False, two=True)
    assert silent("one", 0) == {}
    assert silent("two", 1) == {"held_until": "2001-09-09T01:46:45.000Z"}
    story.turn(2, one=True)
    assert silent("two", 3)["inhibited_by"] == {"rule": "one", "entity": SERVER.name, "since": "2001-09-09T01:46:42.000Z"}
    (alert,) = status.alerts(story.engine, EPOCH + 3)
    assert alert["effects"] == [{"rule": "two", "entity": SERVER.name, "notified": False, "told": False}]
    made = silence(story, 4, 60)
    assert silent("one", 5) == {"silenced": status.silence(made)}
    story.turn(6, two=False)
    assert silent("two", 7) == {"cleared_at": "2001-09-09T01:46:46.000Z", "cleared_why": "condition-cleared"}
