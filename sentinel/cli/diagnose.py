"""`sentinel diagnose`: evaluates log files offline."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sentinel.cli.diagnose_screen import show
from sentinel.cli.log_files import MOST_SECONDS, Taken, TooLong, jumps, read_all, within_time
from sentinel.cli.main import CRITICAL, UNKNOWN, WARNING
from sentinel.cli.output import emit_line, exit_code, warn, working
from sentinel.cli.rules.loading import for_judging
from sentinel.diagnose.answer import verdict
from sentinel.diagnose.diagnosis import Diagnosis, diagnose
from sentinel.diagnose.pasted import Pasted, unpack
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.llama.command_line import Requested, decode
from sentinel.model.entity import Unknown, Value
from sentinel.model.fault import Fault
from sentinel.model.json_form import transition_to_dict
from sentinel.model.problem import did_you_mean
from sentinel.model.text import clean, counted, escape
from sentinel.preflight.words import split


class _Empty(ValueError):
    """No words in --argv."""


def main(arguments: argparse.Namespace) -> int:
    """Evaluate the files; the exit code is that of the worst finding."""
    ruleset = for_judging(arguments.rules)
    if ruleset is None:
        return CRITICAL
    try:
        with within_time():
            return judge(ruleset, arguments)
    except TooLong:
        return _mistake(f"not judged within {MOST_SECONDS:g} s of the processor, as no log of a server is: give a part of it")


def judge(ruleset: RuleSet, arguments: argparse.Namespace) -> int:
    """The same with rules already loaded: an evaluation of many logs loads them once."""
    if arguments.why and arguments.why not in ruleset.rules:
        known = f"{did_you_mean(arguments.why, ruleset.rules)}; `sentinel rules list` shows all"
        return _mistake(f"there is no rule '{escape(arguments.why)}'{known}")
    if arguments.output and (not arguments.share or arguments.html):
        return _mistake("-o says where --share writes to: give both" if not arguments.share else "--html says where to: drop -o")
    if arguments.html and (arguments.why or arguments.json):
        return _mistake(f"--html is the whole answer: drop {'--why' if arguments.why else '--json'}")
    try:
        taken = _taken([*arguments.files, *arguments.kernel_log])
    except Fault as fault:
        return _mistake(str(fault))
    both = [(one.name, one.data) for one in taken]
    logs, kernel = both[: len(arguments.files)], both[len(arguments.files) :]
    argv = arguments.argv
    redactor = None
    if arguments.share:
        from sentinel.cli.report.private import redactor as own_redactor

        redactor = own_redactor()
        # Before the evaluation: what was redacted cannot be quoted, wrapped or not.
        with working("redacting"):
            logs, kernel = ([(_base(n), redactor.text(d.decode()).encode()) for n, d in given] for given in (logs, kernel))
        argv = None if argv is None else redactor.line(argv)
    with working("reading"):
        pasted = [(name, unpack(data)) for name, data in logs]
    logs = [(name, one.log) for name, one in pasted if one.log or len(pasted) == 1]
    try:
        values, command_line = asked(argv, [one for _, one in pasted])
    except _Empty:
        return _mistake("--argv is empty: leave it out where the command line is not known")
    except ValueError as error:
        return _mistake(f"--argv is not a command line ({escape(str(error))}); quote it as one word")
    number = sum(data.count(b"\n") for _, data in (*logs, *kernel))
    with working(f"judging {counted(number, 'line')}"):
        found = diagnose(ruleset, logs, kernel, values, arguments.why, jumps(taken) if redactor is None else {})
    if arguments.html:
        return _page(found, [name for name, _ in logs], command_line, arguments, kernel=bool(kernel)) or _code(found, logs)
    if redactor is not None:
        from sentinel.diagnose.share import bundle

        answer = io.StringIO()
        with contextlib.redirect_stdout(answer):
            show(found, files=bool(logs), kernel=bool(kernel), verbose=True)
        files = [(name, data.decode()) for name, data in (*logs, *kernel)]
        return _share(bundle(answer.getvalue(), command_line, files, redactor.replaced()), arguments.output) or _code(found, logs)
    if found.why is not None:
        from sentinel.cli import why

        return why.show(found.why, as_json=arguments.json, verbose=arguments.verbose)
    if arguments.json:
        _emit(found)
    else:
        show(found, files=bool(logs), kernel=bool(kernel), verbose=arguments.verbose)
    return _code(found, logs)


def _taken(names: Sequence[str]) -> list[Taken]:
    """The files, with a sentence about what was left out. Raises Fault."""
    # What somebody types is not written over.
    typed = "-" in names and sys.stdin.isatty()
    try:
        with contextlib.nullcontext() if typed else working("reading"):
            taken = read_all(names)
    except IsADirectoryError as error:
        raise Fault(f"{escape(str(error.filename))} is a folder: name the log file in it") from error
    except OSError as error:
        raise Fault(f"{escape(str(error.filename))} cannot be read: {error.strerror}") from error
    for one in taken:
        if cut := one.cut():
            warn(cut)
    return taken


def _mistake(sentence: str) -> int:
    warn(sentence)
    return CRITICAL


def _code(found: Diagnosis, logs: Sequence[object]) -> int:
    """The exit code of the worst finding."""
    fired = [t.severity for t in found.transitions if t.state == "firing"]
    if found.starts:
        return max(WARNING, exit_code(fired))
    return exit_code(fired) if fired or found.events or not logs else UNKNOWN


def _emit(found: Diagnosis) -> None:
    for transition in found.transitions:
        emit_line(transition_to_dict(transition))
    last: dict[str, Any] = {"unknown": [{"rule": rule, "missing": sorted(missing)} for rule, missing in found.unknown.items()]}
    if found.refused:
        last["refused"] = [{"times": times, "line": e.line, "source": e.source, "n": e.n} for times, e in found.refused]
    if found.starts:
        last["starts"] = [{"came_to": s.kind, "line": s.line.line, "source": s.line.source, "n": s.line.n} for s in found.starts]
    emit_line(last | {"verdict": verdict(found), "runs": dict(found.runs)})


def asked(argv: str | None, pasted: Sequence[Pasted]) -> tuple[dict[str, Value | Unknown], str]:
    """The requested settings and the command line: from --argv, else from the pasted files. Raises ValueError."""
    if argv is not None:
        words = shlex.split(argv)
        if not words:
            raise _Empty
        return dict(asked_for(words).signals()) | _program(words), argv
    # If several files have a command line, one that has nothing else (a unit, a compose file) takes precedence.
    said = sorted((one for one in pasted if one.words or one.environment), key=lambda one: bool(one.log))
    if not said:
        return {}, ""
    words = [*(f"{name}={value}" for name, value in said[0].environment.items()), *(said[0].words or ("llama-server",))]
    return dict(asked_for(words).signals()) | _program(words), shlex.join(words)


def _page(found: Diagnosis, names: Sequence[str], command_line: str, arguments: argparse.Namespace, *, kernel: bool) -> int:
    """Write the HTML page; 0 on success."""
    from sentinel.cli.report.page_file import CannotWrite, write
    from sentinel.diagnose.share import Redactor
    from sentinel.report.of_log import page
    from sentinel.report.page import render
    from sentinel.report.redaction import without_keys

    now = time.time()
    local = time.localtime(now)
    bases = [_base(name) for name in names]
    shared = bool(arguments.share)
    with working("drawing the page"):
        made = page(found, bases, command_line, now, local.tm_gmtoff, local.tm_zone, kernel=kernel, redacted=shared)
        html = render(without_keys(made, Redactor()))
    try:
        write(html, arguments.html, redacted=shared)
    except CannotWrite as fault:
        return _mistake(str(fault))
    return 0


def _base(name: str) -> str:
    return "standard input" if name == "-" else re.sub(r"[^\w.-]", "_", Path(name).name)


def _share(text: str, output: str) -> int:
    """Write the bundle; 0 on success."""
    if output:
        try:
            # A new file with mode 0600: its owner should read it before anybody else does.
            with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            return _mistake(f"{escape(output)} is there already: name another file")
        except OSError as error:
            return _mistake(f"{escape(output)} cannot be written: {error.strerror}")
    else:
        print(text)
    where = f"{output} is written" if output else "this is the bundle"
    warn(f"{where}: read it before you publish it, for no pattern knows every secret")
    return 0


def _program(words: list[str]) -> dict[str, Value | Unknown]:
    """The executable, if it has a path: llama.cpp's images have it in /app."""
    at, _ = split(words)
    return {"server.binary": clean(words[at])} if at is not None and words[at].startswith("/") else {}


def asked_for(words: list[str]) -> Requested:
    """Parse a command line, also after variables or another program (``A=1 llama-server``, ``env``, ``sudo``), or only flags."""
    at, assigned = split(words)
    argv = [] if at is None else words[at:]
    return decode(["llama-server", *argv] if argv and argv[0].startswith("-") else argv, assigned)
