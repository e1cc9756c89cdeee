"""Shared by the verbs: requests to the daemon, printing, exit codes."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sentinel.api import client
from sentinel.cli.main import CRITICAL, OK, UNKNOWN, WARNING
from sentinel.model.fault import Fault
from sentinel.model.text import duration, escape, size
from sentinel.terminal.names import label
from sentinel.terminal.style import Style, style_for, wrap
from sentinel.terminal.times import clock, seconds_of

if TYPE_CHECKING:
    import argparse
    import threading


class NoAnswer(Fault):
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


def fetch(arguments: argparse.Namespace, path: str, write: Callable[[bytes], object]) -> None:
    """Pass a binary answer to `write` in chunks. Raises NoAnswer; exceptions of `write` propagate."""
    _answer(arguments, lambda sockets: client.fetch(path, write, sockets))


def _answer(arguments: argparse.Namespace, call: Callable[[list[str] | None], tuple[int, dict[str, Any]]]) -> dict[str, Any]:
    try:
        with working("asking the daemon"):
            status, answer = call([arguments.socket] if arguments.socket else None)
    except client.DaemonUnreachable as error:
        raise NoAnswer(str(error), UNKNOWN) from error
    if status != 200:
        raise NoAnswer(client.refusal(status, answer), CRITICAL if status < 500 else UNKNOWN, answer.get("error"))
    return answer


def complain(error: NoAnswer) -> int:
    """Print the error to standard error; returns the exit code."""
    warn(str(error))
    return error.code


def say(line: str = "") -> None:
    """Print a line for people. Control characters and newlines from names, paths and log lines are escaped."""
    print(escape(line), flush=True)


def say_wrapped(line: str, hanging: str = "    ") -> None:
    """Print a line for people, wrapped with a hanging indent."""
    indent = len(line) - len(line.lstrip(" "))
    for row in wrap(escape(line[indent:]), style().prose, " " * indent, hanging):
        print(row, flush=True)


#: what `working` says now; a part of it says nothing of its own
_under_way: list[str] = []


@contextmanager
def working(what: str, after: float = 1.0) -> Iterator[None]:
    """Say on a terminal what takes longer than `after` seconds, with the seconds since, and take it back at the end.

    Everything else that is printed comes before or after it.
    """
    if _under_way or not watched():
        yield
        return
    import threading

    done = threading.Event()
    counting = threading.Thread(target=_count, args=(what, after, done), name="progress", daemon=True)
    _under_way.append(what)
    counting.start()
    try:
        yield
    finally:
        _under_way.clear()
        done.set()
        counting.join()


def watched() -> bool:
    """Whether somebody sees what is said on standard error in passing: both streams are terminals."""
    try:
        return os.isatty(sys.stderr.fileno()) and os.isatty(sys.stdout.fileno())
    except (OSError, ValueError):
        return False


def passing(line: str) -> None:
    """Put a line of progress in place of the last one; an empty one takes it back."""
    sys.stderr.write(f"\r\x1b[K{escape(line)}")
    sys.stderr.flush()


def _count(what: str, after: float, done: threading.Event) -> None:
    started = time.monotonic()
    said = False
    while not done.wait(1.0 if said else after):
        said = True
        passing(f"{what} ... {time.monotonic() - started:.0f} s")
    if said:
        passing("")


def warn(sentence: str) -> None:
    """Print a sentence for people to standard error, escaped in the same way; wrapped on a terminal, one line for programs."""
    line = f"sentinel: {escape(sentence)}"
    rows = wrap(line, style_for(sys.stderr).prose, "", "  ") if sys.stderr.isatty() else [line]
    print("\n".join(rows), file=sys.stderr, flush=True)


def emit(value: Mapping[str, Any]) -> None:
    """Print a JSON document for programs, indented for people."""
    from sentinel.model.json_form import to_json

    print(json.dumps(json.loads(to_json(value)), indent=2, ensure_ascii=True))


def emit_line(value: Mapping[str, Any]) -> None:
    """Print one JSON object per line."""
    from sentinel.model.json_form import to_json

    print(to_json(value), flush=True)


def exit_code(severities: Iterable[str]) -> int:
    """0 ok, 1 warning, 2 critical; info counts as ok."""
    found = set(severities)
    return CRITICAL if "critical" in found else WARNING if "warning" in found else OK


def style() -> Style:
    """The style for standard output."""
    return style_for(sys.stdout)


def over(alert: Mapping[str, Any]) -> str:
    """How long ago the process that the alert is about ended."""
    ended = seconds_of(alert["server_ended"])
    return f"its process ended {duration(max(time.time() - (ended or 0.0), 0.0))} ago"


def show_silences(silences: Iterable[Mapping[str, Any]], called: Mapping[str, Any] | None = None) -> Iterator[str]:
    """One line per silence. `called`: what people call servers, by name."""
    for one in silences:
        until = seconds_of(one["until"])
        left = f" ({duration(max(until - time.time(), 0.0))} left)" if until is not None else ""
        reason = f": {one['reason']}" if one["reason"] else ""
        yield f"#{one['id']}  {silenced(one, called)} until {local(one['until'])}{left}, by {one['author']}{reason}"


def silenced(one: Mapping[str, Any], called: Mapping[str, Any] | None = None) -> str:
    """What a silence covers."""
    where = f"on {label(one['entity'], (called or {}).get(one['entity']))}" if one["entity"] else "on all servers"
    return f"{one['rule'] or 'all rules'} {where}"


def local(stamp: str | None) -> str:
    """A time of the JSON form in the machine's local time, short for today."""
    seconds = seconds_of(stamp)
    return "?" if seconds is None else clock(seconds, time.time(), style().zone)


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
