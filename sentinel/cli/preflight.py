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
from sentinel.cli.output import emit, style, warn, working
from sentinel.files.xdg import state_folder
from sentinel.gguf.header import GgufError
from sentinel.llama.settings import Item
from sentinel.memory.fit import FitNote, needed
from sentinel.model.text import escape, size, size_range
from sentinel.preflight.checksum import parse_given, verify
from sentinel.preflight.command import Command, NoCommand, from_process, from_words
from sentinel.preflight.examine import examine
from sentinel.preflight.model_check import parts
from sentinel.preflight.report import Report
from sentinel.preflight.unit import from_unit
from sentinel.sources.fs import Roots
from sentinel.terminal.style import BOLD, CYAN, DIM, Style, cells, wrap
from sentinel.terminal.table import table

_CODES: Mapping[str, int] = {"fits": OK, "tight": WARNING, "fails": CRITICAL, "unknown": UNKNOWN}
_HEADLINES = {
    "fits": "there is room for the most that it may need",
    "tight": "it may work",
    "fails": "it will not work as asked for",
    "unknown": "a figure that decides is missing",
}
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
#: What a limit leaves, in words.
_LEFT = {
    "vram-free": "free GPU memory",
    "MemAvailable": "available memory",
    "memlock": "may be locked",
    "swap-free": "free swap",
}
#: Limits that are no room for what is allocated: what may be locked, and what lies on disk.
_NOT_ROOM = ("memlock", "swap-free")
#: Seconds between progress lines if standard error is not a terminal, and if it is one.
_EVERY, _EVERY_ON_TERMINAL = 30.0, 0.5


def main(arguments: argparse.Namespace) -> int:
    """Evaluate one command; the exit code is the verdict."""
    try:
        command = _command(arguments)
        command = replace(command, ask_anyway=arguments.ask_build)
        extra = _verified(command, arguments.verify) if arguments.verify is not None else []
    except (NoCommand, GgufError) as error:
        warn(str(error))
        return CRITICAL
    with working("looking at the model and the machine"):
        report = examine(command, extra=tuple(extra))
    if arguments.json:
        emit(report.to_dict())
    else:
        print("\n".join(render(report, style(), arguments.pid, verbose=arguments.verbose)))
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


def _verified(command: Command, given: str) -> list[FitNote]:
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

    return verify(parts(command.path(Roots(), named)), digest, state_folder(os.environ), progress)


def render(report: Report, look: Style, pid: int | None = None, *, verbose: bool = False) -> Iterator[str]:
    """The report for people, from the same struct as the JSON. `pid`: the evaluated process."""
    mark = look.by_state(f"{look.mark(report.verdict)} {report.verdict.upper()}", report.verdict)
    deciding = [why for why in report.whys if why.effect == report.verdict]
    first = deciding[0].text if deciding else _HEADLINES[report.verdict]
    indent = " " * (len(report.verdict) + 4)
    lines = wrap(escape(first), look.prose, indent)
    yield f"{mark}  {look.paint(lines[0].strip(), BOLD)}"
    yield from (look.paint(line, BOLD) for line in lines[1:])
    if pid is not None:
        yield from wrap(f"as if process {pid} were restarted: what it holds now counts as free", look.prose, indent)
    for why in report.whys:
        if why is not (deciding[0] if deciding else None):
            yield from wrap(escape(f"- {why.text}") + (f" [{why.id}]" if verbose else ""), look.prose, "  ", "  ")
    yield from _in_short(report, look)
    if verbose:
        yield from _memory(report)
    if report.suggestions:
        yield ""
        yield look.paint("What would fit" if report.verdict != "fits" else "Other ways", BOLD)
    for number, one in enumerate(report.suggestions, 1):
        yield from wrap(f"{number}. {escape(one.why)} ({_places(one.memory)})", look.prose, "", "   ")
        yield f"   {look.paint(escape(shlex.join(one.argv)), CYAN)}"


def _in_short(report: Report, look: Style) -> Iterator[str]:
    """One line per memory pool: what it takes at the start, what it may grow to, and the smallest limit."""
    rows = [("MEMORY", "AT THE START", "MAY GROW TO", "FREE")]
    grows = 0
    for place in dict.fromkeys(item.place for item in report.memory):
        items = [item for item in report.memory if item.place == place]
        most = needed(items)[1]
        left = [limit.bytes for limit in report.limits if limit.place == place and limit.what not in _NOT_ROOM]
        grows += sum(item.high for item in items if item.kind == "cache")
        free = size(min(left)) if left else "unknown"
        rows.append((escape(place), _at_start(items), size(most), free))
    if len(rows) == 1:
        return
    yield ""
    for number, line in enumerate(table(rows, look, right=(2, 3))):
        yield look.paint(line, DIM) if number == 0 else line
    if grows:
        hint = f"it grows by finished prompts that are kept: up to {size(grows)} (-cram 0 keeps none)"
        yield from (look.paint(line, DIM) for line in wrap(hint, look.prose, "  "))


def _at_start(items: Iterable[Item]) -> str:
    """What is taken once the model is loaded: without the prompts that are kept later."""
    return size_range(*needed(item for item in items if item.kind != "cache"))


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
        left = [
            (f"{_LEFT.get(limit.what) or _limit(limit.what)}", size(limit.bytes))
            for limit in report.limits
            if limit.place == place
        ]
        wide = max((cells(what) for what, _ in left), default=0)
        yield from (f"  left: {what}{' ' * (wide - cells(what))}{room:>{max(36 - wide, 10)}}" for what, room in left)


def _limit(what: str) -> str:
    """A limit that is named by its control group."""
    return f"limit of {escape(what.removeprefix('cgroup:'))}" if what.startswith("cgroup:") else escape(what)


def _places(memory: Iterable[Item]) -> str:
    items = list(memory)
    each = [(place, [item for item in items if item.place == place]) for place in dict.fromkeys(item.place for item in items)]
    return ", ".join(f"{escape(place)} {_at_start(mine)} at the start" for place, mine in each)


def _how(item: Item) -> str:
    words = [word for word, is_so in (("mapped", item.mapped), ("locked", item.locked)) if is_so]
    return f"  {', '.join(words)}" if words else ""
