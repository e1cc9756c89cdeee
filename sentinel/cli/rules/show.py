"""`sentinel rules show`: a rule as it is active, with its overrides, and which file sets each of its fields."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from sentinel.cli.main import CRITICAL, OK
from sentinel.cli.output import emit
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.problem import did_you_mean
from sentinel.model.rule import OverrideDef, RuleDef
from sentinel.model.text import escape
from sentinel.rulefiles.deprecated import old_part
from sentinel.rulefiles.digest import parts, rule_digest
from sentinel.rulefiles.override_age import stale
from sentinel.rulefiles.toml.writer import fixes, value


def show(ruleset: RuleSet, rule_id: str, *, as_json: bool) -> int:
    """Print the rule. One that an override disables is shown as if enabled."""
    over = [one for one in ruleset.overrides if one.rule == rule_id]
    compiled = ruleset.rules.get(rule_id)
    if compiled is None and not over:
        return unknown(ruleset, rule_id)
    rule = compiled.rule if compiled is not None else over[0].base
    base = over[0].base if over else rule
    if as_json:
        emit(
            {
                "id": rule.id,
                "title": rule.title,
                "severity": rule.severity,
                "scope": rule.scope,
                "when": rule.when,
                "for": rule.hold,
                "clear": rule.clear,
                "checks": {c.name: c.expression for c in rule.checks},
                "causes": [{"id": c.id, "when": c.when, "text": c.text, "fixes": [f.do for f in c.fixes]} for c in rule.causes],
                "reads": sorted(compiled.signals) if compiled is not None else [],
                "file": rule.path,
                "digest": rule_digest(base),
                "active": compiled is not None,
                # its old name, which stays
                "in_force": compiled is not None,
                "overrides": [
                    {"file": one.path, "fields": list(one.fields), "against": one.against, "changed_since": stale(one)}
                    for one in over
                ],
                "fields": _fields(rule, base),
            }
        )
        return OK
    for line in _lines(rule, base, over, active=compiled is not None):
        print(escape(line))
    if compiled is not None:
        print(f"\nReads {', '.join(sorted(compiled.signals))}")
    return OK


def unknown(ruleset: RuleSet, rule_id: str) -> int:
    """Report that there is no such rule."""
    print(
        f"sentinel: there is no rule '{escape(rule_id):.60}'{did_you_mean(rule_id, ruleset.rules)}; "
        "`sentinel rules list` shows all",
        file=sys.stderr,
    )
    return CRITICAL


def _fields(rule: RuleDef, base: RuleDef) -> dict[str, Mapping[str, Any]]:
    """Each field by its name, and by its deprecated one if it has one."""
    rows = {name: _field(name, said, rule, base) for name, said in parts(rule).items()}
    return rows | {old: row for name, row in rows.items() if (old := old_part(name)) is not None}


def _field(name: str, said: Any, rule: RuleDef, base: RuleDef) -> Mapping[str, Any]:
    row: dict[str, Any] = {"value": _said(name, said), "file": rule.origins.get(name, rule.path)}
    if name in rule.origins:
        was = parts(base).get(name)
        row["instead_of"] = None if was is None else _said(name, was)
    return row


def _said(name: str, said: Any) -> str:
    return "\n".join(fixes(said)) if name.endswith(".fix") else value(name, said)


def _lines(rule: RuleDef, base: RuleDef, over: list[OverrideDef], *, active: bool) -> Iterator[str]:
    yield f"{rule.id}: {rule.title}"
    files = {rule.path: 1}
    yield f"  [1] {rule.path}, digest {rule_digest(base)}"
    for one in over:
        files.setdefault(one.path, len(files) + 1)
        does = f"replaces {', '.join(one.fields)}" if one.enabled else "switches the rule off"
        since = "; the rule changed since it was written" if stale(one) else ""
        yield f"  [{files[one.path]}] {one.path} {does}{since}"
    if not active:
        yield "  This rule is switched off and judges nothing."
    was = parts(base)
    group = ""
    for name, said in parts(rule).items():
        head, _, rest = name.partition(".")
        head = head if rest else "rule"
        if head != group:
            yield ""
            yield head.capitalize()
        group = head
        mark = f"[{files[rule.origins.get(name, rule.path)]}]"
        yield f"  {mark} {rest or name:<20} {_short(name, said)}"
        if name in rule.origins:
            instead = _short(name, was[name]) if name in was else "nothing"
            yield f"      {'':<20} instead of {instead}"
    if rule.tests:
        own = sum(f"test '{case.name}'" in rule.origins for case in rule.tests)
        yield ""
        yield f"  {len(rule.tests)} inline tests" + (f", {own} of them of the overrides" if own else "")


def _short(name: str, said: Any) -> str:
    if name.endswith(".fix"):
        return "; ".join(f"{fix.do}{f' $ {fix.command}' if fix.command else ''}" for fix in said)
    if isinstance(said, str):
        return " ".join(said.split())
    if hasattr(said, "expression"):
        return " ".join(said.expression.split())
    return value(name, said)
