"""Asks the daemon for everything that a page shows, in answers of bounded size; command lines are read from /proc."""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import psutil

from sentinel.llama.secret_words import without_keys
from sentinel.model.fault import Fault
from sentinel.model.input_limits import MOST_ARGV_BYTES
from sentinel.model.text import clean
from sentinel.report.of_daemon import MOST_SERVERS, POINTS, Collected, begin
from sentinel.sources.fs import Roots, read_bytes
from sentinel.terminal.times import seconds_of

#: Asks the daemon for a path; raises Fault.
Ask = Callable[[str], dict[str, Any]]
#: As far back as the daemon keeps values.
MOST_SECONDS = 31 * 86_400
#: From a month in steps of hours down to seconds.
_MOST_LOOKS = 3
#: Pages of a thousand transitions.
_MOST_PAGES = 10
#: A number of a process may be used again; its start, as the daemon has it, is exact to a tick.
_SAME_START = 2.0
_LEFT_OUT = "KEY-LEFT-OUT"
_MOST_CHARS = 4096


def collect(ask: Ask, since: float, now: float, *, machine: str, with_commands: bool = True) -> Collected:
    """Of the machine of that name, which is empty where it is not to be named. Raises Fault."""
    status = ask("/v1/status")
    transitions, notes = _history(ask, since)
    local = time.localtime(now)
    found = Collected(
        made=now,
        begin=since,
        offset=local.tm_gmtoff,
        zone=local.tm_zone,
        machine=machine,
        status=status,
        transitions=transitions,
        series=_series(ask, status, now - since),
        commands=_commands(status) if with_commands else {},
        notes=notes,
    )
    # Of a shorter time the values are finer, and say better when they begin.
    asked = since
    for _ in range(_MOST_LOOKS):
        first = begin(found)
        if first - asked < 1:
            break
        asked = first
        found = replace(found, series=_series(ask, status, now - asked))
    return found


def _history(ask: Ask, since: float) -> tuple[list[dict[str, Any]], list[str]]:
    query = f"/v1/history?since={since:.3f}"
    answer = ask(query)
    pages = [answer["transitions"]]
    while answer["earlier"] is not None and len(pages) < _MOST_PAGES:
        answer = ask(f"{query}&before={answer['earlier']}")
        pages.append(answer["transitions"])
    notes = [] if answer["earlier"] is None else ["There are more alerts than are shown: the oldest of this time are left out."]
    return [one for page in reversed(pages) for one in page], notes


def _series(ask: Ask, status: Mapping[str, Any], seconds: float) -> dict[tuple[str, str], Mapping[str, Any]]:
    """The values of each server, GPU and the host. An older daemon has none."""
    span = f"seconds={max(math.ceil(seconds), 1)}"
    entities = [("server", str(server["name"])) for server in status["servers"][:MOST_SERVERS]]
    entities += [("gpu", str(gpu["address"])) for gpu in status["gpus"]]
    entities += [key for key in _ended(ask, span) if key not in entities][: max(0, MOST_SERVERS - len(status["servers"]))]
    out = {}
    for scope, name in [*entities, ("host", "host")]:
        with contextlib.suppress(Fault):
            out[scope, name] = ask(f"/v1/series?{span}&points={POINTS}&entity={quote(name, safe='')}")
    return {key: answer for key, answer in out.items() if answer["series"]}


def _ended(ask: Ask, span: str) -> Iterator[tuple[str, str]]:
    """Servers that had memory in that time, whether they run or not."""
    with contextlib.suppress(Fault):
        for one in ask(f"/v1/series?{span}&points=1&signal=server.rss_bytes")["series"]:
            yield one["entity"]["scope"], one["entity"]["name"]


def _commands(status: Mapping[str, Any]) -> dict[str, str]:
    """The command line of each server that runs, as far as it may be read. The daemon does not keep it."""
    out = {}
    for server in status["servers"][:MOST_SERVERS]:
        begun = seconds_of(server.get("since"))
        if not server["running"] or begun is None or not isinstance(server["pid"], int):
            continue
        with contextlib.suppress(psutil.Error, OSError, ValueError):
            if abs(psutil.Process(server["pid"]).create_time() - begun) <= _SAME_START:
                out[str(server["name"])] = command_line(words_of(server["pid"]))
    return {name: line for name, line in out.items() if line}


def words_of(pid: int, roots: Roots | None = None) -> list[str]:
    """The command line of a process, as far as it is read: one may have megabytes. Raises OSError."""
    raw = read_bytes((Roots() if roots is None else roots).proc / str(pid) / "cmdline", MOST_ARGV_BYTES)
    return [clean(os.fsdecode(word)) for word in raw.removesuffix(b"\0").split(b"\0")] if raw else []


def command_line(words: list[str]) -> str:
    """Quoted for a shell, without keys and within bounds."""
    line = shlex.join(without_keys(words, _LEFT_OUT))
    return line if len(line) <= _MOST_CHARS else f"{line[:_MOST_CHARS]} …"
