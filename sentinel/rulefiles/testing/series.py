"""Values over time in a compact form: ``33.5x10 33..0.4x5 _x3 ?x2 'ready'``, one value a step.

| token | is |
|---|---|
| ``0.4`` ``7`` ``true`` ``'ready'`` | that value |
| ``1..100`` | a ramp with both ends; ``1..100x20`` has 20 steps |
| ``?`` | the reader reports that it cannot be read |
| ``_`` | not read: the last value ages |
| ``x20`` after any of them | that many steps of it |
"""

from __future__ import annotations

import re

from sentinel.model.entity import Unknown, Value

#: One step: a value, Unknown if it cannot be read, or None if it is not read.
SeriesStep = Value | Unknown | None

#: Steps of one series; an hour of seconds.
MOST_STEPS = 3600
UNREADABLE = Unknown("not readable at this time of the test")
_NUMBER = r"[+-]?\d{1,18}(?:\.\d{1,18})?(?:[eE][+-]?\d{1,2})?"
_TOKEN = re.compile(
    rf"(?:(?P<low>{_NUMBER})\.\.(?P<high>{_NUMBER})|(?P<number>{_NUMBER})|(?P<flag>true|false)|'(?P<text>[^']*)'|(?P<gap>[?_]))"
    r"(?:x(?P<times>\d{1,9}))?(?=\s|\Z)"
)


class SeriesError(ValueError):
    """The text is not a series; the message says where, and what to write."""


def parse_series(text: str) -> tuple[SeriesStep, ...]:
    """The steps of a series. Raises SeriesError."""
    steps: list[SeriesStep] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        match = _TOKEN.match(text, at)
        if match is None:
            token = text[at:].split(maxsplit=1)[0]
            hint = f"; a text stands between single quotes: '{token}'" if token[0].isalpha() else ""
            raise SeriesError(f"'{token:.40}' is no value of a series{hint}; write 0.4x30, 1..100x20, true, 'ready'x5, ? or _")
        times = int(match["times"] or (2 if match["low"] else 1))
        if times < (2 if match["low"] else 1):
            raise SeriesError(f"'{match[0]}' has no step; " + ("a ramp has two at least" if match["low"] else "write x1 or more"))
        if len(steps) + times > MOST_STEPS:
            raise SeriesError(f"has more than {MOST_STEPS} steps; make 'step' longer")
        steps += _values(match, times)
        at = match.end()
    if not steps:
        raise SeriesError("has no value; write 0.4x30, 1..100x20, true, 'ready'x5, ? or _")
    return tuple(steps)


def _values(match: re.Match[str], times: int) -> list[SeriesStep]:
    if match["low"] is not None:
        low, high = _number(match["low"]), _number(match["high"])
        ramp = [low + (high - low) * i / (times - 1) for i in range(times)]
        return [round(value) for value in ramp] if isinstance(low, int) and isinstance(high, int) else list(ramp)
    value: SeriesStep
    if match["number"] is not None:
        value = _number(match["number"])
    elif match["flag"] is not None:
        value = match["flag"] == "true"
    elif match["text"] is not None:
        value = match["text"]
    else:
        value = UNREADABLE if match["gap"] == "?" else None
    return [value] * times


def _number(text: str) -> int | float:
    return int(text) if text.lstrip("+-").isdigit() else float(text)
