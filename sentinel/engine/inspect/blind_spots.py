"""What rules do not know of each entity, with the reason and what would provide it. Pure.

For 300 servers every rule is evaluated for every one of them, which takes half a second: it is computed in parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sentinel.engine.engine import Engine
from sentinel.engine.facts.store import NOT_IN_ITS_LOG
from sentinel.engine.rules.expression import ExpressionError
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.alert import Verdict
from sentinel.model.entity import HOST, Entity, Unknown
from sentinel.model.text import escape

Spot = dict[str, Any]


def blind_spots(engine: Engine, at: float) -> list[Spot]:
    """Unknown signals that rules need, by entity, grouped by reason."""
    spots = BlindSpots()
    for _ in spots.renew(engine, at):
        pass
    return spots.rows


class BlindSpots:
    """As it was last computed, entity by entity."""

    def __init__(self) -> None:
        self._rows: dict[Entity, list[Spot]] = {}
        #: when each was computed
        self._at: dict[Entity, float] = {}
        self._ruleset: RuleSet | None = None
        self._present: list[Entity] = []

    def renew(self, engine: Engine, at: float) -> Iterator[None]:
        """Work out one entity at each step, the one first that was not yet, or longest ago. It may be left off at any step."""
        if self._ruleset is not engine.ruleset:
            self._ruleset, self._rows, self._at = engine.ruleset, {}, {}
        # Nothing can be provided any more for what only the kernel's log named, mostly a process that it killed.
        known = dict.fromkeys((HOST, *engine.state.facts.entities()))
        self._present = [one for one in known if not _has_ended(engine, one)]
        self._rows = {one: self._rows[one] for one in self._present if one in self._rows}
        self._at = {one: self._at[one] for one in self._rows}
        for entity in sorted(self._present, key=lambda one: self._at.get(one, float("-inf"))):
            if engine.ruleset is not self._ruleset:
                return
            self._rows[entity], self._at[entity] = _rows(engine, entity, at), at
            yield

    @property
    def rows(self) -> list[Spot]:
        """One for each entity and reason."""
        return [row for entity in self._present for row in self._rows.get(entity, ())]

    @property
    def left_out(self) -> int:
        """How many entities were not computed yet."""
        return sum(entity not in self._rows for entity in self._present)


def _has_ended(engine: Engine, entity: Entity) -> bool:
    run = engine.state.runs.get(entity)
    return run is not None and run.gone


def _rows(engine: Engine, entity: Entity, at: float) -> list[Spot]:
    found: dict[Unknown, tuple[list[str], list[str]]] = {}
    router = engine.state.facts.last(entity, "server.is_router")
    is_router = router is not None and router.value is True
    state = engine.state.facts.last(entity, "server.state")
    loads = state is not None and state.value == "loading"
    for rule_id, compiled in sorted(engine.ruleset.rules.items()):
        if compiled.rule.scope != entity.scope:
            continue
        try:
            finding = engine.finding(rule_id, entity, at)
        except ExpressionError:
            continue
        if finding.verdict is not Verdict.UNKNOWN:
            continue
        for name, unknown in finding.missing.items():
            if is_router and name.startswith("server.") and name != "server.log_readable":
                # It has no model, no slots and nothing on a GPU: its children have, and rules evaluate them.
                continue
            if loads and unknown.why == NOT_IN_ITS_LOG:
                # It will print that when it has loaded.
                continue
            for value, values in zip((name, rule_id), found.setdefault(unknown, ([], [])), strict=True):
                if value not in values:
                    values.append(value)
    return [
        {
            "entity": escape(entity.name),
            "missing": missing,
            "why": escape(str(unknown)),
            "reason": escape(unknown.why),
            "remedy": escape(unknown.remedy),
            "rules": rules,
        }
        for unknown, (missing, rules) in found.items()
    ]
