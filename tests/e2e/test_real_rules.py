"""The running daemon and the user's own rule files: drop-ins that come, change, go and are wrong. No llama-server is needed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from live import Sentinel, wait_for

from sentinel.api import client
from sentinel.cli.main import main

SHIPPED = Path(__file__).resolve().parents[2] / "rules"
#: not what stands beside them: tests and bases of tests
RULES = [path for path in SHIPPED.glob("*.toml") if ".test" not in path.suffixes and path.stem != "bases"]
NewSentinel = Callable[..., Sentinel]
#: It fires on every machine.
OWN = """
schema = 1
id = "has-memory"
message_id = "0f0e0d0c0b0a09080706050403020100"
title = "the machine has memory"
severity = "warning"
scope = "host"
[check]
there = "host.mem_total_bytes > 0"
[alert]
when = "there"
clear = "!there"
summary = "SUMMARY"
[[cause]]
id = "built"
text = "somebody built it so"
[[cause.fix]]
do = "nothing"
[[test]]
name = "there"
given = { "host.mem_total_bytes" = 1 }
expect = { state = "firing" }
[[test]]
name = "none"
given = { "host.mem_total_bytes" = 0 }
expect = { state = "quiet" }
[[test]]
name = "not known"
unknown = ["host.mem_total_bytes"]
expect = { state = "unknown" }
"""
OVER = 'schema = 1\noverride = "has-memory"\nseverity = "info"\n'
WRONG = OWN.replace("host.mem_total_bytes > 0", "host.mem_totl_bytes > 0")
SOON = 20.0


@pytest.fixture(scope="module")
def daemon(new_sentinel: NewSentinel) -> Sentinel:
    return new_sentinel("discover = false\n").start()


def ask(daemon: Sentinel, path: str) -> dict[str, Any]:
    """Straight from the socket: a command costs half a second, and these tests ask often."""
    code, answer = client.get(path, [daemon.socket])
    assert code == 200, answer
    return answer


def own(daemon: Sentinel) -> Any:
    return next((a for a in ask(daemon, "/v1/alerts")["alerts"] if a["rule"] == "has-memory"), None)


def ended(daemon: Sentinel) -> list[str]:
    found = ask(daemon, "/v1/history")["transitions"]
    return [t["reason"] for t in found if (t["rule"], t["state"]) == ("has-memory", "resolved")]


def source(daemon: Sentinel) -> dict[str, Any]:
    return next(s for s in ask(daemon, "/v1/status")["sources"] if s["name"] == "rules")


def test_a_folder_that_appears_later_counts_and_each_way_to_save_is_taken(daemon: Sentinel) -> None:
    daemon.rules.mkdir(parents=True)
    file = daemon.rules / "own.toml"
    file.write_text(OWN)
    wait_for(lambda: own(daemon), "a rule in a folder that was not there", SOON)
    since = own(daemon)["since"]

    other = daemon.rules / "own.toml.new"
    other.write_text(OWN.replace("SUMMARY", "moved into place"))
    other.replace(file)
    wait_for(lambda: own(daemon)["summary"] == "moved into place", "a file moved over the old one", SOON)
    assert own(daemon)["since"] == since

    (daemon.rules / "deeper").mkdir()
    (daemon.rules / "deeper/over.toml").write_text(OVER)
    wait_for(lambda: own(daemon)["severity"] == "info", "an override in a folder within", SOON)
    (status,) = ask(daemon, "/v1/status")["overrides"]
    assert (status["rule"], status["fields"], status["changed"]) == ("has-memory", ["severity"], [])
    assert "has-memory: severity replaced by" in daemon.cli("status").stdout

    # As an upgrade would: the rule below the override becomes another one.
    file.write_text(OWN.replace('severity = "warning"', 'severity = "critical"').replace("SUMMARY", "of a new release"))
    wait_for(lambda: own(daemon)["summary"] == "of a new release", "the rule below", SOON)
    (status,) = ask(daemon, "/v1/status")["overrides"]
    assert status["changed"] == ["severity", "alert.summary"]
    assert "CHANGED by an upgrade under it: severity" in " ".join(daemon.cli("status").stdout.split())
    wait_for(lambda: "rule 'has-memory' was changed by an upgrade under this override" in daemon.said(), "its log says it", SOON)
    (daemon.rules / "deeper/over.toml").unlink()
    wait_for(lambda: own(daemon)["severity"] == "critical", "an override that is gone", SOON)


def test_a_bad_set_leaves_the_old_one_and_says_so_in_the_answer_the_status_and_the_log(daemon: Sentinel) -> None:
    file = daemon.rules / "own.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(OWN)
    assert daemon.cli("reload").returncode == 0
    wait_for(lambda: own(daemon), "its alert", SOON)
    since = own(daemon)["since"]

    file.write_text(WRONG + "[surplus]\n")
    done = daemon.cli("reload")
    assert done.returncode == 2
    told = done.stderr.splitlines()
    at = 1 + WRONG[: WRONG.index("there =")].count("\n")
    unknown = "check.there: unknown signal 'host.mem_totl_bytes'; did you mean 'host.mem_total_bytes'"
    assert f"sentinel: {file}:{at}: {unknown}" in told
    assert any("surplus: unknown key" in line for line in told)
    assert told[-1] == f"sentinel: {len(told) - 1} mistakes in the rule files; the old rules stay active"
    wait_for(lambda: source(daemon)["health"] == "failed", "the status says that the rules are wrong", SOON)
    assert "the old rules stay active" in source(daemon)["why"]
    wait_for(lambda: "host.mem_totl_bytes" in daemon.said(), "its log says it", SOON)
    assert own(daemon)["since"] == since

    file.write_text(OWN)
    done = daemon.cli("reload")
    assert (done.returncode, done.stdout) == (0, f"{len(RULES) + 1} rules active: the same as before\n")
    wait_for(lambda: source(daemon)["health"] == "up", "the rules are right again", SOON)
    assert own(daemon)["since"] == since


def test_a_signal_reads_at_once_and_a_file_that_is_gone_ends_its_alert(daemon: Sentinel) -> None:
    file = daemon.rules / "own.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(OWN)
    assert daemon.cli("reload").returncode == 0
    wait_for(lambda: own(daemon), "its alert", SOON)
    file.unlink()
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: own(daemon) is None, "the alert is over", SOON)
    wait_for(lambda: ended(daemon)[-1:] == ["rule-removed"], lambda: f"that is stored: {ended(daemon)}", SOON)


def test_a_file_that_is_written_in_steps_is_no_mistake_that_anyone_sees(daemon: Sentinel) -> None:
    """Emptied and written piece by piece, moved away and put back, as editors do."""
    file = daemon.rules / "own.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(OWN.replace("SUMMARY", "before"))
    assert daemon.cli("reload").returncode == 0
    wait_for(lambda: own(daemon), "its alert", SOON)
    before, said = ended(daemon), len(daemon.said())
    text = OWN.replace("SUMMARY", "after")
    with file.open("w") as stream:
        for start in range(0, len(text), 16):
            stream.write(text[start : start + 16])
            stream.flush()
            os.fsync(stream.fileno())
    wait_for(lambda: own(daemon)["summary"] == "after", "the whole file", SOON)
    file.rename(f"{file}~")
    file.write_text(OWN.replace("SUMMARY", "put back"))
    wait_for(lambda: own(daemon)["summary"] == "put back", "the file put back", SOON)
    assert ended(daemon) == before
    assert "failed" not in daemon.said()[said:]


def test_a_daemon_starts_without_a_file_that_has_mistakes_and_takes_it_when_it_is_mended(new_sentinel: NewSentinel) -> None:
    daemon = new_sentinel("discover = false\n")
    daemon.rules.mkdir(parents=True)
    (daemon.rules / "own.toml").write_text(OWN)
    bad = daemon.rules / "bad.toml"
    bad.write_text("not toml at all")
    daemon.start()
    wait_for(lambda: own(daemon), "the good file serves", SOON)
    wait_for(lambda: source(daemon)["health"] == "failed", "the other is said to be wrong", SOON)
    assert source(daemon)["why"].startswith(f"judged without {bad}: {bad}:1: ")
    assert "bad.toml:1: " in daemon.said()
    bad.write_text(OVER)
    wait_for(lambda: own(daemon)["severity"] == "info", "the mended file", SOON)
    wait_for(lambda: source(daemon)["health"] == "up", "the rules are right again", SOON)


def test_given_on_the_command_line_they_take_the_place_of_the_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.toml").write_text(OWN)
    assert main(["rules", "list", "--rules", str(tmp_path)]) == 0
    assert "has-memory" in capsys.readouterr().out.split()
