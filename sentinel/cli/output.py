"""Shared by the verbs: requests to the daemon, printing, exit codes."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sentinel.api import client
from sentinel.cli.main import CRITICAL, OK, UNKNOWN, WARNING
from sentinel.model.alert import Cause, CheckResult, Fix, LineEvidence, Transition
from sentinel.model.entity import Entity
from sentinel.model.json_form import to_json
from sentinel.model.text import duration, escape, size
from sentinel.sinks.render import Style, render_advice, render_alert, style_for, wrap


class NoAnswer(Exception):
    """The daemon refused or did not answer. The text is for the user, the code for the shell, `error` is the daemon's answer."""

    def __init__(self, message: str, code: int, error: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.error = error or {}


def ask(arguments: argparse.Namespace, path: str) -> dict[str, Any]:
    """The daemon's answer. Raises NoAnswer."""
    return _answer(arguments, lambda sockets: client.get(path, sockets))


def change(arguments: argparse.Namespace, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
    """Send a change: POST with a body, DELETE without one. Returns the daemon's answer. Raises NoAnswer."""
    if body is None:
        return _answer(arguments, lambda sockets: client.delete(path, sockets))
    return _answer(arguments, lambda sockets: client.post(path, body, sockets))


def _answer(arguments: argparse.Namespace, call: Callable[[list[Path] | None], tuple[int, dict[str, Any]]]) -> dict[str, Any]:
    try:
        status, answer = call([Path(arguments.socket)] if arguments.socket else None)
    except client.DaemonUnreachable as error:
        raise NoAnswer(str(error), UNKNOWN) from error
    if status != 200:
        message = answer.get("error", {}).get("message", f"the daemon answered {status}")
        raise NoAnswer(str(message), CRITICAL if status < 500 else UNKNOWN, answer.get("error"))
    return answer


def complain(error: NoAnswer) -> int:
    """Print the error to standard error; returns the exit code."""
    warn(str(error))
    return error.code


def say(line: str = "") -> None:
    """Print a line for people. Control characters and newlines from names, paths and log lines are escaped."""
    print(escape(line), flush=True)


def say_wrapped(line: str) -> None:
    """Print a line for people: wrapped with a hanging indent on a terminal, else whole, so that tools can search for it."""
    if not sys.stdout.isatty():
        say(line)
        return
    indent = len(line) - len(line.lstrip(" "))
    for row in wrap(escape(line[indent:]), style().width, " " * indent, "    "):
        print(row, flush=True)


def warn(sentence: str) -> None:
    """Print a sentence for people to standard error, escaped in the same way."""
    print(f"sentinel: {escape(sentence)}", file=sys.stderr, flush=True)


def emit(value: Mapping[str, Any]) -> None:
    """Print a JSON document for programs, indented for people."""
    print(json.dumps(json.loads(to_json(value)), indent=2, ensure_ascii=True))


def emit_line(value: Mapping[str, Any]) -> None:
    """Print one JSON object per line."""
    print(to_json(value), flush=True)


def exit_code(severities: Iterable[str]) -> int:
    """0 ok, 1 warning, 2 critical; info counts as ok."""
    found = set(severities)
    return CRITICAL if "critical" in found else WARNING if "warning" in found else OK


def style() -> Style:
    """The style for standard output."""
    return style_for(sys.stdout)


def show_alert(alert: Mapping[str, Any]) -> str:
    """Render an alert or a transition of the JSON form for people."""
    return render_alert(transition_of(alert), style())


def show_advice(alert: Mapping[str, Any]) -> str:
    """Render an alert's cause and fixes for people."""
    return render_advice(transition_of(alert), style())


def transition_of(wire: Mapping[str, Any]) -> Transition:
    """Decode a transition from its JSON form."""
    return Transition(
        at=_seconds(wire.get("at")),
        rule=wire["rule"],
        state=wire["state"],
        previous=wire["previous"],
        reason=wire["reason"],
        severity=wire["severity"],
        entity=Entity(**wire["entity"]),
        fingerprint=wire["fingerprint"],
        summary=wire["summary"],
        cause=Cause(**wire["cause"]) if wire["cause"] else None,
        fixes=tuple(Fix(**f) for f in wire["fixes"]),
        evidence=tuple(LineEvidence(**e) if "line" in e else CheckResult(**e) for e in wire["evidence"]),
        title=wire.get("title", ""),
        since=_seconds(wire.get("since")),
        silenced=wire.get("silenced"),
        inhibited_by=wire.get("inhibited_by", wire.get("explained_by")),
        flapping=bool(wire.get("flapping")),
    )


def marks(alert: Mapping[str, Any]) -> str:
    """Why an open alert does not notify, in a few words; empty if it notifies."""
    words = []
    if alert.get("silenced"):
        words.append(f"silenced, {alert['silenced']}")
    if alert.get("flapping"):
        words.append("flapping")
    if alert.get("inhibited_by"):
        words.append(f"inhibited by {alert['inhibited_by']}")
    if alert.get("server_ended"):
        words.append(over(alert))
    return f" ({'; '.join(words)})" if words else ""


def over(alert: Mapping[str, Any]) -> str:
    """How long ago the process that the alert is about ended."""
    ago = time.time() - datetime.fromisoformat(alert["server_ended"]).timestamp()
    return f"its process ended {duration(max(ago, 0.0))} ago"


def show_silences(silences: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """One line per silence."""
    for one in silences:
        what = f"{one['rule'] or 'all rules'} on {one['entity'] or 'everything'}"
        yield f"  {one['id']}  {what} until {local(one['until'])}, by {one['author']}: {one['reason']}"


def local(stamp: str | None) -> str:
    """A time of the JSON form in the machine's local time."""
    seconds = _seconds(stamp)
    return "?" if seconds is None else f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S %Z}"


def _seconds(stamp: str | None) -> float | None:
    if stamp is None:
        return None
    return datetime.fromisoformat(stamp).replace(tzinfo=UTC).timestamp()


def shown(value: object) -> str:
    """A value for a table."""
    if value is None:
        return "?"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}"
    return escape(str(value))


def shown_size(value: object) -> str:
    """Bytes for a table; a question mark if unknown."""
    if not isinstance(value, int | float):
        return "?"
    if value < 0:
        return "no limit"
    return size(value)
