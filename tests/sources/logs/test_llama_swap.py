"""The stream of llama-swap, from a server that answers as its source does (internal/server/log.go), or not as it does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from sentinel.model.entity import Entity
from sentinel.model.input_limits import MOST_SWAP_ANSWER
from sentinel.model.reading import LogLines, Reading
from sentinel.sources.base import SourceFault
from sentinel.sources.logs import llama_swap
from sentinel.sources.logs.llama_swap import LlamaSwapLog

MINE = Entity("server", "127.0.0.1:5801")
RUNNING = {"running": [{"model": "other", "proxy": "http://localhost:5800"}, {"model": "a b", "proxy": "http://localhost:5801"}]}
READY = b"srv  llama_server: listening on http://127.0.0.1:5801\n"

Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


def body(status: int, data: bytes) -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data


def running(answer: object, stream: bytes = b"") -> tuple[Answer, list[str]]:
    """Answers /running, and every other path with `stream`; the paths that were asked for."""
    asked: list[str] = []

    async def reply(path: str, writer: asyncio.StreamWriter) -> None:
        asked.append(path)
        writer.write(body(200, json.dumps(answer).encode() if path == "/running" else stream))

    return reply, asked


async def _read(answer: Answer) -> tuple[list[LogLines], SourceFault]:
    """What the source puts until it ends, and why it ended."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await answer(head.split()[1].decode(), writer)
        await writer.drain()
        writer.close()

    found: list[LogLines] = []

    async def put(reading: Reading) -> None:
        assert isinstance(reading, LogLines)
        found.append(reading)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(SourceFault) as fault:
            await LlamaSwapLog(port, 5801, MINE, name="llama-swap").run(put, lambda: 1.0)
    return found, fault.value


def read(answer: Answer) -> tuple[list[LogLines], SourceFault]:
    return asyncio.run(_read(answer))


def test_the_lines_of_the_model_on_this_port_are_read_and_what_was_kept_is_backlog() -> None:
    answer, asked = running(RUNNING, READY)
    found, fault = read(answer)
    assert asked == ["/running", "/logs/stream/a%20b"]
    assert [(one.entity, one.data, one.backlog) for one in found] == [(MINE, READY, True)]
    assert "ended the stream" in fault.why


def test_where_nothing_runs_what_is_kept_of_all_is_its_own() -> None:
    answer, asked = running({"running": []}, READY)
    found, _ = read(answer)
    assert asked[1] == "/logs/stream/upstream"
    assert [one.data for one in found] == [READY]


def test_another_port_is_another_server() -> None:
    answer, asked = running({"running": [{"model": "other", "proxy": "http://localhost:5800"}]}, READY)
    found, fault = read(answer)
    assert (found, asked) == ([], ["/running"])
    assert "names no model with a server on port 5801" in fault.why


@pytest.mark.parametrize("answer", [[], {}, {"running": 7}, {"running": [3]}, "x" * (MOST_SWAP_ANSWER + 9)])
def test_what_is_no_answer_of_llama_swap_is_one_sentence(answer: object) -> None:
    reply, _ = running(answer)
    found, fault = read(reply)
    assert found == []
    assert "not as llama-swap does" in fault.why


@pytest.mark.parametrize(("status", "words"), [(401, "wants an API key"), (404, "answers 404 to /running")])
def test_a_refusal_is_named(status: int, words: str) -> None:
    async def refuse(_path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(body(status, b"no"))

    assert words in read(refuse)[1].why


def test_a_port_that_takes_the_request_and_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_swap, "_ANSWER_SECONDS", 0.05)

    async def silent(_path: str, writer: asyncio.StreamWriter) -> None:
        await asyncio.wait_for(asyncio.Event().wait(), 5)

    async def tried() -> SourceFault:
        async with asyncio.timeout(3):
            return (await _read(silent))[1]

    assert "no answer in time" in asyncio.run(tried()).why
