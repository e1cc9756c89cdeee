"""Whether a rule was changed under an override. Apart from `override`, with which comes all that decodes and checks rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sentinel.model.rule import OverrideDef
from sentinel.rulefiles.deprecated import new_part
from sentinel.rulefiles.digest import part_digests, rule_digest


def stale(override: OverrideDef) -> bool:
    """The rule differs from the one that the override was written against."""
    return bool(override.against) and override.against != rule_digest(override.base)


def changed_parts(override: OverrideDef, then: Mapping[str, str]) -> tuple[str, ...]:
    """Parts of the rule that differ from `then`, an earlier `part_digests`; those that the override replaces come first."""
    now, then = part_digests(override.base), {new_part(name): digest for name, digest in then.items()}
    names = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    return tuple(sorted(names, key=lambda name: (name not in override.fields, name)))


def sentence(one: Mapping[str, Any]) -> str:
    """The warning for an override whose rule changed under it."""
    mine = [name for name in one["changed"] if name in one["fields"]]
    what = f"; {', '.join(mine)}, which it replaces, too" if mine else ""
    others = [name for name in one["changed"] if name not in one["fields"] and name != "rule"]
    where = f" ({', '.join(others)})" if others else ""
    return (
        f"{one['file']}: rule '{one['rule']}' was changed by an upgrade under this override{where}{what}; "
        f"see `sentinel rules show {one['rule']}`, and save the file again when it is right"
    )
