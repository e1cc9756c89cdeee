"""Renders an alert for a terminal: what happened, the cause, the evidence, the fix, and how to verify it.

The console sink and every command that shows an alert use it. Text from outside is escaped; commands are never wrapped, so that
they can be copied; colour adds no information.
"""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import TextIO

from sentinel.model.alert import CheckResult, Fix, LineEvidence, Transition
from sentinel.model.json_form import show_value
from sentinel.model.text import duration, escape

_NARROWEST, _WIDEST = 40, 100
#: More evidence is only in the JSON form: on a screen it would push the fix, which the reader wants, out of view.
_MOST_EVIDENCE = 8
#: Log lines shown as evidence of a finding.
_MOST_PRINTED = 4
_LONGEST_LINE = 400

#: Why an alert notifies again.
_WHY_NOW = {"cause-ended": "its cause has ended, it has not", "silence-ended": "its silence has ended, it has not"}

_RESET, _BOLD, _DIM, _CYAN, _GREEN = "\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[36m", "\x1b[1;32m"
_BY_SEVERITY = {"critical": "\x1b[1;31m", "warning": "\x1b[1;33m", "info": "\x1b[1;34m"}


@dataclass(frozen=True, slots=True)
class Style:
    """Output style: columns, whether colour and non-ASCII characters may be used, and the time zone (None: the machine's)."""

    width: int = 80
    colour: bool = False
    unicode: bool = True
    zone: tzinfo | None = None


def style_for(stream: TextIO, environ: Mapping[str, str] = os.environ) -> Style:
    """The style for a stream: its width and encoding, colour only on a terminal and without NO_COLOR (no-color.org)."""
    try:
        terminal = stream.isatty()
    except ValueError:
        terminal = False
    colour = terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    width = shutil.get_terminal_size((80, 24)).columns if terminal else 80
    encoding = (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "")
    return Style(min(max(width, _NARROWEST), _WIDEST), colour, encoding.startswith("utf"))


def render_alert(transition: Transition, style: Style | None = None) -> str:
    """The whole alert as lines of text, ending in a newline. A resolved alert takes two lines."""
    style = Style() if style is None else style
    lines = list(_header(transition, style))
    if transition.state != "resolved":
        lines += ["", *wrap(escape(transition.summary), style.width, "  ")]
        lines += _cause(transition, style)
        lines += _evidence(transition, style)
        lines += _fixes(transition, style)
    return "\n".join(lines) + "\n"


def render_finding(transition: Transition, style: Style, *, summary: bool = True) -> str:
    """An alert from a saved log: the cause, the fixes, and the log lines as evidence. Signals are in the JSON form."""
    lines = list(_header(transition, style))
    if summary:
        lines += ["", *wrap(escape(transition.summary), style.width, "  ")]
    lines += _cause(transition, style)
    lines += _fixes(transition, style)
    printed = tuple(piece for piece in transition.evidence if isinstance(piece, LineEvidence))[:_MOST_PRINTED]
    lines += _evidence(replace(transition, evidence=printed), style)
    return "\n".join(lines) + "\n"


def render_advice(transition: Transition, style: Style) -> str:
    """Only the cause and the fixes, where the rest is already shown."""
    return "\n".join((*_cause(transition, style), *_fixes(transition, style))) + "\n"


def _header(transition: Transition, style: Style) -> Iterator[str]:
    resolved = transition.state == "resolved"
    word = (transition.state if resolved else transition.severity).upper()
    code = _GREEN if resolved else _BY_SEVERITY.get(transition.severity, _BOLD)
    mark = ("✓" if resolved else "●") if style.unicode else ("+" if resolved else "*")
    indent = " " * (len(word) + 4)
    title = wrap(escape(transition.title or transition.rule), style.width, indent)
    yield _paint(f"{mark} {word}", code, style) + "  " + _paint(title[0].strip(), _BOLD, style)
    yield from (_paint(line, _BOLD, style) for line in title[1:])
    dot = " · " if style.unicode else " - "
    about = [transition.entity.name if transition.entity.scope != "host" else "this host", transition.rule]
    if transition.state == "pending":
        about.append("pending")
    about += _marks(transition)
    if transition.at is not None:
        about.append(_clock(transition.at, style))
        if transition.since is not None and transition.at - transition.since >= 1:
            about.append(
                f"after {duration(transition.at - transition.since)}"
                if resolved
                else f"began {duration(transition.at - transition.since)} earlier"
            )
    if resolved and transition.reason:
        about.append(transition.reason)
    yield from (_paint(line, _DIM, style) for line in wrap(dot.join(escape(part) for part in about), style.width, indent))


def _marks(transition: Transition) -> Iterator[str]:
    if transition.flapping:
        yield "flapping: no further notification until it is stable"
    if transition.silenced is not None:
        yield f"silenced ({transition.silenced})"
    if transition.inhibited_by is not None:
        yield f"inhibited by {transition.inhibited_by}"
    if transition.reason in _WHY_NOW:
        yield _WHY_NOW[transition.reason]


def _cause(transition: Transition, style: Style) -> Iterator[str]:
    if transition.cause is None:
        return
    yield ""
    text = f"{transition.cause.text} ({transition.cause.confidence} confidence)"
    yield from _labelled("Cause", escape(text), style)


def _evidence(transition: Transition, style: Style) -> Iterator[str]:
    if not transition.evidence:
        return
    yield ""
    label = "Evidence"
    for piece in sorted(transition.evidence, key=_weight)[:_MOST_EVIDENCE]:
        yield from _labelled(label, _evidence_text(piece, style), style)
        label = ""
    more = len(transition.evidence) - _MOST_EVIDENCE
    if more > 0:
        yield from _labelled("", f"and {more} more, shown with --json", style)


def _weight(piece: CheckResult | LineEvidence) -> int:
    """The order of evidence: log lines first, then true checks; false ones add little and may be cut."""
    return 0 if isinstance(piece, LineEvidence) else 1 if piece.value else 2


def _evidence_text(piece: CheckResult | LineEvidence, style: Style) -> str:
    if isinstance(piece, LineEvidence):
        text = escape(f"{piece.source}:{piece.n}: {piece.line.strip()}")
        ellipsis = "…" if style.unicode else "..."
        return text if len(text) <= _LONGEST_LINE else text[:_LONGEST_LINE] + ellipsis
    reads = ", ".join(f"{escape(name)} = {show_value(value)}" for name, value in piece.reads.items())
    verdict = {True: "yes", False: "no", None: "unknown"}[piece.value]
    return f"{escape(piece.check)}: {verdict}" + (f" ({reads})" if reads else "")


def _fixes(transition: Transition, style: Style) -> Iterator[str]:
    for number, fix in enumerate(transition.fixes, 1):
        yield from _fix(fix, number, len(transition.fixes), style)


def _fix(fix: Fix, number: int, count: int, style: Style) -> Iterator[str]:
    yield ""
    label = "Fix" if count == 1 else f"Fix {number}/{count}"
    yield from _labelled(label, escape(fix.do), style, _BOLD)
    pad = " " * _LABEL_WIDTH
    # One prompt for the whole command: a newline inside a quoted value must not look like the start of another command.
    for row, line in enumerate(fix.command.split("\n") if fix.command else ()):
        yield f"{pad}{_paint(' ' if row else '$', _DIM, style)} {_paint(escape(line), _CYAN, style)}"
    if fix.risk:
        yield from wrap(f"risk: {escape(fix.risk)}", style.width, pad, "      ")
    if fix.verify:
        yield from wrap(f"then check: {escape(fix.verify)}", style.width, pad, "      ")


_LABEL_WIDTH = 12


def _labelled(label: str, text: str, style: Style, code: str = "") -> Iterator[str]:
    first, *rest = wrap(text, style.width, " " * _LABEL_WIDTH)
    head = "  " + label.ljust(_LABEL_WIDTH - 2)
    yield _paint(head, _DIM, style) + _paint(first.strip(), code, style)
    yield from (_paint(line, code, style) for line in rest)


def wrap(text: str, width: int, indent: str = "", hanging: str = "") -> list[str]:
    """Wrap to lines of at most `width` columns; a word that does not fit (a path) stays whole on a line of its own.

    `indent` precedes each line; `hanging` is added on each but the first.
    """
    lines: list[str] = []
    line, cells = "", 0
    for word in text.split(" "):
        size = _cells(word)
        room = width - len(indent) - (len(hanging) if lines else 0)
        if line and cells + 1 + size > room:
            lines.append(line)
            line, cells = word, size
        else:
            line, cells = (f"{line} {word}", cells + 1 + size) if line else (word, size)
    lines.append(line)
    return [indent + (hanging if number else "") + one for number, one in enumerate(lines)]


def _cells(text: str) -> int:
    """The width in terminal columns: two for wide East Asian characters and emoji, none for combining ones."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) != 0 for char in text)


def _paint(text: str, code: str, style: Style) -> str:
    return f"{code}{text}{_RESET}" if style.colour and code and text.strip() else text


def _clock(at: float, style: Style) -> str:
    try:
        return f"{datetime.fromtimestamp(at, UTC).astimezone(style.zone):%Y-%m-%d %H:%M:%S %Z}"
    except (OverflowError, ValueError, OSError):
        return "at an impossible time"
