"""What queries read of the running daemon (api/running.py): its parts, and a few figures of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sentinel.api.server import ApiServer
from sentinel.daemon.active_rules import ActiveRules
from sentinel.daemon.clock import Clock
from sentinel.daemon.consumer import Consumer
from sentinel.daemon.inbox import Inbox
from sentinel.daemon.readiness import headline
from sentinel.daemon.reload import Reload
from sentinel.daemon.supervisor import SourceState, Supervisor
from sentinel.engine.engine import Engine
from sentinel.history import History
from sentinel.history.series import Series
from sentinel.recording.flight_recorder import FlightRecorder
from sentinel.rulefiles.files import Loaded
from sentinel.sinks import Outbox


@dataclass
class View:
    """Built with the daemon; the socket and the reloads are there once it runs."""

    state_dir: Path
    started: float
    history: History
    series: Series
    outbox: Outbox
    recorder: FlightRecorder | None
    inbox: Inbox
    _clock: Clock
    _consumer: Consumer
    _supervisor: Supervisor
    _rules: ActiveRules
    api: ApiServer | None = field(default=None, init=False)
    reloads: Reload | None = field(default=None, init=False)

    @property
    def engine(self) -> Engine:
        """The signals and the open alerts."""
        return self._consumer.engine

    @property
    def overrides(self) -> list[dict[str, Any]]:
        """Every override, with what an upgrade changed in its rule."""
        return self._rules.overrides

    @property
    def clients(self) -> int:
        """Connections to the socket."""
        return self.api.clients if self.api is not None else 0

    @property
    def lag(self) -> float:
        """Seconds between the last tick and its evaluation."""
        return self._consumer.lag

    @property
    def transition_counts(self) -> Mapping[tuple[str, str], int]:
        """Transitions so far, by rule and state."""
        return self._consumer.transition_counts

    def now(self) -> float:
        """Seconds since the epoch, on this run's clock."""
        return self._clock.now()

    def sources(self) -> list[SourceState]:
        """The state of every source, by name."""
        return sorted(self._supervisor.states.values(), key=lambda state: state.name)

    def headline(self) -> str:
        """One line for `systemctl status`."""
        troubles = [f"alerts wait for {name}" for name in self.outbox.down()]
        troubles += ["state is not saved to disk"] if self.history.fault else []
        failed = [state.name for state in self._supervisor.states.values() if state.health == "failed"]
        return headline(self.engine, self.now(), failed, troubles)

    async def reload(self) -> Loaded:
        """Reload the rules now; if they have mistakes, the old ones stay active."""
        assert self.reloads is not None, "nobody can ask before the socket is there"
        return await self.reloads.now()
