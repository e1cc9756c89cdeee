"""Since when a server has done nothing: by the processor time of its process, which every request costs. Pure."""

from __future__ import annotations

from dataclasses import dataclass

#: More of a core than this, between two looks, is work. A llama-server b10434 at rest uses none that the kernel counts; being
#: asked for /health and /slots every five seconds costs it about 0.01 %.
_WORKS = 0.01
#: Ticks of the kernel's clock that are no work whatever the time between: one is the least that it counts.
_NO_WORK = 2
#: After a longer gap between two looks nothing is known of what was in between. Seconds.
_GAP = 30.0


@dataclass(slots=True)
class _Seen:
    start: int
    cpu: int
    at: float
    worked: float


class IdleTime:
    """Each process by its id. `hertz`: ticks of the kernel's clock in a second."""

    def __init__(self, hertz: float) -> None:
        self._hertz = hertz
        self._seen: dict[int, _Seen] = {}

    def look(self, pid: int, start: int, cpu: int, at: float) -> None:
        """`start` tells processes of one id apart; `cpu` are the ticks that it has used."""
        seen = self._seen.get(pid)
        if seen is None or seen.start != start or not 0 <= at - seen.at <= _GAP:
            self._seen[pid] = _Seen(start, cpu, at, at)
            return
        used = cpu - seen.cpu
        if used > max(_NO_WORK, _WORKS * self._hertz * (at - seen.at)):
            seen.worked = at
        seen.cpu, seen.at = cpu, at

    def seconds(self, pid: int, at: float) -> float:
        """For how long it has done nothing, as far as it was watched."""
        seen = self._seen.get(pid)
        return 0.0 if seen is None else max(at - seen.worked, 0.0)

    def keep(self, pids: set[int]) -> None:
        """Forget all others."""
        for pid in self._seen.keys() - pids:
            del self._seen[pid]
