"""A silence over the real socket: what fires under it does not notify, survives a kill of the daemon, and notifies at its end."""

from __future__ import annotations

import os
import pwd
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from live import PROMISE, Sentinel, as_user, needs_root, wait_for
from real_server import server

pytestmark = pytest.mark.real_server


def told_on_screen(sentinel: Sentinel, name: str) -> int:
    """How often the server's alert was printed, over all lives of the daemon; the machine may have other servers."""
    return sum(line.startswith(f"● CRITICAL  {name} runs on the CPU") for line in sentinel.said().splitlines())


def test_a_silence_is_kept_over_a_kill_and_what_it_hid_is_reported_at_its_end(
    new_sentinel: Callable[..., Sentinel], models: Path, tmp_path: Path
) -> None:
    sentinel = new_sentinel().start()
    done = sentinel.cli("silence", "cpu-fallback", "--for", "1h", "--reason", "a new card comes\x1b[2J tomorrow")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Silenced cpu-fallback on all servers until ")
    with server("-m", str(models / "dense.gguf"), "-c", "512", "-np", "1", "-ngl", "99", log=tmp_path / "log") as running:
        name = sentinel.name_of(running.process.pid)
        alert = sentinel.await_alert("cpu-fallback", name)
        assert alert["silenced"] == "1"
        assert told_on_screen(sentinel, name) == 0
        assert [t["silenced"] for t in sentinel.told("cpu-fallback") if t["entity"]["name"] == name] == ["1"]

        author = pwd.getpwuid(os.geteuid()).pw_name
        for verb in ("status", "alerts"):
            shown = sentinel.cli(verb)
            assert f"by {author}: a new card comes\\x1b[2J tomorrow" in " ".join(shown.stdout.split())
            assert "silenced" in shown.stdout
            # Other servers of the machine may have alerts of their own; the silenced one counts for nothing.
            loud = {a["severity"] for a in sentinel.ask("alerts")["alerts"] if "silenced" not in a}
            assert shown.returncode == (2 if "critical" in loud else 1 if "warning" in loud else 0)
        assert "silenced until" in sentinel.cli("why", "cpu-fallback", name).stdout

        sentinel.end(signal.SIGKILL)
        sentinel.start()
        assert [s["id"] for s in sentinel.ask("status")["silences"]] == ["1"]
        assert (sentinel.alert("cpu-fallback", name) or {})["silenced"] == "1"
        assert told_on_screen(sentinel, name) == 0

        done = sentinel.cli("unsilence", "1")
        assert (done.returncode, done.stdout) == (0, "Ended silence #1: cpu-fallback on all servers\n")
        wait_for(lambda: told_on_screen(sentinel, name) == 1, "what still fires is told when its silence ends", PROMISE)
        assert "after its silence ended" in sentinel.said()
        assert sentinel.ask("alerts")["silences"] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("silence", "cpu-fallbak", "--for", "2h", "--reason", "x"),
            "there is no rule 'cpu-fallbak'; did you mean 'cpu-fallback'",
        ),
        (("silence", "cpu-fallback", "--for", "soon", "--reason", "x"), "'soon' is no duration; write 30m, 2h or 3d"),
        (("silence", "cpu-fallback"), "say for how long: sentinel silence cpu-fallback --for 2h"),
        (("silence", "--for", "2h", "--reason", "x"), "say what to silence: a rule, or --all"),
        (("silence", "cpu-fallback", "a", "--server", "b", "--for", "2h", "--reason", "x"), "name the server once"),
        (("unsilence", "no/such"), 'no silence "no/such"; active: none'),
    ],
)
def test_a_mistake_is_answered_with_one_sentence(sentinel: Sentinel, words: tuple[str, ...], said: str) -> None:
    done = sentinel.cli(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_others_may_not_set_one_even_where_they_may_read(sentinel: Sentinel) -> None:
    needs_root()
    for folder in (sentinel.folder, *sentinel.folder.parents[:3]):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    sentinel.socket.chmod(0o666)
    body = '{"rule": "cpu-fallback", "for": "1h", "reason": "x"}'
    url = "http://localhost/v1/silences"
    ask = ["curl", "-s", "--unix-socket", str(sentinel.socket), url]
    assert '"silences": []' in as_user(65534, ask).stdout
    for change in (["-d", body], ["-X", "DELETE"]):
        answer = as_user(65534, [*ask[:-1], *change, url + ("/1" if "DELETE" in change else "")])
        assert "for root and the daemon's own user; this is user id 65534" in answer.stdout
