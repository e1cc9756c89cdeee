"""A prefix that nobody has seen before is learned from the log; nothing else is taken for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.diagnose import front_end_prefix
from sentinel.diagnose.front_end_prefix import without_prefix
from sentinel.engine.log.extractor import Extractor
from sentinel.engine.log.match import Match

LINES = b"""\
0.00.170.001 I srv    load_model: loading model '/m/a.gguf'
0.00.180.001 I print_info: n_embd                = 256
0.00.200.000 E llama_model_load: error loading model: unknown model architecture: 'widget'
0.00.200.050 E llama_model_load_from_file_impl: failed to load model
0.00.200.100 E srv    load_model: failed to load model, '/m/a.gguf'
"""
PREFIXES = [
    "LOG 2026-11-29 12:00:0{n} runner-{n}: ",
    "[INFO] <llama#{n}.4711> ",
    "{n} 0 frontend|backend stderr: ",
    "NodeWorker(3f9ab21c{n}) - out 7 - ",
    "backend\\t{n}\\t",
    "ERROR [worker {n}] child said> ",
]


def wrapped(data: bytes, prefix: str) -> bytes:
    lines = data.decode().splitlines()
    return "\n".join(prefix.replace("\\t", "\t").replace("{n}", str(n % 10)) + line for n, line in enumerate(lines)).encode()


def found(data: bytes, extractor: Extractor) -> list[tuple[str, int]]:
    return [(match.event.name, match.line_index) for match in extractor.events(data)]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_behind_an_unknown_prefix_stands_what_stands_without_it(extractors: dict[str, Extractor], prefix: str) -> None:
    extractor = extractors["llama-server"]
    assert len(found(LINES, extractor)) >= 3
    assert found(without_prefix(wrapped(LINES, prefix), extractor), extractor) == found(LINES, extractor)


def test_a_log_of_which_a_line_is_known_stays_as_it_is(extractors: dict[str, Extractor]) -> None:
    """What a server quotes of a client is no message of the server's, however often it is quoted."""
    extractor = extractors["llama-server"]
    quoting = LINES.splitlines()[0] + b"\n" + wrapped(LINES, "srv  log_server_r: request: {n}: ")
    assert without_prefix(quoting, extractor) == quoting


def test_a_prefix_is_learned_from_several_messages_only(extractors: dict[str, Extractor]) -> None:
    extractor = extractors["llama-server"]
    once = b"somebody wrote: " + LINES.splitlines()[2] + b"\nand another: answered\n"
    assert without_prefix(once, extractor) == once
    same = b"".join(b"%d> %s\n" % (n, LINES.splitlines()[2]) for n in range(20))
    assert without_prefix(same, extractor) == same


def test_of_lines_of_any_length_only_a_head_is_copied(extractors: dict[str, Extractor], monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []
    real = Extractor.events

    def counting(self: Extractor, data: bytes) -> Iterator[Match]:
        looked_at.append(len(data))
        return real(self, data)

    monkeypatch.setattr(Extractor, "events", counting)
    monkeypatch.setattr(front_end_prefix, "_HEAD_BYTES", 1000)
    endless = b"a: b: c: d: e: f: g: h: " + b"x" * 100_000
    assert without_prefix(endless, extractors["llama-server"]) == endless
    assert max(looked_at) <= 8 * 1000


@given(st.binary(max_size=2000))
def test_whatever_comes_keeps_its_lines(extractors: dict[str, Extractor], data: bytes) -> None:
    text = data.decode("utf-8", "replace").encode()
    assert without_prefix(text, extractors["llama-server"]).count(b"\n") == text.count(b"\n")
