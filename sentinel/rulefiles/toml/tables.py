"""Small decoders that collect every mistake instead of stopping at the first, for rule files and event files."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sentinel.model.builds import BuildRange
from sentinel.model.problem import Keys, Problem, did_you_mean, quoted, spoken
from sentinel.model.text import parse_duration

_NAME = re.compile(r"^[a-z][a-z0-9_]{0,63}$")
_TYPE_NAMES = {str: "text", bool: "true or false", int: "a whole number", float: "a number", list: "a list", dict: "a table"}


@dataclass
class Findings:
    """Problems of one file, collected while it is decoded. Parts that were left out are not reported as missing."""

    file: str
    problems: list[Problem] = field(default_factory=list)
    left_out: Iterable[Keys] = ()
    #: names of the file's parts for people: ``("cause", 2)`` is ``cause 'no-gpu'``
    names: dict[Keys, str] = field(default_factory=dict)

    def error(self, keys: Keys, what: str, row: int = 1) -> None:
        """Note a mistake; `row` is the line of it in a text of several lines."""
        self._note(keys, what, "error", row)

    def warning(self, keys: Keys, what: str) -> None:
        """Note something that is valid and probably unintended."""
        self._note(keys, what, "warning", 1)

    def _note(self, keys: Keys, what: str, level: Literal["error", "warning"], row: int) -> None:
        if not any(keys == left[: len(keys)] or left == keys[: len(left)] for left in self.left_out):
            self.problems.append(Problem(self.file, spoken(keys, self.names), what, level, keys, row=row))


class Table:
    """A TOML table being read: every key must be read, a key left over at the end is a mistake."""

    def __init__(self, data: Mapping[str, Any], keys: Keys, findings: Findings) -> None:
        self._data = dict(data)
        self._asked: set[str] = set()
        self.keys = keys
        self.findings = findings

    def at(self, *keys: str | int) -> Keys:
        """The path to a key of this table."""
        return (*self.keys, *keys)

    def call(self, name: str) -> None:
        """Set this table's name for people."""
        self.findings.names[self.keys] = name

    def get(self, key: str, kind: type, default: Any, *, required: bool = False) -> Any:
        """A value of a type; a wrong type or a missing required key is noted and the default returned."""
        self._asked.add(key)
        if key not in self._data:
            if required:
                self.findings.error(self.at(key), "is missing")
            return default
        value = self._data[key]
        if type(value) is int and not -(2**63) <= value < 2**63:
            self.findings.error(self.at(key), "is a number of more than 64 bits")
            return default
        fits = isinstance(value, kind) or (kind is float and isinstance(value, int))
        if not fits or (isinstance(value, bool) and kind is not bool):
            self.findings.error(self.at(key), f"must be {_TYPE_NAMES[kind]}, not {quoted(value)}")
            return default
        if type(value) is str:
            # Every second text stands in the rules more than once: kept once, all of them are 0.4 MB less (measured).
            return sys.intern(value)
        return float(value) if kind is float else value

    def text(self, key: str, default: str = "", *, required: bool = False, one_of: Collection[str] = ()) -> str:
        """A text, optionally one of a set."""
        value: str = self.get(key, str, default, required=required)
        if one_of and key in self._data and value not in one_of and isinstance(self._data[key], str):
            known = ", ".join(one_of)
            self.findings.error(self.at(key), f"'{value:.60}' is none of: {known}{did_you_mean(value, one_of)}")
            return default
        if required and key in self._data and value == "":
            self.findings.error(self.at(key), "is empty")
        return value

    def texts(self, key: str, *, one_of: Collection[str] = ()) -> tuple[str, ...]:
        """A list of texts."""
        out = []
        for i, item in enumerate(self.get(key, list, [])):
            if not isinstance(item, str):
                self.findings.error(self.at(key, i), f"must be text, not {quoted(item)}")
            elif one_of and item not in one_of:
                what = f"'{item:.60}' is none of: {', '.join(one_of)}{did_you_mean(item, one_of)}"
                self.findings.error(self.at(key, i), what)
            else:
                out.append(item)
        return tuple(out)

    def leave(self, *keys: str) -> None:
        """Keys that are read elsewhere."""
        self._asked.update(keys)

    def holds(self, key: str, kind: type) -> bool:
        """The key exists, with a value of that type."""
        return isinstance(self._data.get(key), kind)

    def texts_or_text(self, key: str) -> tuple[str, ...]:
        """A list of texts, or a single one."""
        if self.holds(key, list):
            return self.texts(key)
        return (one,) if (one := self.text(key)) else ()

    def joined(self, key: str) -> str:
        """A required text, or its parts in a list, concatenated."""
        if not self.holds(key, list):
            return self.text(key, required=True)
        return "".join(self.texts(key))

    def duration(self, key: str, default: float | None, *, required: bool = False) -> float | None:
        """Seconds from ``10s``, ``2m``, ``1.5h``."""
        raw = self.text(key, required=required)
        if not raw:
            return default
        seconds = parse_duration(raw)
        if seconds is None:
            self.findings.error(
                self.at(key), f"'{raw:.60}' is not a duration; write a number and ms, s, m, h or d, for example '30s'"
            )
            return default
        return seconds

    def builds(self, key: str) -> BuildRange | None:
        """A range of llama.cpp builds: ``b5000-``, ``-b5300``, ``b3942-b5300`` or ``any``."""
        raw = self.text(key)
        if not raw:
            return None
        builds = BuildRange.parse(raw)
        if builds is None:
            self.findings.error(self.at(key), f"'{raw:.60}' is not a range of builds; write b5000-, -b5300, b3942-b5300 or any")
        elif builds.is_empty:
            self.findings.error(self.at(key), f"'{raw:.60}' is empty: the first build is after the last")
        return builds

    def table(self, key: str) -> Table:
        """A sub-table, empty if absent."""
        return Table(self.get(key, dict, {}), self.at(key), self.findings)

    def tables(self, key: str) -> list[Table]:
        """An array of tables."""
        out = []
        for i, item in enumerate(self.get(key, list, [])):
            if isinstance(item, dict):
                out.append(Table(item, self.at(key, i), self.findings))
            else:
                self.findings.error(self.at(key, i), f"must be a table, not {quoted(item)}")
        return out

    def named(self, key: str) -> dict[str, Any]:
        """A table whose keys are names that the author chose (lower case, digits, underscore)."""
        out = {}
        for name, value in self.get(key, dict, {}).items():
            if not _NAME.match(name):
                self.findings.error(self.at(key, name), "a name is lower-case letters, digits and underscores")
            else:
                out[name] = value
        return out

    def mapping(self, key: str) -> dict[str, Any]:
        """A table with free keys (signal names, for example)."""
        return dict(self.get(key, dict, {}))

    def done(self) -> None:
        """Note every key that was not read."""
        for key in self._data:
            if key not in self._asked:
                self.findings.error(self.at(key), f"unknown key{did_you_mean(key, self._asked)}")
