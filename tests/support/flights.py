"""An engine with a flight recorder, and the story of a fallback, for the tests of recordings."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path

from sentinel.engine.engine import Engine
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.alert import Transition
from sentinel.model.entity import HOST, Entity, Unknown, Value
from sentinel.model.json_form import to_json, transition_to_dict
from sentinel.model.reading import LogLines, Reading, Samples, ServerFound, Tick
from sentinel.recording.archive import Archive
from sentinel.recording.flight_recorder import FlightRecorder

EPOCH = 1_795_500_000.0
UNIT = Entity("server", "llama.service")
CHILD = Entity("server", "127.0.0.1:53079")
START = b"0.00.043.051 I cmn  common_param: common_params_print_info: verbosity = 3 (adjust with the `-lv N` CLI arg)\n"
READY = b"0.01.150.277 I srv  llama_server: listening on http://127.0.0.1:18080\n"
KILLED = (
    b"Out of memory: Killed process 77 (llama-server) total-vm:240123456kB, anon-rss:1523120kB, file-rss:125819600kB, "
    b"shmem-rss:0kB, UID:1000 pgtables:440000kB oom_score_adj:0\n"
)
ASKED: dict[str, Value | Unknown] = {
    "server.gpu_layers_requested": 99, "server.gpu_layers_asked": "99", "server.gpu_layers_explicit": True,
    "server.device_none": False, "server.is_router": False, "server.model_bytes": 4_000_000_000, "server.log_readable": True,
    "server.port": 18080, "server.user": Unknown("may not be read"), "server.configuration": "c0ffee00c0ffee00",
}  # fmt: skip
ON_CPU: dict[str, Value | Unknown] = {"server.gpu_nodes_open": 0, "server.gpu_memory_bytes": 0, "server.gpu_gtt_bytes": 0}
ON_GPU: dict[str, Value | Unknown] = {"server.gpu_nodes_open": 2, "server.gpu_memory_bytes": 3_000_000_000}
NO_GPU: dict[str, Value | Unknown] = {"host.gpu_count": 0, "host.render_nodes": 0, "host.kernel_log_readable": True}


def text(transitions: Iterable[Transition]) -> str:
    return "\n".join(to_json(transition_to_dict(t)) for t in transitions)


def unpacked(pieces: Iterable[bytes]) -> list[bytes]:
    return gzip.decompress(b"".join(pieces)).splitlines(keepends=True)


class Run:
    """An engine with its recorder, and what was reported at each step."""

    def __init__(self, ruleset: RuleSet, folder: Path, limit: int = 1 << 20, stretch: int = 20_000) -> None:
        self.engine = Engine(ruleset)
        self.recorder = FlightRecorder(Archive(folder), limit, stretch)
        self.told: list[list[Transition]] = []

    def feed(self, readings: Iterable[Reading]) -> list[Transition]:
        begin = len(self.told)
        for reading in readings:
            self.recorder.before(self.engine, reading.at)
            transitions = self.engine.step(reading, self.recorder.claim)
            self.recorder.after(reading, transitions)
            self.told.append(transitions)
        return [t for one in self.told[begin:] for t in one]

    def last(self, readings: int) -> list[Transition]:
        """What the last so many readings brought."""
        return [t for one in self.told[len(self.told) - readings :] for t in one]


def fallback(at: float = 0.0, seconds: int = 40) -> list[Reading]:
    def now(second: float) -> float:
        return EPOCH + at + second

    story: list[Reading] = [
        ServerFound(now(0), "process", UNIT, 77, now(0), ASKED),
        Samples(now(0), "host", HOST, NO_GPU),
        LogLines(now(1), "server.log", UNIT, START + READY, elapsed_base=now(0)),
    ]
    for second in range(1, seconds):
        story += [Samples(now(second), "process", UNIT, ON_CPU), Tick(now(second))]
    return story
