"""`sentinel preflight`: will it fit, before the load."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from sentinel.cli.main import CRITICAL, OK, UNKNOWN, WARNING
from sentinel.cli.output import emit, style
from sentinel.daemon.config import default_state_dir
from sentinel.gguf.header import GgufError
from sentinel.llama.settings import Item
from sentinel.memory.fit import Why, needed
from sentinel.model.text import escape, size, size_range
from sentinel.preflight.checksum import parse_given, verify
from sentinel.preflight.command import Command, NoCommand, from_process, from_words
from sentinel.preflight.examine import examine
from sentinel.preflight.model_check import parts
from sentinel.preflight.report import Report
from sentinel.preflight.unit import from_unit
from sentinel.sources.fs import Roots

_CODES: Mapping[str, int] = {"fits": OK, "tight": WARNING, "fails": CRITICAL, "unknown": UNKNOWN}
_HEADLINES = {
    "fits": "FITS",
    "tight": "TIGHT: it may work",
    "fails": "FAILS: it will not work as asked for",
    "unknown": "UNKNOWN: a figure that decides is missing",
}
_COLOURS = {"fits": "\x1b[1;32m", "tight": "\x1b[1;33m", "fails": "\x1b[1;31m", "unknown": "\x1b[1;36m"}
_KINDS = {
    "weights": "weights",
    "kv": "KV cache",
    "recurrent": "recurrent state",
    "compute": "compute buffers",
    "output": "output buffer",
    "projector": "projector",
    "cache": "prompt cache",
    "overhead": "overhead",
}
#: Seconds between progress lines if standard error is not a terminal, and if it is one.
_EVERY, _EVERY_ON_TERMINAL = 30.0, 0.5


def main(arguments: argparse.Namespace) -> int:
    """Evaluate one command; the exit code is the verdict."""
    try:
        command = _command(arguments)
        command = replace(command, ask_anyway=arguments.ask_build)
        extra = _verified(command, arguments.verify) if arguments.verify is not None else []
    except (NoCommand, GgufError) as error:
        print(f"sentinel: {escape(str(error))}", file=sys.stderr)
        return CRITICAL
    report = examine(command, extra=tuple(extra))
    if arguments.json:
        emit(report.to_dict())
    else:
        print("\n".join(render(report, arguments.pid)))
    return _CODES[report.verdict]


def _command(arguments: argparse.Namespace) -> Command:
    given = (bool(arguments.command), arguments.pid is not None, bool(arguments.unit))
    if sum(given) != 1:
        ways = "sentinel preflight -- llama-server -m model.gguf -c 4096, or --pid PID, or --unit NAME"
        raise NoCommand(f"say what to judge, in one of three ways: {ways}")
    if arguments.pid is not None:
        return from_process(arguments.pid)
    if arguments.unit:
        return from_unit(arguments.unit)
    return from_words(arguments.command, os.environ)


def _verified(command: Command, given: str) -> list[Why]:
    """Verify the checksums of the model's files, with progress on standard error: 220 GB take minutes."""
    digest = parse_given(given) if given else ""
    named = command.requested.text("model")
    if not named:
        raise NoCommand("--verify needs the model's file: name it with -m")
    started = last = time.monotonic()
    every = _EVERY_ON_TERMINAL if sys.stderr.isatty() else _EVERY

    def progress(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < every and done < total:
            return
        last = now
        rate = done / max(now - started, 1e-3)
        line = f"sha256 {size(done)} of {size(total)} ({done / max(total, 1):.0%}), {rate / 1e6:.0f} MB/s"
        line += f", {(total - done) / rate:.0f} s left" if done < total else ""
        print(line, file=sys.stderr, end="\r\x1b[K" if sys.stderr.isatty() and done < total else "\n", flush=True)

    return verify(parts(command.path(Roots(), named)), digest, default_state_dir(os.environ), progress)


def render(report: Report, pid: int | None = None) -> Iterator[str]:
    """The report for people, from the same struct as the JSON. `pid`: the evaluated process."""
    headline = _HEADLINES[report.verdict]
    yield f"{_COLOURS[report.verdict]}{headline}\x1b[0m" if style().colour else headline
    if pid is not None:
        yield f"  (as if process {pid} were restarted: what it holds now counts as free)"
    for why in report.whys:
        yield f"  {escape(why.text)}  [{why.id}]"
    yield from _memory(report)
    for number, one in enumerate(report.suggestions, 1):
        yield ""
        yield f"{number}. {escape(one.why)} ({', '.join(f'{place} {size}' for place, size in _places(one.memory))})"
        yield f"   {escape(shlex.join(one.argv))}"


def _memory(report: Report) -> Iterator[str]:
    """One block per memory pool: what is allocated there, and what the limits leave."""
    places = list(dict.fromkeys([item.place for item in report.memory] + [limit.place for limit in report.limits]))
    for place in places:
        items = [item for item in report.memory if item.place == place]
        yield ""
        low, high = needed(items)
        yield f"{escape(place)}: needs {size_range(low, high)}" if items else escape(place)
        for item in items:
            yield f"  {_KINDS.get(item.kind, item.kind):<18}{size_range(item.low, item.high):>24}{_how(item)}"
        for limit in report.limits:
            if limit.place == place:
                yield f"  left: {escape(limit.what):<12}{size(limit.bytes):>24}"


def _places(memory: Iterable[Item]) -> Iterator[tuple[str, str]]:
    items = list(memory)
    for place in dict.fromkeys(item.place for item in items):
        yield escape(place), size_range(*needed(item for item in items if item.place == place))


def _how(item: Item) -> str:
    words = [word for word, is_so in (("mapped", item.mapped), ("locked", item.locked)) if is_so]
    return f"  {', '.join(words)}" if words else ""
