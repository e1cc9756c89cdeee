"""The routes with which people set and end silences. Who may is decided before: root and the daemon's user (api/server.py)."""

from __future__ import annotations

import pwd
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec

from sentinel.api.bodies import decoded
from sentinel.api.routes import ApiError, Query, Request, Route, bound
from sentinel.engine.alerts.silences import LONGEST, Silence, SilenceRefused
from sentinel.engine.engine import Engine
from sentinel.engine.inspect import status
from sentinel.model.input_limits import MOST_SILENCE_NAME, MOST_SILENCE_REASON, MOST_SILENCES
from sentinel.model.problem import did_you_mean
from sentinel.model.text import escape, parse_duration

_EXAMPLE = '{"rule": "cpu-fallback", "server": "llama.service", "for": "2h", "reason": "new driver"}'
#: Names shown in a refusal.
_MOST_NAMES = 20
#: For the description of the API: what is refused here is refused with a sentence, not by the decoder.
_DURATION = {
    "pattern": "^([1-9][0-9]{0,3}[sm]|[1-9][0-9]{0,2}h|([1-9]|[1-8][0-9])d)$",
    "description": "30m, 2h or 3d, at most 90d",
}
_REASON = {"maxLength": MOST_SILENCE_REASON, "description": "for the others who look; may be empty"}
_NAME = {"maxLength": MOST_SILENCE_NAME}
#: The same for what decides between its fields.
ONE_RULE_OR_ALL = {
    "oneOf": [
        {"required": ["rule"], "properties": {"rule": {"minLength": 1}, "all": {"const": False}}},
        {"required": ["all"], "properties": {"all": {"const": True}, "rule": {"maxLength": 0}}},
    ]
}


class AskedSilence(msgspec.Struct, forbid_unknown_fields=True):
    """What a silence covers: one rule, or all of them, on one server or everywhere."""

    duration: Annotated[str, msgspec.Meta(extra_json_schema=_DURATION)] = msgspec.field(name="for")
    reason: Annotated[str, msgspec.Meta(extra_json_schema=_REASON)] = ""
    rule: Annotated[str, msgspec.Meta(extra_json_schema=_NAME)] = ""
    server: Annotated[str, msgspec.Meta(extra_json_schema=_NAME)] = ""
    #: every rule; said in so many words, because an empty name is too easily a mistake of a script
    all: bool = False


ROUTES = (
    Route("GET", "/v1/silences", "list", "SilencesAnswer"),
    Route("POST", "/v1/silences", "silence", "SilenceAnswer", body=AskedSilence, refuses=(403, 404, 409)),
    Route("DELETE", "/v1/silences/{id}", "unsilence", "SilenceAnswer", {"id": "of an active silence"}, refuses=(403, 404)),
)


class Silencing:
    """Each method answers one route. `changed` gives the consumer what was set or expired, to store and publish."""

    def __init__(self, engine: Callable[[], Engine], now: Callable[[], float], changed: Callable[[Silence], None]) -> None:
        self._engine = engine
        self._now = now
        self._changed = changed

    def routes(self) -> Mapping[tuple[str, str], Query]:
        """The routes."""
        return bound(ROUTES, self)

    def list(self, _request: Request) -> Mapping[str, Any]:
        """Active silences, oldest first."""
        return {"silences": status.silences(self._engine())}

    def silence(self, request: Request) -> Mapping[str, Any]:
        """Set a silence."""
        asked = decoded(request.body, AskedSilence, "this is no silence", _EXAMPLE)
        engine = self._engine()
        if asked.all == bool(asked.rule):
            raise ApiError(400, "name one rule, or say that all are meant, and not both")
        known = engine.ruleset.rules
        if asked.rule and asked.rule not in known:
            hint = did_you_mean(asked.rule[:60], known)
            raise ApiError(404, f"there is no rule '{escape(asked.rule):.60}'{hint}; `sentinel rules list` shows all")
        seconds = parse_duration(asked.duration)
        if seconds is None:
            raise ApiError(
                400, f"'{escape(asked.duration):.40}' is no duration; write 30m, 2h or 3d, at most {LONGEST / 86400:g}d"
            )
        name = self._name(engine, asked)
        try:
            made = engine.silences.add(
                asked.rule, name, self._now(), seconds, escape(asked.reason.strip()), _name_of(request.uid)
            )
        except SilenceRefused as refused:
            # Nothing is wrong with what was asked when there is no room.
            raise ApiError(409 if len(tuple(engine.silences.all())) >= MOST_SILENCES else 400, str(refused)) from refused
        self._changed(made)
        return {"silence": status.silence(made)}

    def unsilence(self, request: Request) -> Mapping[str, Any]:
        """Expire a silence early; alerts still firing are notified again."""
        engine = self._engine()
        ended = engine.silences.end(request.params["id"])
        if ended is None:
            there = ", ".join(s.id for s in engine.silences.all())
            raise ApiError(404, f"there is no silence '{escape(request.params['id']):.40}'; active: {there or 'none'}")
        self._changed(ended)
        return {"silence": status.silence(ended)}

    def _name(self, engine: Engine, asked: AskedSilence) -> str:
        """The name of the entity as the engine knows it; what is shown may be escaped."""
        if not asked.server:
            return ""
        rules = engine.ruleset.rules
        judged = (status.entities_of(engine, rule) for rule in ([rules[asked.rule]] if asked.rule else rules.values()))
        names = {escape(e.name): e.name for entities in judged for e in entities}
        if asked.server not in names:
            shown = ", ".join(sorted(names)[:_MOST_NAMES])
            hint = did_you_mean(asked.server[:60], names)
            raise ApiError(404, f"there is no '{escape(asked.server):.60}'{hint}; known: {shown or 'none'}")
        return names[asked.server]


def _name_of(uid: int) -> str:
    """Who asks, by the peer's credentials."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user id {uid}"
