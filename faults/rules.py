"""Rule files replaced while the daemon runs: good ones, broken ones, half written ones."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from faults.daemon import daemon, wait_for
from faults.lines import SLEEPS, rule, write_rules
from faults.outcome import Outcome
from sentinel.daemon.active_rules import SETTLED


def replaced(*, short: bool) -> Outcome:
    """An alert is open all the while; some files are broken, others half written."""
    times = 30 if short else 500
    broken = 25 if short else 50
    row = Outcome(f"a rule file replaced {times} times, {times // broken} times by a broken one, while its alert is open")
    with tempfile.TemporaryDirectory(prefix="faults-rules-") as name:
        folder = Path(name)
        log = folder / "server.log"
        log.touch()
        with daemon(top=[write_rules(folder / "rules")], servers={"mine": log}) as one:
            one.start()
            with log.open("ab") as file:
                file.write(SLEEPS)
            one.await_entry("fault-1", "firing", "mine")
            mine = folder / "rules" / "fault-1.toml"

            def taken(words: str) -> bool:
                alerts = (one.get("/v1/alerts") or {}).get("alerts", [])
                return any(a["rule"] == "fault-1" and a["summary"].endswith(f"asleep {words}") for a in alerts)

            # What decodes rules is loaded with the first change, and stays: some 10 MB.
            mine.write_text(rule(1, words="for the first time"), encoding="utf-8")
            wait_for(lambda: taken("for the first time"), "the first change is active", 60)
            time.sleep(SETTLED + 2.0)
            before = one.footprint()
            for number in range(1, times + 1):
                text = "schema = 1\nid = " if number % broken == 0 else rule(1, words=f"for the {number}th time")
                fresh = folder / "fresh.toml"
                fresh.write_text(text, encoding="utf-8")
                fresh.replace(mine)
                if number == broken:
                    wait_for(lambda: one.sentences("fault-1.toml"), "the broken file is reported", 60)
                # A file that is wrong is given two seconds, for an editor may be in the midst of it.
                time.sleep(3.0 if number % broken == 0 else 0.6 if number % 5 == 0 else 0.02)
            mine.write_text(rule(1, words="at last"), encoding="utf-8")
            begin = time.monotonic()
            wait_for(lambda: taken("at last"), "the last rule is active", 60)
            row.well_after = time.monotonic() - begin
            # What the last rule sets left is collected then.
            time.sleep(SETTLED + 2.0)
            after = one.footprint()
            states = [e.state for e in one.journal.of("fault-1", "mine")]
            row.expect(states == ["firing"], f"the alert, which was open all the time, was delivered as {states}")
            row.lost = "nothing: the alert stayed open and was delivered once" if not row.wrong else "see below"
            row.said = next(iter(one.sentences("fault-1.toml")), "")
            row.expect(row.said, "the broken file was not reported")
            row.notes.append(f"memory {before['pss']:.0f} MB before, {after['pss']:.0f} MB after")
            row.expect(after["pss"] < before["pss"] + 15, f"memory grew from {before['pss']:.0f} to {after['pss']:.0f} MB")
            row.expect(after["files"] <= before["files"] + 2, "open files grew")
            row.expect(after["threads"] <= before["threads"] + 2, "threads grew")
            row.expect(not one.traceback(), "a traceback in its log")
    return row
