"""What stands around a message is taken off, whoever put it there, and nothing makes it fail."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sentinel.engine.log.envelope import Envelope, bare, elapsed_of, strip

_AT = datetime(2026, 11, 23, 16, 5, 12, tzinfo=UTC).timestamp()
_READY = "srv  llama_server: model loaded"
_STAMPED = f"0.00.372.203 I {_READY}"


def _envelope(
    message: str, elapsed: float | None = None, wall: float | None = None, level: str | None = None, port: int | None = None
) -> Envelope:
    return Envelope(elapsed, wall, level, port, message, False)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("main: model loaded", _envelope("main: model loaded")),
        ("main: model loaded\n", _envelope("main: model loaded")),
        (" llama_model_load: error", _envelope("llama_model_load: error")),
        ("  Device 0: an RTX", _envelope("  Device 0: an RTX")),
        ("main: model loaded\r\n", _envelope("main: model loaded")),
        (_STAMPED, _envelope(_READY, 0.372203, None, "I")),
        ("738.24.845.437 W x", _envelope("x", 738 * 60 + 24.845437, None, "W")),
        ("0.00.000.664 I ", _envelope("", 0.000664, None, "I")),
        ("0.00.000.664 I", _envelope("", 0.000664, None, "I")),
        ("0.01.000.000 text of level none", _envelope("text of level none", 1.0)),
        ("[ 8081] " + _STAMPED, _envelope(_READY, 0.372203, None, "I", 8081)),
        ("[54697] AMX is not ready to be used!", _envelope("AMX is not ready to be used!", port=54697)),
        ("[99999] x", _envelope("[99999] x")),
        (
            "Error: 500 Internal Server Error: llama runner process has terminated: error loading model: unknown model "
            "architecture: 'mllama'",
            _envelope("error loading model: unknown model architecture: 'mllama'"),
        ),
        (
            'time=2026-11-23T16:05:12Z level=ERROR source=sched.go:457 msg="error loading llama server" error="llama runner '
            'process has terminated: exit status 2 cudaMalloc failed: out of memory\\nggml_gallocr_reserve_n: failed"',
            _envelope("cudaMalloc failed: out of memory", None, _AT, "E"),
        ),
        (
            "Error: llama runner process has terminated: exit status 2",
            _envelope("Error: llama runner process has terminated: exit status 2"),
        ),
        (
            "\x1b[34m0.00.000.573\x1b[0m \x1b[32mI \x1b[0mbuild: 6170 (c37132b)",
            _envelope("build: 6170 (c37132b)", 0.000573, None, "I"),
        ),
        ("\x1b[0mllama_model_load: x", _envelope("llama_model_load: x")),
        (
            "\x1b[0m\x1b[34m0.00.043.040\x1b[0m \x1b[35mW srv  llama_server: x\x1b[0m",
            _envelope("srv  llama_server: x", 0.04304, None, "W"),
        ),
        ("←[0mllama_model_load: x←[0m", _envelope("llama_model_load: x")),
        (f"Nov 23 16:05:12 host llama-server[42]: {_STAMPED}", _envelope(_READY, 0.372203, None, "I")),
        (f"2026-11-23T16:05:12+0000 host llama-server[42]: {_STAMPED}", _envelope(_READY, 0.372203, _AT, "I")),
        (f"2026-11-23T16:05:12 host llama-server[42]: {_STAMPED}", _envelope(_READY, 0.372203, None, "I")),
        (f"llama-1  | {_STAMPED}", _envelope(_READY, 0.372203, None, "I")),
        (f"[llama-cpp] | {_STAMPED}", _envelope(_READY, 0.372203, None, "I")),
        ("[ERROR] | not a name", _envelope("[ERROR] | not a name", None, None, None)),
        (f"llama-1  | 2026-11-23T16:05:12.000000000Z {_STAMPED}", _envelope(_READY, 0.372203, _AT, "I")),
        (f"2026-11-23T16:05:12.000000000Z stderr F {_STAMPED}", _envelope(_READY, 0.372203, _AT, "I")),
        (
            json.dumps({"log": _STAMPED + "\n", "stream": "stderr", "time": "2026-11-23T16:05:12Z"}),
            _envelope(_READY, 0.372203, _AT, "I"),
        ),
        (
            json.dumps({"__REALTIME_TIMESTAMP": str(int(_AT * 1e6)), "PRIORITY": "6", "MESSAGE": _STAMPED}),
            _envelope(_READY, 0.372203, _AT, "I"),
        ),
        (
            json.dumps({"MESSAGE": list(f"\x1b[0m{_READY}".encode()), "__REALTIME_TIMESTAMP": str(int(_AT * 1e6))}),
            _envelope(_READY, wall=_AT),
        ),
        (
            json.dumps({"type": "log", "time": 372203, "level": "warn", "msg": _READY + "\n"}),
            _envelope(_READY, 0.372203, None, "W"),
        ),
        (json.dumps({"type": "log", "time": 1, "level": "cont", "msg": "."}), _envelope(".", 1e-6)),
        (
            json.dumps({"function": "main", "level": "INFO", "line": 2, "msg": "model loaded", "timestamp": int(_AT)}),
            _envelope("model loaded", wall=_AT, level="I"),
        ),
        (
            json.dumps({"function": "initialize", "level": "INFO", "msg": "new slot", "n_ctx_slot": 2048, "slot_id": 0}),
            _envelope("new slot | n_ctx_slot=2048 slot_id=0", level="I"),
        ),
        (
            '{"timestamp":1745071171,"level":"INFO","function":"initialize","message":"initializing slots","n_slots":1}',
            _envelope("initializing slots | n_slots=1", wall=1745071171.0, level="I"),
        ),
        (
            f' ERR [            update_slots] failed to decode | tid="140" timestamp={int(_AT)} ret=1',
            _envelope("failed to decode | ret=1", wall=_AT, level="E"),
        ),
        # a machine called srv; Jan's own log, of which the time and the level stand on lines of their own
        (f"Feb 17 10:05:39 srv llama[1402]: {_READY}", _envelope(_READY)),
        (f"[llamacpp-router stdout] [52717] {_STAMPED}", _envelope(_READY, 0.372203, None, "I", 52717)),
        # Docker Model Runner's file
        (f"[2025-05-02T09:12:40.500000000Z] {_STAMPED}", _envelope(_READY, 0.372203, 1746177160.5, "I")),
        (f"2026-09-10 21:30:10.433 [Info] (Process) {_STAMPED}", _envelope(_READY, 0.372203, None, "I")),
        (
            f"Apr 12 13:01:00 host lemond[314843]: 2026-04-12 13:01:00.409 [Info] (Process) {_STAMPED}",
            _envelope(_READY, 0.372203, None, "I"),
        ),
        (f"[stdout] {_READY}", _envelope(_READY)),
        (
            f"[2026-07-06][19:20:52][tauri_plugin_llamacpp::router][INFO] [llamacpp-router] [ 8081] {_STAMPED}",
            _envelope(_READY, 0.372203, None, "I", 8081),
        ),
        (f"[2026-07-06][19:20:52][tauri_plugin_llamacpp::commands][INFO] [llamacpp] {_READY}", _envelope(_READY)),
        (f"20250430 21:55:01.443740 UTC 8354 ERROR {_READY}", _envelope(_READY)),
        (f"20250430 21:55:01.443740 UTC 8354 INFO  {_READY}", _envelope(_READY)),
        (f"[CORTEX]::Error: {_READY}", _envelope(_READY)),
        (f"[NITRO]::Debug: {_READY}", _envelope(_READY)),
        (f"[1707487639] {_READY}", _envelope(_READY)),
        (f" 1.03.372.203 W {_READY}", _envelope(_READY, 63.372203, None, "W")),
        (
            f"Jul 06 19:20:52 desk jan[77]: [2026-07-06][19:20:52][tauri_plugin_llamacpp::commands][INFO] [llamacpp] {_READY}",
            _envelope(_READY),
        ),
        (
            "\u2806     1.295 s   Starting...2026-08-23T05:24:40.123456Z  WARN llama_cpp_server::supervisor: "
            "crates\\llama-cpp-server\\src\\supervisor.rs:124: " + _READY,
            _envelope(_READY, wall=1_787_462_680.123456),
        ),
        (
            "WARN llama_cpp_server::supervisor: crates/llama-cpp-server/src/supervisor.rs:111: <embedding>: " + _READY,
            _envelope(_READY),
        ),
        (f"5:02PM DBG GRPC(phi-2-127.0.0.1:36571): stderr {_READY}", _envelope(_READY)),
        (f"DEBUG:    LLAMA SERVER GPU: {_READY}", _envelope(_READY)),
        (f"INFO:     LLAMA SERVER: {_READY}", _envelope(_READY)),
        ("kernel: Out of memory: Killed process 7 (x)", _envelope("Out of memory: Killed process 7 (x)")),
        ("Nov 09 08:41:43 kernel: amdgpu 0000:c5:00.0: x", _envelope("amdgpu 0000:c5:00.0: x")),
        (f'INFO [  main] model loaded | tid="140" timestamp={int(_AT)}', _envelope("model loaded", wall=_AT, level="I")),
        (
            f'INFO [  main] build info | tid="140" timestamp={int(_AT)} build=3579 commit="ab"',
            _envelope('build info | build=3579 commit="ab"', wall=_AT, level="I"),
        ),
        (
            'time=2026-11-23T16:05:12Z level=WARN source=server.go:1 msg="gpu \\"x\\" gone"',
            _envelope('gpu "x" gone', wall=_AT, level="W"),
        ),
        ("[ 5121.100001] llama-server invoked oom-killer: x", _envelope("llama-server invoked oom-killer: x")),
        (
            "[Fri Apr 17 19:56:43 2026] amdgpu 0000:65:00.0: amdgpu: MODE2 reset",
            _envelope("amdgpu 0000:65:00.0: amdgpu: MODE2 reset"),
        ),
        ("[  +9.002503] amdgpu: qcm fence", _envelope("amdgpu: qcm fence")),
        ("6,24119,43460234301,-;amdgpu: GPU reset begin!", _envelope("amdgpu: GPU reset begin!")),
        ("Nov 14 15:23:48 old kernel: [337631.991237] Killed process 3 (sh)", _envelope("Killed process 3 (sh)")),
        ("Sep 30 15:31:44 amdgpu 0000:03:00.0: amdgpu: x", _envelope("amdgpu 0000:03:00.0: amdgpu: x")),
        ("Nov 23 16:05:12 slot print_timing: id  0 | x", _envelope("slot print_timing: id  0 | x")),
    ],
)
def test_a_known_envelope_is_taken_off(line: str, expected: Envelope) -> None:
    assert strip(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        "slot print_timing: id  3 | task 0 |        eval time =  1 ms",
        '{%- for message in messages -%} {"x": 1}',
        '{"type":"fit_memory_breakdown","data":{"rows":[]}}',
        '{"error":{"code":500}}',
        "I am a line of a chat template",
        "       eval time =     566.50 ms /    40 tokens",
        "..............",
        "",
        "llm_load_print_meta: general.name     = a | b",
    ],
)
def test_what_is_no_envelope_stays(line: str) -> None:
    assert strip(line) == _envelope(line)


@pytest.mark.parametrize(
    ("line", "private"),
    [
        ('srv    operator(): got exception: {"error":{"message":"secret"}}', True),
        ("common_chat_peg_parse: unparsed Content-only output: secret", True),
        ("0.00.1 text", False),
        ("0.00.000.001 D slot decode token", True),
        ("srv  llama_server: model loaded", False),
    ],
)
def test_lines_that_may_quote_prompts_or_answers_are_private(line: str, private: bool) -> None:
    assert strip(line).private is private


@given(st.text(alphabet=st.characters()))
@example("[" * 70000)
@example('{"a":' * 30000)
@example('{"MESSAGE":[1,999]}')
@example('{"MESSAGE":"\\ud800"}')
@example('{"type":"log","time":1e999,"level":"info","msg":""}')
@example('{"type":"log","time":true,"level":[],"msg":{}}')
@example('{"level":"INFO","msg":"x","timestamp":' + "9" * 5000 + "}")
@example("9999-99-99T99:99:99Z host x: y")
@example("2026-11-23T16:05:12+99:99 host x: y")
def test_no_text_makes_it_fail(line: str) -> None:
    found = strip(line)
    assert not found.message.endswith(("\n", "\r"))
    found.message.encode("utf-8", "replace")


_PREFIXES = [
    "",
    "Nov 23 16:05:12 host unit[1]: ",
    "llama-1  | ",
    "[ 8081] ",
    "\x1b[0m",
    "0.00.372.203 I ",
    "[12345.678901] ",
    "x y",
    "{",
    "[",
]


@given(st.lists(st.sampled_from(_PREFIXES), max_size=4).map("".join), st.text(max_size=30))
def test_the_message_of_a_plain_line_is_a_part_of_it(prefix: str, text: str) -> None:
    line = (prefix + text).replace("\n", " ").replace("\r", " ")
    found = strip(line)
    if not line.lstrip("\x1b[0m").startswith(("{", "INFO", "time=")) and '{"' not in line:
        assert found.message in line


@given(
    st.sampled_from(
        ["main: model loaded", _READY, "load_tensors: offloaded 5/5 layers to GPU", "  - ROCm0   : AMD (1 MiB, 1 MiB free)"]
    )
)
def test_a_message_once_stripped_stays_the_same(message: str) -> None:
    assert strip(strip(f"Nov 23 16:05:12 host unit[1]: [ 8081] 0.00.372.203 I {message}").message).message == message


@pytest.mark.parametrize(
    "hostile",
    [
        "\x1b[0m" * 16000 + "xm",
        "[" * 65000,
        " " * 65000 + "m",
        "a" * 65000 + " | x",
        ' | tid="' * 9000,
        "INFO [ " + "a " * 30000,
        "<" * 65000,
    ],
)
def test_a_hostile_line_of_64_kb_costs_milliseconds(hostile: str) -> None:
    begin = time.process_time()
    strip(hostile)
    assert time.process_time() - begin < 0.25


_PIECES = [
    "0.00.372.203 I ",
    "0.00.372.203 ",
    "12.59.999.999 W",
    "[ 8081] ",
    "llama-1  | ",
    "| ",
    "time=",
    "\x1b[0m",
    "←[34m",
    "srv  x",
    "m",
]
_PIECES += ["m", " ", ".", "{", "٣.00.372.203 I ", "Nov 23 16:05:12 ", "é", "Ünit | ", "<6>", "é | 0.00.372.203 I x", "\t"]


@given(st.lists(st.one_of(st.sampled_from(_PIECES), st.text(max_size=6)), max_size=6).map("".join))
@example("")
@example("a  | m")
@example("0.00.372.203 I")
@example(" 0.00.372.203 I x")
def test_the_short_way_gives_what_the_long_way_gives(line: str) -> None:
    """Where the message is taken from the bytes, nothing but llama-server's own stamp stood before it."""
    line = line.encode("utf-8", "replace").decode().replace("\n", " ")
    found = bare(line.encode())
    if found is not None:
        message, stamp = found
        elapsed = None if stamp is None else elapsed_of(stamp)
        whole = strip(line)
        assert (message.decode(), None, None, elapsed) == (whole.message, whole.port, whole.wall, whole.elapsed)


def test_most_lines_take_the_short_way(logs_blob: bytes) -> None:
    """Else it would not be worth its lines."""
    lines = logs_blob.splitlines()
    assert sum(bare(line) is not None for line in lines) > 0.8 * len(lines)


def test_docker_model_runner_logs_each_line_as_a_record_of_its_own() -> None:
    found = strip('time=2026-07-22T10:00:00.000Z level=INFO msg="0.00.041.907 I srv  load_model: loading" component=llama.cpp')
    assert (found.message, found.level, found.elapsed) == ("srv  load_model: loading", "I", 0.041907)
    assert found.wall == 1784714400.0
