"""`sentinel diagnose` as a program: what it prints for people and for programs, its exit codes, and every bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from places import REPO

from sentinel.cli.diagnose import asked_for

Done = subprocess.CompletedProcess[bytes]


def diagnose(*arguments: str, given: bytes | None = None) -> Done:
    command = [sys.executable, "-m", "sentinel", "diagnose", *arguments]
    return subprocess.run(command, input=given, capture_output=True, timeout=60, check=False)


def objects(done: Done) -> list[dict[str, object]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


REFUSED = (
    b"0.00.041.907 I cmn  common_param: common_params_print_info: verbosity = 3 (adjust with the `-lv N` CLI arg)\n"
    b"0.14.771.128 I srv    load_model: initializing, n_slots = 1, n_ctx_slot = 4096, kv_unified = 'false'\n"
    b"2.00.101.100 E srv    send_error: task id = 0, error: request (6885 tokens) exceeds the available context size "
    b"(4096 tokens), try increasing it\n"
)


def test_one_refused_request_is_no_fault_and_has_a_line() -> None:
    done = diagnose("-", given=REFUSED)
    assert b"no failure is named" in done.stdout
    said = " ".join(done.stdout.decode().split())
    assert "for information: 1 request was refused because of the size, and the client got the error: -:3: srv" in said
    assert done.returncode == 0
    (last,) = objects(diagnose("-", "--json", given=REFUSED))
    assert [(one["times"], one["n"]) for one in last["refused"]] == [(1, 3)]  # type: ignore[attr-defined]


class TestJson:
    @pytest.mark.corpus
    def test_one_transition_a_line_and_last_what_could_not_be_judged(self, corpus: Path) -> None:
        done = diagnose(str(corpus / "logs/b11434-kvfail.log"), "--json")
        *transitions, last = objects(done)

        assert done.returncode == 2, "it does not start"
        assert [(t["rule"], t["state"]) for t in transitions] == [("context-collapse", "pending"), ("context-collapse", "firing")]
        keys = {"at", "rule", "state", "previous", "reason", "severity", "entity", "fingerprint", "summary", "cause", "fixes"}
        assert keys | {"evidence"} <= set(transitions[-1])
        assert transitions[-1]["at"] is None
        assert list(last) == ["unknown", "starts", "verdict", "runs"]
        assert [start["came_to"] for start in last["starts"]] == ["failed"]  # type: ignore[attr-defined]
        assert {"rule": "load-oom", "missing": ["event oom_killed"]} in list(last["unknown"])  # type: ignore[call-overload]

    @pytest.mark.corpus
    def test_evidence_names_file_and_line(self, corpus: Path) -> None:
        path = corpus / "logs/b10434-overtrain.log"
        firing = objects(diagnose(str(path), "--json"))[-2]
        lines = [piece for piece in firing["evidence"] if "line" in piece]  # type: ignore[attr-defined]
        log = path.read_text().splitlines()

        assert lines
        assert all(piece["source"] == str(path) and piece["line"] in log[piece["n"] - 1] for piece in lines)

    @pytest.mark.corpus
    def test_standard_input_is_a_dash(self, corpus: Path) -> None:
        path = corpus / "logs/b617x-shift.log"
        piped = objects(diagnose("-", "--json", given=path.read_bytes()))
        named = objects(diagnose(str(path), "--json"))

        assert [t.get("summary") for t in piped] == [t.get("summary") for t in named]


class TestExitCodes:
    @pytest.mark.corpus
    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            (["b10434-default.log"], 0),
            (["b617x-shift.log"], 1),
            (["b10434-oom-mlock-memcg.log", "--kernel-log", "b10434-oom-mlock-memcg.kmsg"], 2),
            (["b617x-default.log", "--argv", "llama-server -m moe.gguf -ngl 99 -c 512"], 2),
        ],
    )
    def test_they_report_the_worst_that_was_found(self, corpus: Path, arguments: list[str], code: int) -> None:
        done = diagnose(*(str(corpus / "logs" / word) if word.startswith("b") else word for word in arguments))

        assert done.returncode == code, done.stderr
        assert done.stderr == b""

    @pytest.mark.corpus
    def test_people_read_what_is_wrong_why_and_what_to_do(self, corpus: Path) -> None:
        text = diagnose(str(corpus / "logs/b10434-overtrain.log")).stdout.decode()

        assert text.startswith("● ")
        assert "the model was trained for 2048 tokens" in " ".join(text.split())
        assert "-c 2048" in text
        assert "What the files do not show:" in text
        assert "\x1b" not in text


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["/nowhere/server.log"], "/nowhere/server.log cannot be read: No such file or directory"),
            (["/"], "/ is a folder: name the log file in it"),
            (["/proc/self/mem"], "/proc/self/mem cannot be read: Input/output error"),
            (["/nowhere/\x1b[2Jx\nforged"], "/nowhere/\\x1b[2Jx\\nforged cannot be read"),
            (["-", "--kernel-log", "/nowhere/kernel"], "/nowhere/kernel cannot be read"),
            (["-", "--argv", "llama-server -m 'x"], "--argv is not a command line"),
            (["-", "--argv", ""], "--argv is empty: leave it out"),
            (["-", "--rules", "/nowhere/rules"], "/nowhere/rules: is not there"),
        ],
    )
    def test_one_sentence_and_exit_code_2(self, arguments: list[str], words: str) -> None:
        done = diagnose(*arguments, given=b"")

        assert done.returncode == 2
        assert words in done.stderr.decode()
        assert done.stderr.count(b"\n") == 1
        assert done.stdout == b""

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\0" * 4096,
            bytes(range(256)) * 4000,
            b"x" * 10_000_000,
            b'{"type":"log","msg":' * 1000,
            b"\x1b[2J\x1b]0;owned\x07\n" * 100,
            b"[" * 200_000,
            b"999999999.59.999.999 I srv  llama_server: listening on http://x\n",
        ],
        ids=["empty", "zeros", "binary", "a line of 10 MB", "broken JSON", "terminal control", "deep JSON", "absurd stamp"],
    )
    def test_what_is_no_log_is_read_to_its_end_and_said_to_be_none(self, tmp_path: Path, content: bytes) -> None:
        file = tmp_path / "file"
        file.write_bytes(content)
        done = diagnose(str(file))

        known = b"listening" in content
        assert done.returncode == (0 if known else 3)
        assert done.stderr == b""
        assert b"\x1b" not in done.stdout
        assert done.stdout.decode()[2:].startswith("no failure is named" if known else "nothing can be said: ")

    def test_control_characters_of_a_log_are_escaped_in_the_evidence(self, tmp_path: Path) -> None:
        """What a driver or a file name says is not obeyed by a terminal, in text or as JSON."""
        file = tmp_path / "file"
        file.write_text(
            "ggml_cuda_init: failed to initialize ROCm: \x1b]0;owned\x07\x1b[31mno device\x9b2J\u202e\n"
            "main: server is listening on http://127.0.0.1:8080 - starting the main loop\n"
        )
        argv = ["--argv", "llama-server -m x.gguf -ngl 99"]
        text, wire = diagnose(str(file), *argv), diagnose(str(file), *argv, "--json")

        assert text.returncode == wire.returncode == 2
        assert "no device" in text.stdout.decode()
        assert not set("\x1b\x07\x9b\u202e") & set(text.stdout.decode() + wire.stdout.decode())
        assert "\x1b]0;owned" in objects(wire)[-2]["cause"]["text"]  # type: ignore[index]


def test_a_program_in_app_runs_in_the_image_of_llama_cpp() -> None:
    log = str(REPO / "eval/wild/gpuuse-03-cuda13-image-newer-driver-cdi/server.log")
    image, elsewhere = (diagnose(log, "--argv", f"{at}llama-server -m x.gguf -ngl 99", "--json").stdout for at in ("/app/", ""))
    assert b"In the container take the compat libraries out" in image
    assert b"In the container" not in elsewhere


@pytest.mark.parametrize(
    "argv",
    [
        "llama-server -m x.gguf -c 16384 -np 1",
        "LLAMA_ARG_CTX_SIZE=16384 llama-server -m x.gguf -np 1",
        "env LLAMA_ARG_CTX_SIZE=16384 LLAMA_ARG_N_PARALLEL=1 sudo -E /opt/llama-server -m x.gguf",
        "LLAMA_ARG_CTX_SIZE=16384 -m x.gguf -np 1 --alias llama-server",
        "--ctx-size=16384 -m x.gguf -np 1",
    ],
)
def test_variables_before_the_command_are_its_environment(argv: str) -> None:
    requested = asked_for(argv.split())
    assert (requested.number("ctx", 0), requested.number("slots", 0), requested.text("model")) == (16384, 1, "x.gguf")
