"""Explains the rules to a user who has only files: what each condition was, and why a signal is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sentinel.diagnose import gaps
from sentinel.engine.engine import Engine
from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.engine.inspect.explain import why as explain
from sentinel.model.alert import Transition, Verdict
from sentinel.model.entity import HOST, Entity, Unknown
from sentinel.model.json_form import iso

#: the catalogue's phrase for a signal that is printed only at a higher verbosity
_VERBOSE = "start llama-server with -lv 4"


class Explained:
    """Explains one rule: when its alert last fired, and when the server stopped or the logs end."""

    def __init__(self, engine: Engine, rule: str, server: Entity, *, logs: bool, dated: bool) -> None:
        self._engine = engine
        self._rule = rule
        self._server = server
        self._reword = lambda name, unknown: _reason(engine, server, name, unknown, logs=logs)
        self._dated = dated
        self._moments: dict[str, dict[str, Any]] = {}

    def heard(self, transitions: list[Transition]) -> list[Transition]:
        """Explain the rule if it fired; returns the transitions unchanged."""
        for one in transitions:
            if one.rule == self._rule and one.state == "firing" and one.at is not None:
                self._look("fired", one.at)
        return transitions

    def stops(self, at: float) -> None:
        """The server is about to stop."""
        self._look("stopped", at)

    def ends(self, at: float) -> None:
        """The logs end. For a server that was stopped, the explanation from just before the stop is kept instead."""
        state = self._engine.state.facts.last(self._server, "server.state")
        if state is None or state.value != "stopping" or "stopped" not in self._moments:
            self._moments.pop("stopped", None)
            self._look("end", at)

    def _look(self, moment: str, at: float) -> None:
        if self._rule:
            found = explain(self._engine, self._rule, "", at, self._reword)
            for subject in found["subjects"]:
                subject |= {"moment": moment, "as_of": iso(at) if self._dated else None}
            self._moments[moment] = found

    def answer(self) -> Mapping[str, Any] | None:
        """The answer in the form of `sentinel why`, a subject per moment; an open alert is explained as of when it fired."""
        if not self._moments:
            return None
        fired = self._moments.get("fired")
        subjects = [] if fired is None else list(fired["subjects"])
        open_now = {s["entity"] for s in subjects}
        last = self._moments.get("stopped") or self._moments["end"]
        subjects += [s for s in last["subjects"] if s["entity"] not in open_now or s["state"] != "firing"]
        return last | {"subjects": subjects}


def missing_signals(engine: Engine, server: Entity, at: float, *, logs: bool) -> dict[str, dict[str, Unknown]]:
    """Rules that cannot be evaluated for this server, each with the signals that it lacks."""
    out = {}
    for rule_id, compiled in sorted(engine.ruleset.rules.items()):
        if rule_id in engine.unhealthy:
            continue
        entity = HOST if compiled.rule.scope == "host" else server
        if compiled.rule.scope == "gpu":
            continue
        finding = engine.finding(rule_id, entity, at)
        if finding.verdict is Verdict.UNKNOWN:
            out[rule_id] = {name: _reason(engine, server, name, unknown, logs=logs) for name, unknown in finding.missing.items()}
    return out


def _reason(engine: Engine, server: Entity, name: str, unknown: Unknown, *, logs: bool) -> Unknown:
    """Why a signal is unknown, for a user who has only the files and not the machine."""
    signal = CATALOGUE.get(name)
    if signal is None:
        # An event: we set the reason for a missing kernel log; the engine's reason for the server's log is worded for a daemon.
        return unknown if logs or unknown == gaps.NO_KERNEL_LOG else gaps.NO_LOG
    if name in engine.state.facts.unknowns(HOST if signal.scope == "host" else server):
        return unknown
    if signal.origin != "log":
        return gaps.LIVE
    if not logs:
        return gaps.NO_LOG
    return gaps.DETAIL if _VERBOSE in signal.provide else Unknown(gaps.DETAIL.why)
