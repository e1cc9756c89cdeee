"""What a person reads first: the verdict in one sentence, then why, then what to do, and at most three lines of what is open."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sentinel.diagnose import gaps
from sentinel.diagnose.answer import settling
from sentinel.model.entity import Unknown

RUN = "build: 6170 (c37132b) with cc\nsrv    load_model: loading model 'm.gguf'\n"
SERVES = "main: server is listening on http://127.0.0.1:1 - starting the main loop\n"
BUSY = "start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 8080\nmain: exiting due to HTTP server error\n"
NO_CACHE = "llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache\n"
ABORTS = "/src/ggml/src/ggml.c:1: GGML_ASSERT(n > 0) failed\nAborted (core dumped)\n"


def told(tmp_path: Path, log: str, *options: str) -> list[str]:
    file = tmp_path / "server.log"
    file.write_text(log)
    command = [sys.executable, "-m", "sentinel", "diagnose", str(file), *options]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.stderr == b""
    return done.stdout.decode().splitlines()


@pytest.mark.parametrize(
    ("log", "first"),
    [
        (RUN + SERVES, "no failure is named in 3 lines (4 events of llama-server recognised)"),
        (RUN, "the log ends while the model loads"),
        (RUN + SERVES + ABORTS, "llama-server crashed: n > 0"),
        (BUSY, "llama-server did not start: port 8080 on 127.0.0.1 could not be bound"),
        (RUN + BUSY + RUN + SERVES, "the last start went well; in run 1 of 2, llama-server did not start: port 8080"),
        (RUN + SERVES + RUN + SERVES + ABORTS, "llama-server crashed: n > 0"),
        (RUN + NO_CACHE + RUN + SERVES, "the last start went well; in run 1 of 2, llama-server: its context falls short"),
        ("llama-server: error while loading shared libraries: libllama.so: cannot open shared object file\n", "llama-server"),
    ],
    ids=["healthy", "mid load", "crashed", "not started", "better later", "worse later", "no cache, then served", "no program"],
)
def test_the_first_line_is_the_verdict(tmp_path: Path, log: str, first: str) -> None:
    """About the last run first; an earlier one is said to be earlier. Its mark says how bad it is."""
    mark, _, said = " ".join(" ".join(told(tmp_path, log)).split()).partition(" ")
    assert mark in ("●", "✓", "✗")
    assert said.startswith(first)


def test_why_stands_before_what_to_do_and_that_before_the_lines_that_show_it(tmp_path: Path) -> None:
    text = "\n".join(told(tmp_path, RUN + SERVES + ABORTS))

    assert 0 < text.index("  Cause") < text.index("  Fix") < text.index("  Log  ") < text.index("What the files do not show")
    assert "(aborted.count" not in text


def test_a_healthy_log_gets_few_and_narrow_lines(tmp_path: Path) -> None:
    """Not one line of answer and 23 of signal names, up to 251 columns wide."""
    lines = told(tmp_path, RUN + SERVES)

    assert len(lines) <= 9
    assert max(map(len, lines)) <= 80
    assert lines[2] == "What the files do not show:"


def test_a_healthy_log_says_how_fast_answers_came_and_claims_nothing_of_them(tmp_path: Path) -> None:
    timing = "       eval time =    4000.00 ms /     2 tokens ( 2000.00 ms per token,     0.50 tokens per second)\n"
    said = " ".join(" ".join(told(tmp_path, RUN + SERVES + timing)).split())

    assert "answers came at 0.5 tokens/s; whether they are right, and as fast as they could be, no log shows" in said


def test_only_what_would_settle_something_is_asked_for() -> None:
    """The three that most rules lack, the most useful first, with the rules by name."""
    other, more = {"a": gaps.NO_KERNEL_LOG, "b": gaps.LIVE}, {"a": gaps.DETAIL}
    unknown = {f"rule-{n}": {"a": gaps.ARGV} for n in range(6)} | {"other": other, "more": more}

    assert [(rules, more) for _, rules, more in settling(unknown)] == [
        (["rule-0", "rule-1", "rule-2", "rule-3"], 2),
        (["other"], 0),
        (["more"], 0),
    ]
    assert settling({"window": {"a": Unknown("none in the last 60 s")}}) == []


def test_no_span_of_time_is_named_of_a_log_without_times(tmp_path: Path) -> None:
    refused = "srv    send_error: task id = {}, error: request (9021 tokens) exceeds the available context size (8192 tokens)\n"
    text = " ".join(" ".join(told(tmp_path, RUN + SERVES + "".join(refused.format(n) for n in (4, 6, 8, 10)))).split())

    assert "4 requests failed or were truncated" in text
    assert "15 min" not in text
