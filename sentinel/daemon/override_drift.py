"""Detects that an upgrade changed a rule which has an override.

The daemon's state holds each override with the version of the rule it was first loaded with. Saving the override again resets
this: its author has reviewed it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from sentinel.history import History
from sentinel.model.rule import OverrideDef
from sentinel.rulefiles.digest import part_digests, rule_digest
from sentinel.rulefiles.override_age import changed_parts, stale

_KEY = "overrides"


class Upgrades:
    """Remembers the parts of each rule as they were when its override was first loaded."""

    def __init__(self, history: History) -> None:
        self._history = history

    def look(self, overrides: Iterable[OverrideDef]) -> list[dict[str, Any]]:
        """Every override with the parts of its rule that have changed since, those that it replaces first."""
        seen = self._remembered()
        now: dict[str, dict[str, Any]] = {}
        out = []
        for one in overrides:
            was = seen.get(one.path)
            if was is None or was["digest"] != one.digest or was["rule"] != one.rule:
                was = {"digest": one.digest, "rule": one.rule, "parts": part_digests(one.base)}
            elif one.against == rule_digest(one.base):
                was = {**was, "parts": part_digests(one.base)}
            now[one.path] = was
            changed = changed_parts(one, was["parts"]) or (("rule",) if stale(one) else ())
            out.append(
                {"rule": one.rule, "file": one.path, "fields": list(one.fields), "enabled": one.enabled, "changed": [*changed]}
            )
        if now != seen:
            self._history.commit([], {_KEY: msgspec.json.encode({"version": 1, "seen": now})})
        return out

    def _remembered(self) -> Mapping[str, dict[str, Any]]:
        saved = self._history.checkpoint(_KEY)
        if saved is None:
            return {}
        try:
            kept = msgspec.json.decode(saved, type=_Kept)
        except msgspec.DecodeError:
            # Written by another version: start from the present parts.
            return {}
        return {path: msgspec.structs.asdict(one) for path, one in kept.seen.items()} if kept.version == 1 else {}


class _Seen(msgspec.Struct):
    digest: str
    rule: str
    parts: dict[str, str]


class _Kept(msgspec.Struct):
    version: int
    seen: dict[str, _Seen]
