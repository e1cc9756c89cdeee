"""Overrides: files that replace named fields of a rule by its id. Nothing is ever appended to an expression.

An override is merged with the rule's own table before it is decoded, so that the result is checked as one rule. A problem is
reported for the file that wrote the field.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sentinel.engine.rules.compile import compile_rule
from sentinel.engine.rules.ruleset import CompiledRule
from sentinel.model.event import EventDef
from sentinel.model.problem import Keys, Problem, did_you_mean, quoted
from sentinel.model.rule import OverrideDef, RuleDef
from sentinel.rulefiles.decode import rule_def
from sentinel.rulefiles.digest import rule_digest
from sentinel.rulefiles.file_kinds import SortedOut
from sentinel.rulefiles.library import with_fixes
from sentinel.rulefiles.lint.rule import Undecoded, check_rule
from sentinel.rulefiles.override_age import stale
from sentinel.rulefiles.toml.document import Decoded
from sentinel.rulefiles.toml.tables import Findings, Table

#: Fields that are replaced as a whole, lists too.
SINGLE = ("title", "impact", "severity", "basis", "references", "false_positives", "inhibits")
#: Tables whose entries are replaced by name.
NAMED = ("window", "event", "value", "check")
#: Keys of an override that are not fields of a rule.
OWN = ("schema", "override", "against", "enabled", "fix", "base")
#: A rule's public identity.
_FIXED = ("id", "message_id", "scope")
#: Names listed if none is near to the one written.
_MOST_NAMES = 12
_EXAMPLE = 'write for example severity = "info", [alert] with for = "1m", or enabled = false'


@dataclass(frozen=True, slots=True)
class ReplacedField:
    """A replaced field: its keys in the merged rule, and in the override's file."""

    name: str
    merged: Keys
    own: Keys


@dataclass(frozen=True, slots=True)
class _Layer:
    file: str
    fields: tuple[ReplacedField, ...]
    against: str
    enabled: bool


class Overridden:
    """A rule with its overrides (file, content), the later ones winning; without any, the rule itself.

    `undecoded` is the part of the rule itself that could not be decoded, `given` all that was read.
    """

    def __init__(
        self,
        base: RuleDef,
        written: Decoded,
        overrides: Sequence[tuple[str, Decoded]],
        undecoded: Undecoded | None,
        given: SortedOut,
    ) -> None:
        #: with its overrides
        self.rule = base
        self.problems: list[Problem] = []
        self._base = base
        self._undecoded = undecoded
        self._layers: list[_Layer] = []
        #: states that tests expect, if the tests were not decoded
        self._states = given.states([base.path, *(file for file, _ in overrides)], written)
        if not overrides:
            return
        table = dict(written.table)
        for file, override in overrides:
            self._layers.append(self._put(table, file, override))
        known = rule_def(written, base.path, tests=given.tests)[1]
        findings = Findings(base.path, left_out=written.left_out)
        library, _ = given.library.with_own_of((base.path, written), *overrides)
        merged, _ = with_fixes(replace(written, table=table), library, findings)
        made, found = rule_def(merged, base.path, tests=given.tests)
        found_in_it = [*findings.problems, *(problem for problem in found if problem not in known)]
        self.problems += [self._attributed(problem) for problem in found_in_it]
        if self._undecoded is None and any(p.level == "error" for p in self.problems):
            names = {name for kind in NAMED for name in _table_of(table, kind)}
            self._undecoded = Undecoded(names)
        self.rule = replace(made, origins={field.name: layer.file for layer in self._layers for field in layer.fields})

    @property
    def enabled(self) -> bool:
        """No override disables it."""
        return all(layer.enabled for layer in self._layers)

    def definitions(self, digests: Mapping[str, str]) -> list[OverrideDef]:
        """Each override with the rule as it is without overrides; `digests` are those of the files."""
        return [
            OverrideDef(
                self._base.id,
                layer.file,
                tuple(field.name for field in layer.fields),
                self._base,
                layer.against,
                layer.enabled,
                digests[layer.file],
            )
            for layer in self._layers
        ]

    def check(
        self, events: Mapping[str, EventDef], ids: Collection[str], *, checked: bool = False
    ) -> tuple[CompiledRule | None, list[Problem]]:
        """As `check_rule`, with mistakes reported for the file that wrote the field. A rule that was `checked` has none."""
        if checked and not self._layers and self._undecoded is None:
            return compile_rule(self.rule, valid=True), []
        ready, found = check_rule(self.rule, events, ids, self._undecoded, self._states)
        if not self._layers:
            return ready, found
        known = check_rule(self._base, events, ids, self._undecoded, self._states)[1]
        return ready, [*known, *(self._attributed(problem) for problem in found if problem not in known)]

    def _put(self, table: dict[str, Any], file: str, override: Decoded) -> _Layer:
        findings = Findings(file, left_out=override.left_out)
        head = Table(override.table, (), findings)
        against, enabled = head.text("against"), head.get("enabled", bool, True)
        fields = tuple(_apply(table, override.table, findings))
        if not fields and enabled and not findings.problems:
            findings.error(("override",), f"replaces nothing; {_EXAMPLE}")
        for field in fields:
            other = next((one.file for one in self._layers if field.name in (f.name for f in one.fields)), None)
            if other is not None:
                findings.warning(field.own, f"is replaced by {other} too; this file has the last word")
        self.problems += findings.problems
        return _Layer(file, fields, against, enabled)

    def _attributed(self, problem: Problem) -> Problem:
        """A problem of the merged rule, reported for the override that caused it."""
        for layer in reversed(self._layers):
            for field in layer.fields:
                length = min(len(field.merged), len(problem.keys))
                if length and field.merged[:length] == problem.keys[:length]:
                    own = (*field.own[:length], *problem.keys[length:])
                    return replace(problem, file=layer.file, keys=own)
        what = f"{problem.what} (in {problem.file}, with what this override replaces)"
        return replace(problem, file=self._layers[-1].file, what=what, keys=())


def _apply(table: dict[str, Any], override: Mapping[str, Any], findings: Findings) -> list[ReplacedField]:
    """Apply the override to the rule's table; returns the replaced fields."""
    rule = str(table.get("id", ""))
    replaced: list[ReplacedField] = []
    for key, value in override.items():
        if key in OWN:
            continue
        if key in _FIXED:
            findings.error((key,), "cannot be replaced: alerts, silences and the journal know the rule by it")
        elif key in SINGLE:
            table[key] = value
            replaced.append(ReplacedField(key, (key,), (key,)))
        elif key in ("alert", "evidence") or key in NAMED:
            if not isinstance(value, dict):
                findings.error((key,), f"must be a table, not {quoted(value)}")
                continue
            there = _table_of(table, key)
            if key in NAMED:
                _must_be_there(key, value, there, rule, findings)
                value = {name: said for name, said in value.items() if name in there}
            table[key] = {**there, **value}
            replaced += [ReplacedField(f"{key}.{name}", (key, name), (key, name)) for name in value]
        elif key == "cause":
            replaced += _causes(table, value, rule, findings)
        elif key == "test":
            replaced += _tests(table, value, findings)
        else:
            known = (*OWN, *SINGLE, *NAMED, "alert", "evidence", "cause", "test")
            findings.error((key,), f"unknown key{did_you_mean(key, known)}")
    return replaced


def _table_of(table: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = table.get(key)
    return found if isinstance(found, dict) else {}


def _must_be_there(kind: str, given: Iterable[str], there: Mapping[str, Any], rule: str, findings: Findings) -> None:
    for name in given:
        if name not in there:
            hint = did_you_mean(name, there) if there else f"; it has no [{kind}] at all"
            hint = hint or f"; it has {', '.join(list(there)[:_MOST_NAMES])}"
            findings.error((kind, name), f"there is no {kind} '{name:.60}' in rule '{rule}'{hint}")


def _rows(value: Any, key: str, findings: Findings) -> list[dict[str, Any]]:
    if isinstance(value, list) and all(isinstance(row, dict) for row in value):
        return value
    findings.error((key,), f"must be written as [[{key}]]")
    return []


def _causes(table: dict[str, Any], value: Any, rule: str, findings: Findings) -> list[ReplacedField]:
    """Fields of causes by the cause's id; `fix` is replaced as a whole, because fixes have no names."""
    replaced: list[ReplacedField] = []
    found = table.get("cause")
    there: list[Any] = list(found) if isinstance(found, list) else []
    ids = [str(row.get("id", "")) if isinstance(row, dict) else "" for row in there]
    for own, row in enumerate(_rows(value, "cause", findings)):
        cause = row.get("id")
        if not isinstance(cause, str) or not cause:
            findings.error(("cause", own, "id"), "must be the id of a cause of the rule")
            continue
        findings.names["cause", own] = f"cause '{cause:.60}'"
        if cause not in ids:
            findings.error(("cause", own), f"there is no cause '{cause:.60}' in rule '{rule}'{did_you_mean(cause[:60], ids)}")
            continue
        said = {key: given for key, given in row.items() if key != "id"}
        if not said:
            findings.error(("cause", own), "replaces nothing of this cause; name text, when, confidence, severity, also or fix")
        at = ids.index(cause)
        there[at] = {**there[at], **said}
        replaced += [ReplacedField(f"cause '{cause}'.{key}", ("cause", at, key), ("cause", own, key)) for key in said]
    table["cause"] = there
    return replaced


def _tests(table: dict[str, Any], value: Any, findings: Findings) -> list[ReplacedField]:
    """The override's tests; one with the name of a test of the rule replaces it."""
    rows = _rows(value, "test", findings)
    found = table.get("test")
    there: list[Any] = list(found) if isinstance(found, list) else []
    names = [row.get("name") if isinstance(row, dict) else None for row in there]
    replaced = []
    for own, row in enumerate(rows):
        name = row.get("name")
        at = names.index(name) if name is not None and name in names else len(there)
        # Others keep their positions, by which their mistakes are located.
        there[at : at + 1] = [row]
        if isinstance(name, str):
            replaced.append(ReplacedField(f"test '{name}'", ("test", at), ("test", own)))
    table["test"] = there
    return replaced


def lint(overrides: Iterable[OverrideDef]) -> list[Problem]:
    """Warnings about overrides whose rule changed, or whose base is unknown."""
    out = []
    for one in overrides:
        digest = rule_digest(one.base)
        see = f'compare with `sentinel rules show {one.rule}`, then write against = "{digest}"'
        if stale(one):
            what = f"rule '{one.rule}' changed since this override was written; {see}"
            out.append(Problem(one.path, "against", what, "warning", ("against",)))
        elif not one.against:
            only = f"says no 'against', so only the daemon can see when rule '{one.rule}' changes under it"
            what = f'{only}; write against = "{digest}"'
            out.append(Problem(one.path, "override", what, "warning", ("override",)))
    return out
