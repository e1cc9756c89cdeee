"""`sentinel notify` beside a real daemon with real alerts, against receivers of our own that fail in every way."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from alertmanager import alertmanager
from live import PROMISE, REPO, wait_for
from notifier import Notifier, Switched
from real_server import free_port
from receivers import HttpReceiver, http_receiver, mail_receiver

#: No waiting for a burst, and short pauses: what is tried here is that nothing is lost.
HASTY = "group_wait = '0s'\ngroup_interval = '0s'\nretry = '200ms'\n"
ALL = "severities = ['critical', 'warning', 'info']\n"
SECRET = "s3cr3t-t0ken-77"


def webhook(receiver: HttpReceiver, name: str = "hook", path: str = "", more: str = "") -> str:
    return f"[[channel]]\nname = '{name}'\ntype = 'webhook'\nurl = '{receiver.url}/{path}'\ntimeout = '1s'\n{ALL}{more}\n"


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as one:
        yield one


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Switched]:
    one = Switched(tmp_path).start()
    yield one
    if one.process is not None and one.process.poll() is None:
        one.end(signal.SIGKILL)


def test_a_real_alert_reaches_webhook_apprise_mail_and_command_within_seconds(
    daemon: Switched, receiver: HttpReceiver, tmp_path: Path
) -> None:
    """With what, since when, cause and first fix; and so does its end."""
    pytest.importorskip("apprise", reason="needs Apprise (pip install .[notify])")
    told = tmp_path / "told"
    program = tmp_path / "on-alert"
    program.write_text(f"#!/bin/sh\ncat >> {told}\n")
    program.chmod(0o755)
    with http_receiver() as phone, mail_receiver() as mail:
        address = f"mailto://127.0.0.1:{mail.port}/?from=sentinel@example.org&to=you@example.org&mode=insecure&format=text"
        text = HASTY + webhook(receiver)
        for name, url in (("phone", f"json://127.0.0.1:{phone.port}"), ("mail", address)):
            text += f"[[channel]]\nname = '{name}'\ntype = 'apprise'\nurl = '{url}'\n{ALL}"
        text += f"[[channel]]\nname = 'program'\ntype = 'command'\ncommand = ['{program}']\n{ALL}"
        one = Notifier(tmp_path / "notify", daemon, text).start()
        try:
            for on, state in ((True, "firing"), (False, "resolved")):
                begun = time.monotonic()
                daemon.switch("s0", on=on)
                wait_for(partial(reported_of, receiver, "s0", state), f"{state} at the webhook", 15.0)
                assert time.monotonic() - begun < PROMISE
            wait_for(lambda: len(phone.taken) == len(mail.mails) == told.read_text().count("\n") == 2, "all have both", 15.0)
            channels = one.status()
        finally:
            one.stop()

    text = receiver.taken[0].body["text"]
    assert text.startswith("INFO fault-1 since ")
    assert "Cause: no request for as long as --sleep-idle-seconds says" in text
    assert "Fix: Nothing: the next request wakes it" in text
    assert phone.taken[0].body["title"] == "gpu-1: s0 is asleep now"
    assert "OVER fault-1" in phone.taken[1].body["message"]
    assert "gpu-1: s0 is asleep now" in mail.mails[0]
    assert json.loads(told.read_text().splitlines()[0])["alerts"][0]["rule"] == "fault-1"
    assert {name: (c["messages"], c["waiting"], c["failing_since"]) for name, c in channels.items()} == dict.fromkeys(
        ("hook", "phone", "mail", "program"), (2, 0, None)
    )


@pytest.mark.parametrize(
    ("kills", "longest"), [(2, 0.6), pytest.param(25, 2.0, marks=[pytest.mark.long, pytest.mark.timeout(600)])], ids=["8", "100"]
)
def test_killed_again_and_again_in_a_storm_nothing_is_lost_and_nothing_comes_under_a_second_key(
    receiver: HttpReceiver, tmp_path: Path, kills: int, longest: float
) -> None:
    """SIGKILL of it at random, its starts included, and of the daemon twice; what comes again has the key of the first.

    `kills`: in each of four flips of all alerts, after `longest` seconds at most.
    """
    daemon = Switched(tmp_path, servers=6, rules=5).start()
    one = Notifier(tmp_path / "notify", daemon, HASTY + webhook(receiver)).start()
    moment = random.Random(20261129)
    try:
        for flip in range(4):
            names = list(daemon.logs)
            for number in range(max(kills, len(names))):
                if number < len(names):
                    daemon.switch(names[number], on=flip % 2 == 0)
                if number < kills:
                    # A random moment of the storm: nothing is waited for.
                    time.sleep(moment.uniform(0.0, longest))
                    one.end(signal.SIGKILL)
                    one.launch()
            if flip in (1, 2):
                daemon.end(signal.SIGKILL)
                daemon.start()
            due = (flip + 1) * len(daemon.logs) * 5
            wait_for(partial(has, daemon.changes, due), lambda: f"the daemon has {len(daemon.changes())}", 60.0)
        expected = daemon.changes()
        wait_for(lambda: len(reported(receiver)) >= len(expected), lambda: f"only {len(reported(receiver))} arrived", 60.0)
        waiting = one.status()["hook"]["waiting"]
    finally:
        one.stop()
        daemon.end(signal.SIGKILL)

    assert Counter(reported(receiver)) == Counter(expected)
    assert len(expected) == len(set(expected)) == 120
    assert waiting == 0
    assert "Traceback" not in one.said()
    # What went out once more says so.
    assert all(got.body["repeat"] for got in again(receiver))


def again(receiver: HttpReceiver) -> list[Any]:
    """Messages that came under a key that had come before."""
    keys = receiver.keys()
    return [got for at, got in enumerate(receiver.taken) if keys[at] in keys[:at]]


def reported_of(receiver: HttpReceiver, name: str, state: str) -> bool:
    """It has been reported."""
    return (name, state) in receiver.alerts()


def has(what: Callable[[], list[Any]], count: int) -> bool:
    """So many of it."""
    return len(what()) == count


def more(receiver: HttpReceiver, than: int) -> bool:
    """It was tried again."""
    return len(receiver.seen) > than


def reported(receiver: HttpReceiver) -> list[tuple[str, str, str, str]]:
    """What was reported, each message once: server, rule, state, when."""
    messages = {got.body["key"]: got.body for got in receiver.taken}
    return [(a["entity"]["name"], a["rule"], a["state"], a["at"]) for body in messages.values() for a in body["alerts"]]


def test_down_then_500_then_hanging_then_up_nothing_is_lost_and_the_other_channel_never_waits(
    daemon: Switched, receiver: HttpReceiver, tmp_path: Path
) -> None:
    """The dead channel is in the journal and in the status, and so is its recovery."""
    with http_receiver() as other:
        text = HASTY + webhook(receiver, "bad") + webhook(other, "good")
        receiver.down()
        one = Notifier(tmp_path / "notify", daemon, text).start()
        try:
            for number, mode in enumerate(("down", "500", "hang", "drop", "ok")):
                if mode != "down" and number == 1:
                    receiver.up()
                receiver.mode = mode if mode != "down" else "ok"
                seen = len(receiver.seen)
                begun = time.monotonic()
                daemon.switch("s0", on=number % 2 == 0)
                wait_for(partial(has, partial(reported, other), number + 1), f"the good channel has it while {mode}", 15.0)
                assert time.monotonic() - begun < PROMISE
                if mode not in ("down", "ok"):
                    wait_for(partial(more, receiver, seen), f"a try while {mode}", 30.0)
                if mode == "500":
                    wait_for(lambda: "answered 500" in one.status()["bad"]["why"], "the status says why", 30.0)
                    assert one.run("--status").returncode == 1
                    assert "bad: DOES NOT DELIVER" in one.run("--status").stdout
            wait_for(lambda: len(reported(receiver)) == 5, lambda: f"all arrive in the end; {reported(receiver)}", 60.0)
            wait_for(lambda: one.status()["bad"]["failing_since"] is None, "it is well again", 10.0)
        finally:
            one.stop()

        assert reported(receiver) == reported(other) == daemon.changes()
    assert "channel bad does not deliver, it is tried again: http://127.0.0.1" in one.said()
    assert "channel bad delivers again" in one.said()
    assert "channel good" not in one.said()
    # What was taken under one key was the same each time; what may have arrived before says that it comes again.
    assert len(receiver.keys()) == len(set(receiver.keys()))


def test_an_alert_that_is_refused_for_good_holds_up_no_other_and_is_counted(receiver: HttpReceiver, tmp_path: Path) -> None:
    """It is in the journal, in the status and in the next message; a receiver that was mended has it."""
    daemon = Switched(tmp_path, servers=3).start()
    receiver.refuses = '"name": "s1"'
    one = Notifier(tmp_path / "notify", daemon, HASTY + webhook(receiver)).start()
    try:
        for name in ("s0", "s1", "s2"):
            daemon.switch(name, on=True)
            wait_for(partial(has, daemon.changes, int(name[1]) + 1), f"{name} fires", 15.0)
        wait_for(lambda: [name for name, _ in receiver.alerts()] == ["s0", "s2"], lambda: f"only {receiver.alerts()}", 30.0)
        wait_for(lambda: one.status()["hook"]["failing_since"] is None, "the channel delivers", 10.0)
        status = one.status()["hook"]
        shown = one.run("--status")
        daemon.switch("s0", on=False)
        wait_for(lambda: ("s0", "resolved") in receiver.alerts(), "what comes later as well", 15.0)
        one.end()
        receiver.refuses = ""
        one.start()
        wait_for(lambda: ("s1", "firing") in receiver.alerts(), lambda: f"it is there now: {receiver.alerts()}", 15.0)
        wait_for(lambda: one.status()["hook"]["aside"] == 0, "nothing is refused any more", 10.0)
        changes = daemon.changes()
    finally:
        one.stop()
        daemon.end(signal.SIGKILL)

    assert (status["waiting"], status["aside"], status["lost"]) == (1, 1, 0)
    assert shown.returncode == 1
    assert "1 refused while others are not, tried again" in shown.stdout
    assert one.said().count("an alert is refused while others are not, and set aside") == 1
    assert "1 alert refused by this receiver" in next(g.body["text"] for g in receiver.taken if g.body["status"] == "resolved")
    assert sorted(reported(receiver)) == sorted(changes)


def test_an_alert_that_a_receiver_fails_at_holds_up_no_other(receiver: HttpReceiver, tmp_path: Path) -> None:
    """500 says nothing about whose fault it is; that others are taken, before and after, does."""
    daemon = Switched(tmp_path, servers=4).start()
    receiver.refuses, receiver.refusal = '"name": "s1"', 500
    one = Notifier(tmp_path / "notify", daemon, HASTY + webhook(receiver)).start()
    try:
        daemon.switch("s1", on=True)
        wait_for(lambda: one.status()["hook"]["failing_since"] is not None, "the only one is refused", 15.0)
        daemon.switch("s0", on=True)
        wait_for(lambda: ("s0", "firing") in receiver.alerts(), "the next one is there all the same", 15.0)
        for name in ("s2", "s3"):
            daemon.switch(name, on=True)
            wait_for(partial(reported_of, receiver, name, "firing"), f"{name} as well", 15.0)
        wait_for(lambda: one.status()["hook"]["aside"] == 1, "the one at fault is set aside", 15.0)
        wait_for(lambda: one.status()["hook"]["failing_since"] is None, "the channel delivers", 15.0)
        said = one.said()
        one.end()
        receiver.refuses = ""
        one.start()
        wait_for(partial(reported_of, receiver, "s1", "firing"), "a receiver that was mended has it", 15.0)
        changes = daemon.changes()
    finally:
        one.stop()
        daemon.end(signal.SIGKILL)

    assert said.count("an alert is refused while others are not, and set aside") == 1
    assert "answered 500" in said.partition("set aside")[2]
    assert sorted(reported(receiver)) == sorted(changes)


def test_what_fires_at_the_first_start_is_told_and_what_ended_meanwhile_as_well(
    daemon: Switched, receiver: HttpReceiver, tmp_path: Path
) -> None:
    daemon.switch("s0", on=True)
    wait_for(lambda: len(daemon.changes()) == 1, "it fires", 15.0)
    one = Notifier(tmp_path / "notify", daemon, HASTY + webhook(receiver)).start()
    try:
        wait_for(lambda: receiver.alerts() == [("s0", "firing")], "what is open is reported", 15.0)
        assert one.end() == 0
        daemon.switch("s0", on=False)
        wait_for(lambda: len(daemon.changes()) == 2, "it ended while nobody listened", 15.0)
        one.start()
        wait_for(lambda: receiver.alerts() == [("s0", "firing"), ("s0", "resolved")], "its end is reported", 15.0)
    finally:
        one.stop()


def test_a_history_that_was_lost_is_made_good_from_what_is_open(daemon: Switched, receiver: HttpReceiver, tmp_path: Path) -> None:
    """The daemon begins anew, with another epoch of numbers: what it does not know any more has ended."""
    one = Notifier(tmp_path / "notify", daemon, HASTY + webhook(receiver)).start()
    try:
        daemon.switch("s0", on=True)
        wait_for(lambda: receiver.alerts() == [("s0", "firing")], "it is reported", 15.0)
        daemon.end(signal.SIGKILL)
        shutil.rmtree(tmp_path / "state")
        daemon.logs["s0"].write_bytes(b"")
        daemon.start()
        wait_for(lambda: ("s0", "resolved") in receiver.alerts(), lambda: f"its end is told; {one.said()}", 30.0)
        daemon.switch("s0", on=True)
        wait_for(lambda: len(receiver.alerts()) == 3, "and what comes after", 15.0)
    finally:
        one.stop()
    assert "what is open now is compared" in one.said()


def test_a_planted_secret_appears_nowhere(daemon: Switched, receiver: HttpReceiver, tmp_path: Path) -> None:
    """The receiver repeats the address and the header in what it answers; still it is in no log, argument, status or state."""
    receiver.mode = "403"
    secrets = tmp_path / "notify/notify.secrets"
    secrets.mkdir(parents=True)
    (secrets / "token").write_text(SECRET)
    (secrets / "token").chmod(0o600)
    text = HASTY + webhook(receiver, path=SECRET, more=f"headers = {{ Authorization = 'Bearer {SECRET}' }}")
    text += webhook(receiver, "named", path="{secret:token}")
    text += f"[[channel]]\nname = 'phone'\ntype = 'apprise'\nurl = 'json://me:{SECRET}@127.0.0.1:{free_port()}/{SECRET}'\n{ALL}"
    one = Notifier(tmp_path / "notify", daemon, text)
    shown = []
    for words in (["--check"], ["--test"], ["--check", "--json"], ["--test", "--json"]):
        done = one.run(*words)
        assert done.returncode == ("--test" in words)
        shown += [done.stdout, done.stderr]
    assert "answered 403" in shown[2]
    assert "phone (apprise): refused" in shown[2]
    one.start()
    try:
        daemon.switch("s0", on=True)
        wait_for(lambda: all(c["why"] for c in one.status().values()), lambda: f"all fail; {one.status()}", 30.0)
        assert one.process is not None
        proc = Path(f"/proc/{one.process.pid}")
        shown += [(proc / name).read_bytes().decode("utf-8", "replace") for name in ("cmdline", "environ", "comm")]
        shown += [one.run("--status").stdout, one.run("--status", "--json").stdout]
        one.end()
    finally:
        one.stop()
    shown += [one.said(), daemon.said()]
    shown += [file.read_bytes().decode("utf-8", "replace") for file in one.state.iterdir()]

    assert len(receiver.seen) > 4
    assert any(SECRET in got.path for got in receiver.seen)
    assert [text for text in shown if SECRET in text] == []


def test_a_dry_run_prints_what_would_be_sent_and_leaves_nothing(daemon: Switched, receiver: HttpReceiver, tmp_path: Path) -> None:
    daemon.switch("s0", on=True)
    wait_for(lambda: len(daemon.changes()) == 1, "it fires", 15.0)
    one = Notifier(tmp_path / "notify", daemon, HASTY + webhook(receiver))
    out = tmp_path / "out"
    with out.open("wb") as stream:
        running = subprocess.Popen(one.command("--dry-run"), stdout=stream, stderr=stream, cwd=REPO)
    try:
        wait_for(lambda: "gpu-1: s0 is asleep now" in out.read_text(), "it is printed", 15.0)
    finally:
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 0
    assert receiver.seen == []
    assert not one.state.exists()


def test_a_real_alertmanager_has_what_fires_with_cause_and_fix_and_its_end_at_once(
    daemon: Switched, receiver: HttpReceiver, tmp_path: Path
) -> None:
    """By labels that do not change; its end is two minutes ahead, so that nothing fires for ever."""
    with alertmanager(tmp_path, receiver) as manager:
        text = "runbook = 'https://wiki.example.org/{rule}#{cause}'\n[[channel]]\nname = 'am'\ntype = 'alertmanager'\n"
        one = Notifier(tmp_path / "notify", daemon, f"{text}url = '{manager.url}'\n{ALL}")
        assert one.run("--test").stdout == "am (alertmanager): delivered\n"
        one.start()
        try:
            daemon.switch("s0", on=True)
            wait_for(manager.alerts, lambda: f"it has it; {one.said()}", 20.0)
            (held,) = manager.alerts()
            ahead = datetime.fromisoformat(held["endsAt"]).timestamp() - time.time()
            wait_for(lambda: receiver.taken, "people are notified", 15.0)
            daemon.switch("s0", on=False)
            wait_for(lambda: receiver.taken[-1].body["status"] == "resolved", "they are notified of its end", 20.0)
            status = one.status()["am"]
        finally:
            one.stop()

    assert held["labels"] == {
        "alertname": "fault-1", "instance": "gpu-1", "entity": "s0", "scope": "server", "severity": "info",
    }  # fmt: skip
    assert held["annotations"] == {
        "summary": "s0 is asleep now",
        "cause": "no request for as long as --sleep-idle-seconds says",
        "fix": "Nothing: the next request wakes it",
        "runbook_url": "https://wiki.example.org/fault-1#idle",
    }
    assert 100.0 < ahead <= 121.0
    assert receiver.taken[0].body["alerts"][0]["annotations"]["cause"] == held["annotations"]["cause"]
    assert receiver.taken[-1].body["alerts"][0]["annotations"] == held["annotations"]
    assert (status["failing_since"], status["why"]) == (None, "")
