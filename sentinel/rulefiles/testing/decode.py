"""Decodes inline tests: a rule file's [[test]] tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from sentinel.model.alert import REASONS
from sentinel.model.entity import Value
from sentinel.model.problem import Keys, quoted
from sentinel.model.rule import CaseDef, ExpectDef
from sentinel.model.text import parse_duration
from sentinel.rulefiles.testing.series import SeriesError, parse_series
from sentinel.rulefiles.toml.tables import Table

STATES = ("firing", "quiet", "pending", "unknown", "resolved")
_TIMED = re.compile(r"^\+(\d+(?:\.\d+)?(?:ms|s|m|h|d)) (.*)$", re.DOTALL)
_DEFAULT_AT = 60.0
#: The longest virtual time of a test, seconds: each second of it costs a step of the engine.
LONGEST = 6 * 3600.0


def case_def(table: Table) -> CaseDef:
    """One inline test."""
    name = table.text("name", required=True)
    if name:
        table.call(f"test '{name:.120}'")
    given = _values(table, ("given",), table.mapping("given"))
    series = {}
    for signal, text in flat(table.mapping("series")).items():
        keys = table.at("series", signal)
        try:
            if not isinstance(text, str):
                table.findings.error(keys, f"must be a text such as '0.4x30', not {quoted(text)}")
            elif signal in given:
                table.findings.error(keys, "is in 'given' too; write it in one of them")
            else:
                series[signal] = parse_series(text)
        except SeriesError as error:
            table.findings.error(keys, str(error))
    expectations = _expectations(table)
    at, expect = expectations[-1]
    case = CaseDef(
        name=name,
        at=at,
        expect=expect,
        earlier=tuple(expectations[:-1]),
        given=given,
        unknown=table.texts("unknown"),
        later=_later(table),
        series=series,
        step=table.duration("step", 1.0) or 1.0,
        log=_timed(table, "log"),
        kernel=_timed(table, "kernel"),
        systemd=_timed(table, "systemd"),
        gone=table.duration("gone", None),
        restart=table.duration("restart", None),
        sentinel_restarts=_times(table, "sentinel_restarts"),
        unplugged=table.duration("unplugged", None),
    )
    table.done()
    return case


def states_of(table: Mapping[str, Any]) -> frozenset[str]:
    """The states that the tests in a rule file expect, without decoding the tests."""
    rows = table.get("test")
    expected = [row.get("expect") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    each = [one for some in expected for one in (some if isinstance(some, list) else [some]) if isinstance(one, dict)]
    return frozenset(str(one.get("state")) for one in each)


def flat(signals: Mapping[str, Any]) -> dict[str, Any]:
    """Signals by name; TOML nests unquoted names, ``server.state = "ready"``."""
    out: dict[str, Any] = {}
    for key, value in signals.items():
        if isinstance(value, dict) and value:
            out |= {f"{key}.{inner}": said for inner, said in flat(value).items()}
        else:
            out[key] = value
    return out


def _expectations(table: Table) -> list[tuple[float, ExpectDef]]:
    """Expectations with their times, in order: ``expect = { ... }``, or an [[test.expect]] for each time."""
    if table.holds("expect", list):
        at = _at(table, None)
        out = []
        for row in table.tables("expect"):
            out.append((_at(row, at) or at or _DEFAULT_AT, _expect(row)))
        if not out:
            table.findings.error(table.at("expect"), "is empty; write what is expected at the end")
            out.append((at or _DEFAULT_AT, ExpectDef("quiet")))
        for number, (earlier, later) in enumerate(pairwise(out), 1):
            if earlier[0] >= later[0]:
                table.findings.error(table.at("expect", number), "must be later than the one before it; give each its 'at'")
        return sorted(out, key=lambda pair: pair[0])
    at = _at(table, _DEFAULT_AT) or _DEFAULT_AT
    return [(at, _expect(table.table("expect")))]


def _at(table: Table, default: float | None) -> float | None:
    at = table.duration("at", default)
    if at is not None and at > LONGEST:
        table.findings.error(table.at("at"), f"is later than {LONGEST / 3600:g} h, and no test lasts longer")
        return default
    return at


def _expect(expect: Table) -> ExpectDef:
    fix = expect.texts_or_text("fix_contains")
    expected = ExpectDef(
        state=expect.text("state", "quiet", required=True, one_of=STATES),  # type: ignore[arg-type]
        cause=expect.text("cause"),
        summary_contains=expect.text("summary_contains"),
        fix_contains=fix,
        fix_lacks=expect.texts_or_text("fix_lacks"),
        missing=expect.texts("missing"),
        reason=expect.text("reason", one_of=REASONS),
    )
    if (expected.cause or expected.summary_contains or fix or expected.fix_lacks) and expected.state not in ("firing", "pending"):
        expect.findings.error(
            expect.keys, f"expects a cause, a summary or a fix of an alert that is {expected.state}: it has none"
        )
    expect.done()
    return expected


def _later(table: Table) -> tuple[tuple[float, dict[str, Value]], ...]:
    later = []
    for when, values in table.mapping("later").items():
        seconds = parse_duration(when)
        if seconds is None or not isinstance(values, dict):
            table.findings.error(table.at("later", when), 'must be a table of signals under a time, as in "5s" = { ... }')
        else:
            later.append((seconds, _values(table, ("later", when), values)))
    return tuple(sorted(later, key=lambda change: change[0]))


def _values(table: Table, keys: Keys, raw: Mapping[str, object]) -> dict[str, Value]:
    given: dict[str, Value] = {}
    for signal, value in flat(raw).items():
        if not isinstance(value, bool | int | float | str):
            table.findings.error(table.at(*keys, signal), f"must be a number, a text or a flag, not {quoted(value)}")
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            table.findings.error(table.at(*keys, signal), "is a number of more than 64 bits")
        else:
            given[signal] = value
    return given


def _timed(table: Table, key: str) -> tuple[tuple[float, str], ...]:
    out = []
    for i, line in enumerate(table.texts(key)):
        match = _TIMED.match(line)
        seconds = parse_duration(match.group(1)) if match else None
        if match is None or seconds is None:
            table.findings.error(table.at(key, i), "must begin with its time, for example '+3s the line'")
        else:
            out.append((seconds, match.group(2)))
    return tuple(out)


def _times(table: Table, key: str) -> tuple[float, ...]:
    out = []
    for i, text in enumerate(table.texts(key)):
        seconds = parse_duration(text)
        if seconds is None:
            table.findings.error(table.at(key, i), f"'{text:.60}' is not a duration; write a number and s, m or h, as in '30s'")
        else:
            out.append(seconds)
    return tuple(sorted(out))
