"""The daemon comes, goes, is killed and is told new rules while a real llama-server runs: nothing twice, nothing missed."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h11
import pytest
from live import PROMISE, REPO, Sentinel, as_user, needs_root, wait_for
from real_server import Running, request, server

from sentinel.sources.server import health, http

pytestmark = pytest.mark.real_server

NewSentinel = Callable[..., Sentinel]

#: An opinion of the user's own about this server, in the form of a shipped rule.
OWN_RULE = """\
schema = 1
id = "own-rule"
message_id = "0123456789abcdef0123456789abcdef"
title = "a rule of the user's own"
severity = "warning"
scope = "server"
basis = ["measured"]
references = ["https://example.org/own"]
false_positives = ["none"]
[check]
small = "server.ctx_requested == 512"
[alert]
when = "small"
clear = "!small"
summary = "{server.name} has SUMMARY"
[[cause]]
id = "asked"
confidence = "high"
text = "it was asked for"
[[cause.fix]]
do = "Ask for more"
[[test]]
name = "fires"
given = { "server.ctx_requested" = 512 }
at = "1s"
expect = { state = "firing" }
[[test]]
name = "quiet"
given = { "server.ctx_requested" = 513 }
at = "1s"
expect = { state = "quiet" }
[[test]]
name = "unknown"
given = { "server.state" = "ready" }
at = "1s"
expect = { state = "unknown", missing = ["server.ctx_requested"] }
"""


@pytest.fixture(scope="module")
def fallen_back(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that runs on the CPU although it was asked for layers on a GPU; older than every daemon of this module."""
    log = tmp_path_factory.mktemp("server") / "log"
    with server("-m", str(models / "dense.gguf"), "-c", "512", "-np", "1", "-ngl", "99", log=log) as running:
        yield running


def too_large(running: Running) -> None:
    with contextlib.suppress(urllib.error.HTTPError):
        request(running.url + "/completion", json.dumps({"prompt": "word " * 600, "n_predict": 2}).encode())


class TestRestart:
    """One daemon, one server, in the order of the tests' steps: each step is a claim."""

    def test_killed_and_stopped_it_reports_nothing_twice_and_misses_nothing(
        self, new_sentinel: NewSentinel, fallen_back: Running
    ) -> None:
        sentinel = new_sentinel().start()
        name = sentinel.name_of(fallen_back.process.pid)
        first = sentinel.await_alert("cpu-fallback", name)
        too_large(fallen_back)

        def losses() -> Any:
            return sentinel.reads("context-collapse", name).get("lost_requests")

        wait_for(lambda: losses() == 1, "the first oversized request is seen", PROMISE)

        # Killed at any moment: what was reported is on disk, and the log's position with it.
        sentinel.end(signal.SIGKILL)
        too_large(fallen_back)
        sentinel.start()
        again = sentinel.alert("cpu-fallback", name)
        assert again is not None
        assert again["since"] == first["since"]
        wait_for(lambda: losses() == 2, lambda: f"what happened meanwhile is counted once: 2, not {losses()}", PROMISE)
        assert sentinel.verdict("context-collapse", name) == ("no-match", "inactive")

        # An orderly stop, and the third oversized request while nobody watched.
        assert sentinel.end(signal.SIGTERM) == 0
        too_large(fallen_back)
        sentinel.start()
        collapse = sentinel.await_alert("context-collapse", name)
        assert collapse["cause"]["id"] == "requests-larger-than-slot"
        assert losses() == 3

        ours = [t for t in sentinel.told("cpu-fallback") if t["entity"]["name"] == name]
        assert len(ours) == 1
        assert "Traceback" not in sentinel.said()
        assert sentinel.end() == 0

    def test_the_real_server_answers_what_is_asked_where_its_log_is_hidden(self, fallen_back: Running) -> None:
        """A stand-in gives recorded answers; only the real one tells whether the question is understood."""
        assert health.state_of(http.get("127.0.0.1", fallen_back.port, "/health")) == "ready"
        told = health.context_of(http.get("127.0.0.1", fallen_back.port, "/props"))
        shown = json.loads(request(f"{fallen_back.url}/props"))
        assert told == {
            "server.ctx_per_slot": shown["default_generation_settings"]["n_ctx"],
            "server.slots": shown["total_slots"],
        }

    def test_it_outlives_its_terminal_and_says_that_alerts_wait(self, new_sentinel: NewSentinel, fallen_back: Running) -> None:
        """A terminal that is closed hangs up (SIGHUP), and takes neither lines nor alerts from then on."""
        terminal, inside = pty.openpty()
        sentinel = new_sentinel()
        os.close(terminal)
        sentinel.start(inside)
        os.close(inside)
        assert sentinel.process is not None
        sentinel.process.send_signal(signal.SIGHUP)

        sentinel.await_alert("cpu-fallback", sentinel.name_of(fallen_back.process.pid))
        waiting = re.compile(r"Alerts wait for console \(\d+\): cannot print alerts")
        wait_for(lambda: waiting.search(sentinel.cli("status").stdout), "the status says that they wait", PROMISE)
        assert sentinel.end() == 0

    def test_a_second_daemon_on_the_same_socket_says_so_and_ends(self, new_sentinel: NewSentinel) -> None:
        first = new_sentinel().start()
        command = [sys.executable, "-m", "sentinel", "run", "--config", str(first.config)]
        second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd=REPO)

        assert second.returncode == 2
        assert "another sentinel has the state folder" in second.stderr
        assert "Traceback" not in second.stderr
        assert first.cli("status").returncode != 3


@pytest.fixture(scope="module")
def judged(new_sentinel: NewSentinel, fallen_back: Running) -> tuple[Sentinel, str]:
    """A daemon that has told the fallback, and the server's name."""
    sentinel = new_sentinel().start()
    name = sentinel.name_of(fallen_back.process.pid)
    sentinel.await_alert("cpu-fallback", name)
    return sentinel, name


class TestCommands:
    """What people and scripts get from a daemon that has something to tell."""

    @pytest.mark.parametrize(
        ("words", "code", "shows"),
        [
            (["status"], 2, ["● CRITICAL: ", " runs on the CPU: -ngl 99", "Fix  ", "  ready  "]),
            (["alerts"], 2, ["● CRITICAL", "Cause", "Evidence", "Fix  "]),
            (["alerts", "--all"], 0, ["cpu-fallback"]),
            (["alerts", "--since", "1h"], 0, ["cpu-fallback"]),
            (
                ["why", "cpu-fallback", "NAME"],
                2,
                ["  firing since ", "- -ngl 99 was requested", "- no weights are in GPU memory"],
            ),
            (["why", "load-oom", "NAME"], 0, ["not firing"]),
        ],
    )
    def test_for_people_and_as_json(self, judged: tuple[Sentinel, str], words: list[str], code: int, shows: list[str]) -> None:
        sentinel, name = judged
        words = [name if word == "NAME" else word for word in words]
        text, wire = sentinel.cli(*words), sentinel.cli(*words, "--json")

        assert (text.returncode, wire.returncode) == (code, code)
        assert (text.stderr, wire.stderr) == ("", "")
        assert [part for part in shows if part not in text.stdout] == []
        assert json.loads(wire.stdout)["api_version"] == 1

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (["why", "cpu-falback"], "there is no rule 'cpu-falback'; did you mean 'cpu-fallback'"),
            (["why", "cpu-fallback", "nobody:1"], "there is no 'nobody:1'"),
            (["alerts", "--since", "yesterday"], "--since 'yesterday': write a duration"),
        ],
    )
    def test_a_wrong_word_is_one_sentence_and_exit_code_2(
        self, judged: tuple[Sentinel, str], words: list[str], says: str
    ) -> None:
        done = judged[0].cli(*words)

        assert done.returncode == 2
        assert says in done.stderr
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""

    def test_watch_goes_on_with_the_next_daemon_and_shows_nothing_twice(
        self, new_sentinel: NewSentinel, fallen_back: Running
    ) -> None:
        """kill -9 in between; what the first daemon reported is not reported again."""
        sentinel = new_sentinel().start()
        command = [sys.executable, "-m", "sentinel", "watch", "--json", "--socket", str(sentinel.socket)]
        out, err = sentinel.folder / "watch.out", sentinel.folder / "watch.err"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            watching = subprocess.Popen(command, stdout=stdout, stderr=stderr, cwd=REPO)
        try:
            name = sentinel.name_of(fallen_back.process.pid)
            sentinel.await_alert("cpu-fallback", name)
            # It may still be starting: what is not connected misses no daemon.
            wait_for(lambda: f'"{name}"' in out.read_text(), "watch has the alert", 20.0)
            sentinel.end(signal.SIGKILL)
            wait_for(lambda: "the daemon stopped" in err.read_text(), "watch says that it waits", 20.0)
            sentinel.start()
            wait_for(lambda: "the daemon is back" in err.read_text(), "watch goes on", 20.0)
            assert sentinel.cli("status").returncode == 2
        finally:
            watching.send_signal(signal.SIGINT)
            code = watching.wait(20)
        seen = [json.loads(line) for line in out.read_text().splitlines()]
        ours = [t["state"] for t in seen if t["rule"] == "cpu-fallback" and t["entity"]["name"] == name]

        assert ours[-1:] == ["firing"]
        assert ours.count("firing") == 1
        assert code == 130

    def test_no_daemon_is_one_sentence_and_exit_code_3(self, tmp_path: Path) -> None:
        for words in (["status"], ["alerts"], ["why", "cpu-fallback"], ["watch"]):
            command = [sys.executable, "-m", "sentinel", *words, "--socket", str(tmp_path / "none.sock")]
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd=REPO)
            assert done.returncode == 3
            assert f"no daemon at {tmp_path}/none.sock; start it with `sentinel run`" in done.stderr

    @pytest.mark.root
    def test_a_socket_that_is_not_for_you_is_one_sentence_and_exit_code_3(self, judged: tuple[Sentinel, str]) -> None:
        """Asked by nobody, through a copy of the package that he may read and a folder that he may pass."""
        needs_root()
        sentinel, _ = judged
        program = (
            "import sys; from pathlib import Path; from sentinel.api.client import get, DaemonUnreachable\n"
            "try:\n    get('/v1/status', [Path(sys.argv[1])])\n"
            "except DaemonUnreachable as error:\n    print(error); sys.exit(3)\n"
        )
        with tempfile.TemporaryDirectory(prefix="sentinel-open-", dir="/tmp") as folder:
            Path(folder).chmod(0o755)
            shutil.copytree(REPO / "sentinel", Path(folder) / "sentinel", ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copytree(Path(h11.__file__).parent, Path(folder) / "h11")
            path = Path(folder) / "link.sock"
            os.link(sentinel.socket, path)
            command = ["env", f"PYTHONPATH={folder}", "/usr/bin/python3", "-c", program, str(path)]
            done = as_user(65534, command)

        assert done.returncode == 3, done.stderr
        assert done.stdout == f"may not open {path}; join the group sentinel (sudo usermod -aG sentinel $USER) and log in again\n"


class TestMistakes:
    """Nothing starts on a mistake, and all of them are reported at once."""

    def run(self, config: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sentinel", "run", "--config", str(config)]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd=REPO)

    def test_every_mistake_of_the_configuration(self, tmp_path: Path) -> None:
        config = tmp_path / "sentinel.toml"
        config.write_text(
            "stat_dir = 'x'\nsink = 'pager'\n[intervals]\nprocess = '1ms'\n[[server]]\nname = 'a'\nport = 99999\n",
            encoding="utf-8",
        )
        done = self.run(config)

        assert done.returncode == 2
        assert [word for word in ("stat_dir", "pager", "1ms", "99999", "needs 'log'") if word not in done.stderr] in ([], ["1ms"])
        assert "did you mean 'state_dir'" in done.stderr
        assert done.stderr.count("\n") >= 5
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize("content", [None, b"\xff\xfe", b"a = = 1"], ids=["missing", "no text", "no TOML"])
    def test_a_configuration_that_cannot_be_read(self, tmp_path: Path, content: bytes | None) -> None:
        config = tmp_path / "sentinel.toml"
        if content is not None:
            config.write_bytes(content)
        done = self.run(config)

        assert done.returncode == 2
        assert str(config) in done.stderr
        assert done.stderr.count("\n") == 1

    def test_doctor_says_what_the_daemon_itself_cannot_do(self, new_sentinel: Callable[..., Sentinel]) -> None:
        """Its own view and the daemon's are two rows: their rights may differ. The cure is the one that fits."""
        daemon = new_sentinel()
        (daemon.folder / "state").write_text("in the way", encoding="utf-8")
        daemon.start()
        command = [sys.executable, "-m", "sentinel", "doctor", "--config", str(daemon.config), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd=REPO, env=daemon.environ)
        rows = {row["id"]: row for row in json.loads(done.stdout)["capabilities"]}

        assert {rows[name]["state"] for name in ("state", "daemon:state")} == {"fails"}
        assert "state is not a folder" in rows["state"]["why"]
        assert rows["daemon:state"]["why"].startswith("the daemon says: cannot open the history ")
        assert "is not a folder" in rows["daemon:state"]["why"]
        assert rows["daemon:state"]["fix"].startswith("remove it or set state_dir to a folder")


class TestReload:
    def test_a_saved_rule_takes_effect_and_a_bad_one_changes_nothing(
        self, new_sentinel: NewSentinel, fallen_back: Running, tmp_path: Path
    ) -> None:
        folder = tmp_path / "rules.d"
        folder.mkdir()
        sentinel = new_sentinel(f"rules = ['{folder}']").start()
        name = sentinel.name_of(fallen_back.process.pid)
        told = sentinel.await_alert("cpu-fallback", name)

        def own() -> Any:
            return sentinel.alert("own-rule", name)

        def source() -> Any:
            return {s["name"]: s for s in sentinel.ask("status")["sources"]}.get("rules", {})

        (folder / "own.toml").write_text(OWN_RULE.replace("SUMMARY", "its own rule"))
        wait_for(own, "a new rule file takes effect", PROMISE)

        (folder / "own.toml").write_text(OWN_RULE.replace("server.ctx_requested ==", "server.ctx_reqested =="))
        wait_for(lambda: source().get("health") == "failed", "the status says that the rules are wrong", PROMISE)
        assert "the old rules stay active" in source()["why"]
        assert "own.toml" in source()["why"]
        wait_for(lambda: "server.ctx_reqested" in sentinel.said(), "and so does its own log", PROMISE)
        assert own() is not None
        assert "sentinel: rules failed: " in sentinel.cli("status").stdout

        (folder / "own.toml").unlink()
        wait_for(lambda: own() is None, "an alert whose rule is gone is closed", PROMISE)
        wait_for(lambda: source()["health"] == "up", "the rules are right again", PROMISE)
        over = [t["reason"] for t in sentinel.told("own-rule", "resolved") if t["entity"]["name"] == name]
        assert over == ["rule-removed"]
        kept = sentinel.alert("cpu-fallback", name)
        assert kept is not None
        assert kept["since"] == told["since"]
