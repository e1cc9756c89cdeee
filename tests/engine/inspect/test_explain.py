"""`sentinel why`: every value with its age and where it is from, what is unknown and what would provide it; live and of files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from places import TESTS
from sample_rules import GOOD

from sentinel.cli.main import main
from sentinel.cli.why import show
from sentinel.engine.engine import Engine
from sentinel.engine.inspect import explain
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.entity import HOST, Entity, Unknown, Value
from sentinel.model.reading import LogLines, Samples, ServerFound, Tick
from sentinel.rulefiles.files import read, shipped
from sentinel.rulefiles.load import load
from sentinel.rulefiles.testing.readings import EPOCH

SERVER = Entity("server", "llama.service")
#: The sample rule, with a condition of two parts that also reads a computed value.
RULE = (
    GOOD.replace('when = "slow"\n', 'when = "slow && small"\n')
    .replace(
        "[alert]", '[evidence]\nslow = "{speed:.1f} tokens/s in the last 30 s"\nsmall = "port {server.ctx_per_slot}"\n[alert]'
    )
    .replace('slow = "speed < 1.0"', 'slow = "speed < 1.0"\nsmall = "share < 0.5"')
    .replace('for = "5s"', 'for = "30s"')
)
LOGS = TESTS / "fixtures" / "logs"


@pytest.fixture
def engine() -> Engine:
    """A server that was found, printed one line of a backend and generates slowly."""
    ruleset, problems = load({"r.toml": RULE.encode()}, read([shipped()])[1])
    assert ruleset is not None, problems
    engine = Engine(ruleset)
    values: dict[str, Value | Unknown] = {"server.log_readable": True, "server.port": 8080}
    engine.step(ServerFound(EPOCH, "proc", SERVER, 7, EPOCH, values))
    line = b"ggml_cuda_init: failed to initialize ROCm: no ROCm-capable device is detected\n"
    engine.step(LogLines(EPOCH + 1, "/var/log/llama.log", SERVER, line, first=41))
    engine.step(Samples(EPOCH + 2, "meminfo", HOST, {"host.mem_total_bytes": 1000}))
    for second in (4.0, 5.0, 6.0):
        engine.step(Samples(EPOCH + second, "log", SERVER, {"server.generation_tps": 0.5}))
    engine.step(Samples(EPOCH + 6, "proc", SERVER, {"server.rss_bytes": 100}))
    engine.step(Tick(EPOCH + 6))
    return engine


def explained(engine: Engine, at: float) -> dict[str, Any]:
    subjects: list[dict[str, Any]] = explain.why(engine, "too-slow", "", EPOCH + at)["subjects"]
    (subject,) = subjects
    return subject


def reads(subject: dict[str, Any], check: str) -> dict[str, dict[str, Any]]:
    (found,) = [c for c in subject["checks"] if c["check"] == check]
    return {row["name"]: row for row in found["reads"]}


def test_a_number_over_time_says_of_which_samples_it_is_and_how_old_the_newest_is(engine: Engine) -> None:
    assert reads(explained(engine, 9), "slow") == {
        "speed": {
            "name": "speed", "value": 0.5, "age": 3.0, "samples": 3, "source": "mean of server.generation_tps in the last 30 s"
        }
    }  # fmt: skip


def test_what_is_computed_is_followed_by_what_it_is_computed_of(engine: Engine) -> None:
    found = reads(explained(engine, 9), "small")
    assert found["share"]["of"] == ["server.rss_bytes", "host.mem_total_bytes"]
    assert list(found) == ["share", "server.rss_bytes", "host.mem_total_bytes"]
    assert found["server.rss_bytes"] == {"name": "server.rss_bytes", "value": 100, "age": 3.0, "source": "proc"}
    assert found["host.mem_total_bytes"]["source"] == "meminfo"


def test_an_event_is_shown_with_its_line_and_the_line_s_place(engine: Engine) -> None:
    ruleset, problems = load(
        {"r.toml": RULE.replace("small = ", 'failed_once = "failed.count > 0"\nsmall = ').encode()}, read([shipped()])[1]
    )
    assert ruleset is not None, problems
    engine.use(ruleset, EPOCH + 7)
    row = reads(explained(engine, 9), "failed_once")["failed.count"]
    assert (row["value"], row["age"], row["source"]) == (1, 8.0, "/var/log/llama.log:41")
    assert "failed to initialize ROCm" in row["line"]


def test_how_long_the_hold_time_still_runs_and_which_part_of_the_condition_is_so(engine: Engine) -> None:
    subject = explained(engine, 10)
    assert (subject["state"], subject["fires_in"]) == ("pending", 26.0)
    assert subject["operands"] == [{"expression": "slow", "value": True}, {"expression": "small", "value": True}]


def test_a_true_check_is_said_in_the_rules_words_if_all_its_values_are_known(engine: Engine) -> None:
    """In `why` and in the alert itself; what a sentence needs and nobody knows is not made up."""
    subject = explained(engine, 7)
    assert {check["check"]: check.get("text") for check in subject["checks"]} == {
        "slow": "0.5 tokens/s in the last 30 s",
        "small": None,
    }
    engine.step(Tick(EPOCH + 40))
    for second in range(8, 41):
        engine.step(Samples(EPOCH + 40 + second, "log", SERVER, {"server.generation_tps": 0.5}))
        engine.step(Samples(EPOCH + 40 + second, "proc", SERVER, {"server.rss_bytes": 100}))
    alert = explained(engine, 81)["alert"]
    assert [piece["text"] for piece in alert["evidence"] if piece.get("text")] == ["0.5 tokens/s in the last 30 s"]


def test_one_excuse_for_many_signals_is_said_once(engine: Engine) -> None:
    gaps = explained(engine, 60)["gaps"]
    assert {name for gap in gaps for name in gap["signals"]} == set(explained(engine, 60)["missing"])
    assert len({(gap["reason"], gap["remedy"]) for gap in gaps}) == len(gaps)


def test_what_is_too_old_is_unknown_with_its_age_and_what_is_missing_says_who_provides_it(engine: Engine) -> None:
    subject = explained(engine, 60)
    row = reads(subject, "small")["server.rss_bytes"]
    assert row["value"] is None
    assert row["missing"].startswith("last read 54 s ago by proc, older than its max age")
    assert reads(subject, "slow")["speed"]["missing"].startswith("no server.generation_tps in the last 30 s: ")
    assert [operand["value"] for operand in subject["operands"]] == [None, None]


def test_a_rule_that_raises_is_said_to_be_broken_and_is_no_error_of_the_command(engine: Engine) -> None:
    engine.unhealthy["too-slow"] = "no such overload"
    assert explain.why(engine, "too-slow", "", EPOCH + 9)["unhealthy"] == "no such overload"


def test_a_file_is_explained_as_of_the_moment_when_the_rule_fired(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The same struct for people and programs, with reasons that fit files."""
    log = tmp_path / "server.log"
    log.write_text("error: invalid argument: --flash-atn\n")
    assert main(["diagnose", "--why", "flags-rejected", "--json", str(log)]) > 0
    answer = json.loads(capsys.readouterr().out)
    assert [(s["state"], s["moment"]) for s in answer["subjects"]] == [("firing", "fired")]
    assert answer["subjects"][0]["alert"]["cause"]
    assert main(["diagnose", "--why", "flags-rejected", "--verbose", str(log)]) > 0
    told = capsys.readouterr().out
    assert "● llama-server  firing" in told
    assert "(when it fired)" in told
    assert f"{log}:1" in told


def test_a_file_says_of_what_it_cannot_show_what_would(capsys: pytest.CaptureFixture[str]) -> None:
    log = LOGS / "b10434-two-slots.log"
    assert main(["diagnose", "--why", "cpu-fallback", "--verbose", str(log)]) == 3
    told = " ".join(capsys.readouterr().out.split())
    assert "(before the server was asked to stop)" in told
    assert "ready true (the server is ready)" in told
    assert "server.gpu_layers_explicit = unknown (a log does not show it; to provide it: --argv 'COMMAND', " in told
    assert "to provide it: sentinel running beside the server (sentinel run)" in told


def test_a_rule_that_is_not_there_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", "--why", "cpu-falback", str(LOGS / "b10434-two-slots.log")]) == 2
    assert "there is no rule 'cpu-falback'; did you mean 'cpu-fallback'" in capsys.readouterr().err


def test_a_rule_says_what_to_do_before_its_own_alert_fires(ruleset: RuleSet, capsys: pytest.CaptureFixture[str]) -> None:
    """flags-rejected waits a second after the last refusal."""
    engine = Engine(ruleset)
    engine.step(ServerFound(EPOCH, "proc", SERVER, 7, EPOCH, {"server.log_readable": True, "server.unit": ""}))
    for number in range(5):
        at = EPOCH + 5 + 0.1 * number
        line = b"error: invalid argument: --mlock\n" if number < 4 else b"error: invalid argument: --mmap\n"
        engine.step(LogLines(at, "/var/log/llama.log", SERVER, line, first=number))

    answer = explain.why(engine, "flags-rejected", "", EPOCH + 5.5)
    (subject,) = answer["subjects"]
    assert subject["state"] == subject["alert"]["state"] == "pending"
    # What would be told now, not what was so when it began.
    assert "Drop --mmap" in subject["alert"]["fixes"][0]["do"]
    assert show(answer, as_json=False) == 0
    printed = capsys.readouterr().out
    assert "Drop --mmap" in printed
    assert "this build has no --mmap" in printed
