"""`sentinel alerts`: open alerts, or the history."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import datetime

from sentinel.cli.main import CRITICAL
from sentinel.cli.output import NoAnswer, ask, complain, emit, exit_code, show_alert
from sentinel.rules.decode import parse_duration


def main(arguments: argparse.Namespace) -> int:
    """Print them; the exit code tells the worst open one."""
    try:
        if arguments.all or arguments.since:
            path = "/v1/history"
            if arguments.since:
                since = _since(arguments.since, time.time())
                if since is None:
                    print(
                        f"sentinel: --since '{arguments.since}': write a duration (2h, 3d) or a date (2026-11-23T16:00)",
                        file=sys.stderr,
                    )
                    return CRITICAL
                path += f"?since={since}"
            answer = ask(arguments, path)
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
        print("\n".join(show_alert(alert) for alert in found), end="")
    return 0 if arguments.all or arguments.since else exit_code(a["severity"] for a in found)


def _since(text: str, now: float) -> float | None:
    seconds = parse_duration(text)
    if seconds is not None:
        return now - seconds
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
