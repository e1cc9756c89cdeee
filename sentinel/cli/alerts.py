"""`sentinel alerts`: open alerts, or the history."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sentinel.cli.main import CRITICAL
from sentinel.cli.output import NoAnswer, ask, complain, emit, exit_code, over, say, show_alert, show_silences, warn
from sentinel.model.text import parse_duration
from sentinel.sinks.journald import journal_query


def main(arguments: argparse.Namespace) -> int:
    """Print the alerts; the exit code is that of the worst open alert that is not silenced."""
    try:
        if arguments.all or arguments.since:
            since = _since(arguments.since, time.time()) if arguments.since else 0.0
            if since is None:
                warn(f"--since '{arguments.since}': write a duration (2h, 3d) or a date (2026-11-23T16:00)")
                return CRITICAL
            answer = _history(arguments, f"?since={max(since, 0.0):.3f}" if arguments.since else "?limit=1000")
            found = answer["transitions"]
        else:
            answer = ask(arguments, "/v1/alerts")
            found = answer["alerts"]
    except NoAnswer as error:
        return complain(error)
    if arguments.json:
        emit(answer)
    elif not found:
        print("no open alerts" if not (arguments.all or arguments.since) else "no alerts in that time")
    else:
        print("\n".join(_shown(alert) for alert in found), end="")
        for query in sorted({journal_query(alert["entity"]["name"]) for alert in found} - {""}):
            print(f"\nWith the server's own lines: {query}")
    if answer.get("silences") and not arguments.json:
        say()
        say("Silences")
        for line in show_silences(answer["silences"]):
            say(line)
    return 0 if arguments.all or arguments.since else exit_code(a["severity"] for a in found if not a.get("silenced"))


def _history(arguments: argparse.Namespace, query: str) -> dict[str, Any]:
    """Fetch all pages and join them."""
    answer = ask(arguments, f"/v1/history{query}")
    found = [answer["transitions"]]
    while answer["earlier"] is not None:
        answer = ask(arguments, f"/v1/history{query}&before={answer['earlier']}")
        found.append(answer["transitions"])
    return {**answer, "transitions": [one for page in reversed(found) for one in page]}


def _shown(alert: Mapping[str, Any]) -> str:
    inhibited = sorted(
        {f"{effect['rule']} ({effect['entity']})" for effect in alert.get("effects", ()) if not effect["notified"]}
    )
    end = f"`sentinel ack {alert['rule']} {alert['entity']['name']}` ends the alert, if it is known"
    past = f"\n  Over        {over(alert)}; {end}\n" if alert.get("server_ended") else ""
    return show_alert(alert) + past + (f"\n  Inhibits    {', '.join(inhibited)}\n" if inhibited else "")


def _since(text: str, now: float) -> float | None:
    seconds = parse_duration(text)
    if seconds is not None:
        return now - seconds
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
