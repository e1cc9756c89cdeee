"""A server that never came to serving is never "nothing wrong", whether or not a rule knows why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sentinel.diagnose.answer import as_it_ended, verdict
from sentinel.diagnose.diagnosis import diagnose
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.alert import CheckResult
from sentinel.rulefiles.files import load_paths

RUNS = "build: 6170 (c37132b) with cc\nsrv    load_model: loading model 'm.gguf'\n"
SERVES = "main: server is listening on http://127.0.0.1:1 - starting the main loop\n"
FAILS = "srv    load_model: failed to load model, 'm.gguf'\nsrv    operator(): operator(): cleaning up before exit...\n"


def command(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "sentinel", "diagnose", *arguments], capture_output=True, timeout=60, check=False
    )
    assert done.stderr == b""
    return done.returncode, " ".join(done.stdout.decode().split())


def recordings(corpus: Path, ends: bool) -> list[Path]:
    """Recordings whose server ended by itself with an error (or was killed by signal 9 in mid load), or did not."""
    out = []
    for log in sorted((corpus / "logs").glob("*.log")):
        code = log.with_suffix(".rc")
        if code.is_file() and ((code.read_text().strip() == "exit=1" or log.stem.endswith("-killed")) is ends):
            out.append(log)
    return out


@pytest.mark.corpus
def test_every_recorded_server_that_ended_with_an_error_is_said_not_to_have_started(corpus: Path, ruleset: RuleSet) -> None:
    """And none of those that served, by the exit status that was recorded beside the log."""

    def unfinished(log: Path) -> bool:
        return bool(diagnose(ruleset, [(log.name, log.read_bytes())], [], {}).starts)

    failed, served = recordings(corpus, ends=True), recordings(corpus, ends=False)

    assert len(failed) > 15
    assert len(served) > 15
    assert [log.name for log in failed if not unfinished(log)] == []
    assert [log.name for log in served if unfinished(log)] == []


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("b10434-nofile", "b10434-nofile.log:12: gguf_init_from_file: failed to open GGUF file 'models/nope.gguf'"),
        ("b395x-portbusy", "b395x-portbusy.log:6: main: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 18201"),
        ("b617x-fa-bare", "b617x-fa-bare.log:7: main: couldn't bind HTTP server socket"),
    ],
)
def test_a_failed_start_is_reported_with_the_line_that_says_most(corpus: Path, name: str, line: str) -> None:
    """Beside the rule that names the cause."""
    code, text = command(str(corpus / f"logs/{name}.log"))

    assert code == 2
    assert "llama-server did not start: " in text
    assert line in text
    assert "start-failed" in text
    assert "No rule tells the cause" not in text
    assert "no failure is named" not in text


def test_of_an_error_that_no_rule_knows_the_reason_is_shown_and_what_helps_as_a_rule(tmp_path: Path) -> None:
    """It was "failed to load model", and no next step."""
    log = tmp_path / "server.log"
    log.write_text(
        "0.00.170.001 I srv    load_model: loading model '/m/a.gguf'\n"
        "0.00.200.000 E llama_model_load: error loading model: frobnication of the widget failed\n"
        "0.00.200.100 E srv    load_model: failed to load model, '/m/a.gguf'\n"
    )
    _, text = command(str(log), "--verbose")
    assert "error loading model: frobnication of the widget failed" in " ".join(text.split())
    assert "which sentinel does not know" in text
    assert "Fix 1/2 Update llama.cpp" in text


@pytest.mark.corpus
def test_a_log_that_stops_in_mid_load_asks_for_the_kernels_log(corpus: Path, tmp_path: Path) -> None:
    """Forty-one dots are at least 41 % of the model; a kernel log without a kill of it is not asked for again."""
    log = str(corpus / "logs/b395x-killed.log")
    kernel = tmp_path / "kernel.log"
    kernel.write_text("[  755.07] usb 1-1: new high-speed USB device number 2 using xhci_hcd\n")
    code, text = command(log)
    with_kernel = command(log, "--kernel-log", str(kernel))

    assert code == with_kernel[0] == 1
    assert "the log ends while the model loads, at 41 % of it at least" in text
    assert "--kernel-log FILE" in text
    assert "The kernel's log that was given names no kill of it." in with_kernel[1]


@pytest.mark.corpus
def test_a_kill_that_a_rule_reports_is_not_reported_twice(corpus: Path) -> None:
    """load-oom says more than that the log ends."""
    log, kernel = (str(corpus / f"logs/b10434-oom-mlock-memcg.{end}") for end in ("log", "kmsg"))
    code, text = command(log, "--kernel-log", kernel)

    assert code == 2
    assert "the log ends while" not in text


@pytest.mark.parametrize(
    ("log", "told"),
    [
        (RUNS + SERVES, []),
        (RUNS, ["loading"]),
        ("build: 6170 (c37132b) with cc\n", ["loading"]),
        (RUNS + FAILS, ["failed"]),
        (RUNS + FAILS + RUNS + SERVES, ["failed"]),
        (RUNS + RUNS + SERVES, ["loading"]),
        (RUNS + SERVES + RUNS, ["loading"]),
        # stopped by somebody while it loaded
        (RUNS + "srv    operator(): operator(): cleaning up before exit...\n", []),
        # a piece out of the middle of a log
        ("slot   operator(): id  0 | task 0 | slot context shift, n_keep = 1, n_left = 254, n_discard = 127\n", []),
    ],
    ids=["served", "killed", "first line", "failed", "better later", "killed, then better", "worse later", "stopped", "piece"],
)
def test_each_start_of_a_log_is_judged_by_itself(ruleset: RuleSet, log: str, told: list[str]) -> None:
    """Composed of recorded lines."""
    found = diagnose(ruleset, [("server.log", log.encode())], [], {})

    assert [start.kind for start in found.starts] == told


def test_a_child_that_ends_with_its_router_is_no_start_of_its_own(ruleset: RuleSet) -> None:
    log = (
        "0.00.133.710 I srv          load: spawning server instance with name=m on port 40611\n"
        '0.00.134.980 E srv  llama_server: tools setup failed: unknown tool "x". available tools: read_file\n'
        "Aborted (core dumped)\n"
    )
    found = diagnose(ruleset, [("server.log", log.encode())], [], {})

    assert [start.kind for start in found.starts] == ["failed"]


def test_a_start_goes_on_in_the_next_file_of_a_rotated_log(ruleset: RuleSet) -> None:
    """The files of one server, oldest first."""
    found = diagnose(ruleset, [("server.log.1", RUNS.encode()), ("server.log", SERVES.encode())], [], {})

    assert found.starts == ()


def test_a_restart_loop_is_not_reported_start_by_start(tmp_path: Path) -> None:
    """The last one by its rule, then two before it, and how many more."""
    log = tmp_path / "server.log"
    log.write_text((RUNS + FAILS) * 50)
    code, text = command(str(log))

    assert code == 2
    assert text.count("llama-server did not start: it gave its load up, without a reason that is known") == 1
    assert text.count("an earlier start: llama-server did not start") == 2
    assert "and 47 earlier starts that came to no better end" in text


RULE = """
schema = 1
id = "counts"
message_id = "0b8a3d0f5c0c4a8c9a4e2b7f6d1c9eff"
title = "context shifts"
severity = "warning"
scope = "server"
[event]
shifted = { name = "context_shifted", since = "server.start" }
[check]
some = "shifted.count > 0"
many = "shifted.count > 2"
[alert]
when = "some"
clear = "!some"
summary = "{shifted.count} shifts"
[[cause]]
id = "any"
text = "they happen"
[[cause.fix]]
do = "nothing"
"""
SHIFT = "slot   operator(): id  0 | task 0 | slot context shift, n_keep = 1, n_left = 254, n_discard = 127"
TESTS = f"""
[[test]]
name = "one"
log = ["+1s {SHIFT}"]
expect = {{ state = "firing" }}
[[test]]
name = "none"
given = {{ "server.log_readable" = true }}
expect = {{ state = "quiet" }}
[[test]]
name = "no log"
given = {{ "server.log_readable" = false }}
expect = {{ state = "unknown" }}
"""


def test_an_alert_is_reported_as_it_stands_at_the_end_of_the_log(tmp_path: Path) -> None:
    """It fired at the first shift; the log has four."""
    rule = tmp_path / "counts.toml"
    rule.write_text(RULE + TESTS)
    ruleset, problems = load_paths([rule])
    assert ruleset is not None, problems
    log = RUNS + SERVES + "".join(f"{n}.00.000.000 W {SHIFT}\n" for n in range(1, 5))
    found = diagnose(ruleset, [("server.log", log.encode())], [], {})
    [told] = as_it_ended(found)

    assert [t.summary for t in found.transitions if t.state == "firing"] == ["1 shifts"]
    assert told.summary == "4 shifts"
    assert [e.value for e in told.evidence if isinstance(e, CheckResult) and e.check == "many"] == [True]


@pytest.mark.corpus
def test_nobody_is_asked_for_the_file_just_given(corpus: Path) -> None:
    """What a log does not tell is not answered by letting sentinel read the log, and "the file" is named."""
    for name in ("b11434-shift", "b10434-quiet-cpu-fallback", "b395x-default"):
        _, text = command(str(corpus / f"logs/{name}.log"))
        assert "let sentinel read" not in text
        assert "not read yet" not in text
        assert "the file must be readable" not in text
        assert "--argv 'COMMAND', the server's command line, would settle " in " ".join(text.split())


@pytest.mark.corpus
def test_a_command_line_may_lack_the_program(corpus: Path) -> None:
    """`-c 8192` asks for as much as `llama-server -c 8192`."""
    log = str(corpus / "logs/b10434-lv4.log")

    assert command(log, "--argv", "-c 8192") == command(log, "--argv", "llama-server -c 8192")
    assert command(log, "--argv", "-c 8192") != command(log)


def test_one_line_is_one_line(tmp_path: Path) -> None:
    """Not "none of the 1 lines", not "1 lines"."""
    log = tmp_path / "server.log"
    log.write_text("hello\n")
    code, text = command(str(log))
    log.write_text(SERVES)
    served = command(str(log))

    assert (code, served[0]) == (3, 0)
    assert "its only line is not one that sentinel knows" in text
    assert "no failure is named in 1 line (1 event of llama-server recognised)" in served[1]


@pytest.mark.parametrize(
    ("log", "kind"),
    [
        # Nothing of its start, and nothing of its work: an abort may have come after days.
        ("/src/ggml.c:100: GGML_ASSERT(a == b) failed\nAborted (core dumped)\n", "died"),
        # A request of its own shows that it had served.
        (
            "slot      release: id  0 | task 7 | stop processing: n_tokens = 10, truncated = 0\nx.cpp:1: GGML_ASSERT(a) failed\n",
            "crashed",
        ),
        # What fails at a start only needs no banner.
        ("srv    load_model: failed to load model, 'm.gguf'\n", "failed"),
        (RUNS + "/src/ggml.c:100: GGML_ASSERT(a == b) failed\n", "failed"),
    ],
)
def test_an_excerpt_is_no_failed_start_unless_it_shows_the_start(log: str, kind: str, ruleset: RuleSet) -> None:
    found = diagnose(ruleset, [("server.log", log.encode())], [], {})
    assert [start.kind for start in found.starts] == [kind]


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("srv  log_server_r: request: POST /v1/chat/completions 10.0.0.7 500", 1),
        ("srv  log_server_r: request: GET /favicon.ico 10.0.0.7 404", 0),
        ("mtmd_helper: some new step failed", 1),
        # a server that llama-swap needs no more; what ik_llama.cpp prints at each start
        ("[DEBUG] <qwen> cmd.Wait() returned error: signal: terminated", 0),
        ("Failed to infer a tool call example (possible template bug)", 0),
        ("0.01.000.000 E new_function: no words that anybody knows", 1),
        ("0.01.000.000 I new_function: error = 0.001", 0),
        ('time=2024-02-14T22:43:10.002Z level=INFO source=llm.go:77 msg="no room on the GPU, falling back to CPU"', 1),
        ('time=2024-02-14T22:43:10.002Z level=INFO source=gpu.go:9 msg="Unable to load ROCm management library"', 1),
        ('time=2026-02-14T22:43:10.002Z level=INFO source=sched.go:9 msg="a thing without a name failed"', 1),
        ('time=2024-02-14T22:43:10.002Z level=INFO source=gpu.go:9 msg="Detecting GPU type"', 0),
    ],
)
def test_beside_an_error_in_the_log_the_answer_is_not_that_nothing_is_wrong(line: str, count: int, ruleset: RuleSet) -> None:
    found = diagnose(ruleset, [("server.log", (RUNS + SERVES + line + "\n").encode())], [], {})
    assert found.complaints.count == count
    assert ("no failure is named" in verdict(found)) is (count == 0)
    assert (line.split()[-1].rstrip('"') in verdict(found)) is (count == 1)
