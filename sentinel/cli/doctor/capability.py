"""One row of `sentinel doctor`: whether sentinel can read something on this machine, and the remedy if not."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from sentinel.daemon.config import Config
from sentinel.model.reading import Reading
from sentinel.sources.base import Streaming
from sentinel.sources.fs import Roots
from sentinel.sources.processes.server_process import ServerProcess

INSTALL = "sudo make install && sudo systemctl enable --now sentinel"
JOURNAL_GROUP = "sudo usermod -aG systemd-journal $USER, then log in again; or run sentinel as a service"
#: How long a streaming source may be silent before it counts as quiet.
LISTEN_SECONDS = 2.0

#: `absent`: not present on this machine, or not needed, which is no fault.
Ability = Literal["works", "fails", "absent"]


@dataclass(frozen=True, slots=True)
class Capability:
    """`why` says what was found, in any state; `fix` is the remedy, empty where there is nothing to do."""

    id: str
    state: Ability
    why: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class ProbeInput:
    """The input of the probes. `servers` are the running llama-servers."""

    config: Config
    roots: Roots
    servers: tuple[ServerProcess, ...]
    now: float


#: Reads, changes nothing, and returns one or more rows.
Probe = Callable[[ProbeInput], Sequence[Capability]]


class RunningProbe:
    """A probe running on its own thread: a read from a hung driver cannot be interrupted, only abandoned."""

    def __init__(self, name: str, work: Callable[[], Sequence[Capability]]) -> None:
        self._name = name
        self._answer: queue.SimpleQueue[Sequence[Capability] | Exception] = queue.SimpleQueue()
        threading.Thread(target=self._run, args=(work,), name=name, daemon=True).start()

    def _run(self, work: Callable[[], Sequence[Capability]]) -> None:
        try:
            self._answer.put(work())
        except Exception as error:  # any: it is passed to the thread that waits, and raised there
            self._answer.put(error)

    def result(self, seconds: float) -> Sequence[Capability]:
        """The rows; after `seconds` without an answer a row that says so. Raises what the probe raised."""
        try:
            answer = self._answer.get(timeout=max(seconds, 0.0))
        except queue.Empty:
            why = "gave no answer in time; a driver, a network file system or a program may hang"
            return [Capability(self._name, "fails", why, "look for processes in state D: ps -eo pid,stat,wchan:30,comm")]
        if isinstance(answer, Exception):
            raise answer
        return answer


def first_words(source: Streaming, now: float, seconds: float) -> str:
    """Run a streaming source until its first reading or for `seconds`. Returns its own name, empty if it was silent.

    Silence is no fault: a quiet machine logs nothing. Raises SourceFault and NotHere as the source does.
    """

    async def listen() -> str:
        heard: list[Reading] = []
        stop = asyncio.Event()

        async def put(reading: Reading) -> None:
            heard.append(reading)
            stop.set()

        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            running = group.create_task(source.run(put, lambda: now))
            await stop.wait()
            # One more turn of the loop: a source may put what it has and then fail.
            await asyncio.sleep(0)
            running.cancel()
        return source.name if heard else ""

    try:
        return asyncio.run(listen())
    except TimeoutError:
        return ""
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
