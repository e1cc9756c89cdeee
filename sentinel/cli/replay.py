"""`sentinel replay`: evaluates a recording again, with today's rules or with two rule sets side by side."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator

from sentinel.cli.main import CRITICAL, OK
from sentinel.cli.output import emit_line, exit_code, style, warn, working
from sentinel.cli.rules.loading import for_judging
from sentinel.model.alert import Transition
from sentinel.model.json_form import is_news, iso, show_value, transition_to_dict
from sentinel.model.text import escape
from sentinel.recording import Recording, RecordingError
from sentinel.recording.archive import lines
from sentinel.recording.replay import Difference, Replay, difference, replay
from sentinel.terminal.alert import render

#: The largest ring of a busy machine replays in some seconds. Seconds of the processor.
MOST_SECONDS = 60.0


def main(arguments: argparse.Namespace) -> int:
    """Print the recorded alerts, or how they would differ; the exit code is that of the worst alert that fired."""
    name = arguments.file
    if arguments.diff and name == "-":
        warn("--diff reads the recording twice; give a file instead of -")
        return CRITICAL
    ruleset = for_judging(arguments.rules)
    other = for_judging(arguments.diff) if arguments.diff else None
    if ruleset is None or (arguments.diff and other is None):
        return CRITICAL
    try:
        with working("replaying the recording"):
            found = replay(Recording(lines(name)), ruleset, _deadline())
            again = None if other is None else replay(Recording(lines(name)), other, _deadline())
        code = _show(found, as_json=arguments.json) if again is None else _differ(found, again, as_json=arguments.json)
    except RecordingError as error:
        warn(f"{name}: {error}")
        return CRITICAL
    if not found.complete:
        sys.stdout.flush()
        warn(f"{name}: the recording is cut short; what is there was judged")
        return CRITICAL
    return code


def _deadline() -> Callable[[], str]:
    """Says when a replay has taken too long: a recording may come from anybody."""
    end = time.process_time() + MOST_SECONDS
    return lambda: (
        f"not replayed within {MOST_SECONDS:g} s, and no recording of a daemon takes as long" if time.process_time() > end else ""
    )


def _show(found: Replay, *, as_json: bool) -> int:
    if as_json:
        for transition in found.transitions:
            emit_line(transition_to_dict(transition))
    else:
        for line in _about(found):
            print(line)
        news = [t for t in found.transitions if is_news(t)]
        for transition in news:
            print(render(transition_to_dict(transition), style(), verbose=True))
        if not news:
            print("no alert begins or ends in it")
    return exit_code(t.severity for t in found.transitions if t.state == "firing")


def _about(found: Replay) -> Iterator[str]:
    """What the reader must know to interpret the rest."""
    yield f"{found.readings} readings from {iso(found.begin) or '?'} to {iso(found.end) or '?'}"
    for transition in found.standing:
        yield f"open when it begins: {transition.severity} {transition.rule}: {escape(transition.summary)}"
    if found.changed is None:
        yield "the recording does not name the rules it was evaluated with"
    elif found.changed:
        yield f"other rules than then: {', '.join(found.changed)}"
    for at in found.reloads:
        yield f"rules were loaded at {iso(at)}"
    yield ""


def _differ(before: Replay, after: Replay, *, as_json: bool) -> int:
    found = difference(before, after)
    if as_json:
        for one in found:
            emit_line(
                {
                    "difference": one.kind,
                    "keys": list(one.keys),
                    "before": None if one.before is None else transition_to_dict(one.before),
                    "after": None if one.after is None else transition_to_dict(one.after),
                }
            )
        return OK
    for one in found:
        for line in _lines(one):
            print(line)
    counts = {kind: sum(1 for one in found if one.kind == kind) for kind in ("added", "removed", "changed")}
    total = len(before.transitions)
    if found:
        print(f"of {total} transitions: " + ", ".join(f"{n} {kind}" for kind, n in counts.items() if n))
    else:
        print(f"no difference in {total} transitions")
    return OK


_MARKS = {"added": "+", "removed": "-", "changed": "~"}


def _lines(one: Difference) -> Iterator[str]:
    shown: Transition | None = one.before or one.after
    assert shown is not None
    yield (
        f"{_MARKS[one.kind]} {iso(shown.at)} {shown.rule} {shown.previous} -> {shown.state} ({shown.reason}) "
        f"{escape(shown.entity.name)}: {escape(shown.summary)}"
    )
    if one.before is None or one.after is None:
        return
    old, new = transition_to_dict(one.before), transition_to_dict(one.after)
    for key in one.keys:
        yield f"    {key}: {_short(old[key])} -> {_short(new[key])}"


def _short(value: object) -> str:
    if isinstance(value, list):
        return f"{len(value)} other ones" if value else "none"
    if isinstance(value, dict):
        return escape(str(value.get("id", value)))
    return show_value(value) if isinstance(value, str | int | float | bool) else "none"
