"""Runs inside the booted system: sends transitions through the real sink and reads back what the real journal holds."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from sample_transitions import FIRING, firing

from sentinel.history import History
from sentinel.model.alert import LineEvidence
from sentinel.sinks.base import SinkDown
from sentinel.sinks.journald import JournaldSink
from sentinel.sinks.outbox import Outbox


def send(out: Path) -> None:
    """One of each kind: plain, forging, huge."""
    sink = JournaldSink()
    pid = subprocess.check_output(["systemctl", "show", "-P", "MainPID", "llama-server"])
    sink.deliver(replace(FIRING, pid=int(pid)))
    hostile = "a summary\nSENTINEL_FORGED=yes\nPRIORITY=7"
    sink.deliver(replace(FIRING, rule="forging", summary=hostile, documentation=f"x\nSENTINEL_FORGED=yes\n{hostile}"))
    sink.deliver(replace(FIRING, rule="huge", evidence=(LineEvidence("x" * 300_000, "server.log", 1),)))
    (out / "sent").write_text("3")


def outage(out: Path) -> None:
    """journald stops, alerts come, journald comes back: prints what was delivered when."""
    history = History(out / "history.db")
    outbox = Outbox([JournaldSink()], history)

    def tell(first: int, last: int) -> None:
        wanted = [firing(number, rule="outage") for number in range(first, last)]
        for number, transition in zip(history.commit(wanted), wanted, strict=True):
            outbox.put(number, transition)

    tell(0, 5)
    outbox.flush(0.0)
    units = [f"systemd-journald{end}" for end in (".socket", "-dev-log.socket", "-audit.socket", ".service")]
    subprocess.run(["systemctl", "stop", *units], check=True)
    tell(5, 300)
    outbox.flush(1.0)
    during = {"down": outbox.down(), "waiting": outbox.waiting("journald"), "next": outbox.next_flush()}
    Path("/run/systemd/journal/socket").unlink(missing_ok=True)
    outbox.flush(5.0)
    during["without a socket"] = outbox.down()
    subprocess.run(["systemctl", "start", *units], check=True)
    for at in range(100, 200):
        outbox.flush(float(at))
    after = {"down": outbox.down(), "waiting": outbox.waiting("journald"), "next": outbox.next_flush()}
    (out / "outage.json").write_text(json.dumps({"during": during, "after": after}))


def flood(out: Path, name: str, number: int, pace: int) -> None:
    """More alerts at once than journald takes from this unit; the sink's pace is `pace` in a second."""
    sink = JournaldSink(pace=(pace, 1.0))
    for each in range(number):
        while True:
            try:
                sink.deliver(firing(each, rule=name))
                break
            except SinkDown:
                time.sleep(0.02)
    (out / name).write_text("done")


if __name__ == "__main__":
    if sys.argv[1] == "flood":
        flood(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    else:
        {"send": send, "outage": outage}[sys.argv[1]](Path(sys.argv[2]))
