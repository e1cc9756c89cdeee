"""How a severity or a state is shown: a shape and a word beside the colour, for who sees no colour and for paper. Pure."""

from __future__ import annotations

from sentinel.report.markup import Html, tag

_SHAPES = {
    "critical": ("◆", "CRITICAL"),
    "warning": ("▲", "WARNING"),
    "info": ("●", "INFO"),
    "ok": ("✓", "OK"),
    "fails": ("◆", "FAILS"),
    "unknown": ("?", "UNKNOWN"),
}


def label(state: str) -> Html:
    """Shape and word."""
    known = state if state in _SHAPES else "info"
    return mark(known, _SHAPES[state][1] if state in _SHAPES else state.upper())


def mark(state: str, word: str) -> Html:
    """The shape of a state, and another word."""
    shape, _ = _SHAPES.get(state, ("●", ""))
    return tag("span", tag("span", shape, aria_hidden="true"), " ", word, class_=f"label {state}")
