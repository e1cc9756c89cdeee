"""Deprecated keys and signals of rule files: read under their new names, reported by `rules lint`. They go with version 1.0."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sentinel.engine.facts.catalogue import FORMER_NAMES
from sentinel.model.problem import Keys
from sentinel.rulefiles.toml.document import Decoded
from sentinel.rulefiles.toml.tables import Findings

#: old key -> new key, in the same table
RENAMED: Mapping[Keys, Keys] = {("explains",): ("inhibits",), ("alert", "keep"): ("alert", "keep_firing_for")}
#: the same with the names that `lint` and the daemon's state have for these parts
_PARTS = {".".join(map(str, old)): ".".join(map(str, new)) for old, new in RENAMED.items()}
#: new attribute of a rule -> its name in digests, which must not change: overrides and recordings hold them
IN_DIGESTS = {str(new[-1]): str(old[-1]) for old, new in RENAMED.items()}


#: A file that has none of these has no former name.
_TRACES = tuple(old.rpartition(".")[2].encode() for old in FORMER_NAMES)
_FORMER = re.compile(rf"\b(?:{'|'.join(map(re.escape, FORMER_NAMES))})\b")


def with_new_signals(decoded: Decoded, data: bytes, findings: Findings) -> Decoded:
    """A file with the present names of signals, wherever it writes a former one."""
    if not any(trace in data for trace in _TRACES):
        return decoded
    return replace(decoded, table=_renamed(decoded.table, (), (), findings))


def _renamed(value: Any, keys: Keys, path: tuple[str, ...], findings: Findings) -> Any:
    """`path`: the keys of tables in tables, which may spell the name of a signal."""
    if isinstance(value, str):
        for old in sorted(set(_FORMER.findall(value))):
            _note(findings, keys, old)
        return _FORMER.sub(lambda found: FORMER_NAMES[found[0]], value)
    if isinstance(value, list):
        return [_renamed(one, (*keys, number), (), findings) for number, one in enumerate(value)]
    if not isinstance(value, dict):
        return value
    out: dict[str, Any] = {}
    for key, inner in value.items():
        name = key
        if (new := FORMER_NAMES.get(key) or FORMER_NAMES.get(".".join([*path[-1:], key]))) is not None:
            _note(findings, (*keys, key), key if key in FORMER_NAMES else f"{path[-1]}.{key}")
            name = new if key in FORMER_NAMES else new.rpartition(".")[2]
        out[name] = _renamed(inner, (*keys, key), (*path, key), findings)
    return out


def _note(findings: Findings, keys: Keys, old: str) -> None:
    findings.warning(keys, f"names signal '{old}', which is deprecated; write '{FORMER_NAMES[old]}'")


def with_new_keys(decoded: Decoded, findings: Findings) -> tuple[Decoded, dict[Keys, Keys]]:
    """A rule or override with its deprecated keys renamed; and for each new key the old one that was written."""
    table = dict(decoded.table)
    written: dict[Keys, Keys] = {}
    for old, new in RENAMED.items():
        inside = _holder(table, old)
        if inside is None:
            continue
        said = inside.pop(str(old[-1]))
        if str(new[-1]) in inside:
            findings.error(old, f"is the old name of '{new[-1]}', which is given too; remove '{old[-1]}'")
            continue
        findings.warning(old, f"is deprecated; write '{new[-1]}'")
        inside[str(new[-1])] = said
        written[new] = old
    return (replace(decoded, table=table) if table != decoded.table else decoded), written


def _holder(table: dict[str, Any], keys: Keys) -> dict[str, Any] | None:
    """A copy, in the table, of the innermost table that holds these keys; None if nothing does."""
    for key in keys[:-1]:
        inner = table.get(str(key))
        if not isinstance(inner, dict) or keys[-1] not in inner:
            return None
        table[str(key)] = dict(inner)
        table = table[str(key)]
    return table if keys[-1] in table else None


def as_written(keys: Keys, written: Mapping[Keys, Keys]) -> Keys:
    """The keys of a part as its file spells them."""
    for new, old in written.items():
        if keys[: len(new)] == new:
            return (*old, *keys[len(new) :])
    return keys


def new_part(name: str) -> str:
    """The present name of a part: ``alert.keep`` is ``alert.keep_firing_for``."""
    return _PARTS.get(name, name)


def old_part(name: str) -> str | None:
    """The deprecated name of a part, if it has one."""
    return next((old for old, new in _PARTS.items() if new == name), None)
