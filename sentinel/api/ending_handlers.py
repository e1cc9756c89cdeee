"""The routes with which people end what is over: an alert that they have seen, a server that will not come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec

from sentinel.api.bodies import decoded
from sentinel.api.routes import ApiError, Query, Request, Route, bound
from sentinel.engine import operator
from sentinel.engine.alerts.book import Record
from sentinel.engine.engine import Engine
from sentinel.engine.rules.expression import ExpressionError
from sentinel.files.machine import host_name
from sentinel.model.alert import Transition, Verdict
from sentinel.model.entity import Entity
from sentinel.model.input_limits import MOST_SILENCE_NAME
from sentinel.model.json_form import transition_to_dict
from sentinel.model.problem import did_you_mean
from sentinel.model.reading import Event
from sentinel.model.text import escape

_EXAMPLE = '{"rule": "start-failed", "server": "llama.service"}'
_MOST_NAMES = 20
_NAME = msgspec.Meta(max_length=MOST_SILENCE_NAME)


class AskedAcknowledgement(msgspec.Struct, forbid_unknown_fields=True):
    """The alert that is acknowledged: of one rule, about one server; without a server the only one of the rule."""

    rule: Annotated[str, _NAME]
    server: Annotated[str, _NAME] = ""


ROUTES = (
    Route("POST", "/v1/acknowledgements", "acknowledge", "Ended", body=AskedAcknowledgement, refuses=(403, 404, 409)),
    Route("DELETE", "/v1/servers/{name}", "forget", "Ended", {"name": "of a server that has ended"}, refuses=(403, 404, 409)),
)


class Ending:
    """Each method answers one route. `take` gives the engine the event, stores and delivers what follows."""

    def __init__(self, engine: Callable[[], Engine], now: Callable[[], float], take: Callable[[Event], list[Transition]]) -> None:
        self._engine = engine
        self._now = now
        self._take = take

    def routes(self) -> Mapping[tuple[str, str], Query]:
        """The routes."""
        return bound(ROUTES, self)

    def acknowledge(self, request: Request) -> Mapping[str, Any]:
        """End an alert about something that happened once; it fires again if it happens again."""
        asked = decoded(request.body, AskedAcknowledgement, "this names no alert", _EXAMPLE)
        engine = self._engine()
        if asked.rule not in engine.ruleset.rules:
            hint = did_you_mean(asked.rule[:60], engine.ruleset.rules)
            raise ApiError(404, f"there is no rule '{escape(asked.rule):.60}'{hint}; `sentinel alerts` lists what is open")
        record = self._record(engine, asked)
        if self._still_true(engine, record):
            raise ApiError(
                409,
                f"{record.rule} of {escape(record.entity.name):.200} is true at this moment, so it would fire again at once; "
                f"apply its fix, or `sentinel silence` it for a while",
            )
        return self._ended(self._take(operator.acknowledgement(record.rule, record.entity, self._now())))

    def _record(self, engine: Engine, asked: AskedAcknowledgement) -> Record:
        records = {escape(r.entity.name): r for r in engine.book.open() if r.rule == asked.rule}
        if not asked.server and len(records) == 1:
            return next(iter(records.values()))
        if asked.server in records:
            return records[asked.server]
        if not records:
            raise ApiError(404, f"no alert of {asked.rule} is open; `sentinel alerts` lists what is open")
        there = ", ".join(sorted(records)[:_MOST_NAMES])
        if asked.server:
            raise ApiError(404, f"no open alert {asked.rule} of '{escape(asked.server):.60}'; it is open for {there}")
        raise ApiError(409, f"{len(records)} alerts of {asked.rule} are open: name the server, one of {there}")

    def _still_true(self, engine: Engine, record: Record) -> bool:
        """Nothing that happened makes it true, but what is: the end would last for one evaluation."""
        try:
            finding = engine.finding(record.rule, record.entity, self._now())
        except ExpressionError:
            return False
        return finding.verdict is Verdict.MATCH and finding.event_at is None

    def forget(self, request: Request) -> Mapping[str, Any]:
        """Forget a server that has ended: end its alerts, and take it out of status and metrics."""
        engine = self._engine()
        wanted = request.params["name"]
        known = {escape(e.name): e for e in self._servers(engine)}
        entity = known.get(wanted)
        if entity is None:
            shown = ", ".join(sorted(known)[:_MOST_NAMES]) or "none"
            raise ApiError(404, f"there is no server '{escape(wanted):.60}'{did_you_mean(wanted[:60], known)}; known: {shown}")
        run = engine.state.runs.get(entity)
        if run is not None and run.pid and not run.gone:
            raise ApiError(409, f"{escape(entity.name):.200} runs (pid {run.pid}); only what has ended can be forgotten")
        return self._ended(self._take(operator.forgetting(entity, self._now())))

    def _servers(self, engine: Engine) -> list[Entity]:
        state = engine.state
        found = {*state.runs, *state.facts.entities(), *(r.entity for r in engine.book.open()), *state.log.newest()}
        return [e for e in found if e.scope == "server"]

    def _ended(self, transitions: list[Transition]) -> Mapping[str, Any]:
        return {"ended": [transition_to_dict(t, host_name()) for t in transitions]}
