"""Digests of rules and event definitions: short texts that change with their content, to detect changes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from typing import Any

from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.event import EventDef
from sentinel.model.rule import RuleDef
from sentinel.rulefiles.deprecated import IN_DIGESTS

#: Parts that change neither verdict nor text.
_BESIDE = frozenset({"path", "origins", "tests", "help", "example", "impact"})
_PARTS = ("title", "impact", "severity", "scope", "message_id", "basis", "references", "false_positives", "inhibits")
#: keys of [alert] with their attributes
_ALERT = {
    "when": "when",
    "for": "hold",
    "clear": "clear",
    "clear_after": "clear_after",
    "clear_after_by_hand": "clear_after_by_hand",
    "keep_firing_for": "keep_firing_for",
    "summary": "summary",
    "outlives_server": "outlives_server",
    "slows_generation": "slows_generation",
}


def rule_digests(ruleset: RuleSet) -> dict[str, str]:
    """Sixteen hex digits for each rule, by id. The rule's file and its tests do not count."""
    return {rule_id: _digest(compiled.rule) for rule_id, compiled in sorted(ruleset.rules.items())}


def rule_digest(rule: RuleDef) -> str:
    """The same for one rule, as written."""
    return _digest(rule)


def parts(rule: RuleDef) -> dict[str, Any]:
    """Each part of a rule by the name that overrides and `lint` use; empty parts are left out."""
    found: dict[str, Any] = {key: getattr(rule, key) for key in _PARTS}
    found |= {f"alert.{key}": getattr(rule, name) for key, name in _ALERT.items()}
    tables: dict[str, tuple[Any, ...]] = {"window": rule.windows, "event": rule.events, "value": rule.values}
    tables |= {"check": rule.checks, "evidence": rule.evidence}
    for kind, named in tables.items():
        found |= {f"{kind}.{one.name}": one for one in named}
    for cause in rule.causes:
        found |= {f"cause '{cause.id}'.{key}": getattr(cause, key) for key in ("when", "text", "confidence", "severity", "also")}
        found[f"cause '{cause.id}'.fix"] = cause.fixes
    return {name: said for name, said in found.items() if said not in (None, "", (), False)}


def part_digests(rule: RuleDef) -> dict[str, str]:
    """A digest for each of them, and for the order of the causes."""
    return {name: _digest(said) for name, said in {**parts(rule), "cause": [cause.id for cause in rule.causes]}.items()}


def content_digest(data: bytes) -> str:
    """Sixteen hex digits for the content of a file."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def changes(old: RuleSet, new: RuleSet) -> dict[str, list[str]]:
    """Ids of rules that were added, removed and changed."""
    before, after = rule_digests(old), rule_digests(new)
    return {
        "added": sorted(after.keys() - before.keys()),
        "removed": sorted(before.keys() - after.keys()),
        "changed": sorted(rule for rule, digest in after.items() if before.get(rule, digest) != digest),
    }


def event_digest(event: EventDef) -> str:
    """Sixteen hex digits for an event definition. Examples and help do not count."""
    return _digest(event)


def event_digests(ruleset: RuleSet) -> dict[str, str]:
    """The same for every event, by name."""
    return {name: event_digest(event) for name, event in sorted(ruleset.events.items())}


def _digest(said: Any) -> str:
    text = json.dumps(_said(said), sort_keys=True)
    return content_digest(text.encode())


def _said(value: Any) -> Any:
    """Without empty values, so that a key which a later sentinel adds does not change rules that do not use it."""
    if is_dataclass(value):
        # dataclasses.asdict also copies the tests, which are then left out: ten times as long for all rules (measured).
        value = {IN_DIGESTS.get(one.name, one.name): getattr(value, one.name) for one in fields(value)}
    if isinstance(value, dict):
        return {str(k): _said(v) for k, v in value.items() if k not in _BESIDE and v not in (None, "", (), {}, False, [])}
    if isinstance(value, list | tuple):
        return [_said(item) for item in value]
    return value
