"""Where a compiled pattern matches: RE2's extension called directly, past the binding's objects for each match and each group.

A match of five groups costs 9 us by way of google-re2's `Match`, and 3 us so (measured). Its layout is not promised: where it is
another one, the binding is asked in its documented way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import re2

#: begin and end of the match, then of each group; -1, -1 for a group that took no part
Spans = Sequence[tuple[int, int]]
#: Looks in a text from a position on; None where nothing matches.
Searcher = Callable[[bytes, int], Spans | None]

_NOWHERE = (-1, -1)


def searcher(regex: Any) -> Searcher:
    """How to search with a pattern that `re2.compile` gave."""
    anchor = getattr(getattr(re2, "_Anchor", None), "UNANCHORED", None)
    match = getattr(getattr(regex, "_regexp", None), "Match", None)
    if anchor is None or match is None:
        return by_the_binding(regex)

    def search(text: bytes, start: int = 0) -> Spans | None:
        spans: Spans = match(anchor, text, start, len(text))
        return None if spans[0] == _NOWHERE else spans

    return search


def by_the_binding(regex: Any) -> Searcher:
    """The same, in the documented way."""

    def search(text: bytes, start: int = 0) -> Spans | None:
        found = regex.search(text, start)
        return None if found is None else [found.span(group) for group in range(regex.groups + 1)]

    return search


def set_searcher(patterns: Any) -> Callable[[bytes], Sequence[int] | None]:
    """How to ask a compiled `re2.Set` which of its patterns match a text; nothing or None where none does."""
    match: Callable[[bytes], Sequence[int] | None] = getattr(getattr(patterns, "_set", None), "Match", patterns.Match)
    return match
