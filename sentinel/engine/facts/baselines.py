"""How fast each configuration generates while all is well, so that a configuration is compared with itself.

A configuration is the build, the model's files and the flags that matter for speed (sources/processes/fingerprint.py). The last
answers of each are kept by context depth, since attention over a longer context is slower by nature. Answers that say nothing
about the configuration are neither learned nor compared: an answer beside another one, one of a few tokens, one at an unknown
depth, and lines of a backlog.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sentinel.engine.facts.state import EngineState
from sentinel.model.entity import Entity, Unknown, Value
from sentinel.model.input_limits import MOST_BASELINES, MOST_SLOTS_KEPT

#: Events of llama-server's log that this reads.
EVENTS = frozenset({"request_started", "request_finished", "generation_timing", "generation_progress", "prompt_progress"})
#: A shorter answer measures start-up costs. Tokens.
LEAST_TOKENS = 16
#: Answers that make a baseline, and answers kept for each depth.
ENOUGH, KEPT = 5, 15
#: Speeds below this share of the baseline are not learned: a failure without a name must not become the baseline. Ratio.
_ORDINARY = 0.5
#: Upper end of the shallowest depth class; each next one is twice as deep. Tokens.
_SHALLOW = 1024
#: A CPU sample taken this long after an answer began is about it (sources/processes/sample.py samples every 5 s). Seconds.
_LOOK = 4.0
_TOO_SHORT = "the answer was over before the processor was looked at"

_USUAL = ("server.usual_tps", "server.usual_tps_least", "server.usual_gpu_bytes", "server.usual_gpu_watts")


class Sample(NamedTuple):
    """One answer: tokens a second, and what the server held on GPUs (bytes) and all GPUs drew (watts) meanwhile, where known."""

    tps: float
    gpu_bytes: int | None
    gpu_watts: float | None


@dataclass(slots=True)
class Baseline:
    """The last answers of one configuration at one depth, and when the newest was learned (seconds since the epoch)."""

    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=KEPT))
    at: float = 0.0


@dataclass(slots=True)
class _Answer:
    task: int
    began: float
    #: no other slot worked at the same time
    alone: bool
    #: tokens of its prompt, as far as the log shows them before the end
    prompt: int | None = None
    #: tokens in the slot at its end; old builds print the speed after it
    end: int | None = None
    tokens: int = 0
    tps: float | None = None


@dataclass(slots=True)
class _Slots:
    """The busy slots of one server, and the one that ended last before its speed was printed."""

    working: dict[int, _Answer] = field(default_factory=dict)
    ended: _Answer | None = None


#: Called for each baseline that changed: configuration, depth class, time and samples; None when it is dropped.
Hearer = Callable[[str, int, list[Any] | None], None]


class Baselines:
    """Baselines by configuration and depth, and the signals that each answer sets. Times are arguments."""

    def __init__(self, state: EngineState) -> None:
        self._state = state
        self._baselines: dict[tuple[str, int], Baseline] = {}
        self._slots: dict[Entity, _Slots] = {}
        #: called for each baseline that changed, to store it
        self.on_change: Hearer | None = None

    def line(
        self, event: str, fields: Mapping[str, Value], entity: Entity, at: float, *, live: bool, healthy: Callable[[], bool]
    ) -> dict[str, Value | Unknown]:
        """Take one of EVENTS, read at `at`. `live`: seen as it happened. Returns the server's signals that it sets."""
        slot, task = fields.get("slot"), fields.get("task")
        if event == "request_started":
            self._started(entity, slot, task, at)
            return {}
        slots = self._slots.get(entity)
        if slots is None:
            # it began before sentinel watched
            return {}
        answer = slots.ended if slot is None else slots.working.get(int(slot))
        if answer is None or (task is not None and answer.task != task):
            return {}
        if event == "prompt_progress":
            share = float(fields.get("share", 0.0))
            if share > 0.0:
                answer.prompt = round(int(fields.get("n", 0)) / share)
            return {}
        if event == "generation_progress":
            tokens = int(fields.get("n", 0))
            depth = None if answer.prompt is None else answer.prompt + tokens
            return self._compare(entity, answer, _speed(fields), depth, at) if live else {}
        if event == "generation_timing":
            answer.tokens, answer.tps = int(fields.get("n", 0)), _speed(fields)
        else:
            answer.end = int(fields.get("n_tokens", 0))
            slots.working.pop(int(slot or 0), None)
            slots.ended = answer
        if answer.end is None or answer.tps is None:
            return {}
        slots.ended = None
        if not slots.working:
            del self._slots[entity]
        if not live or answer.tokens < LEAST_TOKENS:
            return {}
        depth = max(answer.end - answer.tokens // 2, 0)
        values = self._compare(entity, answer, answer.tps, depth, at)
        self._learn(entity, answer, depth, at, healthy)
        return values

    def renewed(self, entity: Entity) -> None:
        """A new run of the server begins, or the server is dropped: its slots are empty."""
        self._slots.pop(entity, None)

    def _started(self, entity: Entity, slot: Value | None, task: Value | None, at: float) -> None:
        if slot is None or task is None:
            return
        slots = self._slots.setdefault(entity, _Slots())
        if len(slots.working) >= MOST_SLOTS_KEPT:
            return
        slots.working.pop(int(slot), None)
        for other in slots.working.values():
            other.alone = False
        slots.working[int(slot)] = _Answer(int(task), at, alone=not slots.working)

    # --- comparing ---

    def _compare(
        self, entity: Entity, answer: _Answer, tps: float | None, depth: int | None, at: float
    ) -> dict[str, Value | Unknown]:
        if tps is None:
            return {}
        watts, cores = self._watts(answer.began, at), self._state.fact(entity, "server.cpu_cores", at)
        if cores is not None and cores.at < answer.began + _LOOK:
            cores = None
        values: dict[str, Value | Unknown] = {
            "server.answer_tps": tps,
            "server.answer_cores": Unknown(_TOO_SHORT) if cores is None else cores.value,
            "server.answer_gpu_watts": Unknown("no GPU reported its power while it was generated") if watts is None else watts,
        }
        usual = self._usual(entity, answer, depth, at)
        if isinstance(usual, Unknown):
            return values | dict.fromkeys(_USUAL, usual)
        held = [s.gpu_bytes for s in usual if s.gpu_bytes is not None]
        drawn = [s.gpu_watts for s in usual if s.gpu_watts is not None]
        return values | {
            "server.usual_tps": round(median(s.tps for s in usual), 2),
            "server.usual_tps_least": min(s.tps for s in usual),
            "server.usual_gpu_bytes": int(median(held)) if len(held) >= ENOUGH else Unknown("was not known when it was learned"),
            "server.usual_gpu_watts": round(median(drawn), 1)
            if len(drawn) >= ENOUGH
            else Unknown("was not known when it was learned"),
        }

    def _usual(self, entity: Entity, answer: _Answer, depth: int | None, at: float) -> deque[Sample] | Unknown:
        configuration = self._state.fact(entity, "server.configuration", at)
        if configuration is None:
            missing = self._state.why_missing(entity, "server.configuration", at)
            return Unknown(f"its configuration is not known: {missing.why}", missing.remedy)
        if not answer.alone:
            return Unknown("other slots generated at the same time, which share its speed")
        if depth is None:
            return Unknown("how deep in its context it generates is not known before the answer ends")
        least = depth_class(depth)
        # A deeper context is slower by nature: a speed below even that baseline is slow.
        deeper = (n for c, n in self._baselines if c == str(configuration.value) and n >= least)
        found = [n for n in sorted(deeper) if len(self._baselines[str(configuration.value), n].samples) >= ENOUGH]
        if not found:
            return Unknown(f"fewer than {ENOUGH} healthy answers of this very build, model and flags are known at this depth")
        return self._baselines[str(configuration.value), found[0]].samples

    def _watts(self, since: float, at: float) -> float | None:
        """The power draw of all GPUs of the machine, if each was sampled since then."""
        facts = self._state.facts
        watts_of = [facts.get(e, "gpu.power_watts", at) for e in facts.entities() if e.scope == "gpu"]
        if not watts_of or any(one is None or one.at < since for one in watts_of):
            return None
        return round(sum(float(one.value) for one in watts_of if one is not None), 1)

    # --- learning ---

    def _learn(self, entity: Entity, answer: _Answer, depth: int, at: float, healthy: Callable[[], bool]) -> None:
        configuration = self._state.fact(entity, "server.configuration", at)
        if configuration is None or not answer.alone or answer.tps is None or not healthy():
            return
        key = (str(configuration.value), depth_class(depth))
        known = self._baselines.get(key)
        if known is not None and len(known.samples) >= ENOUGH and answer.tps < _ORDINARY * median(s.tps for s in known.samples):
            return
        if known is None:
            known = self._baselines[key] = Baseline()
        memory, mapped = (self._state.fact(entity, f"server.gpu_{what}_bytes", at) for what in ("memory", "gtt"))
        held = None if memory is None else int(memory.value) + (0 if mapped is None else int(mapped.value))
        known.samples.append(Sample(answer.tps, held, self._watts(answer.began, at)))
        known.at = at
        self._changed(key)
        if len(self._baselines) > MOST_BASELINES:
            oldest = min(self._baselines, key=lambda one: (self._baselines[one].at, one))
            del self._baselines[oldest]
            self._changed(oldest)

    def _changed(self, key: tuple[str, int]) -> None:
        if self.on_change is not None:
            known = self._baselines.get(key)
            self.on_change(*key, None if known is None else [known.at, [list(s) for s in known.samples]])

    # --- state ---

    def dump(self) -> dict[str, list[Any]]:
        """Plain data: baselines, and the answers in progress."""
        return {
            "baselines": [[*key, b.at, [list(s) for s in b.samples]] for key, b in self._baselines.items()],
            "answers": [
                [e.scope, e.name, slot, a.task, a.began, a.alone, a.prompt, a.end, a.tokens, a.tps]
                for e, slots in self._slots.items()
                for slot, a in [*slots.working.items(), *([(-1, slots.ended)] if slots.ended is not None else [])]
            ],
        }

    def load(self, data: Mapping[str, Any]) -> None:
        """Restore what `dump` returned. Raises TypeError or ValueError for anything else."""
        self.learned(data["baselines"])
        for scope, name, slot, task, began, alone, prompt, end, tokens, tps in data["answers"]:
            slots = self._slots.setdefault(Entity(scope, name), _Slots())
            answer = _Answer(int(task), float(began), bool(alone), prompt, end, int(tokens), tps)
            if slot < 0:
                slots.ended = answer
            else:
                slots.working[int(slot)] = answer

    def learned(self, rows: list[list[Any]]) -> None:
        """Restore the baselines of an earlier run, the newest `MOST`. Raises TypeError or ValueError for anything else."""
        for configuration, depth, at, samples in sorted(rows, key=lambda row: float(row[2]))[-MOST_BASELINES:]:
            kept: deque[Sample] = deque(maxlen=KEPT)
            for tps, held, watts in samples:
                if not (math.isfinite(tps) and tps > 0.0):
                    raise ValueError(f"a speed of {tps!r}")
                kept.append(Sample(float(tps), None if held is None else int(held), None if watts is None else float(watts)))
            self._baselines[str(configuration), int(depth)] = Baseline(kept, float(at))


def depth_class(depth: int) -> int:
    """The depth class: 0 below 1,024 tokens, and one more for each doubling."""
    return max(depth // _SHALLOW, 0).bit_length()


def _speed(fields: Mapping[str, Value]) -> float | None:
    """Tokens a second as printed; None if it is not a speed ("inf" for an answer of one token)."""
    tps = fields.get("tps")
    if isinstance(tps, int | float) and not isinstance(tps, bool) and math.isfinite(tps) and 0.0 < tps < 1e6:
        return float(tps)
    return None


def median(values: Iterable[float]) -> float:
    """As statistics.median, which brings fractions and decimal: 0.14 MB for good."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
