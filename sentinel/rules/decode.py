"""Small decoders that collect every mistake instead of stopping at the first: for rule files and event files."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sentinel.model.pattern import BuildRange
from sentinel.model.problem import Problem, did_you_mean

_DURATION = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h|d)$")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BUILDS = re.compile(r"^(?:b(\d+))?-(?:b(\d+))?$")
_NAME = re.compile(r"^[a-z][a-z0-9_]{0,63}$")
_TYPE_NAMES = {str: "text", bool: "true or false", int: "a whole number", float: "a number", list: "a list", dict: "a table"}


@dataclass
class Findings:
    """Problems of one file, collected while it is decoded."""

    file: str
    problems: list[Problem] = field(default_factory=list)

    def error(self, where: str, what: str) -> None:
        """Note a mistake."""
        self.problems.append(Problem(self.file, where, what))

    def warning(self, where: str, what: str) -> None:
        """Note something that is allowed and probably not meant."""
        self.problems.append(Problem(self.file, where, what, "warning"))


class Table:
    """A TOML table being read: every key must be asked for, what is left over at the end is a mistake."""

    def __init__(self, data: Mapping[str, Any], where: str, findings: Findings) -> None:
        self._data = dict(data)
        self._asked: set[str] = set()
        self.where = where
        self.findings = findings

    def at(self, key: str) -> str:
        """The path of a key, for messages."""
        return f"{self.where}.{key}" if self.where else key

    def get(self, key: str, kind: type, default: Any, *, required: bool = False) -> Any:
        """A value of a type; a wrong type or a missing required key is noted and the default returned."""
        self._asked.add(key)
        if key not in self._data:
            if required:
                self.findings.error(self.at(key), "is missing")
            return default
        value = self._data[key]
        fits = isinstance(value, kind) or (kind is float and isinstance(value, int))
        if not fits or (isinstance(value, bool) and kind is not bool):
            self.findings.error(self.at(key), f"must be {_TYPE_NAMES[kind]}, not {value!r:.60}")
            return default
        return float(value) if kind is float else value

    def text(self, key: str, default: str = "", *, required: bool = False, one_of: Collection[str] = ()) -> str:
        """A text, optionally one of a set."""
        value: str = self.get(key, str, default, required=required)
        if one_of and key in self._data and value not in one_of and isinstance(self._data[key], str):
            known = ", ".join(one_of)
            self.findings.error(self.at(key), f"'{value}' is none of: {known}{did_you_mean(value, one_of)}")
            return default
        if required and key in self._data and value == "":
            self.findings.error(self.at(key), "is empty")
        return value

    def texts(self, key: str, *, one_of: Collection[str] = ()) -> tuple[str, ...]:
        """A list of texts."""
        out = []
        for i, item in enumerate(self.get(key, list, [])):
            if not isinstance(item, str):
                self.findings.error(f"{self.at(key)}[{i}]", f"must be text, not {item!r:.60}")
            elif one_of and item not in one_of:
                self.findings.error(
                    f"{self.at(key)}[{i}]", f"'{item}' is none of: {', '.join(one_of)}{did_you_mean(item, one_of)}"
                )
            else:
                out.append(item)
        return tuple(out)

    def duration(self, key: str, default: float | None, *, required: bool = False) -> float | None:
        """Seconds from ``10s``, ``2m``, ``1.5h``."""
        raw = self.text(key, required=required)
        if not raw:
            return default
        seconds = parse_duration(raw)
        if seconds is None:
            self.findings.error(
                self.at(key), f"'{raw}' is not a duration; write a number and ms, s, m, h or d, for example '30s'"
            )
            return default
        return seconds

    def builds(self, key: str) -> BuildRange | None:
        """A range of llama.cpp builds: ``b5000-``, ``-b5300``, ``b3942-b5300`` or ``any``."""
        raw = self.text(key)
        if not raw:
            return None
        if raw == "any":
            return BuildRange(None, None)
        match = _BUILDS.match(raw)
        if match is None or raw == "-":
            self.findings.error(self.at(key), f"'{raw}' is not a range of builds; write b5000-, -b5300, b3942-b5300 or any")
            return None
        low, high = (int(g) if g else None for g in match.groups())
        if low is not None and high is not None and low > high:
            self.findings.error(self.at(key), f"'{raw}' is empty: the first build is after the last")
        return BuildRange(low, high)

    def table(self, key: str) -> Table:
        """A sub-table, empty if absent."""
        return Table(self.get(key, dict, {}), self.at(key), self.findings)

    def tables(self, key: str) -> list[Table]:
        """An array of tables."""
        out = []
        for i, item in enumerate(self.get(key, list, [])):
            if isinstance(item, dict):
                out.append(Table(item, f"{self.at(key)}[{i + 1}]", self.findings))
            else:
                self.findings.error(f"{self.at(key)}[{i + 1}]", "must be a table")
        return out

    def named(self, key: str) -> dict[str, Any]:
        """A table whose keys are names that the author chose (lower case, digits, underscore)."""
        out = {}
        for name, value in self.get(key, dict, {}).items():
            if not _NAME.match(name):
                self.findings.error(f"{self.at(key)}.{name}", "a name is lower-case letters, digits and underscores")
            else:
                out[name] = value
        return out

    def mapping(self, key: str) -> dict[str, Any]:
        """A table with free keys (signal names, for example)."""
        return dict(self.get(key, dict, {}))

    def done(self) -> None:
        """Note every key that nobody asked for."""
        for key in self._data:
            if key not in self._asked:
                self.findings.error(self.at(key), f"unknown key{did_you_mean(key, self._asked)}")


def parse_duration(raw: str) -> float | None:
    """Seconds, or None if it is no duration."""
    match = _DURATION.match(raw.strip())
    return float(match.group(1)) * _UNITS[match.group(2)] if match else None
