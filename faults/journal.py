"""journald away for a while, and the folder of the daemon's own socket removed."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from faults.daemon import daemon, wait_for
from faults.lines import SLEEPS, WAKES, write_rules
from faults.outcome import Outcome

_SERVERS = 8


def stopped(*, short: bool) -> Outcome:
    """journald stopped: its socket is gone, and alerts come due all the while."""
    seconds = 3.0 if short else 60.0
    row = Outcome(f"journald's socket gone for {seconds:g} s while {_SERVERS * 2} alerts come due")
    with tempfile.TemporaryDirectory(prefix="faults-logs-") as name:
        logs = {f"s{n}": Path(name) / f"s{n}.log" for n in range(_SERVERS)}
        for log in logs.values():
            log.touch()
        with daemon(top=[write_rules(Path(name) / "rules")], servers=logs) as one:
            one.start()
            one.journal.vanish()
            gone = time.monotonic()
            for line in (SLEEPS, WAKES):
                for log in logs.values():
                    with log.open("ab") as file:
                        file.write(line)
                time.sleep(seconds / 2)
            sinks = (one.get("/v1/status") or {}).get("sinks", [{}])
            while time.monotonic() - gone < seconds:
                time.sleep(0.1)
            one.journal.appear()
            row.well_after = wait_for(lambda: len(one.journal.of("fault-1")) >= 2 * _SERVERS, "all alerts arrive", 65)
            wait_for(lambda: one.sentences("journald", "again"), "the end of it is reported", 65)
            for server in logs:
                states = [e.state for e in one.journal.of("fault-1", server)]
                row.expect(states == ["firing", "resolved"], f"{states} were delivered for {server}")
            row.lost = "nothing: all alerts came, once each and in order" if not row.wrong else "see below"
            warned = one.sentences("warning", "journald")
            row.expect(len(warned) == 1, f"not one message but {len(warned)}: {warned[:3]}")
            row.expect(sinks[0].get("fault"), "the status does not say that the sink is down")
            row.said = "; ".join([*warned[:1], *one.sentences("journald", "again")[:1]])
            row.expect(not one.traceback(), "a traceback in its log")
    return row


def folder_removed(*, short: bool) -> Outcome:
    """The folder of the daemon's socket removed, as `rm -r /run/sentinel` does."""
    del short
    row = Outcome("the folder of the socket removed while it runs", lost="nothing: alerts go to the journal as ever")
    with tempfile.TemporaryDirectory(prefix="faults-logs-") as name:
        log = Path(name) / "server.log"
        log.touch()
        with daemon(top=[write_rules(Path(name) / "rules")], servers={"mine": log}) as one:
            one.start()
            shutil.rmtree(one.socket.parent)
            with log.open("ab") as file:
                file.write(SLEEPS)
            one.await_entry("fault-1", "firing", "mine")
            row.well_after = wait_for(lambda: one.get("/v1/status"), "the socket is there again", 30)
            warned = one.sentences("warning", "socket")
            row.expect(len(warned) == 1, f"not one message but {len(warned)}: {warned[:3]}")
            row.said = "; ".join(warned)
            row.expect(not one.traceback(), "a traceback in its log")
            row.expect(one.stop() == 0, "it did not end in order")
    return row
