"""What people end: an alert about the past is acknowledged, a server that ended is forgotten."""

from __future__ import annotations

import json
from typing import Any

import pytest
from switch_rules import SERVER, Story, Switch

from sentinel.api.ending_handlers import Ending
from sentinel.api.restart_handlers import Restarting
from sentinel.api.routes import ApiError, Request
from sentinel.engine import operator
from sentinel.engine.engine import RETIRE
from sentinel.engine.inspect import metrics, status
from sentinel.model.entity import Entity
from sentinel.model.json_form import iso
from sentinel.model.reading import ServerFound, ServerGone, Tick
from sentinel.rulefiles.testing.readings import EPOCH

ONE = Switch("one", "server.ctx_requested")


def begun(*, lives: bool = True) -> Story:
    story = Story(ONE)
    story.transitions += story.engine.step(ServerFound(EPOCH, "process", SERVER, 4711, EPOCH, {}))
    story.turn(1, one=True)
    story.until(2, 20)
    if not lives:
        story.transitions += story.engine.step(ServerGone(EPOCH + 21, "process", SERVER, 4711))
    return story


def ending(story: Story, at: float) -> Ending:
    return Ending(lambda: story.engine, lambda: EPOCH + at, story.engine.step)


def test_a_server_that_ended_leaves_status_and_metrics_after_ten_minutes() -> None:
    story = begun(lives=False)
    assert [row["name"] for row in status.servers(story.engine, EPOCH + 30)] == [SERVER.name]
    late = EPOCH + 22 + RETIRE
    assert status.servers(story.engine, late) == []
    shown, _ = metrics._shown(story.engine, late)
    assert SERVER not in shown


def test_a_server_that_runs_is_not_forgotten() -> None:
    story = begun()
    with pytest.raises(ApiError, match=r"runs \(pid 4711\); only what has ended can be forgotten"):
        ending(story, 25).forget(Request({"name": SERVER.name}))
    assert story.engine.step(operator.forgetting(SERVER, EPOCH + 25)) == []


def test_a_forgotten_server_is_gone_with_its_alerts() -> None:
    story = begun(lives=False)
    ending(story, 25).forget(Request({"name": SERVER.name}))
    assert SERVER not in story.engine.state.runs
    assert list(story.engine.book.open()) == []
    assert status.servers(story.engine, EPOCH + 26) == []
    with pytest.raises(ApiError, match="there is no server"):
        ending(story, 26).forget(Request({"name": SERVER.name}))


def test_what_is_true_at_this_moment_cannot_be_acknowledged() -> None:
    story = begun()
    with pytest.raises(ApiError, match="is true at this moment, so it would fire again at once"):
        ending(story, 25).acknowledge(Request(body=b'{"rule": "one"}'))


def test_an_acknowledged_alert_ends_and_says_why() -> None:
    story = begun()
    (over,) = story.engine.step(operator.acknowledgement("one", SERVER, EPOCH + 25))
    assert (over.state, over.reason) == ("resolved", "acknowledged")
    assert story.engine.step(operator.acknowledgement("one", SERVER, EPOCH + 25)) == []
    for body in (b'{"rule": "one"}', b'{"rule": "one", "server": "other"}'):
        with pytest.raises(ApiError, match=r"^no alert of one is open; `sentinel alerts` lists"):
            ending(story, 26).acknowledge(Request(body=body))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "this names no alert"),
        (b'{"rule": "on"}', "there is no rule 'on'; did you mean"),
        (b'{"rule": "one", "server": "other"}', "no open alert one of 'other'; it is open for"),
    ],
)
def test_a_mistake_is_answered_with_one_sentence(body: bytes, says: str) -> None:
    with pytest.raises(ApiError, match=says):
        ending(begun(), 25).acknowledge(Request(body=body))


def test_of_several_alerts_one_has_to_be_named() -> None:
    other = Entity("server", "other.service")
    story = begun()
    story.turn(21, other, one=True)
    story.until(22, 40)
    with pytest.raises(ApiError, match=r"2 alerts of one are open: name the server, one of llama\.service, other\.service"):
        ending(story, 41).acknowledge(Request(body=b'{"rule": "one"}'))


def test_an_alert_says_when_its_process_ended() -> None:
    story = begun()
    (alert,) = status.alerts(story.engine, EPOCH + 25)
    assert alert["server_ended"] is None
    story.transitions += story.engine.step(Tick(EPOCH + 26))


def restarting(story: Story, at: float) -> Restarting:
    return Restarting(lambda: story.engine, lambda: EPOCH + at, story.engine.step)


def restart(story: Story, at: float, fingerprint: str, outcome: str = "begun") -> list[dict[str, Any]]:
    body = json.dumps({"fingerprint": fingerprint, "outcome": outcome}).encode()
    found: list[dict[str, Any]] = restarting(story, at).restart(Request(body=body))["transitions"]
    return found


def test_a_restart_is_a_transition_of_the_alert_it_is_for() -> None:
    story = begun()
    (firing,) = [t for t in story.transitions if t.state == "firing"]
    for outcome, reason in operator.RESTARTS.items():
        (said,) = restart(story, 25, firing.fingerprint, outcome)
        assert (said["rule"], said["previous"], said["state"], said["reason"]) == ("one", "firing", "firing", reason)
        assert said["at"] == iso(EPOCH + 25)
    assert [r.state for r in story.engine.book.open()] == ["firing"]


@pytest.mark.parametrize(("signals", "may"), [
    ({"server.unit": "llama.service", "server.user_unit": True, "server.user": "mallory"}, False),
    ({"server.unit": "llama.service", "server.user_unit": True}, False),
    ({"server.unit": "llama.service", "server.user_unit": True, "server.user": "root"}, True),
    ({"server.unit": "llama.service", "server.user_unit": False, "server.user": "llama"}, True),
    ({}, True),
])  # fmt: skip
def test_a_users_own_unit_restarts_no_unit_of_another_with_its_name(signals: dict[str, Any], *, may: bool) -> None:
    story = Story(ONE)
    story.transitions += story.engine.step(ServerFound(EPOCH, "process", SERVER, 4711, EPOCH, signals))
    story.turn(1, one=True)
    story.until(2, 20)
    (firing,) = [t for t in story.transitions if t.state == "firing"]
    body = json.dumps({"fingerprint": firing.fingerprint, "outcome": "begun"}).encode()
    asked = Request(body=body, uid=0)
    if may:
        assert restarting(story, 25).restart(asked)["transitions"]
    else:
        with pytest.raises(ApiError, match=r"one of llama\.service is about a unit of (mallory|another user); nothing is"):
            restarting(story, 25).restart(asked)


def test_nothing_is_restarted_for_what_does_not_fire_or_is_silenced() -> None:
    story = begun()
    (firing,) = [t for t in story.transitions if t.state == "firing"]
    with pytest.raises(ApiError, match="no alert 'nobody' fires"):
        restart(story, 25, "nobody")
    with pytest.raises(ApiError, match="this is no restart"):
        restart(story, 25, firing.fingerprint, "twice")
    story.engine.silence(story.engine.silences.add("one", "", EPOCH + 26, 60.0, "", "root"), EPOCH + 26)
    with pytest.raises(ApiError, match="is silenced; nothing is to be done about it"):
        restart(story, 27, firing.fingerprint)
