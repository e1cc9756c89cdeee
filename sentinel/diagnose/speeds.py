"""The speeds that a log reports, over its time. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from sentinel.engine.engine import Engine
from sentinel.engine.inspect.plotted import REPORTED
from sentinel.model.reading import LogLines, Samples, Tick

#: Reports of one speed of one server: those of a busy day. The newest are kept.
_MOST = 20_000

#: Times and values by server and signal.
Reported = Mapping[tuple[str, str], Sequence[tuple[float, float]]]


class Speeds:
    """Takes note of them. Lines within five seconds are one reading, of which the last report counts."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], deque[tuple[float, float]]] = {}

    def note(self, engine: Engine, reading: LogLines | Samples | Tick) -> None:
        """After the engine's step with this reading."""
        if not isinstance(reading, LogLines) or reading.kind != "llama-server":
            return
        facts = engine.state.facts_of(reading.entity)
        for name in sorted(REPORTED & facts.keys()):
            fact = facts[name]
            known = self._found.setdefault((reading.entity.name, name), deque(maxlen=_MOST))
            if isinstance(fact.value, int | float) and (not known or fact.at > known[-1][0]):
                known.append((fact.at, float(fact.value)))

    def all(self) -> Reported:
        """Everything, oldest first."""
        return {key: tuple(found) for key, found in self._found.items() if found}
