"""The kernel's log: from where it is read, which of it is news, whether it can be read, and what of it was lost."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import structlog

from sentinel.daemon.clock import Clock
from sentinel.daemon.inbox import Inbox
from sentinel.daemon.log_followers import Logs
from sentinel.daemon.supervisor import Supervisor
from sentinel.engine.facts.state import EngineState
from sentinel.model.entity import HOST, Unknown, Value
from sentinel.model.reading import LogLines, Reading, Samples
from sentinel.sources.logs.kernel import KernelPosition, KmsgSource, kernel_source

#: Seconds before the start of sentinel from which the kernel's old messages still count.
_OLD_NEWS = 600.0
log = structlog.get_logger("sentinel")


class KernelWatch:
    """Follows the kernel's log, and reports whether it can be read."""

    def __init__(self, dev: Path, inbox: Inbox, supervisor: Supervisor, logs: Logs, clock: Clock) -> None:
        self._inbox = inbox
        self._supervisor = supervisor
        self._cursors = logs.cursors
        self._clock = clock
        self._started = clock.now()
        self._source = kernel_source(self._saved(), backlog=True, path=dev / "kmsg")
        #: messages that were lost, as far as it was reported
        self._lost = 0

    async def run(self) -> None:
        """Follow until cancelled."""
        source = self._source
        await self._supervisor.stream(
            source, position=source.position, note=self._note, wanted=self._is_recent, proven=lambda: source.proven
        )

    def report(self, state: EngineState) -> None:
        """Whether the kernel's log is read is a fact that rules need; what was overwritten unread goes to the log."""
        if isinstance(self._source, KmsgSource) and (lost := self._source.lost - self._lost) > 0:
            self._lost += lost
            log.warning(
                f"{lost} messages of the kernel were overwritten before they could be read: an OOM kill or a GPU reset among "
                "them was not seen; `journalctl -k` may have them"
            )
        health = self._supervisor.state(self._source.name)
        if health.health == "starting":
            return
        known = state.facts.last(HOST, "host.kernel_log_readable")
        up = health.health == "up"
        if known is None or known.value is not up:
            values: dict[str, Value | Unknown] = {"host.kernel_log_readable": up, "host.kernel_log_why": health.why}
            self._inbox.offer(Samples(self._clock.now(), self._source.name, HOST, values))

    def _saved(self) -> KernelPosition | None:
        saved = self._cursors.get("kernel")
        try:
            return KernelPosition(**json.loads(saved)) if saved else None
        except (ValueError, TypeError):
            return None

    def _note(self, position: KernelPosition) -> None:
        self._cursors["kernel"] = json.dumps(asdict(position))

    def _is_recent(self, reading: Reading) -> bool:
        """What the kernel said long before sentinel first looked is history: a kill of last night is no news."""
        return not (isinstance(reading, LogLines) and reading.backlog and reading.at < self._started - _OLD_NEWS)
