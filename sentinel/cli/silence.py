"""`sentinel silence` and `sentinel unsilence`: stop notifications for a while. Without a rule both list what is silenced."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sentinel.cli.main import CRITICAL, OK
from sentinel.cli.output import NoAnswer, ask, change, complain, emit, local, say, say_wrapped, show_silences, silenced, warn
from sentinel.model.text import duration, escape
from sentinel.terminal.times import seconds_of

if TYPE_CHECKING:
    import argparse


def main(arguments: argparse.Namespace) -> int:
    """List, set or expire silences. Exit code 0; 2 for a mistake or if not permitted; 3 without a daemon."""
    try:
        return _unsilence(arguments) if arguments.verb == "unsilence" else _silence(arguments)
    except NoAnswer as error:
        return complain(error)


def _silence(arguments: argparse.Namespace) -> int:
    if not arguments.rule and not arguments.all:
        if arguments.duration or arguments.reason or arguments.only:
            warn("say what to silence: a rule, or --all; for example: sentinel silence cpu-fallback --for 2h")
            return CRITICAL
        return _list(arguments)
    if arguments.server and arguments.only:
        warn("name the server once, as SERVER or with --server")
        return CRITICAL
    if not arguments.duration:
        warn(f"say for how long: sentinel silence {escape(arguments.rule) or '--all'} --for 2h")
        return CRITICAL
    body = {"rule": arguments.rule, "server": arguments.server or arguments.only, "all": arguments.all}
    body |= {"for": arguments.duration, "reason": arguments.reason}
    answer = change(arguments, "/v1/silences", body)
    if arguments.json:
        emit(answer)
        return OK
    one = answer["silence"]
    say_wrapped(f"Silenced {silenced(one)} until {local(one['until'])}. Undo: sentinel unsilence {one['id']}")
    return OK


def _unsilence(arguments: argparse.Namespace) -> int:
    if not arguments.id:
        return _list(arguments)
    active = ask(arguments, "/v1/silences")["silences"]
    found = [one for one in active if arguments.id.removeprefix("#") == one["id"]]
    found = found or [one for one in active if one["rule"] == arguments.id]
    if not found:
        rows = ", ".join(f"#{one['id']} {one['rule'] or 'all rules'} ({_left(one)})" for one in active)
        warn(f'no silence "{arguments.id:.60}"; active: {rows or "none"}')
        return CRITICAL
    answers = [change(arguments, f"/v1/silences/{quote(one['id'], safe='')}", None) for one in found]
    for answer in answers:
        if arguments.json:
            emit(answer)
        else:
            one = answer["silence"]
            say(f"Ended silence #{one['id']}: {silenced(one)}")
    return OK


def _list(arguments: argparse.Namespace) -> int:
    answer = ask(arguments, "/v1/silences")
    if arguments.json:
        emit(answer)
        return OK
    found: Sequence[Mapping[str, Any]] = answer["silences"]
    for line in show_silences(found):
        say_wrapped(line)
    say(
        "end one: sentinel unsilence NUMBER or RULE"
        if found
        else "nothing is silenced; for example: sentinel silence RULE --for 2h"
    )
    return OK


def _left(one: Mapping[str, Any]) -> str:
    until = seconds_of(one["until"])
    return f"{duration(max((until or 0.0) - time.time(), 0.0))} left"
