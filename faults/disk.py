"""The disk that holds the state: full, and read-only."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.daemon import Daemon, daemon, wait_for
from faults.lines import SLEEPS, WAKES, write_rules
from faults.outcome import Outcome

_SERVERS = 8
_SIZE = 4 << 20


@contextmanager
def _disk(at: Path) -> Iterator[None]:
    """A small disk of its own, mounted at `at`."""
    at.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "faults", str(at)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(at)], check=False)


def _broken(
    row: Outcome, break_it: Callable[[Path], None], mend_it: Callable[[Path], None], *, short: bool, at_start: bool = False
) -> Outcome:
    """Alerts come due before, during and after; it is killed in the end, so that what counts is on disk."""
    if os.geteuid() != 0:
        row.skipped = "needs root to mount a small disk"
        return row
    with tempfile.TemporaryDirectory(prefix="faults-logs-") as name:
        logs = {f"s{n}": Path(name) / f"s{n}.log" for n in range(_SERVERS)}
        for log in logs.values():
            log.touch()
        with daemon(top=[write_rules(Path(name) / "rules")], servers=logs) as one, _disk(one.state):
            if at_start:
                break_it(one.state)
            one.start()
            _write(logs, SLEEPS)
            wait_for(lambda: len(one.journal.of("fault-1")) == _SERVERS, "the first alerts")
            if not at_start:
                break_it(one.state)
            _write(logs, WAKES)
            during = wait_for(lambda: len(one.journal.of("fault-1")) == 2 * _SERVERS, "alerts while the disk takes nothing", 30)
            wait_for(lambda: one.sentences("warning", "state"), "it is said", 30)
            fault = (one.get("/v1/status") or {}).get("state", {}).get("fault", "")
            row.expect(fault, "the status does not say it")
            time.sleep(1.0 if short else 10.0)
            mend_it(one.state)
            row.well_after = wait_for(lambda: one.sentences("again"), "it is said that it is over", 30)
            _write(logs, SLEEPS)
            wait_for(lambda: len(one.journal.of("fault-1")) == 3 * _SERVERS, "alerts after it", 30)
            wait_for(lambda: _series_on_disk(one), "the series are saved again", 30)
            one.kill()
            one.start()
            _judge(row, one, logs)
            row.notes.append(f"alerts came {during:.1f} s after their lines while the disk took nothing")
            # The tables of the daemon's own disk go before the folder does.
            one.stop()
    return row


def _series_on_disk(one: Daemon) -> bool:
    """Written every ten seconds, so that the file of the series grows after the disk was mended."""
    fault = (one.get("/v1/status") or {}).get("series", {}).get("fault", "?")
    log = one.state / "series.sqlite-wal"
    return not fault and log.exists() and b"host" in log.read_bytes()


def _write(logs: dict[str, Path], line: bytes) -> None:
    for log in logs.values():
        with log.open("ab") as file:
            file.write(line)


def _judge(row: Outcome, one: Daemon, logs: dict[str, Path]) -> None:
    history = (one.get("/v1/history") or {}).get("transitions", [])
    for server in logs:
        delivered = [e.state for e in one.journal.of("fault-1", server)]
        kept = [t["state"] for t in history if t["rule"] == "fault-1" and t["entity"]["name"] == server]
        for what, states in (("delivered", delivered), ("kept in the history", kept)):
            row.expect(states == ["firing", "resolved", "firing"], f"of {server} was {what}: {states}")
    row.lost = "nothing: delivered once each, and in the history after a kill" if not row.wrong else "see below"
    warned = one.sentences("warning", "state")
    row.expect(len(warned) == 1, f"not one message but {len(warned)}: {warned[:3]}")
    row.said = "; ".join([*warned[:1], *one.sentences("again")[:1]])
    row.expect(not one.traceback(), "a traceback in its log")


def full(*, short: bool) -> Outcome:
    """A full disk."""

    def fill(state: Path) -> None:
        with (state / "ballast").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                return

    row = Outcome("the disk that holds the state filled to the last block")
    return _broken(row, fill, lambda state: (state / "ballast").unlink(), short=short)


def read_only(*, short: bool) -> Outcome:
    """A disk that is mounted read-only when the daemon starts, as after an error found at boot."""

    def remount(state: Path, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(state)], check=True)

    row = Outcome("the disk that holds the state is read-only from the start on, and is mended later")
    return _broken(row, lambda state: remount(state, "ro"), lambda state: remount(state, "rw"), short=short, at_start=True)
