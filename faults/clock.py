"""The wall clock set back and ahead by a day while alerts, holds and silences are under way (libfaketime)."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from faults.daemon import Daemon, NotWell, daemon, wait_for
from faults.lines import SLEEPS, WAKES, write_rules
from faults.outcome import Outcome
from sentinel.api import client

_LIBRARIES = ("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1")


def set_by_a_day(*, short: bool) -> Outcome:
    """Ahead, back to where it was, a day behind, and back: a hold lasts as long as it should, a silence goes on."""
    library = next((path for path in _LIBRARIES if Path(path).exists()), "")
    hold = 4 if short else 12
    steps = ("+86400", "+0") if short else ("+86400", "+0", "-86400", "+0")
    row = Outcome(
        f"the clock set {len(steps)} times, by a day ahead or back, in the midst of holds of {hold} s, one active silence"
    )
    if not library:
        row.skipped = "libfaketime is not installed (apt-get install faketime)"
        return row
    with tempfile.TemporaryDirectory(prefix="faults-logs-") as name:
        folder = Path(name)
        offset = folder / "offset"
        offset.write_text("+0\n")
        env = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        # One server a step: an alert that comes and goes five times in ten minutes is delivered as flapping, and its end later.
        held = [f"held-{number}" for number in range(len(steps))]
        logs = {n: folder / f"{n}.log" for n in ("open", "quiet", *held)}
        for log in logs.values():
            log.touch()
        write_rules(folder / "now", 1)
        write_rules(folder / "held", 2, hold=f"{hold}s")
        (folder / "held" / "fault-1.toml").unlink()
        rules = f'rules = ["{folder}/now", "{folder}/held/fault-2.toml"]'
        with daemon(top=[rules], servers=logs, env=env) as one:
            one.start()
            _silence(one, "quiet")
            _write(logs["open"], SLEEPS)
            _write(logs["quiet"], SLEEPS)
            one.await_entry("fault-1", "firing", "open")
            one.await_entry("fault-2", "firing", "open")
            slowest = 0.0
            for server, step in zip(held, steps, strict=True):
                _write(logs[server], SLEEPS)
                one.await_entry("fault-1", "firing", server)
                begun = time.monotonic()
                time.sleep(hold / 3)
                offset.write_text(f"{step}\n")
                try:
                    fired = one.await_entry("fault-2", "firing", server, within=hold + 90).at - begun
                except NotWell as why:
                    row.wrong.append(f"after {step}: {why}")
                    break
                slowest = max(slowest, fired - hold)
                row.expect(fired > hold - 1, f"after {step} a hold of {hold} s was over after {fired:.1f} s")
                row.expect(wait_for(lambda: one.get("/v1/status"), "it answers", 20) < 20, "no answer")
                _write(logs[server], WAKES)
                one.await_entry("fault-2", "resolved", server)
            row.well_after = slowest
            for rule in ("fault-1", "fault-2"):
                states = [e.state for e in one.journal.of(rule, "open")]
                row.expect(states == ["firing"], f"the alert that stayed open was delivered as {states}")
            row.expect(not one.journal.of("fault-1", "quiet"), "the silence was broken")
            silences = (one.get("/v1/status") or {}).get("silences", [])
            row.expect(len(silences) == 1, "the silence was forgotten")
            said = one.sentences("clock was set")
            row.expect(len(said) == len(steps), f"{len(said)} messages for {len(steps)} steps: {said[:3]}")
            row.said = said[0] if said else ""
            row.expect(not one.traceback(), "a traceback in its log")
            row.expect(not one.sentences("warning"), f"complaints: {one.sentences('warning')[:2]}")
            row.notes.append("well again: how much later than it should a hold ended")
    row.lost = "nothing: no alert forgotten, none delivered twice, none before its time" if not row.wrong else "see below"
    return row


def _write(log: Path, line: bytes) -> None:
    with log.open("ab") as file:
        file.write(line)


def _silence(one: Daemon, server: str) -> None:
    wait_for(lambda: any(s["name"] == server for s in (one.get("/v1/status") or {}).get("servers", [])), "the server is known")
    for rule in ("fault-1", "fault-2"):
        body = {"rule": rule, "server": server, "for": "2h", "reason": "the campaign"}
        if rule == "fault-1":
            status, answer = client.post("/v1/silences", body, (one.socket,))
            if status != 200:
                raise NotWell(f"no silence: {answer}")
