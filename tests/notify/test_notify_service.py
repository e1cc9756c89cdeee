"""The loop with its channels, without a daemon: clocks that are given, senders that do as a test says, real state on disk."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sample_transitions import FIRING

from sentinel.api import follow
from sentinel.api.follow import Connected, Heard, Lost, Standing
from sentinel.history.sqlite_file import HistoryFault
from sentinel.model.fault import Fault
from sentinel.model.json_form import transition_to_dict
from sentinel.notify import build
from sentinel.notify.alertmanager import ENDS_AFTER, EVERY, Alertmanager, requests
from sentinel.notify.channel import Now
from sentinel.notify.choice import Filter
from sentinel.notify.message import Message
from sentinel.notify.outcome import DELIVERED, Outcome
from sentinel.notify.plan import Policy
from sentinel.notify.post import Target
from sentinel.notify.quiet import Quiet
from sentinel.notify.secrets import Redactor
from sentinel.notify.service import UNREACHABLE, UNREACHABLE_AFTER, Stop
from sentinel.notify.settings import Channel, Config
from sentinel.notify.store import FILE, Store, read

ALERT = transition_to_dict(FIRING)
EIGHT = time.mktime((2026, 11, 29, 8, 0, 0, 0, 0, -1))


class Taker:
    """A sender that keeps what it takes."""

    def __init__(self) -> None:
        self.outcome: Outcome = DELIVERED
        self.taken: list[Message] = []
        self.tries = 0
        self.hold: threading.Event | None = None

    def send(self, message: Message) -> Outcome:
        self.tries += 1
        if self.hold is not None:
            self.hold.wait(30)
        if self.outcome.kind == "delivered":
            self.taken.append(message)
        return self.outcome


class Lab:
    """A service in a folder; it may be thrown away and built anew, as after a kill."""

    def __init__(self, folder: Path, *channels: Channel) -> None:
        self.folder = folder
        self.channels = channels or (channel("one"),)
        self.takers = {one.name: Taker() for one in self.channels}
        self.said: list[tuple[int, str]] = []
        self.now = Now(1000.0, EIGHT)
        self.build()

    def build(self) -> None:
        self.store = Store(self.folder)
        config = Config(Path("x"), "gpu-1", "", "", self.channels)
        self.service = build.service(config, self.store, lambda *w: self.said.append(w), lambda one: self.takers[one.name])
        self.service._clock = lambda: self.now
        for line in self.service.lines:
            line.restore(self.now)

    def kill(self) -> None:
        """Nothing is said goodbye to."""
        self.store.close()
        self.build()

    def hear(self, *words: Any) -> None:
        """Words of the follower, and all that is due then."""
        for word in words:
            self.service.inbox.put(word)
        self.settle()

    def settle(self) -> None:
        self.service.turn(at_most=0)
        deadline = time.monotonic() + 20
        while any(one.busy for one in self.service.lines if self.takers[one.name].hold is None):
            self.service.turn(at_most=0.01)
            assert time.monotonic() < deadline

    def wait(self, seconds: float) -> None:
        """Time passes, on both clocks."""
        self.now = Now(self.now.steady + seconds, self.now.wall + seconds)
        self.settle()

    def reported(self, name: str = "one") -> list[str]:
        """States of all alerts that the channel took."""
        return [f"{a['rule']} {a['state']}" for message in self.takers[name].taken for a in message.alerts]


def channel(name: str, **more: Any) -> Channel:
    policy = Policy(group_wait=0, group_interval=0, first_pause=5)
    return Channel(
        **{"name": name, "kind": "command", "chosen": Filter(), "policy": policy, "quiet": Quiet(), "urgent": frozenset(), **more}
    )


def change(state: str = "firing", number: int = 1, **more: Any) -> Heard:
    previous = "firing" if state == "resolved" else "pending"
    return Heard(f"e-{number}", {**ALERT, "state": state, "previous": previous, "fingerprint": f"f{number}", **more})


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    made: list[Lab] = []

    def make(*channels: Channel) -> Lab:
        made.append(Lab(tmp_path / "state", *channels))
        return made[-1]

    yield make
    for one in made:
        for taker in one.takers.values():
            if taker.hold is not None:
                taker.hold.set()
        one.store.close()


def test_what_is_heard_is_told_and_the_cursor_is_behind_it(lab: Callable[..., Lab]) -> None:
    one = lab()
    one.hear(change(), change("resolved"))
    assert one.reported() == ["cpu-fallback firing", "cpu-fallback resolved"]
    assert one.store.meta("cursor") == "e-1"


def test_a_kill_between_message_and_acknowledgement_brings_the_same_message_again_and_says_so(lab: Callable[..., Lab]) -> None:
    one = lab()
    taker = one.takers["one"]
    taker.hold = threading.Event()
    one.hear(change(number=1))
    first = taker.hold
    taker.hold = None
    one.kill()
    first.set()
    one.hear(change(number=2))
    one.settle()

    keys = [message.key for message in taker.taken]
    assert len(keys) == 3
    assert len(set(keys)) == 2
    again = next(message for message in taker.taken if message.repeat)
    assert keys.count(again.key) == 2
    assert "sent again" in again.text


def test_a_channel_that_hangs_holds_up_no_other(lab: Callable[..., Lab]) -> None:
    one = lab(channel("bad"), channel("good"))
    one.takers["bad"].hold = threading.Event()
    for number in range(1, 5):
        one.hear(change(number=number))
        one.wait(1)
    assert len(one.reported("good")) == 4
    assert one.takers["bad"].tries == 1


def test_a_sender_that_raises_is_a_failure_of_its_channel_and_not_its_end(
    lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = lab()
    taker = one.takers["one"]

    def fails(_message: Message) -> Outcome:
        raise IndexError

    with monkeypatch.context() as during:
        during.setattr(taker, "send", fails)
        one.hear(change())
    assert one.said == [(4, "channel one does not deliver, it is tried again: a mistake in sentinel itself: IndexError")]
    one.wait(5)
    assert one.reported() == ["cpu-fallback firing"]


def test_a_try_that_does_not_end_is_reported_once_and_shown_in_the_status(lab: Callable[..., Lab]) -> None:
    one = lab()
    one.takers["one"].hold = threading.Event()
    one.hear(change())
    for _ in range(100):
        one.wait(10)
    assert one.said == [(3, "channel one is dead: a try began 10 min ago and has not ended")]
    assert read(one.folder)["channels"][0]["failing_since"] == EIGHT


def test_nothing_is_passed_over_while_it_ends(lab: Callable[..., Lab]) -> None:
    """What is heard after the word to stop is not taken; a list behind it must not move the cursor beyond it."""
    one = lab()
    one.hear(change(number=1), Stop(), change(number=2), Standing("e-9", "2026-11-29T08:00:00.000Z", [], "a gap"))
    assert one.store.meta("cursor") == "e-1"


def test_a_word_that_is_not_understood_does_not_end_the_follower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_AGAIN", 0.0)
    inbox: queue.Queue[Any] = queue.Queue(1)
    follower = follow.StreamFollower(None, "", inbox, list_first=False)
    monkeypatch.setattr(follower, "_stream", [("transition", {"rule": "without an entity"})])
    follower.start()
    assert [inbox.get(timeout=20) for _ in range(2)] == [Lost("what it says is not understood (KeyError)")] * 2


def test_a_dead_channel_is_in_the_journal_at_once_after_five_minutes_and_each_hour(lab: Callable[..., Lab]) -> None:
    one = lab()
    one.takers["one"].outcome = Outcome("refused", "no route")
    one.hear(change())
    for _ in range(2 * 3600 // 10):
        one.wait(10)
    assert [level for level, _ in one.said] == [4, 3, 3]
    assert one.said[0][1] == "channel one does not deliver, it is tried again: no route"
    assert one.said[1][1].startswith("channel one is dead: nothing was delivered for ")
    (row,) = read(one.folder)["channels"]
    assert (row["waiting"], row["why"]) == (1, "no route")
    assert row["failing_since"] == EIGHT

    one.takers["one"].outcome = DELIVERED
    one.wait(600)
    assert one.reported() == ["cpu-fallback firing"]
    assert one.said[-1][1] == "channel one delivers again, after 2.2 h"
    assert read(one.folder)["channels"][0]["failing_since"] is None


def test_what_waited_for_a_day_is_given_up_and_said(lab: Callable[..., Lab]) -> None:
    one = lab()
    one.takers["one"].outcome = Outcome("refused", "no route")
    one.hear(change(number=1))
    one.wait(86000)
    one.hear(change(number=2))
    one.wait(1000)
    one.takers["one"].outcome = DELIVERED
    one.wait(600)

    assert len(one.reported()) == 1
    assert "1 earlier alert could not be delivered" in one.takers["one"].taken[0].text
    assert any("given up" in sentence for _, sentence in one.said)


def test_quiet_hours_end_in_a_digest_also_over_a_restart(lab: Callable[..., Lab]) -> None:
    one = lab(channel("one", quiet=Quiet(((7 * 60, 9 * 60),)), urgent=frozenset({"critical"})))
    one.hear(change(number=1, severity="warning"))
    one.hear(change(number=2, severity="critical"))
    assert len(one.reported()) == 1
    one.hear(change("resolved", number=1, severity="warning"), change(number=3, severity="warning"))
    one.kill()
    one.wait(1800)
    assert len(one.reported()) == 1
    one.wait(3600)
    assert len(one.reported()) == 4
    assert "while it was quiet: 2 alerts (1 warning, 1 over)" in one.takers["one"].taken[-1].title


def test_a_clock_that_steps_changes_no_pause(lab: Callable[..., Lab]) -> None:
    """By a year ahead and back: what waits is neither given up nor sent in a storm."""
    one = lab()
    one.takers["one"].outcome = Outcome("refused", "no route")
    one.hear(change())
    tries = one.takers["one"].tries
    for step in (365 * 86400.0, -365 * 86400.0):
        one.now = Now(one.now.steady, one.now.wall + step)
        one.settle()
    assert one.takers["one"].tries == tries
    one.takers["one"].outcome = DELIVERED
    one.wait(5)
    assert one.reported() == ["cpu-fallback firing"]


def test_a_new_channel_gets_what_is_open_and_the_others_do_not_again(lab: Callable[..., Lab], tmp_path: Path) -> None:
    one = lab()
    one.hear(Standing("e-0", "2026-11-29T08:00:00.000Z", [{**ALERT, "since": ALERT["at"]}]))
    assert one.reported() == ["cpu-fallback firing"]
    one.channels = (*one.channels, channel("two"))
    one.takers["two"] = Taker()
    one.kill()
    one.hear(Connected(), Standing("e-0", "2026-11-29T08:00:00.000Z", [{**ALERT, "since": ALERT["at"]}]))
    assert one.reported("two") == ["cpu-fallback firing"]
    assert one.reported("one") == ["cpu-fallback firing"]


def test_a_channel_that_was_killed_before_the_daemon_answered_is_still_new(lab: Callable[..., Lab]) -> None:
    one = lab()
    one.hear(Standing("e-0", "2026-11-29T08:00:00.000Z", []))
    one.channels = (*one.channels, channel("two"))
    one.takers["two"] = Taker()
    one.kill()
    one.kill()
    one.hear(Connected(), Standing("e-0", "2026-11-29T08:00:00.000Z", [{**ALERT, "since": ALERT["at"]}]))
    assert one.reported("two") == ["cpu-fallback firing"]
    assert one.reported("one") == []


def test_what_waits_for_a_channel_that_is_gone_is_forgotten(lab: Callable[..., Lab]) -> None:
    one = lab(channel("one"), channel("two"))
    one.takers["two"].outcome = Outcome("refused", "x")
    one.hear(change())
    one.channels = (channel("one"),)
    one.kill()
    assert [row["name"] for row in read(one.folder)["channels"]] == ["one"]


def test_a_daemon_that_is_gone_for_five_minutes_is_told_once_and_its_return_as_well(lab: Callable[..., Lab]) -> None:
    one = lab()
    one.hear(Connected(), Lost("no daemon at x"))
    one.wait(UNREACHABLE_AFTER - 1)
    assert one.reported() == []
    for _ in range(3):
        one.wait(100)
    one.kill()
    one.hear(Lost("no daemon at x"))
    one.wait(1000)
    assert one.reported() == [f"{UNREACHABLE} firing"]
    assert "no llama-server of this host is watched" in one.takers["one"].taken[0].text + one.takers["one"].taken[0].title
    one.hear(Connected())
    assert one.reported() == [f"{UNREACHABLE} firing", f"{UNREACHABLE} resolved"]


def test_a_second_one_in_the_same_folder_is_refused(lab: Callable[..., Lab]) -> None:
    one = lab()
    with pytest.raises(Fault, match="another `sentinel notify` uses"):
        Store(one.folder)


def test_a_state_that_is_damaged_is_set_aside_and_the_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database" * 100)
    store = Store(tmp_path)
    assert "set aside" in store.message
    store.close()
    (tmp_path / "file").touch()
    with pytest.raises(HistoryFault):
        Store(tmp_path / "file")


class TestAlertmanager:
    """What is sent, by what fires."""

    def wanted(self, *alerts: dict[str, Any], posted: Any = None, at: float = 1000.0) -> Any:
        return requests(alerts, posted or {}, "gpu-1", "https://x/{rule}#{cause}", Filter(), at)

    def test_it_is_sent_with_an_end_two_minutes_ahead(self) -> None:
        bodies, posted = self.wanted({**ALERT, "since": "2026-11-23T16:00:00.000Z"}, at=1795450200.0)
        (body,) = bodies
        assert body["startsAt"] == "2026-11-23T16:00:00.000Z"
        assert body["endsAt"] == "2026-11-23T16:12:00.000Z"
        assert ENDS_AFTER == 120.0 == 4 * EVERY
        assert body["annotations"]["runbook_url"] == "https://x/cpu-fallback#backend-init-failed"
        assert len(posted) == 1

    def test_what_began_later_than_the_clock_says_now_begins_now(self) -> None:
        """The clock was set back. Alertmanager refuses what ends before it begins."""
        bodies, posted = self.wanted(ALERT)
        ended, _ = self.wanted(posted=posted)
        assert [body["startsAt"] for body in (*bodies, *ended)] == ["1970-01-01T00:16:40.000Z"] * 2

    def test_what_was_sent_and_does_not_fire_any_more_ends_now(self) -> None:
        _, posted = self.wanted(ALERT)
        bodies, after = self.wanted(posted=posted, at=2000.0)
        assert bodies[0]["endsAt"] == "1970-01-01T00:33:20.000Z"
        assert bodies[0]["annotations"]["cause"]
        assert after == {}

    @pytest.mark.parametrize("changed", [{"severity": "warning"}, {"silenced": "1"}])
    def test_an_alert_with_other_labels_or_under_a_silence_ends_as_it_was(self, changed: dict[str, Any]) -> None:
        _, posted = self.wanted(ALERT)
        bodies, _ = self.wanted({**ALERT, **changed}, posted=posted)
        ended = [body for body in bodies if body["endsAt"] == "1970-01-01T00:16:40.000Z"]
        assert [body["labels"]["severity"] for body in ended] == ["critical"]

    def test_a_cause_that_changes_is_the_same_alert(self) -> None:
        _, posted = self.wanted(ALERT)
        bodies, _ = self.wanted({**ALERT, "cause": {"id": "other", "text": "another", "confidence": "low"}}, posted=posted)
        assert len(bodies) == 1

    def test_one_that_is_refused_does_not_hold_up_the_next_request(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Alertmanager takes the others of a request that it answers with 400."""
        answers = [Outcome("refused", "400", too_large=True), DELIVERED]
        sent: list[int] = []

        def post(_target: Target, bodies: list[Any]) -> Outcome:
            sent.append(len(bodies))
            return answers[len(sent) - 1]

        monkeypatch.setattr("sentinel.notify.alertmanager.post", post)
        many = [{**ALERT, "entity": {"scope": "server", "name": f"s{n}"}} for n in range(501)]
        one = Alertmanager(Target("http://x", {}, 1.0, Redactor(())), "gpu-1", "", Filter(), lambda: many, {})

        assert one.beat() == answers[0]
        assert sent == [500, 1]

    def test_while_the_daemon_does_not_answer_nothing_is_said_to_have_ended(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sent: list[Any] = []

        def post(_target: Target, bodies: list[Any]) -> Outcome:
            sent.append(bodies)
            return DELIVERED

        monkeypatch.setattr("sentinel.notify.alertmanager.post", post)
        answers: list[Any] = [[ALERT], Fault("no daemon")]

        def ask() -> list[dict[str, Any]]:
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if isinstance(answer, Fault):
                raise answer
            return list(answer)

        one = Alertmanager(Target("http://x", {}, 1.0, Redactor(())), "gpu-1", "", Filter(), ask, {})
        assert one.beat().kind == one.beat().kind == "delivered"
        assert [len(bodies) for bodies in sent] == [1, 1]

        clock = time.monotonic() + 400
        monkeypatch.setattr(time, "monotonic", lambda: clock)
        outcome = one.beat()
        assert (outcome.kind, outcome.why) == ("refused", "the daemon's alerts are not known: no daemon")
        assert len(sent) == 2
        assert len(one.posted) == 1
