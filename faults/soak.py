"""A day of virtual time through everything between the sources and the journal: engine, flight recorder, history, outbox."""

from __future__ import annotations

import gc
import os
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from faults.lines import SLEEPS, WAKES, write_rules
from faults.outcome import Outcome
from sentinel.daemon.malloc import give_back
from sentinel.engine.engine import Engine
from sentinel.history import History
from sentinel.model.alert import Transition
from sentinel.model.entity import HOST, Entity
from sentinel.model.json_form import is_news
from sentinel.model.reading import LogLines, Reading, Samples, ServerFound, ServerGone, Tick
from sentinel.recording.archive import Archive
from sentinel.recording.flight_recorder import FlightRecorder
from sentinel.rulefiles.files import load_paths, shipped
from sentinel.sinks import Outbox

_HOUR = 3600
_EPOCH = 1_760_000_000.0
_SERVER = Entity("server", "llama.service")
_LINE = b"0.00.100.000 I slot print_timing: id  0 | task 0 | prompt eval time =     100.00 ms /    10 tokens\n"


class _Counting:
    """A sink that takes everything."""

    name = "journald"

    def __init__(self) -> None:
        self.taken: list[tuple[str, str]] = []

    def deliver(self, transition: Transition, key: str) -> None:
        """Take it."""
        self.taken.append((transition.rule, transition.state))

    def delivered(self, keys: Collection[str], since: float | None) -> frozenset[str]:
        """It is new, and had nothing."""
        return frozenset()


def day(*, short: bool) -> Outcome:
    """A server that works, restarts each ten minutes under another process id, and sleeps once an hour."""
    hours = 2 if short else 24
    row = Outcome(f"{hours} hours of virtual time: a tick a second, samples each 2 and 5 s, lines, a restart each 10 minutes")
    with tempfile.TemporaryDirectory(prefix="faults-soak-") as name:
        folder = Path(name)
        write_rules(folder / "rules")
        ruleset, problems = load_paths([shipped(), folder / "rules"])
        if ruleset is None:
            row.wrong.append(str(problems[0]))
            return row
        history, sink = History(folder / "history.sqlite"), _Counting()
        outbox, engine = Outbox([sink], history), Engine(ruleset)
        recorder = FlightRecorder(Archive(folder / "recordings"))
        begin = time.monotonic()
        marks: list[tuple[float, int, int]] = []
        delivered = readings = 0
        for second in range(hours * _HOUR):
            for reading in _second(second):
                readings += 1
                recorder.before(engine, reading.at)
                transitions = engine.step(reading, recorder.claim)
                recorder.after(reading, transitions)
                if transitions or second % 60 == 0:
                    ids = history.commit(transitions, {"state": repr(len(engine.dump())).encode()})
                    for number, transition in zip(ids, transitions, strict=True):
                        outbox.put(number, transition)
                        delivered += is_news(transition)
                    outbox.flush(reading.at)
            if (second + 1) % _HOUR == 0:
                history.prune(_EPOCH + second)
                gc.collect()
                give_back()
                marks.append(_footprint())
        recorder.close()
        history.close()
        _judge(row, sink, marks, hours, delivered, readings, time.monotonic() - begin)
    return row


def _second(second: int) -> Iterator[Reading]:
    at = _EPOCH + second
    run = second // 600
    if second % 600 == 0:
        if run:
            yield ServerGone(at, "process", _SERVER, 1000 + run - 1)
        yield ServerFound(at, "process", _SERVER, 1000 + run, at, {"server.port": 8080, "server.gpu_layers_explicit": False})
    if second % 2 == 0:
        yield Samples(at, "process", _SERVER, {"server.rss_bytes": (1 << 30) + second % 97, "server.cpu_cores": 0.5})
    if second % 5 == 0:
        yield Samples(at, "host", HOST, {"host.mem_total_bytes": 64 << 30, "host.mem_available_bytes": (32 << 30) + second % 89})
        yield LogLines(at, "/srv/llama/server.log", _SERVER, _LINE * 5, "llama-server", second + 1)
    minute = second % _HOUR
    if minute in (1500, 1560):
        yield LogLines(at, "/srv/llama/server.log", _SERVER, SLEEPS if minute == 1500 else WAKES, "llama-server", second + 1)
    yield Tick(at)


def _footprint() -> tuple[float, int, int]:
    """MB resident and private, open files, threads of this process."""
    rollup = Path("/proc/self/smaps_rollup").read_text().splitlines()
    pss = next(int(line.split()[1]) for line in rollup if line.startswith("Pss_Anon:"))
    return pss / 1024, len(os.listdir("/proc/self/fd")), threading.active_count()


def _judge(
    row: Outcome, sink: _Counting, marks: list[tuple[float, int, int]], hours: int, delivered: int, readings: int, took: float
) -> None:
    mine = [state for rule, state in sink.taken if rule == "fault-1"]
    row.expect(
        mine == ["firing", "resolved"] * hours, f"of {hours} hours with one alert each were delivered {len(mine)}: {mine[:6]}"
    )
    row.expect(len(sink.taken) == delivered, f"{delivered} were due, {len(sink.taken)} were delivered")
    row.lost = f"nothing: {len(mine)} alerts and ends, each delivered once" if not row.wrong else "see below"
    first, last = marks[0], marks[-1]
    row.expect(last[0] < first[0] + 4, f"memory grew from {first[0]:.1f} to {last[0]:.1f} MB")
    row.expect(last[1] <= first[1], f"open files grew from {first[1]} to {last[1]}")
    row.expect(last[2] <= first[2], f"threads grew from {first[2]} to {last[2]}")
    row.said = "one alert and its end an hour"
    row.notes.append(
        f"{readings:,} readings in {took:.0f} s; anonymous memory {first[0]:.1f} MB after an hour, {last[0]:.1f} MB at the end"
    )
    row.notes.append(f"open files {first[1]} and {last[1]}, threads {first[2]} and {last[2]}")
