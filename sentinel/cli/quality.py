"""`sentinel quality`: is a model still what it was, by the probabilities of its next token."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sentinel.api import client as daemon
from sentinel.cli.main import CRITICAL, OK, UNKNOWN, WARNING
from sentinel.cli.output import emit, passing, say, style, warn
from sentinel.cli.quality_screen import render, to_dict
from sentinel.files.opener import NotRegular
from sentinel.files.xdg import state_folder
from sentinel.model.fault import Fault
from sentinel.model.text import duration
from sentinel.quality import api_key
from sentinel.quality.asking import Plan, measure, plan
from sentinel.quality.comparison import breakage, compare, unlike
from sentinel.quality.http import Address, Client, Trouble, address
from sentinel.quality.listening import acting_flags, pid_at, port_of
from sentinel.quality.measurement import MOST_PASSES, Measurement
from sentinel.quality.prefixes import VERSION, digest
from sentinel.quality.store import NoReference, find, keep, load, name_for, place, require_free
from sentinel.terminal.names import label

_CODES = {"same": OK, "shifted": WARNING, "broken": CRITICAL, "not comparable": UNKNOWN}
#: Seconds between progress lines if standard error is not a terminal, and if it is one.
_EVERY, _EVERY_ON_TERMINAL = 15.0, 0.5


class QualityMistake(Fault):
    """What was asked for makes no sense."""


def main(arguments: argparse.Namespace) -> int:
    """Learn or check. Exit codes: 0 same, or learned; 1 shifted; 2 broken or a mistake; 3 not comparable, or no answer."""
    try:
        return _learn(arguments) if arguments.action == "learn" else _check(arguments)
    except Trouble as error:
        warn(str(error))
        return UNKNOWN
    except (QualityMistake, NoReference) as error:
        warn(str(error))
        return CRITICAL


def _learn(arguments: argparse.Namespace) -> int:
    folder = state_folder(os.environ)
    name = arguments.name or name_for(arguments.server)
    path = Path(arguments.output) if arguments.output else place(folder, name)
    require_free(path, replace=arguments.replace)
    measured = replace(_measured(arguments, _passes(arguments, 3, least=2)), name=name)
    if (found := breakage(measured)) is not None:
        warn(f"no reference is kept: {found.why}")
        return CRITICAL
    keep(path, measured, replace=arguments.replace)
    if arguments.json:
        emit({"file": str(path), "name": name, "tokens": measured.tokens, "seconds": round(measured.seconds, 1)})
    else:
        say(f"{path}: {len(measured.answered())} prefixes, each asked {len(measured.passes)} times")
        against = f"--against {arguments.output or name}" if arguments.output or arguments.name else ""
        say(f"compare with it later: sentinel quality check {arguments.server} {against}".rstrip())
    return OK


def _check(arguments: argparse.Namespace) -> int:
    folder = state_folder(os.environ)
    if arguments.output:
        require_free(Path(arguments.output), replace=arguments.replace)
    if arguments.compare:
        if arguments.server or arguments.against:
            raise QualityMistake("--compare takes two references and asks no server", "leave out SERVER and --against")
        before, after = (load(find(folder, one)) for one in arguments.compare)
    else:
        if not arguments.server:
            raise QualityMistake("say which server to check", "sentinel quality check 8080, or --compare A B for two references")
        before = load(find(folder, arguments.against or name_for(arguments.server)))
        # What is kept is wanted for itself, and asked whatever it is held against.
        after = _measured(arguments, _passes(arguments, 1), None if arguments.output else before)
    if arguments.output:
        keep(Path(arguments.output), after, replace=arguments.replace)
    found = compare(before, after)
    if arguments.json:
        emit(to_dict(found, before, after))
    else:
        print("\n".join(render(found, before, after, style())))
    return _CODES[found.verdict]


def _measured(arguments: argparse.Namespace, passes: int, before: Measurement | None = None) -> Measurement:
    """Say what it costs, then ask; nothing is asked, and there are no answers, where it could not be compared with `before`.

    Raises Trouble and QualityMistake.
    """
    at = _address(arguments)
    if not at.is_loopback and not arguments.remote:
        raise QualityMistake(
            f"{at} is not on this machine's loopback", "--remote asks it all the same; a key is sent in clear text"
        )
    asked = Client(at, _key(arguments.api_key_file) if arguments.api_key_file else "")
    pid = pid_at(at.port) if at.is_loopback else None
    planned = plan(asked, acting_flags(pid) if pid is not None else ())
    unasked = Measurement(planned.subject, ({},), VERSION, digest())
    if before is not None and unlike(before, unasked):
        return unasked
    warn(_cost(planned, passes, at))
    progress = _progress()
    try:
        measured = measure(asked, planned, passes, progress.show)
    except Trouble as error:
        progress.end()
        raise Trouble(
            f"the measurement ended after {progress.done} of {progress.total} answers: {error.why}", error.remedy
        ) from error
    progress.end()
    return replace(measured, made=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))


def _cost(planned: Plan, passes: int, at: Address) -> str:
    times = f", {passes} times" if passes > 1 else ""
    out = f"; left out, for the context is too small: {', '.join(planned.left_out)}" if planned.left_out else ""
    return (
        f"{at} is asked for one token after each of {len(planned.asked)} prefixes{times}: it evaluates {planned.tokens * passes} "
        f"tokens, in about {duration(max(planned.seconds * passes, 1))}{out}"
    )


class _Progress:
    """A line on a terminal that is written over, else one every quarter of a minute."""

    def __init__(self, write: Callable[[str, bool], None], every: float) -> None:
        self.done, self.total = 0, 0
        self._write, self._every, self._last = write, every, 0.0

    def show(self, done: int, total: int, seconds: float, left: float) -> None:
        """So many answers after so many seconds, and how many are left."""
        self.done, self.total = done, total
        if seconds - self._last >= self._every:
            self._last = seconds
            self._write(f"{done} of {total} answers, {duration(left)} left", False)

    def end(self) -> None:
        """Take the line away."""
        self._write("", True)


def _progress() -> _Progress:
    terminal = sys.stderr.isatty()

    def write(text: str, last: bool) -> None:
        if terminal:
            passing(text)
        elif not last:
            warn(text)

    return _Progress(write, _EVERY_ON_TERMINAL if terminal else _EVERY)


def _passes(arguments: argparse.Namespace, usual: int, least: int = 1) -> int:
    """A reference needs two at least: its own noise is what differs between them."""
    number: int = usual if arguments.passes is None else arguments.passes
    if not least <= number <= MOST_PASSES:
        raise QualityMistake(f"--passes {number} is out of range", f"write {least} to {MOST_PASSES}")
    return number


def _key(path: str) -> str:
    try:
        return api_key.read(Path(path))[0]
    except NotRegular as error:
        raise QualityMistake(f"--api-key-file {path} is {error}") from error
    except api_key.NoKey as error:
        raise QualityMistake(f"--api-key-file {path} holds no key in its first line") from error
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no ASCII text"
        raise QualityMistake(f"--api-key-file {path} cannot be read: {why}") from error


def _address(arguments: argparse.Namespace) -> Address:
    """A port or an address as written, else the port of a server that the daemon knows. Raises QualityMistake and Trouble."""
    given = arguments.server
    # A blank stands in no address: `gemma-3-270m :8080` is a server as `sentinel status` shows it.
    if given.isdigit() or given == "localhost" or (":" in given and " " not in given):
        return address(given)
    try:
        _, answer = daemon.get("/v1/status", [arguments.socket] if arguments.socket else None)
    except daemon.DaemonUnreachable as error:
        raise Trouble(
            f"{given!r:.100} is no port or address, and the daemon cannot be asked for it: {error.why}", "give its port"
        ) from error
    known = {name: one for one in answer.get("servers", ()) for name in _names(one)}
    if given not in known:
        raise QualityMistake(
            f"no server is called {given!r:.100}", f"`sentinel status` names them: {', '.join(sorted(known))[:200] or 'none now'}"
        )
    pid = known[given].get("pid")
    port = port_of(pid) if isinstance(pid, int) else None
    if port is None:
        raise QualityMistake(f"the port of {given!r:.100} cannot be seen", "give its port, or ask as its user or as root")
    return Address("127.0.0.1", port)


def _names(server: Mapping[str, Any]) -> Iterator[str]:
    """What it may be called: as the table of `sentinel status` shows it, and as the daemon's answer has it."""
    name, called = server.get("name"), server.get("called")
    if name:
        yield label(str(name), called)
    yield from (str(one) for one in (called, name) if one)
