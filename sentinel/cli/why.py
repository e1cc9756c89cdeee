"""`sentinel why`: every check of a rule with its present value."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from sentinel.cli.main import OK, UNKNOWN
from sentinel.cli.output import NoAnswer, ask, complain, emit, exit_code, local, say, say_wrapped, shown, style
from sentinel.engine.alerts.flapping import LIMITS
from sentinel.model.text import counted, duration
from sentinel.terminal.alert import render_advice

_WORD = {True: "yes", False: "no", None: "unknown"}


def main(arguments: argparse.Namespace) -> int:
    """Print the checks; the exit code is the rule's: 0 quiet, 1 or 2 firing by severity, 3 unknown."""
    path = f"/v1/why/{quote(arguments.rule, safe='')}"
    if arguments.server:
        path += f"?server={quote(arguments.server, safe='')}"
    try:
        answer = ask(arguments, path)
    except NoAnswer as error:
        return complain(error)
    return show(answer, as_json=arguments.json)


def show(answer: Mapping[str, Any], *, as_json: bool) -> int:
    """Print an explanation; the exit code is the rule's."""
    if as_json:
        emit(answer)
        return _code(answer)
    say_wrapped(f"{answer['rule']}: {answer['title']} ({answer['severity']})")
    if answer["unhealthy"]:
        say_wrapped(f"  the rule itself is broken: {answer['unhealthy']}")
    elif not answer["subjects"]:
        say_wrapped(f"  nothing to judge: no {answer['scope']} is known")
    for subject in answer["subjects"]:
        _print(subject)
    return _code(answer)


def _print(subject: Mapping[str, Any]) -> None:
    verdict = {"match": "true", "no-match": "false", "unknown": "unknown"}[subject["verdict"]]
    state = f", alert {subject['state']}" if subject["state"] != "inactive" else ""
    if "fires_in" in subject:
        state += f", fires in {duration(subject['fires_in'])} if it stays so"
    say()
    say_wrapped(f"{subject['entity']}: {verdict}{state}{_moment(subject)}")
    for line in _silent(subject["silent"]):
        say_wrapped(f"  {line}")
    if len(subject["operands"]) > 1:
        say("  it takes all of:")
        for operand in subject["operands"]:
            say_wrapped(f"      {_WORD[operand['value']]:<8} {operand['expression']}")
    for check in subject["checks"]:
        say_wrapped(f"  {check['check']:<20} {_WORD[check['value']]}")
        for read in check["reads"]:
            origin = _origin(read)
            value = "not known" if read["value"] is None else shown(read["value"])
            say_wrapped(f"      {read['name']} = {value}" + (f"   ({origin})" if origin else ""))
    # Other rules' fixes refer the user here.
    if subject["alert"] is not None:
        print(render_advice(subject["alert"], style()), end="")


def _moment(subject: Mapping[str, Any]) -> str:
    """The moment of a log that is explained; empty for the present."""
    what = {"fired": "when it fired", "stopped": "before the server was asked to stop", "end": "when the log ends"}.get(
        subject.get("moment", "")
    )
    if what is None:
        return ""
    return f" ({what}, {local(subject['as_of'])})" if subject["as_of"] else f" ({what})"


def _origin(read: Mapping[str, Any]) -> str:
    """The age and source of a value, or why it is unknown and what would provide it."""
    parts = [f"{duration(read['age'])} old"] if "age" in read else []
    if "source" in read:
        parts.append(read["source"] if read.get("of") is not None or not parts else f"from {read['source']}")
    if "samples" in read:
        parts.append(counted(read["samples"], "sample"))
    if read.get("missing"):
        parts = [read["missing"]]
    return ", ".join(parts) + (f": {read['line']}" if read.get("line") else "")


def _silent(why: Mapping[str, Any]) -> Iterator[str]:
    """Why an alert does not notify, or not again."""
    if "inhibited_by" in why:
        cause = why["inhibited_by"]
        yield f"inhibited by {cause['rule']} of {cause['entity']} since {local(cause['since'])}"
    if "held_until" in why:
        yield f"held until {local(why['held_until'])}: rules that could inhibit it are evaluated first"
    if "silenced" in why:
        one = why["silenced"]
        end = f"`sentinel unsilence {one['id']}` ends it"
        yield f"silenced until {local(one['until'])} by {one['author']}: {one['reason']} ({end})"
    if "flapping_since" in why:
        yield f"flapping since {local(why['flapping_since'])}: silent until it is stable for {duration(LIMITS.steady)}"
    if "clear_since" in why:
        yield f"cleared at {local(why['clear_since'])}; stays open for its keep_firing_for"
    if "cleared_at" in why:
        yield f"cleared at {local(why['cleared_at'])} ({why['cleared_why']})"


def _code(answer: Mapping[str, Any]) -> int:
    states = {s["state"] for s in answer["subjects"]}
    if "firing" in states:
        return exit_code(s["alert"]["severity"] for s in answer["subjects"] if s["state"] == "firing")
    if not answer["subjects"] or any(s["verdict"] == "unknown" for s in answer["subjects"]):
        return UNKNOWN
    return OK
