"""`sentinel diagnose`: log files, offline."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from sentinel.cli.main import CRITICAL, UNKNOWN
from sentinel.cli.output import emit_line, exit_code, style
from sentinel.diagnosis import Diagnosis, diagnose
from sentinel.model.labels import Unknown, Value
from sentinel.model.wire import escape, is_news, transition_to_dict
from sentinel.parsing.lines import LineSplitter
from sentinel.rulefiles import load_paths, shipped
from sentinel.sinks.render import render_alert
from sentinel.sources.argv import decode

_LINE_LIMIT = 65536
_CHUNK = 1 << 20


def main(arguments: argparse.Namespace) -> int:
    """Judge the files; the exit code tells the worst that was found."""
    ruleset, problems = load_paths([Path(p) for p in arguments.rules] or [shipped()])
    if ruleset is None:
        for problem in problems:
            print(f"sentinel: {problem}", file=sys.stderr)
        return CRITICAL
    values: dict[str, Value | Unknown] = {}
    if arguments.argv is not None:
        try:
            words = shlex.split(arguments.argv)
        except ValueError as error:
            print(f"sentinel: --argv is not a command line ({error}); quote it as one word", file=sys.stderr)
            return CRITICAL
        values = dict(decode(words, {}).signals())
    try:
        logs = [(name, _read(name)) for name in arguments.files]
        kernel = [(name, _read(name)) for name in arguments.kernel_log]
    except OSError as error:
        print(f"sentinel: {escape(str(error.filename))} cannot be read: {error.strerror}", file=sys.stderr)
        return CRITICAL
    found = diagnose(ruleset, logs, kernel, values)
    if arguments.json:
        for transition in found.transitions:
            emit_line(transition_to_dict(transition))
        emit_line({"unknown": [{"rule": rule, "missing": sorted(missing)} for rule, missing in found.unknown.items()]})
    else:
        _print(found, files=bool(logs))
    fired = [t.severity for t in found.transitions if t.state == "firing"]
    return exit_code(fired) if fired or found.events or not logs else UNKNOWN


def _read(name: str) -> bytes:
    """A whole file as clean lines: any encoding, any line end, long lines cut."""
    splitter = LineSplitter(_LINE_LIMIT)
    parts = []
    try:
        with sys.stdin.buffer if name == "-" else Path(name).open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                parts.append(splitter.feed(chunk))
    except OSError as error:
        # Opening says which file it was, reading does not.
        raise OSError(error.errno, error.strerror, "standard input" if name == "-" else name) from error
    parts.append(splitter.flush())
    return b"".join(parts)


def _print(found: Diagnosis, *, files: bool) -> None:
    news = [t for t in found.transitions if is_news(t)]
    for transition in news:
        print(render_alert(transition, style()))
    if not news and files and found.events == 0:
        what = f"none of the {found.lines} lines is one" if found.lines else "there is no line"
        print(
            f"nothing can be said: {what} that sentinel knows from a llama-server. Is it the server's whole log? "
            "Where it goes is said by `sentinel status` while the server runs."
        )
        return
    if not news:
        print(f"nothing wrong found in {found.lines} lines ({found.events} events of llama-server recognised)")
    if found.unknown:
        print("\nWhat the files cannot tell:")
        for rule, missing in found.unknown.items():
            print(f"  {rule}")
            by_reason: dict[str, list[str]] = {}
            for name, why in missing.items():
                by_reason.setdefault(why, []).append(name)
            for why, names in by_reason.items():
                print(f"      {', '.join(names)}: {escape(why)}")
