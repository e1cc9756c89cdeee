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
    shape, word = _SHAPES.get(state, ("●", state.upper()))
    known = state if state in _SHAPES else "info"
    return tag("span", tag("span", shape, aria_hidden="true"), " ", word, class_=f"label {known}")
