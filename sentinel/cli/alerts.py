"""`sentinel alerts`: open alerts, or a table of what was."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sentinel.cli.main import CRITICAL
from sentinel.cli.output import NoAnswer, ask, complain, emit, exit_code, over, say, say_wrapped, show_silences, style, warn
from sentinel.model.text import counted, escape, parse_duration
from sentinel.terminal.alert import render
from sentinel.terminal.episodes import episodes, rows_of
from sentinel.terminal.style import CYAN, DIM, wrap
from sentinel.terminal.systemd_units import journal_query
from sentinel.terminal.table import table

if TYPE_CHECKING:
    import argparse


def main(arguments: argparse.Namespace) -> int:
    """Print the alerts; the exit code is that of the worst open alert that is not silenced."""
    past = bool(arguments.all or arguments.since)
    try:
        if past:
            since = since_of(arguments.since, time.time()) if arguments.since else 0.0
            if since is None:
                warn(f"--since '{arguments.since}': write a duration (2h, 3d) or a date (2026-11-23T16:00)")
                return CRITICAL
            answer = _history(arguments, f"?since={max(since, 0.0):.3f}" if arguments.since else "?limit=1000")
        else:
            answer = ask(arguments, "/v1/alerts")
    except NoAnswer as error:
        return complain(error)
    if arguments.json:
        emit(answer)
    elif past:
        _show_past(answer["transitions"])
    else:
        _show_open(answer["alerts"], verbose=arguments.verbose)
    if answer.get("silences") and not arguments.json:
        called = {alert["entity"]["name"]: alert.get("called") for alert in answer["alerts"]}
        say()
        for line in show_silences(answer["silences"], called):
            say_wrapped(f"Silenced  {line}")
    return 0 if past else exit_code(a["severity"] for a in answer["alerts"] if not a.get("silenced"))


def _show_open(alerts: Iterable[Mapping[str, Any]], *, verbose: bool) -> None:
    look, now = style(), time.time()
    found = list(alerts)
    if not found:
        say(f"{look.mark('ok')} no open alerts")
    for number, alert in enumerate(found):
        print("\n" * (number > 0) + render(alert, look, now, verbose=verbose) + _effects(alert), end="")
    for query in sorted({journal_query(alert["entity"]["name"]) for alert in found} - {""}):
        print(look.paint("\nWith the server's own lines:", DIM))
        print(f"  {look.paint('$', DIM)} {look.paint(query, CYAN)}")


def _effects(alert: Mapping[str, Any]) -> str:
    """What ended, and the alerts that this one inhibits."""
    lines = []
    if alert.get("server_ended"):
        end = f"`sentinel ack {alert['rule']} {alert['entity']['name']}` ends the alert, if it is known"
        lines += ["", *wrap(escape(f"Over      {over(alert)}; {end}"), style().prose, "  ", " " * 10)]
    inhibited = sorted(
        {f"{effect['rule']} ({effect['entity']})" for effect in alert.get("effects", ()) if not effect["notified"]}
    )
    if inhibited:
        lines += ["", *wrap(escape(f"Inhibits  {', '.join(inhibited)}"), style().prose, "  ", " " * 10)]
    return "".join(f"{line}\n" for line in lines)


def _show_past(transitions: list[dict[str, Any]]) -> None:
    """One line for each alert that fired: from its first transition to its last."""
    look, now = style(), time.time()
    found = episodes(transitions)
    if not found:
        say(f"{look.mark('ok')} no alerts in that time")
        return

    def paint(row: int, column: int, text: str) -> str:
        if row == 0:
            return look.paint(text, DIM)
        return look.by_state(text, found[row - 1].severity) if column == 2 else text

    rows = rows_of(found, look, now)
    for line in table(rows, look, flexible=(4, 5), names=4, paint=paint):
        print(line)
    still = sum(one.ended is None for one in found)
    say()
    say(f"{counted(len(found), 'alert')}, {still} still open: sentinel alerts" if still else counted(len(found), "alert"))


def _history(arguments: argparse.Namespace, query: str) -> dict[str, Any]:
    """Fetch all pages and join them."""
    answer = ask(arguments, f"/v1/history{query}")
    found = [answer["transitions"]]
    while answer["earlier"] is not None:
        answer = ask(arguments, f"/v1/history{query}&before={answer['earlier']}")
        found.append(answer["transitions"])
    return {**answer, "transitions": [one for page in reversed(found) for one in page]}


def since_of(text: str, now: float) -> float | None:
    """The time that ``2h`` or a date means, in seconds since the epoch; None if it is neither."""
    seconds = parse_duration(text)
    if seconds is not None:
        return now - seconds
    from datetime import datetime

    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
