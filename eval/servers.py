"""Every way to run a llama-server: found, log read, build known, five failures named, a healthy one left alone.

make eval-servers                       all runtimes that can be had here: some minutes on two cores
python eval/servers.py --short          three of them side by side, and only what a healthy one shows: 20 seconds
python eval/servers.py --only ollama    runtimes with this in their name
python eval/servers.py --docs           the table into docs/runtimes.md

Each runtime starts the real llama-server (b10434; xllamacpp's is a real b11549); what starts it is real or a stand-in, as the
table says. One real daemon watches. A case is told by a word that only it has: its port, its model's name, its flag.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "demo"), str(HERE.parent / "tests" / "support")]
sys.path.append(str(HERE.parent / "tests" / "fixtures"))

import real_server  # noqa: E402
from live import Sentinel  # noqa: E402

from eval.servers_containers import ContainedSentinel, why_no_docker  # noqa: E402
from eval.servers_runtimes import RUNTIMES, Case, Lab, Runtime  # noqa: E402

#: Seconds within which each thing must be seen. The promise for a wrong server is 15 s from its readiness.
_FOUND, _READ, _FAILED, _QUIET = 3.0, 30.0, 25.0, 20.0
#: Cases beside each other: each waits for most of its time.
_AT_ONCE = 6
_JOURNALD = "/lib/systemd/systemd-journald"
#: failure -> rules that name it
FAILURES = {
    "no model file": ("start-failed",),
    "port taken": ("start-failed",),
    "flag refused": ("flags-rejected", "start-failed"),
    "on the CPU": ("cpu-fallback",),
    "crash": ("server-crashed",),
}


@dataclass
class Row:
    """What was seen of one runtime; a text is the reason why something was not tried."""

    runtime: Runtime
    cells: dict[str, bool | str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def until(seconds: float, condition: Callable[[], Any]) -> Any:
    """The first true answer within so many seconds; the last one otherwise."""
    end = time.monotonic() + seconds
    while not (answer := condition()) and time.monotonic() < end:
        time.sleep(0.25)
    return answer


class Watched:
    """Answers of the daemon about one case."""

    def __init__(self, sentinel: Sentinel) -> None:
        self._sentinel = sentinel

    def server(self, case: Case) -> dict[str, Any] | None:
        """The server of a case: by its port, or by its model where it has none."""
        servers = self._sentinel.ask("status")["servers"]
        words = (f"port {case.port}", case.word)
        return next((one for one in servers if any(word in str(one.get("called")) for word in words)), None)

    def alerts(self, words: Sequence[str]) -> list[dict[str, Any]]:
        """Open alerts that mention one of the words, in their evidence, their text or the server's name."""
        return [one for one in self._sentinel.ask("alerts")["alerts"] if any(word in json.dumps(one) for word in words)]


def healthy(row: Row, lab: Lab, watched: Watched, quiet: float) -> None:
    """Found, log, build, and silence about a server that has nothing."""
    case = lab.case("healthy", model=lab.model, extra=("--device", "none", "-lv", "4"))
    with row.runtime.start(lab, case):
        # A program in Python is a server once it listens.
        lab.wait_ready(case)
        found = until(_FOUND + 5, lambda: watched.server(case))
        row.cells["found"] = found is not None
        if found is None:
            return
        if found.get("front_end") != row.runtime.front_end:
            row.notes.append(f"front end {found.get('front_end')!r}, not {row.runtime.front_end!r}")
        read = until(_READ, lambda: (watched.server(case) or {}).get("log_readable") is True)
        row.cells["log read"] = bool(read)
        if not read:
            row.notes.append(f"log: {(watched.server(case) or {}).get('log_where')}")
        known = until(5.0, lambda: _build(watched.server(case) or {}))
        row.cells["build known"] = bool(known)
        lab.ask(case)
        time.sleep(quiet)
        name = (watched.server(case) or found)["name"]
        said = [one for one in watched.alerts((name, case.word)) if one["severity"] != "info"]
        row.cells["healthy"] = not said
        row.notes += [f"healthy: {one['rule']}: {one['summary']}" for one in said]


def _build(server: dict[str, Any]) -> bool:
    return server.get("build") is not None or server.get("build_low") is not None


def fails(row: Row, name: str, lab: Lab, watched: Watched) -> bool | str:
    """Whether a failure is named by one of its rules."""
    with ExitStack() as stack:
        if name == "no model file":
            case = lab.case(name, model=lab.folder / f"missing-{row.runtime.word}.gguf")
        elif name == "port taken":
            case = lab.case(name, model=lab.model, taken=True)
        elif name == "flag refused":
            case = lab.case(name, model=lab.model, extra=(f"--no-such-flag-{row.runtime.word}",))
        elif name == "on the CPU":
            case = lab.case(name, model=lab.model, extra=("-ngl", "99", "-lv", "4"))
        else:
            case = lab.case(name, model=lab.model, extra=("--device", "none", "-lv", "4"))
        stack.enter_context(row.runtime.start(lab, case))
        words = [case.word, f":{case.port}", f"port {case.port}", *case.extra[:1]]
        if name == "crash":
            server = until(_READ, lambda: watched.server(case))
            if not server:
                return False
            words.append(server["name"])
            lab.wait_ready(case)
            time.sleep(2.0)
            lab.crash(case)
        elif name == "on the CPU":
            server = until(_FOUND + 5, lambda: watched.server(case))
            words += [server["name"]] if server else []
        wanted = FAILURES[name]
        got = until(_FAILED, lambda: [one for one in watched.alerts(words) if one["rule"] in wanted])
        if not got:
            row.notes.append(f"{name}: {[one['rule'] for one in watched.alerts(words)] or 'nothing said'}")
        return bool(got)


def judge(row: Row, lab: Lab, watched: Watched, *, short: bool = False) -> None:
    """All cells of one runtime."""
    if reason := row.runtime.why_not(lab):
        row.cells["found"] = reason
        return
    healthy(row, lab, watched, 5.0 if short else _QUIET)
    for name in () if short else FAILURES:
        row.cells[name] = row.runtime.cannot.get(name) or fails(row, name, lab, watched)


def judge_all(wanted: Sequence[Runtime], *, short: bool, contained: bool = False) -> list[Row]:
    """Rows of these runtimes, several at a time; one daemon watches all, on the host or in a container."""
    rows = [Row(one) for one in wanted]
    with tempfile.TemporaryDirectory(prefix="servers-") as folder, ExitStack() as stack:
        lab = stack.enter_context(Lab.made(Path(folder)))
        (Path(folder) / "daemon-of-lab").mkdir()
        place = Path(folder) / "daemon-of-lab"
        sentinel = (ContainedSentinel(place, lab) if contained else Sentinel(place)).start()
        stack.callback(sentinel.end)
        watched = Watched(sentinel)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for row, done in [(row, pool.submit(judge, row, lab, watched, short=short)) for row in rows]:
                done.result()
                print("\n".join([*table([row])][2:]), flush=True)
                for note in row.notes:
                    print(f"    {note}", flush=True)
    return rows


COLUMNS = ("found", "log read", "build known", *FAILURES, "healthy")


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The matrix as Markdown."""
    yield "| runtime | real | " + " | ".join(COLUMNS) + " |"
    yield "|---|---|" + "---|" * len(COLUMNS)
    for row in rows:
        cells = [_cell(row.cells.get(name, "")) for name in COLUMNS]
        yield f"| {row.runtime.name} | {row.runtime.real} | " + " | ".join(cells) + " |"


def _cell(value: bool | str) -> str:
    return value if isinstance(value, str) else "yes" if value else "NO"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--inside", action="store_true", help="in a booted system: runtimes under systemd")
    parser.add_argument("--beside-journal", action="store_true", help="with a journald of its own: containers that log there")
    parser.add_argument("--docs", action="store_true")
    given = parser.parse_args()
    wanted = [
        one
        for one in RUNTIMES
        if given.only in one.name
        and one.booted == given.inside
        and one.journal == given.beside_journal
        and not one.contained
        and (one.in_short or not given.short)
    ]
    rows = judge_all(wanted, short=given.short) if wanted else []
    plain = [{"name": r.runtime.name, "cells": r.cells, "notes": r.notes} for r in rows]
    if given.json:
        given.json.write_text(json.dumps(plain))
    if not (given.inside or given.beside_journal or given.short):
        named = [one for one in RUNTIMES if given.only in one.name]
        if (contained := [one for one in named if one.contained]) and not why_no_docker():
            rows += judge_all(contained, short=False, contained=True)
        if journal := [one for one in named if one.journal]:
            rows += _beside_journal(given.only, journal)
        if booted := [one for one in named if one.booted]:
            rows += _inside(given.only, booted)
    print()
    print("\n".join(table(rows)))
    if given.docs:
        _write(rows)
    return int(any(value is False for row in rows for value in row.cells.values()))


def _beside_journal(only: str, wanted: Sequence[Runtime]) -> list[Row]:
    """The runtimes that log to the journal, with a journald in a mount namespace of their own: nothing else sees it."""
    if os.geteuid() != 0 or not Path(_JOURNALD).exists():
        return [Row(one, {"found": f"needs root and {_JOURNALD}"}) for one in wanted]
    with tempfile.TemporaryDirectory(prefix="servers-") as folder:
        answer = Path(folder) / "rows.json"
        script = (
            "mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal /run/log/journal /run/lock\n"
            f"{_JOURNALD} & trap 'kill $!' EXIT\n"
            'while [ ! -S /run/systemd/journal/socket ]; do sleep 0.1; done; "$@"'
        )
        again = [sys.executable, str(HERE / "servers.py"), "--beside-journal", "--only", only, "--json", str(answer)]
        subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", *again], check=False, timeout=900.0)
        return _rows(answer, wanted)


def _rows(answer: Path, wanted: Sequence[Runtime]) -> list[Row]:
    """What another process of this program found."""
    if not answer.exists():
        return [Row(one, {"found": "it came to no end"}) for one in wanted]
    named = {one.name: one for one in wanted}
    return [Row(named[one["name"]], one["cells"], one["notes"]) for one in json.loads(answer.read_text())]


def _inside(only: str, booted: Sequence[Runtime]) -> list[Row]:
    """The runtimes under systemd, in a booted system."""
    from boot import boot, why_not

    if reason := why_not():
        return [Row(one, {"found": reason}) for one in booted]
    with tempfile.TemporaryDirectory(prefix="servers-") as folder:
        files = Path(folder) / "files"
        files.mkdir()
        command = f"{sys.executable} {HERE / 'servers.py'} --inside --only '{only}' --json $OUT/rows.json >$OUT/said 2>&1"
        environ = f"export CACHE={real_server.cache()} HOME=/root PATH={os.environ['PATH']}\n"
        done = boot(Path(folder) / "work", environ + f"cd {HERE.parent}\n{command}", files, 900.0)
        said = done.out / "said"
        print(said.read_text() if said.exists() else done.console, flush=True)
        return _rows(done.out / "rows.json", booted)


def _write(rows: Sequence[Row]) -> None:
    page = HERE.parent / "docs" / "runtimes.md"
    text = page.read_text(encoding="utf-8")
    head, _, rest = text.partition("<!-- matrix -->\n")
    _, _, tail = rest.partition("<!-- end of the matrix -->")
    whole = "\n".join(table(rows))
    page.write_text(f"{head}<!-- matrix -->\n{whole}\n<!-- end of the matrix -->{tail}", encoding="utf-8")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.TimeoutExpired as error:
        sys.exit(str(error))
