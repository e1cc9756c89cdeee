"""Asking how far the slots are: answers of every era, refusals, and what counts as standing still."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sentinel.llama.command_line import decode
from sentinel.model.entity import Entity, Unknown, Value
from sentinel.model.reading import Samples
from sentinel.sources.processes.cgroup import parse as parse_cgroup
from sentinel.sources.processes.log_source import LogSource
from sentinel.sources.processes.server_process import ServerProcess
from sentinel.sources.server.slots import LlamaSlots, Slots, parse


def slot(task: int, decoded: int, *, busy: bool = True, processed: int = 100) -> dict[str, Any]:
    """A slot as b10434 shows it."""
    return {
        "id": 0,
        "id_task": task,
        "n_ctx": 1000,
        "is_processing": busy,
        "n_prompt_tokens": 100,
        "n_prompt_tokens_processed": processed,
        "next_token": [{"n_decoded": decoded}],
    }


def process(host: str = "127.0.0.1", pid: int = 7) -> ServerProcess:
    requested = decode(["llama-server", "-m", "x.gguf", "--port", "8080", "--host", host], {})
    log = LogSource("none", "", why="")
    return ServerProcess(pid, 1, 1.0, Entity("server", "x"), requested, parse_cgroup(""), log, None, 1, requested.signals())


class Asked:
    """Stands in for the server: gives the answers in turn, and notes what was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: tuple[int, Any]) -> None:
        self.paths: list[str] = []
        self._answers = list(answers)
        monkeypatch.setattr("sentinel.sources.server.slots.get_all", self.get_all)
        self.source = LlamaSlots(lambda: [process()])

    def get_all(self, targets: Sequence[tuple[str, int, str]]) -> list[tuple[int, Any]]:
        self.paths += [path for _, _, path in targets]
        return [self._answers.pop(0) for _ in targets]

    def at(self, when: float) -> dict[str, Value | Unknown]:
        (reading,) = self.source.poll(when)
        assert isinstance(reading, Samples)
        return dict(reading.values)


@pytest.mark.corpus
def test_recorded_answers_of_idle_servers(corpus: Path) -> None:
    files = sorted((corpus / "logs").glob("*.slots.json"))
    assert len(files) > 3
    for file in files:
        found = parse((200 if isinstance(json.loads(file.read_text()), list) else 501, json.loads(file.read_text())))
        assert isinstance(found, Unknown) or (found.busy, found.fill) == (0, 0.0), file.name


def test_the_fullest_working_slot_counts() -> None:
    idle = slot(3, 900, busy=False)
    assert parse((200, [slot(1, 50), slot(2, 650), idle])) == Slots(2, 0.75, ((0, 1, 100, 50), (0, 2, 100, 650)))


def test_a_table_of_2025_and_a_state_of_2024_are_understood() -> None:
    assert parse((200, [{"id": 0, "n_ctx": 512, "state": 1, "id_task": 4, "next_token": {"n_decoded": 128}}])) == Slots(
        1, 0.25, ((0, 4, 0, 128),)
    )


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (401, {}, "API key"),
        (501, {"error": {"code": 501}}, "turned off"),
        (404, {}, "turned off"),
        (503, {}, "loading"),
        (0, None, "not answered within a second"),
        (200, {}, "nothing of use"),
        (200, [], "nothing of use"),
        (200, [1] * 5000, "nothing of use"),
    ],
)
def test_a_refusal_is_unknown_and_says_why(status: int, body: object, why: str) -> None:
    found = parse((status, body))
    assert isinstance(found, Unknown)
    assert why in str(found)


def test_no_prompt_goes_further(monkeypatch: pytest.MonkeyPatch) -> None:
    """b395x and b617x put it into the answer."""
    asked = Asked(monkeypatch, (200, [{**slot(1, 5), "prompt": "my secret"}]))
    assert "secret" not in str(asked.at(1.0))
    assert asked.paths == ["/slots"]


def test_a_slot_stalls_from_its_last_token_on(monkeypatch: pytest.MonkeyPatch) -> None:
    same = (200, [slot(1, 5)])
    asked = Asked(monkeypatch, same, same, same, (200, [slot(1, 6)]), (200, [slot(1, 6)]))
    told = [asked.at(when)["server.stalled_seconds"] for when in (10.0, 15.0, 140.0, 145.0, 150.0)]
    assert told == [0.0, 5.0, 130.0, 0.0, 5.0]


def test_a_prompt_that_is_read_is_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch, (200, [slot(1, 0, processed=512)]), (200, [slot(1, 0, processed=1024)]))
    assert [asked.at(when)["server.stalled_seconds"] for when in (10.0, 15.0)] == [0.0, 0.0]


def test_an_idle_server_never_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    idle = (200, [slot(1, 5, busy=False)])
    asked = Asked(monkeypatch, idle, idle)
    assert [asked.at(when)["server.stalled_seconds"] for when in (10.0, 500.0)] == [0.0, 0.0]


def test_silence_after_work_is_no_progress_and_silence_before_it_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    silent: tuple[int, Any] = (0, None)
    asked = Asked(monkeypatch, silent, (200, [slot(1, 5)]), silent)
    assert isinstance(asked.at(10.0)["server.stalled_seconds"], Unknown)
    assert asked.at(15.0)["server.stalled_seconds"] == 0.0
    later = asked.at(200.0)
    assert later["server.stalled_seconds"] == 185.0
    assert isinstance(later["server.slots_busy"], Unknown)


def test_silence_of_an_idle_server_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch, (200, [slot(1, 5, busy=False)]), (0, None))
    asked.at(10.0)
    assert isinstance(asked.at(200.0)["server.stalled_seconds"], Unknown)


@pytest.mark.parametrize("host", ["10.0.0.1", "example.org", "/run/x.sock"])
def test_only_the_loopback_is_asked(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    asked = Asked(monkeypatch)
    assert LlamaSlots(lambda: [process(host)]).poll(1.0) == []
    assert asked.paths == []
