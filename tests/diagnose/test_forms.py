"""A log says the same in whatever form it was saved: plain, with prefixes, coloured, as JSON, from a journal or a container."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sentinel.diagnose.diagnosis import Diagnosis

Judge = Callable[..., Diagnosis]


_BEGIN = 1_795_477_214.0
_LETTER = {"I": ("\x1b[32m", "info"), "W": ("\x1b[35m", "warn"), "E": ("\x1b[31m", "error"), "D": ("\x1b[33m", "debug")}


def _level(line: str) -> str:
    return line[13:14] if line[12:13] == " " and line[13:14] in _LETTER else "I"


def _message(line: str) -> str:
    return line[15:] if line[12:13] == " " else line


def _coloured(line: str, _n: int) -> str:
    return f"\x1b[34m{line[:12]}\x1b[0m {_LETTER[_level(line)][0]}{_level(line)} \x1b[0m{_message(line)}\x1b[0m"


def _json_lines(line: str, n: int) -> str:
    return json.dumps({"type": "log", "time": n * 1000, "level": _LETTER[_level(line)][1], "msg": _message(line) + "\n"})


def _exported(line: str, n: int) -> str:
    return json.dumps(
        {
            "__CURSOR": f"s={n}",
            "__REALTIME_TIMESTAMP": str(int(_BEGIN * 1e6) + n * 1000),
            "_TRANSPORT": "stdout",
            "_SYSTEMD_UNIT": "llama.service",
            "_PID": "41",
            "MESSAGE": line,
        }
    )


def _docker(line: str, n: int) -> str:
    return json.dumps({"log": line + "\n", "stream": "stderr", "time": f"2026-11-23T16:05:{n // 30:02d}.000000000Z"})


FORMS: dict[str, Callable[[str, int], str]] = {
    "journalctl": lambda line, n: f"Nov 23 16:05:{n // 30:02d} box llama-server[41]: {line}",
    "journalctl -o short-iso": lambda line, n: f"2026-11-23T16:05:{n // 30:02d}+0000 box llama-server[41]: {line}",
    "journalctl -o json": _exported,
    "docker compose": lambda line, _n: f"llama-1  | {line}",
    "podman-compose": lambda line, _n: f"[llama] | {line}",
    "docker's json-file": _docker,
    "kubectl, CRI": lambda line, n: f"2026-11-23T16:05:{n // 30:02d}.000000000Z stderr F {line}",
    "--log-colors on": _coloured,
    "--log-jsonl": _json_lines,
    "Windows line ends": lambda line, _n: line + "\r",
    "cut out of the stamps": lambda line, _n: _message(line),
}
#: a recording of each verdict, in the form of current builds: stamp, level, message
RECORDINGS = ("b11434-shift", "b10434-overtrain", "b10434-kvfail-default", "b10434-default")


def verdict(found: Diagnosis) -> list[tuple[str, str, str]]:
    return [(t.rule, t.state, t.cause.id if t.cause else "") for t in found.transitions if t.state == "firing"]


@pytest.mark.corpus
@pytest.mark.parametrize("form", sorted(FORMS))
def test_the_verdict_does_not_depend_on_the_form(corpus: Path, judge: Judge, tmp_path: Path, form: str) -> None:
    """The same rule and cause, and as many events recognised."""
    for name in RECORDINGS:
        plain = corpus / f"logs/{name}.log"
        lines = plain.read_text(encoding="utf-8", errors="replace").splitlines()
        other = tmp_path / f"{name}.log"
        other.write_text("".join(f"{FORMS[form](line, n)}\n" for n, line in enumerate(lines)), encoding="utf-8", newline="")
        expected, got = judge(plain), judge(other)

        assert verdict(got) == verdict(expected), name
        assert got.events == expected.events, name


@pytest.mark.corpus
def test_times_are_reported_where_the_log_has_dates_and_only_there(corpus: Path, judge: Judge, tmp_path: Path) -> None:
    """A stamp counts from the start of the process: it is not a date."""
    plain = corpus / "logs/b11434-shift.log"
    dated = tmp_path / "dated.log"
    lines = plain.read_text(encoding="utf-8").splitlines()
    dated.write_text("".join(_exported(line, n) + "\n" for n, line in enumerate(lines)), encoding="utf-8")

    assert {t.at for t in judge(plain).transitions} == {None}
    assert all(t.at is not None and 0 <= t.at - _BEGIN < 60 for t in judge(dated).transitions)


@pytest.mark.corpus
def test_a_restart_forgets_what_the_run_before_taught(corpus: Path, judge: Judge, tmp_path: Path) -> None:
    """A failed start is reported once, whether a good one came before it or after it."""
    failed, good = ((corpus / f"logs/{name}.log").read_bytes() for name in ("b10434-kvfail-default", "b10434-default"))
    both = tmp_path / "both.log"
    for content in (good + failed, failed + good):
        both.write_bytes(content)
        assert verdict(judge(both)) == [("context-collapse", "firing", "kv-allocation-failed")]


@pytest.mark.corpus
def test_what_an_earlier_run_was_served_is_not_held_against_a_later_one(corpus: Path, judge: Judge, tmp_path: Path) -> None:
    """The cut context of the first run belongs to the first run: the second, with the same words, has what it asked for."""
    cut, good = ((corpus / f"logs/{name}.log").read_bytes() for name in ("b10434-overtrain", "b10434-default"))
    both = tmp_path / "both.log"
    both.write_bytes(cut + good)
    found = judge(both, "llama-server -m models/moe.gguf -c 512")

    assert verdict(found) == [("context-collapse", "firing", "capped-at-training-length")]
    assert "context-collapse" not in found.unknown


def test_what_backends_say_before_the_first_line_of_a_later_run_is_of_that_run(judge: Judge, tmp_path: Path) -> None:
    used = "load_tensors:        CUDA0 model buffer size =  1918.35 MiB"
    served = ["main: model loaded", "main: server is listening on http://0.0.0.0:8080 - starting the main loop"]
    build = "build: 5890 (982e34724) with cc (Ubuntu 22.04) 11.4.0 for x86_64-linux-gnu"
    refused = "ggml_cuda_init: failed to initialize CUDA: no CUDA-capable device is detected"
    on_cpu = "load_tensors:   CPU_Mapped model buffer size =  1918.35 MiB"
    log = tmp_path / "server.log"
    log.write_text("\n".join([build, used, *served, refused, build, on_cpu, *served]) + "\n")

    assert verdict(judge(log, "llama-server -m x.gguf -ngl 99")) == [("cpu-fallback", "firing", "cuda-finds-no-device")]
