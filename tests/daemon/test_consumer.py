"""The consumer shares the loop, so that a flood of readings keeps nobody waiting; and it says when a server starts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from sentinel.api.event_stream import Broadcaster
from sentinel.api.turns import LOOP_TURNS
from sentinel.daemon import consumer as module
from sentinel.daemon.clock import Clock
from sentinel.daemon.consumer import Consumer
from sentinel.daemon.inbox import Inbox
from sentinel.daemon.log_followers import Logs
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.history import History
from sentinel.model.entity import Entity
from sentinel.model.reading import LogLines, Tick
from sentinel.sinks import Outbox


def test_a_start_that_a_log_reports_has_its_process_looked_for(ruleset: RuleSet, tmp_path: Path) -> None:
    """One that fails may live for less than a second, between two scans. What a log held before the daemon read it is no news."""
    server = Entity("server", "llama.service")
    start = b"0.00.043.051 I cmn  common_param: common_params_print_info: verbosity = 3 (adjust with the `-lv N` CLI arg)\n"
    looked: list[float] = []

    async def story() -> None:
        clock, inbox, history = Clock(), Inbox(), History(None)
        logs = SimpleNamespace(positions={}, cursors={}, in_midst=set(), restore=lambda _positions, _cursors: None)
        ticks: list[str] = []
        one = Consumer(
            ruleset, inbox, history, Outbox([], history), Broadcaster(), cast(Logs, logs), clock, lambda: ticks.append("x"),
            started=lambda: looked.append(one.engine.intake.lines_read),
        )  # fmt: skip
        inbox.offer(LogLines(clock.now(), "server.log", server, start, backlog=True))
        inbox.offer(LogLines(clock.now(), "server.log", server, b"0.01.000.000 I srv  update_slots: all slots are idle\n"))
        inbox.offer(LogLines(clock.now(), "server.log", server, start + start))
        inbox.offer(Tick(clock.now()))
        task = asyncio.create_task(one.run())
        while not ticks:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())
    assert looked == [4]


def test_others_get_their_turn_between_the_readings_of_one_batch(
    ruleset: RuleSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every reading longer than the slice."""
    monkeypatch.setattr(module, "_SLICE", -1.0)
    taken: list[str] = []

    async def story() -> None:
        clock, inbox, history = Clock(), Inbox(), History(tmp_path / "history.sqlite")
        logs = SimpleNamespace(positions={}, cursors={}, in_midst=set(), restore=lambda _positions, _cursors: None)
        one = Consumer(
            ruleset, inbox, history, Outbox([], history), Broadcaster(), cast(Logs, logs), clock, lambda: taken.append("reading")
        )
        for _ in range(5):
            inbox.offer(Tick(clock.now()))
        task = asyncio.create_task(one.run())
        while taken.count("reading") < 5:
            await asyncio.sleep(0)
            taken.append("other")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())

    first = taken.index("reading")
    turn = ["reading", *["other"] * LOOP_TURNS]
    assert taken[first:][: 4 * len(turn) + 1] == [*turn * 4, "reading"]
