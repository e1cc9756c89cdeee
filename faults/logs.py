"""What happens to log files: rotation under load, a flood, a line without an end."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from faults.daemon import Daemon, daemon, wait_for
from faults.lines import SLEEPS, account, numbered, write_rules
from faults.outcome import Outcome

_MB = 1 << 20
#: Seconds; 200,000 events cost about twelve seconds of a processor, which a busy machine gives slowly.
_SLOWEST = 300
#: Generations that logrotate keeps (`rotate 20`).
_KEPT = 20


class _Writer:
    """Writes numbered lines to a log that is being rotated."""

    def __init__(self, log: Path, *, append: bool = True) -> None:
        self.log = log
        self.written = 0
        self._flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else 0)
        self._fd = os.open(log, self._flags, 0o644)

    def write(self, lines: int) -> None:
        for _ in range(lines):
            self.written += 1
            os.write(self._fd, numbered(self.written))

    def reopen(self) -> None:
        os.close(self._fd)
        self._fd = os.open(self.log, self._flags, 0o644)

    def close(self) -> None:
        os.close(self._fd)


def _by_rename(writer: _Writer) -> None:
    """logrotate's `create`: the writer goes on in the old file for a while, as llama-server does until it is restarted."""
    _shift(writer.log)
    writer.log.rename(f"{writer.log}.1")
    writer.log.touch()
    writer.write(3)
    writer.reopen()


def _by_truncation(writer: _Writer) -> None:
    """`> server.log`: whoever does this throws lines away; what was written before counts if it was there to be read."""
    os.truncate(writer.log, 0)


def _by_copytruncate(writer: _Writer) -> None:
    """logrotate's `copytruncate`: what is written between the copy and the truncation is lost for every reader."""
    _shift(writer.log)
    shutil.copyfile(writer.log, f"{writer.log}.1")
    os.truncate(writer.log, 0)


def _shift(log: Path) -> None:
    for number in range(_KEPT, 0, -1):
        old = Path(f"{log}.{number}")
        if old.exists():
            old.rename(f"{log}.{number + 1}")


def _taken(one: Daemon) -> int:
    return int(one.signals("mine").get("server.log_experts", 0))


def _rotated(name: str, rotate: Callable[[_Writer], None], *, short: bool, read_first: bool) -> Outcome:
    """`read_first`: what was written is read before it is thrown away, as no reader can bring back what is gone."""
    rotations = 20 if short else 1000
    per = 20
    row = Outcome(f"{rotations} rotations by {name}, {per} lines between two of them", said="nothing: rotation is no fault")
    with tempfile.TemporaryDirectory(prefix="faults-logs-") as folder:
        log = Path(folder) / "server.log"
        rules = write_rules(Path(folder) / "rules")
        writer = _Writer(log)
        with daemon(top=[rules], servers={"mine": log}) as one:
            one.start()
            # A file that was empty when it was last seen betrays nothing of what it held since.
            writer.write(1)
            wait_for(lambda: _taken(one) == 1, "the log is followed")
            for number in range(rotations):
                writer.write(per)
                if read_first:
                    wait_for(lambda: _taken(one) >= writer.written, f"the lines before rotation {number} are read", 20)
                elif number % 10 == 9:
                    # Only as many generations are kept: a reader may be as far behind as they reach, not farther.
                    wait_for(lambda: _taken(one) >= writer.written - _KEPT // 2 * per, "the daemon keeps up", 60)
                rotate(writer)
            writer.write(per)
            begin = time.monotonic()
            wait_for(lambda: _taken(one) >= writer.written, f"all {writer.written} lines are taken, not {_taken(one)}", 60)
            row.well_after = time.monotonic() - begin
            wrong = account(one.signals("mine"), writer.written)
            row.expect(not wrong, wrong)
            row.lost = wrong or f"nothing: {writer.written:,} lines, each taken once"
            row.expect(not one.traceback(), "a traceback in its log")
            complaints = one.sentences("warning")
            row.expect(not complaints, f"complaints: {complaints[:2]}")
        writer.close()
    return row


def renamed(*, short: bool) -> Outcome:
    """Rotation by rename."""
    return _rotated("rename", _by_rename, short=short, read_first=False)


def truncated(*, short: bool) -> Outcome:
    """Truncation."""
    row = _rotated("truncation", _by_truncation, short=short, read_first=True)
    row.notes.append("lines are waited for before each truncation: what is thrown away unread is gone for every reader")
    return row


def copied(*, short: bool) -> Outcome:
    """copytruncate."""
    row = _rotated("copytruncate", _by_copytruncate, short=short, read_first=False)
    row.notes.append("nothing is written between copy and truncation here: logrotate(8) says that such lines are lost")
    return row


def flood(*, short: bool) -> Outcome:
    """Many lines at once, an alert at their end."""
    lines = 20_000 if short else 200_000
    row = Outcome(f"{lines:,} lines written within a second, every one an event, then one that is an alert")
    with tempfile.TemporaryDirectory(prefix="faults-logs-") as folder:
        log = Path(folder) / "server.log"
        log.touch()
        rules = write_rules(Path(folder) / "rules")
        blob = b"".join(numbered(n) for n in range(1, lines + 1)) + SLEEPS
        with daemon(top=[rules], servers={"mine": log}) as one:
            one.start()
            wait_for(lambda: one.source(f"file:{log}").get("health") == "up", "the log is followed")
            before = one.footprint()["pss"]
            begin = time.monotonic()
            with log.open("ab") as file:
                file.write(blob)
            wrote = time.monotonic() - begin
            most = before
            while not one.journal.of("fault-1") and time.monotonic() - begin < _SLOWEST:
                most = max(most, one.footprint()["pss"])
                time.sleep(0.05)
            row.well_after = time.monotonic() - begin
            row.expect(one.journal.of("fault-1"), "the alert at the end of the flood did not come in time")
            wrong = account(one.signals("mine"), lines)
            row.expect(not wrong, wrong)
            row.lost = wrong or "nothing: each line taken once"
            row.said = one.journal.of("fault-1")[0].message if one.journal.of("fault-1") else ""
            row.notes.append(f"written in {wrote:.2f} s; memory {before:.0f} MB before, {most:.0f} MB at most (PSS)")
            # At most 50 MB were measured; the unit's limit is 128 MB.
            row.expect(most < 60, f"memory grew from {before:.0f} to {most:.0f} MB")
    return row


def long_line(*, short: bool) -> Outcome:
    """A line of a gigabyte, and an alert after it."""
    size = 64 * _MB if short else 1024 * _MB
    row = Outcome(f"one line of {size // _MB:,} MB without an end, then its end and a line that is an alert")
    block = b"x" * _MB
    with tempfile.TemporaryDirectory(prefix="faults-logs-") as folder:
        log = Path(folder) / "server.log"
        log.touch()
        rules = write_rules(Path(folder) / "rules")
        with daemon(top=[rules], servers={"mine": log}) as one:
            one.start()
            wait_for(lambda: one.source(f"file:{log}").get("health") == "up", "the log is followed")
            before = most = one.footprint()["pss"]
            with log.open("ab", buffering=0) as file:
                for number in range(size // _MB):
                    file.write(block)
                    if number % 16 == 0:
                        most = max(most, one.footprint()["pss"])
                file.write(b"\n" + SLEEPS)
            begin = time.monotonic()
            while not one.journal.of("fault-1") and time.monotonic() - begin < _SLOWEST:
                most = max(most, one.footprint()["pss"])
                time.sleep(0.05)
            row.well_after = time.monotonic() - begin
            row.expect(one.journal.of("fault-1"), "the alert after the line did not come in time")
            row.said = one.journal.of("fault-1")[0].message if one.journal.of("fault-1") else ""
            row.lost = "nothing but the line's end beyond 64 KiB"
            row.notes.append(f"memory {before:.0f} MB before, {most:.0f} MB at most (PSS)")
            row.expect(most < before + 40, f"memory grew from {before:.0f} to {most:.0f} MB")
    return row
