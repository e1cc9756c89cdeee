"""Writes parts of a rule in the rule format: values as TOML, durations with their unit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sentinel.model.builds import BuildRange
from sentinel.model.rule import EventBinding, FixDef, Named, WindowDef
from sentinel.model.text import exact_duration

#: Parts in seconds.
_DURATIONS = ("alert.for", "alert.clear_after", "alert.clear_after_by_hand", "alert.keep_firing_for")


def value(name: str, said: Any) -> str:
    """The value of a part, as TOML. Fixes are tables of their own, see `fixes`."""
    if name in _DURATIONS:
        return text(exact_duration(said))
    if isinstance(said, bool):
        return "true" if said else "false"
    if isinstance(said, Named):
        return text(said.expression)
    if isinstance(said, WindowDef):
        return f"{{ signal = {text(said.signal)}, over = {text(exact_duration(said.over))}, take = {text(said.take)} }}"
    if isinstance(said, EventBinding):
        span = 'since = "server.start"' if said.over is None else f"over = {text(exact_duration(said.over))}"
        return f"{{ name = {text(said.event)}, {span} }}"
    if isinstance(said, list | tuple):
        return f"[{', '.join(text(str(one)) for one in said)}]"
    return text(str(said))


def fixes(said: Sequence[FixDef]) -> list[str]:
    """The fixes of a cause as lines of [[cause.fix]] tables."""
    lines = []
    for fix in said:
        lines.append("[[cause.fix]]")
        for key in (one.name for one in fields(fix)):
            given = getattr(fix, key)
            if given:
                lines.append(f"{key} = {text(str(given)) if isinstance(given, BuildRange) else value(key, given)}")
    return lines


def text(said: str) -> str:
    """A string: literal if it has quotes, backslashes or newlines that would need escapes."""
    plain = all(char.isprintable() or char == "\n" for char in said)
    if plain and ("\n" in said or "\\" in said or '"' in said) and "'''" not in said and not said.endswith("'"):
        return f"'''{said}'''" if not said.startswith("\n") else f"'''\n{said}'''"
    return json.dumps(said).replace("\x7f", "\\u007f")
