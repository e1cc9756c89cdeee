"""Alerts of a page, from their JSON form: what is open, and what was. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sentinel.model.alert import SEVERITY_RANK
from sentinel.report.contents import Alert, Fix, LogLine
from sentinel.terminal.alert import confidence, marks, sentences
from sentinel.terminal.episodes import Episode, episodes
from sentinel.terminal.names import about, of_alert
from sentinel.terminal.times import seconds_of

#: Alerts in a page, of each its fixes, sentences and lines of a log, and characters of a line, a sentence and a command.
MOST_ALERTS, MOST_FIXES, MOST_EVIDENCE, MOST_LINES, MOST_OF_A_LINE = 200, 8, 12, 8, 400
MOST_OF_A_SENTENCE, MOST_OF_A_COMMAND = 1000, 2000


def alerts(current: Iterable[Mapping[str, Any]], transitions: Iterable[Mapping[str, Any]]) -> tuple[list[Alert], int]:
    """Open ones first, worst first; then those that are over, the newest first. And how many are left out."""
    found = [alert(one, seconds_of(one.get("since")), None, is_open=True) for one in current]
    found.sort(key=lambda one: (one.silenced, SEVERITY_RANK.get(one.severity, 3), -(one.began or 0.0)))
    past = [of_episode(one) for one in episodes(transitions) if one.ended is not None]
    past.sort(key=lambda one: one.ended or 0.0, reverse=True)
    every = [*found, *past]
    return every[:MOST_ALERTS], max(0, len(every) - MOST_ALERTS)


def of_episode(one: Episode, *, is_open: bool = False) -> Alert:
    """An alert of the history."""
    return alert(one.last, one.began, one.ended, is_open=is_open)


def alert(form: Mapping[str, Any], began: float | None, ended: float | None, *, is_open: bool) -> Alert:
    """An alert from its JSON form."""
    cause = form["cause"]
    said = sentences(form)
    lines = [_line(piece) for piece in form["evidence"] if "line" in piece]
    left_out = [max(0, len(form["fixes"]) - MOST_FIXES), max(0, len(said) - MOST_EVIDENCE), max(0, len(lines) - MOST_LINES)]
    return Alert(
        severity=str(form["severity"]),
        rule=str(form["rule"]),
        who=of_alert(form),
        entity=str(form["entity"]["name"]),
        scope=str(form["entity"]["scope"]),
        summary=_cut(about(form)),
        began=began,
        ended=ended,
        open=is_open,
        silenced=bool(form.get("silenced")),
        marks=tuple(marks(form)),
        cause="" if cause is None else f"{_cut(cause['text'])}{confidence(cause)}",
        fixes=tuple(_fix(fix) for fix in form["fixes"][:MOST_FIXES]),
        evidence=tuple(map(_cut, said[:MOST_EVIDENCE])),
        lines=tuple(lines[:MOST_LINES]),
        left_out=sum(left_out),
    )


def is_loud(one: Alert) -> bool:
    """Whether it is open and wants something to be done."""
    return one.open and one.severity != "info" and not one.silenced


def _fix(form: Mapping[str, str]) -> Fix:
    do, command = _cut(form["do"]), form["command"]
    if len(command) > MOST_OF_A_COMMAND:
        # Half a command may do something else.
        do, command = f"{do} (its command of {len(command)} characters is left out here: sentinel alerts --verbose)", ""
    return Fix(do, command, _cut(form["risk"]), _cut(form["verify"]))


def _cut(text: str, most: int = MOST_OF_A_SENTENCE) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _line(piece: Mapping[str, Any]) -> LogLine:
    return LogLine(f"{piece['source']}:{piece['n']}", _cut(str(piece["line"]).strip(), MOST_OF_A_LINE))
