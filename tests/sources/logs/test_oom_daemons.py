"""What systemd-oomd and earlyoom say reaches the engine; nothing is started where neither runs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from sentinel.model.entity import HOST
from sentinel.model.reading import LogLines, Reading
from sentinel.sources.base import NotHere
from sentinel.sources.logs.oom_daemons import UNITS, OomDaemons

LINE = "Killed /ai.slice/llama.service due to memory pressure for /ai.slice being 72.00% > 60.00% for > 20s with reclaim activity"


def journalctl(folder: Path) -> str:
    record = {"__CURSOR": "c", "__REALTIME_TIMESTAMP": "1700000000000000", "MESSAGE": LINE, "_SYSTEMD_UNIT": UNITS[0]}
    (folder / "out").write_text(json.dumps(record) + "\n")
    script = folder / "journalctl"
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {folder}/argv\ncat {folder}/out\nexec sleep 60\n')
    script.chmod(0o755)
    return str(script)


async def first(source: OomDaemons) -> Reading:
    found: asyncio.Queue[Reading] = asyncio.Queue()
    task = asyncio.create_task(source.run(found.put, lambda: 0.0))
    got = asyncio.create_task(found.get())
    try:
        await asyncio.wait((task, got), timeout=20, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        return got.result()
    finally:
        got.cancel()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_their_messages_are_read_and_nobody_elses(tmp_path: Path) -> None:
    running = tmp_path / "units"
    running.mkdir()
    (running / f"invocation:{UNITS[0]}").symlink_to("0123")
    reading = asyncio.run(first(OomDaemons(program=journalctl(tmp_path), running=running)))
    assert isinstance(reading, LogLines)
    assert (reading.entity, reading.kind, reading.data, reading.at) == (HOST, "systemd", LINE.encode() + b"\n", 1.7e9)
    matches = (tmp_path / "argv").read_text().split("\n")
    assert "_SYSTEMD_UNIT=systemd-oomd.service" in matches
    assert "_SYSTEMD_UNIT=earlyoom.service" in matches


def test_where_neither_runs_no_journalctl_is_started(tmp_path: Path) -> None:
    source = OomDaemons(program=journalctl(tmp_path), running=tmp_path / "none")
    with pytest.raises(NotHere):
        asyncio.run(first(source))
    assert not (tmp_path / "argv").exists()
