"""Polls servers' /slots: how full the fullest slot is, and whether busy slots make progress.

Only if configured (`watch_slots`): builds before about b9181 log a line per request, and builds before b10429 answer only
between two batches. /metrics is never requested, because a scrape resets gauges that the user may watch (tools/server,
server-context.cpp). Only numbers are taken from the answers: old builds include prompts, which are discarded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sentinel.model.entity import Unknown, Value
from sentinel.model.input_limits import MOST_ASKED_AT_A_TIME, MOST_SLOTS_ANSWERED
from sentinel.model.reading import Reading, Samples
from sentinel.sources.fs import Roots
from sentinel.sources.processes.server_process import ServerProcess
from sentinel.sources.server.health import loopback
from sentinel.sources.server.http import NO_ANSWER, TIMED_OUT, get_all

#: One that does not answer again and again is asked after a growing pause, up to this: the age of a value is 15. Seconds.
_LONGEST = 10.0
_SILENT = "/slots was not answered within a second: the server is within a batch, or stands still"
_SIGNALS = ("server.slots_busy", "server.slot_fill", "server.stalled_seconds")


@dataclass(frozen=True, slots=True)
class Slots:
    """Result of /slots: busy slots, the fullest slot's share of its context, and a mark that changes with progress."""

    busy: int
    fill: float | Unknown
    progress: tuple[tuple[int, ...], ...]


@dataclass(slots=True)
class _Watched:
    ticks: int
    progress: tuple[tuple[int, ...], ...] = ()
    #: when the mark last changed, or no slot was busy
    moved: float | None = None
    asked: float = float("-inf")
    #: when it is asked again, and how often in a row it did not answer in time
    due: float = float("-inf")
    silent: int = 0


class LlamaSlots:
    """Polled source: `servers` are those running now."""

    name = "llama_slots"
    interval = 5.0
    blocking = True

    def __init__(self, servers: Callable[[], Sequence[ServerProcess]], roots: Roots | None = None) -> None:
        self._servers = servers
        self._roots = Roots() if roots is None else roots
        self._watched: dict[int, _Watched] = {}

    def poll(self, at: float) -> Sequence[Reading]:
        """Poll every server that listens on the loopback."""
        running = [s for s in self._servers() if not s.requested.is_router]
        known = {s.pid: self._watched.get(s.pid) for s in running}
        self._watched = {
            s.pid: seen if (seen := known[s.pid]) is not None and seen.ticks == s.ticks else _Watched(s.ticks) for s in running
        }
        due = [(s, w, where) for s in running if (w := self._watched[s.pid]).due <= at and (where := loopback(s, self._roots))]
        # Those asked longest ago first: nobody waits behind those that are many.
        due = sorted(due, key=lambda one: one[1].asked)[:MOST_ASKED_AT_A_TIME]
        readings: list[Reading] = []
        answers = get_all([(*where, "/slots") for _, _, where in due])
        for (server, watched, _), answer in zip(due, answers, strict=True):
            watched.asked = at
            watched.silent = watched.silent + 1 if answer[0] == TIMED_OUT else 0
            watched.due = at + min(self.interval * 2.0 ** min(watched.silent - 1, 10), _LONGEST) if watched.silent > 1 else at
            readings.append(Samples(at, self.name, server.entity, self._values(watched, parse(answer), at)))
        return readings

    @staticmethod
    def _values(watched: _Watched, answer: Slots | Unknown, at: float) -> dict[str, Value | Unknown]:
        if isinstance(answer, Unknown):
            values: dict[str, Value | Unknown] = {"server.slots_watched": True, **dict.fromkeys(_SIGNALS, answer)}
            if watched.moved is not None and watched.progress and answer.why == _SILENT:
                # It was busy when it last answered; a stalled loop does not answer.
                values["server.stalled_seconds"] = round(at - watched.moved, 1)
            return values
        if watched.moved is None or answer.busy == 0 or answer.progress != watched.progress:
            watched.moved = at
        watched.progress = answer.progress
        return {
            "server.slots_watched": True,
            "server.slots_busy": answer.busy,
            "server.slot_fill": answer.fill,
            "server.stalled_seconds": round(at - watched.moved, 1),
        }


def parse(answer: tuple[int, Any]) -> Slots | Unknown:
    """Decode an answer of any build since 2024-10 (README of tools/server, /slots). A refusal includes its reason."""
    status, body = answer
    if status in (TIMED_OUT, NO_ANSWER):
        return Unknown(_SILENT)
    if status in (401, 403):
        return Unknown("/slots wants the server's API key, which sentinel does not read")
    if status in (404, 501):
        return Unknown("/slots is turned off: --no-slots, or a build of before 2026 without --slots")
    if status == 503:
        return Unknown("the model is loading")
    if status != 200 or not isinstance(body, list) or not 0 < len(body) <= MOST_SLOTS_ANSWERED:
        return Unknown(f"/slots gave nothing of use (status {status})")
    rows = [row for row in body if isinstance(row, Mapping)]
    busy = [row for row in rows if row.get("is_processing") is True or row.get("state") == 1]
    fills = [_used(row) / size for row in busy if (size := _number(row, "n_ctx")) > 0]
    fill = max(fills) if fills else (0.0 if not busy else Unknown("/slots does not say how large a slot is"))
    marks = [(*(_number(row, key) for key in ("id", "id_task", "n_prompt_tokens_processed")), _decoded(row)) for row in busy]
    return Slots(len(busy), fill if isinstance(fill, Unknown) else round(fill, 4), tuple(marks))


def _used(row: Mapping[str, Any]) -> int:
    return _number(row, "n_prompt_tokens") + _decoded(row)


def _decoded(row: Mapping[str, Any]) -> int:
    """Tokens generated for the request: in an object in builds of 2025, in a list of one object since."""
    following = row.get("next_token")
    if isinstance(following, list) and following:
        following = following[0]
    return _number(following, "n_decoded") if isinstance(following, Mapping) else 0


def _number(row: Mapping[str, Any], key: str) -> int:
    value = row.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40 else 0
