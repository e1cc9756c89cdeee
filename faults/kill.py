"""kill -9 at random during a storm of alerts."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path

from faults.daemon import Daemon, NotWell, daemon, wait_for
from faults.lines import SLEEPS, WAKES, write_rules
from faults.outcome import Outcome

_RULES = 10
#: An alert that was delivered five times in ten minutes is delivered as flapping: no more than that of each.
_FLIPS = 4


def killed(*, short: bool) -> Outcome:
    """Each server goes to sleep and wakes; ten rules report each of it. The daemon is killed all the while, also as it starts."""
    kills = 3 if short else 100
    servers = 3 if short else 100
    row = Outcome(f"kill -9 at {kills} random moments, starts included, while {servers * _FLIPS * _RULES} alerts are due")
    with tempfile.TemporaryDirectory(prefix="faults-logs-") as name:
        logs = {f"s{n}": Path(name) / f"s{n}.log" for n in range(servers)}
        for log in logs.values():
            log.touch()
        rules = write_rules(Path(name) / "rules", _RULES)
        with daemon(top=[rules], servers=logs) as one:
            # A busy machine starts it slowly; half of the kills shall fall into the storm and not into the start.
            longest = min(12.0, max(4.0, 2.5 * one.start()))
            storm = _Storm(one, logs, pace=0.2 if short else 0.5)
            storm.start()
            moment = random.Random(20261125)
            for _ in range(kills):
                time.sleep(moment.uniform(0.0, longest))
                one.kill()
                one.launch()
            begin = time.monotonic()
            storm.hurry.set()
            storm.join(300)
            row.expect(not storm.is_alive(), f"after the last kill the storm was not delivered within 300 s: {storm.waits_for}")
            row.well_after = time.monotonic() - begin
            _judge(row, one, servers, kills)
    return row


class _Storm(threading.Thread):
    """Lets each server flip as soon as all of its last flip was delivered, in turns."""

    def __init__(self, one: Daemon, logs: dict[str, Path], pace: float) -> None:
        super().__init__(daemon=True)
        self.waits_for = ""
        self.hurry = threading.Event()
        self._one, self._logs, self._pace = one, logs, pace

    def run(self) -> None:
        for flip in range(_FLIPS):
            for name, log in self._logs.items():
                self.waits_for = f"flip {flip} of {name}"
                try:
                    wait_for(lambda: self._delivered(name) >= flip * _RULES, self.waits_for, 170)
                except NotWell:
                    return
                with log.open("ab") as file:
                    file.write(WAKES if flip % 2 else SLEEPS)
                self.hurry.wait(self._pace)
        wait_for(
            lambda: all(self._delivered(name) >= _FLIPS * _RULES for name in self._logs), "the last flips are delivered", 170
        )

    def _delivered(self, name: str) -> int:
        return len({e.raw for e in list(self._one.journal.entries) if e.entity == name})


def _judge(row: Outcome, one: Daemon, servers: int, kills: int) -> None:
    twice = 0
    for number in range(1, _RULES + 1):
        for server in range(servers):
            delivered = one.journal.of(f"fault-{number}", f"s{server}")
            once = delivered[:1]
            for before, after in pairwise(delivered):
                if after.raw == before.raw:
                    twice += 1
                else:
                    once.append(after)
            states = [entry.state for entry in once]
            if states != ["firing", "resolved"] * (_FLIPS // 2):
                row.wrong.append(f"fault-{number} of s{server} was delivered as {states}")
                del row.wrong[8:]
    row.lost = f"nothing; {twice} delivered twice" if not row.wrong else "see below"
    row.expect(twice <= kills, f"{twice} alerts delivered twice by {kills} kills")
    if twice:
        row.notes.append(
            f"{twice} entries came again, byte for byte: the kill fell between the datagram and its mark in the database, "
            "and what stands in for journald here cannot be asked what it had; the real journal is (tests/e2e/test_service.py)"
        )
    warned = one.sentences("warning") + one.sentences("error")
    row.expect(not one.traceback(), "a traceback in its log")
    row.expect(not warned, f"complaints although nothing is wrong: {warned[:3]}")
    row.said = "nothing: a restart is no news"
