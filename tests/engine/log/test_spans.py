"""Searching with RE2's extension gives what its binding gives in the documented way."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from sentinel.engine.log.spans import by_the_binding, searcher, set_searcher

PATTERNS = (rb"(?P<a>\d+)(?: of (?P<b>\w+))?", rb"^x", rb"(?m:^)b|c$", rb"", rb"(?P<all>.*)", "(é+)".encode())


@pytest.mark.parametrize("pattern", PATTERNS)
@given(text=st.text(alphabet="0123 ofxbcé\n", max_size=40), start=st.integers(0, 12))
def test_both_ways_find_the_same(pattern: bytes, text: str, start: int) -> None:
    regex, data = re2.compile(pattern), text.encode()
    start = min(start, len(data))
    direct, documented = searcher(regex)(data, start), by_the_binding(regex)(data, start)
    assert (direct is None) == (documented is None)
    if direct is not None and documented is not None:
        assert [tuple(span) for span in direct] == [tuple(span) for span in documented]


def test_a_binding_of_another_layout_is_asked_in_the_documented_way() -> None:
    class Other:
        groups = 1

        def search(self, text: bytes, start: int) -> object:
            return re2.compile(rb"(\d)").search(text, start)

    assert searcher(Other())(b"a7", 0) == [(1, 2), (1, 2)]
    assert searcher(Other())(b"a7", 2) is None


def test_a_set_is_asked_directly_or_in_the_documented_way() -> None:
    other = SimpleNamespace(Match=lambda text: [len(text)] if text else None)
    patterns = re2.Set.SearchSet(re2.Options())
    for pattern in (b"a", b"b", b"ab"):
        patterns.Add(pattern)
    patterns.Compile()
    for text in (b"", b"c", b"b", b"cab"):
        assert sorted(set_searcher(patterns)(text) or ()) == sorted(patterns.Match(text) or ())
    assert (set_searcher(other)(b"xy"), set_searcher(other)(b"")) == ([2], None)
