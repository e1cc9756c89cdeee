"""The consumer shares the loop: a flood of readings keeps nobody who asks the socket waiting for its end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from sentinel.api.event_stream import Broadcaster
from sentinel.daemon import consumer as module
from sentinel.daemon.clock import Clock
from sentinel.daemon.consumer import Consumer
from sentinel.daemon.inbox import Inbox
from sentinel.daemon.log_followers import Logs
from sentinel.history import History
from sentinel.model.reading import Tick
from sentinel.rulefiles.files import load_paths, shipped
from sentinel.sinks import Outbox


def test_others_get_their_turn_between_the_readings_of_one_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every reading longer than the slice."""
    monkeypatch.setattr(module, "_SLICE", -1.0)
    ruleset, problems = load_paths([shipped()])
    assert ruleset is not None, problems
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
    assert [taken[at] for at in range(first, first + 9)] == ["reading", "other"] * 4 + ["reading"]
