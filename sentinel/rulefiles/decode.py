"""The valid content of rule files and event files."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import get_args

from sentinel.llama.flags_in_text import builds
from sentinel.model.alert import Severity
from sentinel.model.builds import ANY
from sentinel.model.entity import Scope
from sentinel.model.event import EventDef, FieldType, Pattern
from sentinel.model.problem import Problem, quoted
from sentinel.model.rule import (
    Basis,
    CauseDef,
    Confidence,
    EventBinding,
    FixDef,
    Named,
    RuleDef,
    Take,
    WindowDef,
)
from sentinel.rulefiles.testing.decode import case_def
from sentinel.rulefiles.toml.document import Decoded
from sentinel.rulefiles.toml.tables import Findings, Table

#: Keys of a fix that change a setting where the server is started.
SETTINGS = ("unit", "container", "shell", "env", "unset")
SOURCES = ("llama-server", "kernel", "systemd")
RULE_ID = re.compile(r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")
_MESSAGE_ID = re.compile(r"^[0-9a-f]{32}$")


def event_defs(decoded: Decoded, findings: Findings) -> list[EventDef]:
    """Event definitions of one file of rules/events, in its order."""
    top = Table(decoded.table, (), findings)
    top.get("schema", int, 1)
    source = top.text("source", required=True, one_of=SOURCES)
    defs = []
    for table in top.tables("event"):
        extends = table.text("extends")
        name = extends or table.text("name", required=True)
        if name:
            table.call(f"event '{name:.60}'")
        patterns = []
        for row in table.tables("pattern"):
            builds = row.builds("builds")
            if builds is None:
                findings.error(row.at("builds"), "is missing; write the range of builds it was seen in, or 'any'")
            origin = row.text("from", one_of=("recorded", "reference", "source", "composed"))
            added_by = findings.file if extends else ""
            pattern = Pattern(row.joined("regex"), row.joined("example"), builds or ANY, origin, added_by)
            if source == "llama-server" and pattern.regex and not pattern.regex.startswith("^"):
                findings.error(row.at("regex"), "must begin with ^: prompts and templates in the log may contain any text")
            row.done()
            patterns.append(pattern)
        if not patterns:
            findings.error(table.at("pattern"), "is missing: an event needs at least one pattern")
        fields: dict[str, FieldType] = {}
        for field_name, kind in table.mapping("fields").items():
            if kind not in get_args(FieldType):
                findings.error(table.at("fields", field_name), f"{quoted(kind)} is none of: {', '.join(get_args(FieldType))}")
            else:
                fields[field_name] = kind
        if extends:
            # The facts it sets are defined with the event: further patterns mean the same.
            defs.append(EventDef(name, source, tuple(patterns), fields, path=findings.file, extends=True))
            table.done()
            continue
        defs.append(
            EventDef(
                name=name,
                source=source,
                patterns=tuple(patterns),
                fields=fields,
                sets=_str_map(table, "sets"),
                const=table.mapping("const"),
                adds=_str_map(table, "adds"),
                forgets=table.texts("forgets"),
                starts_run=table.get("starts_run", bool, False),
                help=table.text("help"),
                path=findings.file,
            )
        )
        table.done()
    top.done()
    return defs


def rule_def(decoded: Decoded, file: str, *, tests: bool = True) -> tuple[RuleDef, list[Problem]]:
    """The rule of one file; with problems, the part that could be decoded, which serves to find more of them.

    Shared parts, named fixes and bases, were checked and inserted already (`library`).
    """
    findings = Findings(file, left_out=decoded.left_out)
    top = Table(decoded.table, (), findings)
    top.get("schema", int, 1)
    top.leave("fix", "base")
    rule_id = top.text("id", required=True)
    if rule_id and not RULE_ID.match(rule_id):
        findings.error(("id",), f"'{rule_id:.60}' is not a rule id; write lower-case words joined by '-'")
    message_id = top.text("message_id", required=True)
    if message_id and not _MESSAGE_ID.match(message_id):
        findings.error(("message_id",), "must be 32 lower-case hex digits; `systemd-id128 new` makes one")
    alert = top.table("alert")
    clear, clear_after = alert.text("clear"), alert.duration("clear_after", None)
    if not clear and clear_after is None:
        findings.error(("alert",), "has no way to clear: write 'clear' (an expression) or 'clear_after' (a duration)")
    rule = RuleDef(
        id=rule_id,
        message_id=message_id,
        title=top.text("title", required=True),
        severity=top.text("severity", "warning", required=True, one_of=get_args(Severity)),  # type: ignore[arg-type]
        scope=top.text("scope", "server", required=True, one_of=get_args(Scope)),  # type: ignore[arg-type]
        basis=top.texts("basis", one_of=get_args(Basis)),  # type: ignore[arg-type]
        references=top.texts("references"),
        false_positives=top.texts("false_positives"),
        impact=top.text("impact"),
        inhibits=top.texts("inhibits"),
        windows=_windows(top),
        events=_bindings(top),
        values=expressions(top, "value"),
        checks=expressions(top, "check"),
        evidence=expressions(top, "evidence"),
        summary=alert.text("summary", required=True),
        when=alert.text("when", required=True),
        hold=alert.duration("for", 0.0) or 0.0,
        clear=clear,
        clear_after=clear_after,
        clear_after_by_hand=alert.duration("clear_after_by_hand", None),
        keep_firing_for=alert.duration("keep_firing_for", 0.0) or 0.0,
        outlives_server=alert.get("outlives_server", bool, False),
        slows_generation=alert.get("slows_generation", bool, False),
        causes=tuple(_cause(t) for t in top.tables("cause")),
        tests=tuple(case_def(t) for t in top.tables("test")) if tests else (),
        path=file,
    )
    top.leave("test")
    alert.done()
    top.done()
    return rule, findings.problems


def _str_map(table: Table, key: str) -> dict[str, str]:
    out = {}
    for name, value in table.mapping(key).items():
        if isinstance(value, str):
            out[name] = value
        else:
            table.findings.error(table.at(key, name), "must name a captured field, as text")
    return out


def _windows(top: Table) -> tuple[WindowDef, ...]:
    out = []
    for name, raw in top.named("window").items():
        if not isinstance(raw, dict):
            top.findings.error(("window", name), "must be a table such as { signal = ..., over = '30s', take = 'mean' }")
            continue
        row = Table(raw, ("window", name), top.findings)
        take = row.text("take", "mean", required=True, one_of=get_args(Take))
        over = row.duration("over", 60.0, required=True)
        if not over:
            if over is not None:
                row.findings.error(row.at("over"), "must be longer than nothing")
            continue
        out.append(WindowDef(name, row.text("signal", required=True), over, take))  # type: ignore[arg-type]
        row.done()
    return tuple(out)


def _bindings(top: Table) -> tuple[EventBinding, ...]:
    out = []
    for name, raw in top.named("event").items():
        if not isinstance(raw, dict):
            top.findings.error(("event", name), "must be a table such as { name = ..., over = '15m' }")
            continue
        row = Table(raw, ("event", name), top.findings)
        since, over = row.text("since", one_of=("server.start",)), row.duration("over", None)
        if bool(since) == (over is not None):
            top.findings.error(row.keys, "needs one of since = 'server.start' and over = '<duration>'")
        out.append(EventBinding(name, row.text("name", required=True), over))
        row.done()
    return tuple(out)


def expressions(top: Table, key: str) -> tuple[Named, ...]:
    """Named expressions, in order."""
    out = []
    for name, raw in top.named(key).items():
        if isinstance(raw, str) and raw.strip():
            out.append(Named(name, raw))
        else:
            top.findings.error(top.at(key, name), f"must be an expression as text, not {quoted(raw)}")
    return tuple(out)


def _cause(table: Table) -> CauseDef:
    cause_id = table.text("id", required=True)
    if cause_id:
        table.call(f"cause '{cause_id:.60}'")
    cause = CauseDef(
        id=cause_id,
        text=table.text("text", required=True),
        confidence=table.text("confidence", "medium", one_of=get_args(Confidence)),  # type: ignore[arg-type]
        when=table.text("when"),
        fixes=tuple(fix_def(row) for row in table.tables("fix")),
        severity=table.text("severity", one_of=get_args(Severity)) or None,  # type: ignore[arg-type]
        also=table.texts("also"),
    )
    table.done()
    return cause


def fix_def(row: Table) -> FixDef:
    """One piece of advice."""
    fix = FixDef(
        do=row.text("do", required=True),
        command=row.text("command"),
        risk=row.text("risk"),
        verify=row.text("verify"),
        builds=row.builds("builds"),
        when=row.text("when"),
        flags=row.text("flags"),
        otherwise=row.get("otherwise", bool, False),
        restart=row.get("restart", bool, False),
        stop=row.get("stop", bool, False),
        **{place: row.text(place) for place in SETTINGS},
    )
    if fix.otherwise and (fix.when or fix.builds):
        row.findings.error(row.at("otherwise"), "is for where nothing else fits: it goes with neither 'when' nor 'builds'")
    _check_one_command(fix, row)
    row.done()
    if fix.builds is None and (accepted := builds(fix)) is not None:
        # A fix without a range is for the builds that accept its flags.
        return replace(fix, builds=accepted)
    return fix


def _check_one_command(fix: FixDef, row: Table) -> None:
    """One fix is one action: its command is written out, or made from one of the keys that make one."""
    made = ["flags"] * bool(fix.flags) + list(fix.settings)
    if made and fix.command:
        row.findings.error(row.at(made[0]), f"makes its own command; write either '{made[0]}' or 'command'")
    alone = [key for key in made if key in ("flags", "env", "unset")]
    if alone and len(made) > 1:
        other = next(key for key in made if key != alone[0])
        row.findings.error(row.at(other), f"does not go with '{alone[0]}'; write two fixes")
    both = [key for key, said in (("restart", fix.restart), ("stop", fix.stop)) if said]
    if both and made:
        row.findings.error(row.at(both[0]), f"does not go with '{made[0]}', which says how it takes effect; leave it out")
    elif len(both) > 1:
        row.findings.error(row.at("stop"), "does not go with 'restart'; write one of them")
