"""The route with which `sentinel cure` asks and reports: a restart is a transition of the alert that it is for."""

from __future__ import annotations

import pwd
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec

from sentinel.api.bodies import decoded
from sentinel.api.routes import RESTARTS, ApiError, Query, Request, Route, bound
from sentinel.engine import operator
from sentinel.engine.engine import Engine
from sentinel.files.machine import host_name
from sentinel.model.alert import Transition
from sentinel.model.entity import Entity
from sentinel.model.input_limits import MOST_SILENCE_NAME
from sentinel.model.json_form import transition_to_dict
from sentinel.model.reading import Event
from sentinel.model.text import escape
from sentinel.sources.processes.procfs import user_name

_EXAMPLE = '{"fingerprint": "1e5766b8ceb672f7", "outcome": "begun"}'


def restarters() -> frozenset[int]:
    """The user of sentinel-cure.service, where there is one (systemd/sentinel.sysusers.conf)."""
    try:
        return frozenset({pwd.getpwnam("sentinel-cure").pw_uid})
    except KeyError:
        return frozenset()


def _of_another(engine: Engine, server: Entity, uid: int) -> str:
    """Whether a user's own unit has the name of one of the system's, and its alerts would restart that; empty if not.

    The name is anybody's while the system's unit is stopped, and a restart would start it.
    """
    user_unit, user = (engine.state.facts.last(server, signal) for signal in ("server.user_unit", "server.user"))
    if user_unit is None or user_unit.value is not True or (user is not None and user.value == user_name(uid)):
        return ""
    return f"is about a unit of {escape(str(user.value)) if user is not None else 'another user'}"


class ReportedRestart(msgspec.Struct, forbid_unknown_fields=True):
    """The alert that a unit is restarted for. `begun` asks as well: a refusal means that nothing is to be restarted."""

    fingerprint: Annotated[str, msgspec.Meta(max_length=MOST_SILENCE_NAME)]
    outcome: Literal["begun", "failed", "limit"]


ROUTES = (Route("POST", RESTARTS, "restart", "Decided", body=ReportedRestart, refuses=(403, 404, 409)),)


class Restarting:
    """`take` gives the engine the event, stores and delivers what follows."""

    def __init__(self, engine: Callable[[], Engine], now: Callable[[], float], take: Callable[[Event], list[Transition]]) -> None:
        self._engine = engine
        self._now = now
        self._take = take

    def routes(self) -> Mapping[tuple[str, str], Query]:
        """The route."""
        return bound(ROUTES, self)

    def restart(self, request: Request) -> Mapping[str, Any]:
        """Report that a unit is restarted because of a firing alert, that this failed, or that it was restarted too often."""
        asked = decoded(request.body, ReportedRestart, "this is no restart", _EXAMPLE)
        engine = self._engine()
        rules = engine.ruleset.rules
        record = next(
            (r for r in engine.book.open() if r.rule in rules and rules[r.rule].fingerprint(r.entity) == asked.fingerprint), None
        )
        if record is None or record.state != "firing":
            raise ApiError(404, f"no alert '{escape(asked.fingerprint):.60}' fires; `sentinel alerts --json` lists what does")
        if record.hush.by:
            raise ApiError(409, f"{record.rule} of {escape(record.entity.name):.200} is silenced; nothing is to be done about it")
        if why := _of_another(engine, record.entity, request.uid):
            raise ApiError(409, f"{record.rule} of {escape(record.entity.name):.200} {why}; nothing is restarted for it")
        event = operator.restart(record.rule, record.entity, asked.outcome, self._now())
        return {"transitions": [transition_to_dict(one, host_name()) for one in self._take(event)]}
