"""All alert records: one for each rule and entity, with its last conclusion."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from sentinel.engine.alerts.flapping import Flaps
from sentinel.engine.alerts.lifecycle import NEVER, Life, LifeState
from sentinel.engine.alerts.silences import Hush
from sentinel.model.alert import Cause, CheckResult, Conclusion, Fix, LineEvidence
from sentinel.model.entity import Entity, Unknown


class Notice:
    """What an alert reports: the last conclusion, written when somebody reads it."""

    __slots__ = ("_text", "cause", "causes", "pid")

    def __init__(
        self, text: Conclusion | Callable[[], Conclusion], cause: str = "", pid: int = 0, causes: tuple[str, ...] = ()
    ) -> None:
        self._text = text
        #: the id of its cause; "" if there is none
        self.cause = cause
        self.pid = pid
        #: causes reported in this episode: each notifies once
        self.causes = causes

    @property
    def says(self) -> Conclusion:
        """The texts."""
        if not isinstance(self._text, Conclusion):
            self._text = self._text()
        return self._text


@dataclass(frozen=True, slots=True)
class Gate:
    """State of inhibition: an effect waits until the rules that may inhibit it were evaluated, and while one of them fires."""

    #: its firing was notified
    open: bool = False
    #: held back until then at the earliest; seconds since the epoch
    not_before: float = NEVER
    #: the firing alert that inhibits it, by rule and entity
    by: tuple[str, Entity] | None = None
    #: it was inhibited at some time in this episode
    after_cause: bool = False


@dataclass(slots=True)
class Record:
    """An alert with its history."""

    rule: str
    entity: Entity
    life: Life
    notice: Notice = field(default_factory=lambda: Notice(Conclusion()))
    gate: Gate = field(default_factory=Gate)
    flaps: Flaps = field(default_factory=Flaps)
    hush: Hush = field(default_factory=Hush)
    #: why its last episode ended
    ended: str = ""

    @property
    def parts(self) -> tuple[object, ...]:
        """All that a checkpoint keeps but the notice: whoever compares texts has them written."""
        return self.life, self.gate, self.flaps, self.hush, self.ended

    @property
    def rests(self) -> bool:
        """Nothing but that its rule matches can change it."""
        return self.life.state == "inactive" and self.flaps.since is None

    @property
    def state(self) -> LifeState:
        """The reported state: an alert that is held back is not firing yet."""
        return "pending" if self.life.state == "firing" and not self.gate.open else self.life.state


class Book:
    """Records by rule and entity."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, Entity], Record] = {}

    def record(self, rule: str, entity: Entity) -> Record:
        """The record; created if there is none."""
        key = (rule, entity)
        found = self._records.get(key)
        if found is None:
            found = self._records[key] = Record(rule, entity, Life())
        return found

    def peek(self, rule: str, entity: Entity) -> Record | None:
        """The record if there is one."""
        return self._records.get((rule, entity))

    def open(self) -> Iterator[Record]:
        """Pending and firing records, in a stable order."""
        for key in sorted(self._records, key=lambda k: (k[0], k[1].scope, k[1].name)):
            if self._records[key].life.state != "inactive":
                yield self._records[key]

    def entities(self) -> set[Entity]:
        """Everything that has a record."""
        return {entity for _, entity in self._records}

    def of_rule(self, rule: str) -> list[Record]:
        """All records of a rule."""
        return [r for (name, _), r in self._records.items() if name == rule]

    def of_entity(self, entity: Entity) -> list[Record]:
        """All records of an entity."""
        return [r for (_, e), r in self._records.items() if e == entity]

    def rename(self, old: Entity, new: Entity) -> None:
        """Move the alerts of one name to another name of the same entity, except where that has its own."""
        for record in self.of_entity(old):
            del self._records[(record.rule, old)]
            if (record.rule, new) not in self._records:
                record.entity = new
                self._records[(record.rule, new)] = record

    def drop_entity(self, entity: Entity) -> None:
        """Forget all records of an entity."""
        for key in [k for k in self._records if k[1] == entity]:
            del self._records[key]

    def drop(self, rule: str, entity: Entity) -> None:
        """Forget a record."""
        self._records.pop((rule, entity), None)

    def dump(self) -> list[dict[str, Any]]:
        """Plain data for a checkpoint."""
        return [_record_out(record) for record in self._records.values()]

    def dump_of(self, entity: Entity, rules: Iterable[str]) -> list[dict[str, Any]]:
        """The part about one entity, of these rules."""
        records = (self._records.get((rule, entity)) for rule in rules)
        return [_record_out(record) for record in records if record is not None]

    def load(self, rows: list[dict[str, Any]]) -> None:
        """Restore what `dump` returned."""
        for row in rows:
            entity = Entity(*row["entity"])
            checks = tuple(_check_in(c) for c in row["checks"])
            lines = tuple(LineEvidence(**e) for e in row["lines"])
            cause = Cause(**row["cause"]) if row["cause"] else None
            says = Conclusion(row["summary"], cause, tuple(Fix(**f) for f in row["fixes"]), checks + lines)
            notice = Notice(says, "" if cause is None else cause.id, row["pid"], tuple(row["causes"]))
            life = Life(**row["life"])
            record = Record(row["rule"], entity, life, notice, _gate(row.get("gate"), life), ended=row.get("ended", ""))
            if "flaps" in row:
                record.flaps = Flaps(**row["flaps"] | {"times": tuple(row["flaps"]["times"])})
                record.hush = Hush(**row["hush"])
            elif record.state == "firing":
                # Written by a version without silences.
                record.hush = Hush(announced=True)
            self._records[(row["rule"], entity)] = record


def _record_out(record: Record) -> dict[str, Any]:
    notice, says = record.notice, record.notice.says
    return {
        "rule": record.rule,
        "entity": [record.entity.scope, record.entity.name],
        "life": _finite(asdict(record.life)),
        "gate": _finite(asdict(record.gate)),
        "flaps": _finite(asdict(record.flaps)),
        "hush": asdict(record.hush),
        "ended": record.ended,
        "summary": says.summary,
        "cause": asdict(says.cause) if says.cause else None,
        "fixes": [asdict(f) for f in says.fixes],
        "checks": [_check_out(e) for e in says.evidence if isinstance(e, CheckResult)],
        "lines": [asdict(e) for e in says.evidence if isinstance(e, LineEvidence)],
        "pid": notice.pid,
        "causes": list(notice.causes),
    }


def _check_out(check: CheckResult) -> dict[str, Any]:
    missing = {name: [unknown.why, unknown.remedy] for name, unknown in check.missing.items()}
    row = {"check": check.check, "value": check.value, "reads": dict(check.reads), "missing": missing}
    return row | {"text": check.text} if check.text else row


def _check_in(row: dict[str, Any]) -> CheckResult:
    # Versions before 0.2 wrote one sentence.
    missing = {n: Unknown(why) if isinstance(why, str) else Unknown(*why) for n, why in row.get("missing", {}).items()}
    return CheckResult(row["check"], row["value"], row["reads"], missing, row.get("text", ""))


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no -inf: a time that never happened is left out."""
    return {k: v for k, v in values.items() if v != NEVER}


def _gate(row: dict[str, Any] | None, life: Life) -> Gate:
    if row is None:
        return Gate(open=life.state == "firing")
    by = (row["by"][0], Entity(*row["by"][1])) if row["by"] else None
    return Gate(**row | {"by": by})
