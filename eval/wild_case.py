"""Cases made from public reports: a small log, what must be said of it, and what must never be said.

A folder is in one of two forms. eval/wild has a folder a case with an expect.toml; a corpus that is kept elsewhere has one
expect.tsv with a line a case: name, rule, cause, fix, never.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentinel.cli import diagnose
from sentinel.cli.parser import parser
from sentinel.engine.rules.ruleset import RuleSet

WILD = Path(__file__).resolve().parent / "wild"
_KEYS = {"rule", "cause", "fix", "never", "first_look"}
_LOOK_KEYS = {"on", "rule", "cause", "fix", "false_statement"}
#: What comes after this heading says what the files leave open; it claims nothing.
_OPEN = "What the files "
#: As many fixes as a person tries before giving up.
_FIXES_READ = 2


class CaseError(ValueError):
    """A case that cannot be read, in one sentence."""


@dataclass(frozen=True, slots=True)
class FirstLook:
    """What sentinel said the first time, before anything was mended for the case."""

    on: datetime.datetime
    rule: bool
    cause: bool
    fix: bool
    false_statement: str


@dataclass(frozen=True, slots=True)
class Case:
    """One report. `rule` is `-` where nothing of severity warning or critical may fire."""

    name: str
    folder: Path
    rule: str
    cause: str
    fix: str
    never: str
    first_look: FirstLook | None = None

    @property
    def healthy(self) -> bool:
        """Nothing is wrong in it."""
        return self.rule == "-"

    @property
    def rules(self) -> frozenset[str]:
        """Rules that count as the right one."""
        return frozenset(self.rule.split("|"))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was said of a case. Of a healthy one `rule` is true when it was left alone."""

    case: Case
    rule: bool
    cause: bool
    fix: bool
    #: what `never` matched; empty if nothing
    wrong: str
    fired: tuple[str, ...]
    #: the answer as people read it
    answer: str

    @property
    def holds(self) -> bool:
        """All that was expected."""
        return self.rule and self.cause and self.fix and not self.wrong


def load(folder: Path = WILD) -> list[Case]:
    """Every case of a folder of either form, by name."""
    table = folder / "expect.tsv"
    if table.exists():
        rows = [row.split("\t") for row in table.read_text(encoding="utf-8").splitlines() if row.strip() and row[0] != "#"]
        return [_row(folder, row) for row in rows]
    return [_case(path) for path in sorted(folder.glob("*/expect.toml"))]


def _row(folder: Path, row: Sequence[str]) -> Case:
    name, rule, cause, fix, never = [*row, "", "", "", ""][:5]
    return Case(name, folder / name, rule, cause, fix, never)


def _case(path: Path) -> Case:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        look = data.get("first_look")
        first = None if look is None else _first_look(look)
        stray = set(data) - _KEYS
        if stray:
            raise CaseError(f"there is no key {sorted(stray)[0]!r}")
        cause, fix, never = (str(data.get(key, "")) for key in ("cause", "fix", "never"))
        for pattern in (cause, fix, never):
            re.compile(pattern)
        case = Case(path.parent.name, path.parent, data["rule"], cause, fix, never, first)
    except (tomllib.TOMLDecodeError, re.error, KeyError, CaseError, TypeError) as error:
        raise CaseError(f"{path}: {error}") from error
    if not case.healthy and not (case.cause and case.fix):
        raise CaseError(f"{path}: a failure needs `cause` and `fix`")
    for needed in ("README.md", "server.log", "argv.txt"):
        if not (case.folder / needed).is_file():
            raise CaseError(f"{path}: there is no {needed} beside it")
    return case


def _first_look(look: Mapping[str, Any]) -> FirstLook:
    if set(look) - _LOOK_KEYS:
        raise CaseError(f"[first_look] has no key {sorted(set(look) - _LOOK_KEYS)[0]!r}")
    on = look["on"]
    if not isinstance(on, datetime.datetime):
        on = datetime.datetime.combine(on, datetime.time())
    if on.tzinfo is None:
        on = on.replace(tzinfo=datetime.UTC)
    rule, cause, fix = (bool(look.get(key, look["rule"])) for key in ("rule", "cause", "fix"))
    return FirstLook(on, rule, cause, fix, str(look.get("false_statement", "")))


def judge(case: Case, ruleset: RuleSet) -> Outcome:
    """Ask the command itself, once as a program reads it and once as a person does."""
    told, answer = _last_words(_ask(case, ruleset, "--json")), _ask(case, ruleset, "--verbose")
    loud = [t for t in told if t["severity"] in ("warning", "critical") or t["rule"] in case.rules]
    never = re.compile(case.never, re.IGNORECASE | re.DOTALL) if case.never else None
    said = " ".join([*(_cause(t) + " " + _fixes(t, None) for t in loud if t.get("cause")), answer.split(_OPEN)[0]])
    hit = never.search(said) if never is not None else None
    wrong = "" if hit is None else hit.group()[:120] or "(everything)"
    fired = tuple(f"{t['rule']} ({(t.get('cause') or {}).get('id', '')})" for t in loud)
    if case.healthy:
        return Outcome(case, not loud, True, True, wrong, fired, answer)
    mine = [t for t in loud if t["rule"] in case.rules]
    cause = any(t.get("cause") and _finds(case.cause, _cause(t)) for t in mine)
    fix = cause and any(_finds(case.fix, _fixes(t, _FIXES_READ)) for t in mine)
    return Outcome(case, bool(mine), cause, fix, wrong, fired, answer)


def _ask(case: Case, ruleset: RuleSet, *options: str) -> str:
    words = ["diagnose", str(case.folder / "server.log"), *options]
    argv = (case.folder / "argv.txt").read_text(encoding="utf-8").strip().replace("\n", " ")
    if argv:
        words += ["--argv", argv]
    if (case.folder / "kernel.log").exists():
        words += ["--kernel-log", str(case.folder / "kernel.log")]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        diagnose.judge(ruleset, parser().parse_args(words))
    return out.getvalue()


def _last_words(printed: str) -> list[dict[str, Any]]:
    last = {}
    for line in printed.splitlines():
        item = json.loads(line)
        # What was pending and came to nothing is told to nobody.
        told = item.get("state") == "firing" or (item.get("state") == "resolved" and item.get("previous") != "pending")
        if told and "rule" in item:
            last[item["rule"], json.dumps(item.get("entity"))] = item
    return list(last.values())


def _cause(told: Mapping[str, Any]) -> str:
    return f"{told['cause'].get('id', '')} {told['cause'].get('text', '')}"


def _fixes(told: Mapping[str, Any], most: int | None) -> str:
    keys = ("do", "command", "flags", "option")
    return " ".join(str(fix.get(key) or "") for fix in told.get("fixes", [])[:most] for key in keys)


def _finds(pattern: str, text: str) -> bool:
    return re.search(pattern or ".", text, re.IGNORECASE | re.DOTALL) is not None


def chosen(cases: Iterable[Case], names: Iterable[str]) -> list[Case]:
    """Those whose name begins with one of these; all where none is given."""
    wanted = tuple(names)
    return [case for case in cases if not wanted or case.name.startswith(wanted)]
