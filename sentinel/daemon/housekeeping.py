"""Work done every second beside the engine: report faults of the disk and the sinks once, prune the history."""

from __future__ import annotations

from pathlib import Path

import structlog

from sentinel.daemon.malloc import give_back
from sentinel.daemon.supervisor import Supervisor
from sentinel.history import History
from sentinel.sinks import Outbox

#: Seconds.
_EVERY = 1.0
_PRUNE_EVERY = 3600.0
#: A storm of transitions is pruned within the hour too.
_PRUNE_ROWS = 10_000
_RETRY_STATE = 5.0
log = structlog.get_logger("sentinel")


class Housekeeping:
    """Called at each tick."""

    def __init__(self, history: History, outbox: Outbox, supervisor: Supervisor, journal_socket: Path) -> None:
        self._history = history
        self._outbox = outbox
        self._supervisor = supervisor
        self._journal_socket = journal_socket
        #: whether the history's fault was reported
        self._state_failed = bool(history.fault)
        self._pruned = history.last_id
        if history.message:
            log.warning(history.message)
        if history.fault:
            log.warning(f"state is not saved to disk: {history.fault}")

    def look(self, now: float) -> None:
        """Run all checks; `now` in seconds since the epoch."""
        self._look_at_state(now)
        self._look_at_sinks()
        if now % _PRUNE_EVERY < _EVERY or self._history.last_id - self._pruned > _PRUNE_ROWS:
            self._pruned = self._history.last_id
            self._history.prune(now)
            give_back()

    def _look_at_state(self, now: float) -> None:
        """Retry a disk that fails every few seconds; report when it begins to fail and when it recovers."""
        # Not at each tick: a try on a database locked by another process takes two seconds.
        if self._history.fault and now % _RETRY_STATE < _EVERY:
            self._history.retry()
        if bool(self._history.fault) is self._state_failed:
            return
        self._state_failed = not self._state_failed
        if self._state_failed:
            log.warning(f"state is not saved to disk: {self._history.fault}")
        else:
            log.info("state is saved to disk again, nothing was lost")

    def _look_at_sinks(self) -> None:
        """Report once that a sink fails, and once that it recovered."""
        down = self._outbox.down()
        for name in self._outbox.names:
            if name in down:
                if self._supervisor.state(name).health != "failed":
                    self._supervisor.note(name, "failed", down[name])
            elif name in self._supervisor.states and (name != "journald" or self._journal_socket.exists()):
                self._supervisor.note(name, "up")
