"""The kernel log: its source, which messages are recent, whether it is readable, and how many messages were lost."""

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

#: Kernel messages from before sentinel's start count if they are no older than this. Seconds.
_OLD_NEWS = 600.0
log = structlog.get_logger("sentinel")


class KernelWatch:
    """Follows the kernel log, and reports whether it is readable."""

    def __init__(self, dev: Path, inbox: Inbox, supervisor: Supervisor, logs: Logs, clock: Clock) -> None:
        self._inbox = inbox
        self._supervisor = supervisor
        self._cursors = logs.cursors
        self._clock = clock
        self._started = clock.now()
        self._source = kernel_source(self._saved(), backlog=True, path=dev / "kmsg")
        #: lost messages that were reported
        self._lost = 0

    async def run(self) -> None:
        """Follow until cancelled."""
        source = self._source
        await self._supervisor.stream(
            source, position=source.position, note=self._note, wanted=self._is_recent, proven=lambda: source.proven
        )

    def report(self, state: EngineState) -> None:
        """Set the signal for whether the kernel log is readable, which rules need; log how many messages were lost unread."""
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
        """Whether a message is recent: an OOM kill of last night is no reason for an alert at sentinel's first start."""
        return not (isinstance(reading, LogLines) and reading.backlog and reading.at < self._started - _OLD_NEWS)
