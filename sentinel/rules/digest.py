"""What a rule or an event definition says, as a short text that changes when it does: to tell what was changed since."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from sentinel.model.pattern import EventDef
from sentinel.rules.ruleset import RuleSet

#: Parts that change no verdict and no text.
_BESIDE = frozenset({"path", "tests", "help", "example"})


def rule_digests(ruleset: RuleSet) -> dict[str, str]:
    """Sixteen hex digits for each rule, by id. Where a rule is kept and how it is tested are left out."""
    return {rule_id: _digest(asdict(compiled.rule)) for rule_id, compiled in sorted(ruleset.rules.items())}


def event_digest(event: EventDef) -> str:
    """Sixteen hex digits for an event definition. Examples and help are left out."""
    return _digest(asdict(event))


def event_digests(ruleset: RuleSet) -> dict[str, str]:
    """The same for every event, by name."""
    return {name: event_digest(event) for name, event in sorted(ruleset.events.items())}


def _digest(said: Any) -> str:
    text = json.dumps(_said(said), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _said(value: Any) -> Any:
    """Without what is empty, so that a key which a later sentinel adds does not change the rules that do not use it."""
    if isinstance(value, dict):
        return {str(k): _said(v) for k, v in value.items() if k not in _BESIDE and v not in (None, "", (), {}, False, [])}
    if isinstance(value, list | tuple):
        return [_said(item) for item in value]
    return value
