"""What rule files share: named fixes, ``[fix.NAME]``, and bases of tests, ``[base.NAME]``; and how they are inserted.

Both are inserted before a rule is decoded: the result is checked as one rule, and the engine sees neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sentinel.model.problem import Keys, did_you_mean, quoted
from sentinel.rulefiles.decode import RULE_ID, SETTINGS, expressions, fix_def
from sentinel.rulefiles.testing.decode import case_def, flat
from sentinel.rulefiles.toml.document import Decoded
from sentinel.rulefiles.toml.tables import Findings, Table

#: Lists of a test that are appended to those of its base.
_GOES_ON = ("log", "kernel", "systemd", "sentinel_restarts")
#: Tables of a test that hold signals.
_SIGNALS = ("given", "series")


@dataclass
class Library:
    """Named fixes and bases as written, by name; those of a rule's own file take precedence."""

    fixes: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    bases: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    #: names with mistakes of their own: reported where they are defined, and not again where they are used
    broken: frozenset[str] = frozenset()

    def with_own_of(self, *files: tuple[str, Decoded]) -> tuple[Library, list[Findings]]:
        """This library with the private additions of some files (name, content), and the mistakes in them."""
        mine, found = replace(self, fixes=dict(self.fixes), bases=dict(self.bases)), []
        for file, decoded in files:
            findings = Findings(file, left_out=decoded.left_out)
            _add(mine, decoded.table, findings)
            found.append(findings)
        return mine, found


def is_library(table: Mapping[str, Any]) -> bool:
    """A file of named things only."""
    return not {"id", "override"} & table.keys() and bool({"fix", "base"} & table.keys())


def gathered(files: Iterable[tuple[str, Decoded]]) -> tuple[Library, list[Findings]]:
    """The library that all rules share, from its files, with every mistake."""
    library, found = Library(), []
    first: dict[tuple[str, str], str] = {}
    for file, decoded in files:
        findings = Findings(file, left_out=decoded.left_out)
        found.append(findings)
        top = Table(decoded.table, (), findings)
        top.get("schema", int, 1)
        taken = {}
        for kind in ("fix", "base"):
            there = top.mapping(kind)
            for name in there:
                if (kind, name) in first:
                    findings.error((kind, name), f"is defined in {first[kind, name]} too; each needs a name of its own")
            taken[kind] = {name: said for name, said in there.items() if (kind, name) not in first}
            first |= {(kind, name): file for name in taken[kind]}
        top.done()
        _add(library, taken, findings)
    return library, found


def _add(library: Library, table: Mapping[str, Any], findings: Findings) -> None:
    """Adds the named things of a file, each checked by itself."""
    top = Table(table, (), findings)
    broken = set(library.broken)
    for kind, known in (("fix", library.fixes), ("base", library.bases)):
        for name, said in top.mapping(kind).items():
            keys: Keys = (kind, name)
            findings.names[keys] = f"{kind} '{name:.60}'"
            before = len(findings.problems)
            if not RULE_ID.match(name):
                findings.error(keys, "is no name of such a thing; write lower-case words joined by '-'")
            elif not isinstance(said, dict):
                findings.error(keys, f"must be a table, [{kind}.{name}], not {quoted(said)}")
            elif kind == "fix":
                _check_fix(said, keys, findings)
            else:
                _check_base(said, keys, findings)
            known[name] = said if isinstance(said, dict) else {}
            mark = f"{kind}.{name}"
            broken = broken - {mark} if len(findings.problems) == before else broken | {mark}
    for name in top.mapping("base"):
        before = len(findings.problems)
        _based(library.bases[name], ("base", name), library.bases, findings, (name,))
        broken |= {f"base.{name}"} if len(findings.problems) > before else set()
    library.broken = frozenset(broken)


def _check_fix(said: Mapping[str, Any], keys: Keys, findings: Findings) -> None:
    """A named fix may leave `do` to its user, and may bring values that its texts read."""
    row = Table({"do": "-", **said}, keys, findings)
    expressions(row, "value")
    fix_def(row)


def _check_base(said: Mapping[str, Any], keys: Keys, findings: Findings) -> None:
    for key in ("name", "expect"):
        if key in said:
            findings.error((*keys, key), "belongs to the tests on this base")
    row = Table({**said, "name": "-", "expect": {"state": "quiet"}}, keys, findings)
    row.texts_or_text("base")
    row.texts("without")
    name = findings.names[keys]
    case_def(row)
    findings.names[keys] = name


def with_fixes(decoded: Decoded, library: Library, findings: Findings) -> tuple[Decoded, dict[Keys, Keys]]:
    """A rule with each ``use`` replaced by the fix that it names; and for each value that a fix brought, where it is used.

    ``{rule}`` in a text of a named fix is the id of the rule that uses it.
    """
    table = decoded.table
    out = dict(table)
    brought: dict[Keys, Keys] = {}
    left_out: list[Keys] = []
    values: dict[str, Any] = {}
    causes = table.get("cause")
    if not isinstance(causes, list):
        return decoded, brought
    rule = table.get("id", "")
    taken = {name for kind in ("window", "event", "check", "value") for name in _table_of(table, kind)}
    out["cause"] = []
    for i, cause in enumerate(causes):
        fixes = cause.get("fix") if isinstance(cause, dict) else None
        if not isinstance(fixes, list):
            out["cause"].append(cause)
            continue
        if isinstance(cause.get("id"), str):
            findings.names["cause", i] = f"cause '{cause['id']:.60}'"
        made = []
        for j, row in enumerate(fixes):
            keys: Keys = ("cause", i, "fix", j)
            if not isinstance(row, dict) or "use" not in row:
                made.append(row)
                continue
            name = row["use"]
            if not isinstance(name, str) or name not in library.fixes:
                near = did_you_mean(name, library.fixes) if isinstance(name, str) else ""
                findings.error((*keys, "use"), f"there is no fix {quoted(name)}{near}; a fix is named by [fix.NAME]")
                left_out.append(keys)
                continue
            if f"fix.{name}" in library.broken:
                left_out.append(keys)
            said = dict(library.fixes[name])
            for value, expression in _table_of(said, "value").items():
                if value not in taken:
                    brought.setdefault(("value", value), (*keys, "use"))
                    values.setdefault(value, expression)
            said.pop("value", None)
            row = _laid_over(said, {key: given for key, given in row.items() if key != "use"})
            made.append(
                {key: given.replace("{rule}", str(rule)) if isinstance(given, str) else given for key, given in row.items()}
            )
        out["cause"].append({**cause, "fix": made})
    if values:
        out["value"] = {**_table_of(table, "value"), **values}
    return replace(decoded, table=out, left_out=(*decoded.left_out, *left_out)), brought


def _laid_over(named: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """A named fix merged with its user's own keys. Of two keys that exclude each other the user's wins."""
    for mine, not_theirs in (
        ("command", ("flags", *SETTINGS)),
        ("flags", ("command", "restart", "stop", *SETTINGS)),
        ("restart", ("flags", "stop", *SETTINGS)),
        ("stop", ("flags", "restart", *SETTINGS)),
        *((place, ("command", "flags", "restart", "stop")) for place in SETTINGS),
        ("otherwise", ("when", "builds")),
        ("when", ("otherwise",)),
        ("builds", ("otherwise",)),
    ):
        if own.get(mine):
            for key in not_theirs:
                named.pop(key, None)
    return {**named, **own}


def with_bases(decoded: Decoded, library: Library, findings: Findings) -> Decoded:
    """A file with each of its tests merged with the bases that it names."""
    rows = decoded.table.get("test")
    if not isinstance(rows, list):
        return decoded
    out = []
    left_out: list[Keys] = []
    for i, row in enumerate(rows):
        if not isinstance(row, dict) or not {"base", "without"} & row.keys():
            out.append(row)
            continue
        keys: Keys = ("test", i)
        if isinstance(row.get("name"), str):
            findings.names[keys] = f"test '{row['name']:.120}'"
        before = len(findings.problems)
        if any(f"base.{name}" in library.broken for name in _all_under(row, library.bases)):
            left_out.append(keys)
            continue
        out.append(_based(row, keys, library.bases, findings, ()))
        if len(findings.problems) > before:
            left_out.append(keys)
    return replace(decoded, table={**decoded.table, "test": out}, left_out=(*decoded.left_out, *left_out))


def _based(
    row: Mapping[str, Any], keys: Keys, bases: Mapping[str, Mapping[str, Any]], findings: Findings, under: tuple[str, ...]
) -> dict[str, Any]:
    """A test, or a base, merged with its bases. `under` are the bases being resolved, to detect a cycle."""
    ground: dict[str, Any] = {}
    for name in Table(row, keys, findings).texts_or_text("base"):
        if name not in bases:
            what = f"there is no base '{name:.60}'{did_you_mean(name, bases)}; a base is named by [base.NAME]"
            findings.error((*keys, "base"), what)
        elif name in under:
            findings.error((*keys, "base"), f"'{name:.60}' stands on itself")
        else:
            ground = _put_on(ground, _based(bases[name], keys, bases, findings, (*under, name)))
    there = {signal for kind in _SIGNALS for signal in _table_of(ground, kind)} | {*_list_of(ground, "unknown")}
    gone = [one for one in _list_of(row, "without") if isinstance(one, str)]
    for i, signal in enumerate(gone):
        if signal not in there:
            what = f"none of its bases says anything of '{signal:.60}'{did_you_mean(signal, there)}"
            findings.error((*keys, "without", i), what)
    ground = _put_on(ground, {"unknown": gone})
    ground["unknown"] = [signal for signal in _list_of(ground, "unknown") if signal not in gone]
    return _put_on(ground, {key: said for key, said in row.items() if key not in ("base", "without")})


def _all_under(row: Mapping[str, Any], bases: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Every base below a test or base."""
    found: set[str] = set()
    ahead = [row]
    while ahead:
        said = ahead.pop().get("base")
        for name in said if isinstance(said, list) else [said]:
            if isinstance(name, str) and name in bases and name not in found:
                found.add(name)
                ahead.append(bases[name])
    return found


def _put_on(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A test merged with its base: the test's signals win, log lines are appended."""
    out = dict(under)
    given = {kind: flat(_table_of(over, kind)) for kind in _SIGNALS}
    unknown = _list_of(over, "unknown")
    said = {*given["given"], *given["series"], *(one for one in unknown if isinstance(one, str))}
    for kind in _SIGNALS:
        kept = {signal: value for signal, value in flat(_table_of(under, kind)).items() if signal not in said}
        out[kind] = over[kind] if kind in over and not isinstance(over[kind], dict) else kept | given[kind]
    out["unknown"] = [*(one for one in _list_of(under, "unknown") if one not in said), *unknown]
    for key, value in over.items():
        if key in (*_SIGNALS, "unknown"):
            continue
        if key in _GOES_ON and isinstance(value, list):
            out[key] = [*_list_of(under, key), *value]
        elif key == "later" and isinstance(value, dict):
            times = {**_table_of(under, key)}
            both = {at: flat(_table_of(times, at)) | flat(said) for at, said in value.items() if isinstance(said, dict)}
            out[key] = {**times, **value, **both}
        else:
            out[key] = value
    return {key: value for key, value in out.items() if key not in (*_SIGNALS, "unknown") or value not in ({}, [])}


def _table_of(table: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = table.get(key)
    return found if isinstance(found, dict) else {}


def _list_of(table: Mapping[str, Any], key: str) -> list[Any]:
    found = table.get(key)
    return found if isinstance(found, list) else []
