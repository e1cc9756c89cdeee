"""The route of what people look at over time. Who may open the socket may read it, as the status: it holds numbers only."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from sentinel.api.routes import ApiError, Query, QueryField, Request, Route, bound
from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.engine.inspect.plotted import PLOTTED
from sentinel.history.series import Series
from sentinel.history.series_file import SeriesReader
from sentinel.history.series_points import Point, decode
from sentinel.history.series_query import Grid, cost, grid, points
from sentinel.history.sqlite_file import HistoryFault
from sentinel.model.entity import Entity
from sentinel.model.input_limits import MOST_BLOCKS_READ, MOST_NUMBERS_ANSWERED, MOST_POINTS_ASKED, MOST_SECONDS_ASKED
from sentinel.model.json_form import iso
from sentinel.model.problem import did_you_mean
from sentinel.model.text import escape

_SIGNALS = [name for names in PLOTTED.values() for name in names]

ROUTES = (
    Route(
        "GET",
        "/v1/series",
        "series",
        "SeriesAnswer",
        fields=(
            QueryField("seconds", "whole", "how far back (default: 600)", 1, MOST_SECONDS_ASKED),
            QueryField("points", "whole", "at most so many points of each series (default: 60)", 1, MOST_POINTS_ASKED),
            QueryField("entity", "text", "name of a server, address of a GPU, or host (default: all)"),
            QueryField("signal", "text", "one signal, for example server.generation_tps (default: all that are kept)"),
        ),
        refuses=(404,),
    ),
)


class Plotting:
    """Answers the route."""

    def __init__(self, series: Series, now: Callable[[], float]) -> None:
        self._series = series
        self._now = now
        #: by user id, while he asks: his turn, and how many of his questions have or want it
        self._turns: dict[int, tuple[asyncio.Lock, int]] = {}

    def routes(self) -> Mapping[tuple[str, str], Query]:
        """The route."""
        return bound(ROUTES, self)

    async def series(self, request: Request) -> Mapping[str, Any]:
        """Values over time: a second for ten minutes, ten seconds for a day, a minute for thirty days."""
        signal = request.query.get("signal", "")
        if signal and signal not in _SIGNALS:
            hint = did_you_mean(signal[:60], _SIGNALS)
            raise ApiError(404, f"there is no series '{escape(signal):.60}'{hint}; kept: {', '.join(_SIGNALS)}")
        # One at a time of each user: a month of one server takes some 100 ms, in pieces between which all others have their turn.
        try:
            async with self._turn(request.uid):
                return await self._answer(request.query, signal)
        except HistoryFault as fault:
            raise ApiError(503, f"{fault}; the last ten minutes are in memory: ask for seconds=600") from fault

    @contextlib.asynccontextmanager
    async def _turn(self, user: int) -> AsyncIterator[None]:
        turn, wanted = self._turns.get(user, (asyncio.Lock(), 0))
        self._turns[user] = turn, wanted + 1
        try:
            async with turn:
                yield
        finally:
            # Not `turn.locked()`: between two turns it is not.
            wanted = self._turns[user][1] - 1
            if wanted:
                self._turns[user] = turn, wanted
            else:
                del self._turns[user]

    async def _answer(self, query: Mapping[str, str], signal: str) -> Mapping[str, Any]:
        now = self._now()
        last = self._series.last or int(now)
        asked = grid(int(query.get("seconds", "600")), int(query.get("points", "60")), last)
        path = self._series.path
        reader = SeriesReader(path) if asked.base > 1 and path is not None and path.exists() else None
        try:
            entities = self._entities(query.get("entity", ""), asked, reader)
            numbers, blocks = cost(asked, entities, signal)
            if numbers > MOST_NUMBERS_ANSWERED or blocks > MOST_BLOCKS_READ:
                raise ApiError(
                    400,
                    f"this asks for {numbers} numbers of {len(entities)} servers and GPUs, more than one answer may have; "
                    "ask for one with entity=NAME, for one signal, or for fewer points or seconds",
                )
            found = []
            for entity in entities:
                for part in points(asked, entity, signal, self._series.recent.get(entity), last, reader):
                    if part is not None:
                        found.append(_form(entity, *part, asked))
                    await asyncio.sleep(0)
        finally:
            if reader is not None:
                reader.close()
        return {"at": iso(now), "begin": iso(float(asked.begin)), "step": asked.step, "series": found}

    def _entities(self, wanted: str, asked: Grid, reader: SeriesReader | None) -> list[Entity]:
        known = {*self._series.recent, *(() if reader is None else reader.entities(asked.base, asked.begin, asked.end))}
        if not wanted:
            return sorted(known, key=lambda entity: (entity.scope, entity.name))
        found = [entity for entity in known if wanted in (escape(entity.name), entity.name)]
        if not found:
            hint = did_you_mean(wanted[:60], sorted(escape(entity.name) for entity in known))
            raise ApiError(404, f"there are no series of '{escape(wanted):.60}' in that time{hint}; /v1/status has the names")
        return found


def _form(entity: Entity, signal: str, found: list[Point], asked: Grid) -> dict[str, Any]:
    form: dict[str, Any] = {
        "entity": {"scope": entity.scope, "name": escape(entity.name)},
        "signal": signal,
        "unit": CATALOGUE[signal].unit,
        "mean": [decode(one[1]) for one in found],
    }
    if asked.step > 1:
        form["min"] = [decode(one[0]) for one in found]
        form["max"] = [decode(one[2]) for one in found]
    return form
