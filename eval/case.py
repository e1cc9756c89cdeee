"""The labelled cases: what happened, told as a server, a kernel and a machine would tell it, and what sentinel should say.

One TOML file a failure in eval/cases, named by the rule; healthy.toml, look-alikes.toml and false-statements.toml expect silence.
bases.toml holds values and lines that many cases share. Files are decoded strictly: a mistake is told with its place.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sentinel.llama.command_line import decode as decode_argv
from sentinel.model.entity import Unknown, Value
from sentinel.model.problem import Keys, Problem
from sentinel.model.text import parse_duration
from sentinel.rulefiles.toml.document import decode
from sentinel.rulefiles.toml.tables import Findings, Table

CASES = Path(__file__).resolve().parent / "cases"
#: Builds by their generation of log: October 2024, August 2025, spring 2026 (the last before logs grew quiet), August and
#: October 2026; and builds of a distribution, whose number says nothing.
ERAS = ("b39xx", "b617x", "b86xx", "b104xx", "b114xx", "distribution")
#: Files whose cases expect silence.
SILENT = ("false-statements", "healthy", "look-alikes")
_TIMED = re.compile(r"^\+(\d+(?:\.\d+)?(?:ms|s|m|h|d)) (.*)$", re.DOTALL)
_SHARED = re.compile(r"^@([\w-]+)((?: \w+=\S+)*)$")

Timed = tuple[tuple[float, str], ...]


class CaseError(Exception):
    """The cases cannot be used; one line for each mistake."""


@dataclass(frozen=True, slots=True)
class Case:
    """One story with its label. Times are seconds from its start."""

    #: the rule that should fire; empty: none above advice
    rule: str
    #: the file it stands in
    group: str
    name: str
    era: str
    origin: str
    #: where it comes from
    told_by: str
    at: float
    cause: str = ""
    #: rules that may fire beside it
    also: tuple[str, ...] = ()
    given: Mapping[str, Value | Unknown] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    #: values over time, interpolated between the points where they are numbers
    series: Mapping[str, tuple[tuple[float, Value], ...]] = field(default_factory=dict)
    #: what the command line asked for; None: it is not known
    asked: Mapping[str, Value | Unknown] | None = None
    log: Timed = ()
    kernel: Timed = ()
    #: what systemd says of the server's unit
    systemd: Timed = ()
    #: what systemd-oomd and earlyoom say, about whomever
    oom_daemons: Timed = ()
    #: events that a source tells by itself (journald's MESSAGE_ID, udev), by name
    events: Timed = ()
    #: a recorded log: a path in the project, or `corpus:` and a path in the corpus
    recording: str = ""
    kernel_recording: str = ""
    gone: float | None = None
    restart: float | None = None

    @property
    def offline(self) -> bool:
        """Only files are there, as when somebody sends them: judged as `sentinel diagnose` does."""
        return bool(self.recording) and not self.given and not self.series


@dataclass(slots=True)
class _Shared:
    values: dict[str, dict[str, Value]]
    lines: dict[str, tuple[str, ...]]


def load(folder: Path = CASES) -> list[Case]:
    """Every case, in the order of files and of the text. Raises CaseError."""
    problems: list[Problem] = []
    shared = _shared(folder / "bases.toml", problems)
    cases: list[Case] = []
    for path in sorted(folder.glob("*.toml")):
        if path.name != "bases.toml":
            cases += _cases(path, shared, problems)
    names = [case.name for case in cases]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(Problem(str(folder), f"case '{name}'", "is there twice"))
    if problems:
        raise CaseError("\n".join(str(problem) for problem in problems))
    return cases


def _table(path: Path, problems: list[Problem]) -> Table:
    decoded = decode(path.read_bytes(), path.name)
    problems += decoded.problems
    top = Table(decoded.table, (), Findings(path.name))
    top.get("schema", int, 1)
    return top


def _shared(path: Path, problems: list[Problem]) -> _Shared:
    top = _table(path, problems)
    values = {name: _values(top, ("base", name), table) for name, table in top.mapping("base").items()}
    lines = {name: tuple(str(line) for line in block) for name, block in top.mapping("lines").items()}
    top.done()
    problems += top.findings.problems
    return _Shared(values, lines)


def _cases(path: Path, shared: _Shared, problems: list[Problem]) -> list[Case]:
    top = _table(path, problems)
    cases = [_case(table, path.stem, shared) for table in top.tables("case")]
    top.done()
    problems += top.findings.problems
    return cases


def _case(table: Table, group: str, shared: _Shared) -> Case:
    name = table.text("name", required=True)
    if name:
        table.call(f"case '{name}'")
    given: dict[str, Value | Unknown] = {}
    for base in table.texts("base", one_of=tuple(shared.values)):
        given |= shared.values[base]
    asked = _asked(table)
    if asked is not None and (given or not table.text("recording")):
        given |= {"server.argv_readable": True, **asked}
    given |= _values(table, ("given",), table.mapping("given"))
    unknown = table.texts("unknown")
    series = {signal: _points(table, signal, raw) for signal, raw in table.mapping("series").items()}
    for signal in (*unknown, *series):
        given.pop(signal, None)
    case = Case(
        rule="" if group in SILENT else group,
        group=group,
        name=name,
        era=table.text("era", required=True, one_of=ERAS),
        origin=table.text("origin", required=True, one_of=("recorded", "composed")),
        told_by=table.text("from", required=True),
        at=table.duration("at", 60.0) or 60.0,
        cause=table.text("cause", required=group not in SILENT),
        also=table.texts("also"),
        given=given,
        unknown=unknown,
        series=series,
        asked=asked,
        log=_timed(table, "log", shared),
        kernel=_timed(table, "kernel", shared),
        systemd=_timed(table, "systemd", shared),
        oom_daemons=_timed(table, "oom_daemons", shared),
        events=_timed(table, "events", shared),
        recording=table.text("recording"),
        kernel_recording=table.text("kernel_recording"),
        gone=table.duration("gone", None),
        restart=table.duration("restart", None),
    )
    table.done()
    return case


def _asked(table: Table) -> dict[str, Value | Unknown] | None:
    """What the source that reads command lines makes of it."""
    argv, env = table.text("argv"), table.mapping("env")
    if not argv:
        return None
    return dict(decode_argv(shlex.split(argv), {key: str(value) for key, value in env.items()}).signals())


def _values(table: Table, keys: Keys, raw: Mapping[str, Any]) -> dict[str, Value]:
    for signal, value in raw.items():
        if not isinstance(value, bool | int | float | str):
            table.findings.error(table.at(*keys, signal), f"must be a number, a text or a flag, not {value!r:.60}")
    return dict(raw)


def _points(table: Table, signal: str, raw: Any) -> tuple[tuple[float, Value], ...]:
    points = []
    for point in raw if isinstance(raw, list) else [raw]:
        match point:
            case [str(when), value] if (seconds := parse_duration(when)) is not None:
                points.append((seconds, value))
            case _:
                table.findings.error(table.at("series", signal), f"must be a list of ['5s', value], not {point!r:.60}")
    return tuple(points)


def _timed(table: Table, key: str, shared: _Shared) -> Timed:
    out: list[tuple[float, str]] = []
    for i, line in enumerate(table.texts(key)):
        match = _TIMED.match(line)
        seconds = parse_duration(match[1]) if match else None
        if match is None or seconds is None:
            table.findings.error(table.at(key, i), "must begin with its time, for example '+3s the line'")
            continue
        block = _SHARED.match(match[2])
        if block is None:
            out.append((seconds, match[2]))
            continue
        try:
            settings = dict(pair.split("=", 1) for pair in block[2].split())
            out += [(seconds, text.format_map(settings)) for text in shared.lines[block[1]]]
        except KeyError as error:
            table.findings.error(table.at(key, i), f"names {error}, which bases.toml or the line does not give")
    return tuple(out)
