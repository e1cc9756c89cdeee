"""Tells when a rule becomes another one under an override, after an upgrade, without anybody having to keep a note of it.

What each override was first seen beside is remembered with the daemon's state. It counts anew when the override is saved again:
whoever does that has looked at it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from sentinel.history import History
from sentinel.model.rule import OverrideDef
from sentinel.rulefiles.digest import part_digests, rule_digest
from sentinel.rulefiles.override import changed_parts, stale

_KEY = "overrides"


class Upgrades:
    """Remembers the parts of each rule as they were when its override was new."""

    def __init__(self, history: History) -> None:
        self._history = history

    def look(self, overrides: Iterable[OverrideDef]) -> list[dict[str, Any]]:
        """Each override with the parts of its rule that changed under it, those that it replaces first."""
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
            # Another version's: what is there now is what is remembered from here on.
            return {}
        return {path: msgspec.structs.asdict(one) for path, one in kept.seen.items()} if kept.version == 1 else {}


class _Seen(msgspec.Struct):
    digest: str
    rule: str
    parts: dict[str, str]


class _Kept(msgspec.Struct):
    version: int
    seen: dict[str, _Seen]
