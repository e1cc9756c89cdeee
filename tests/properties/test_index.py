"""The engine judges only what a reading touches, and tells what an engine tells that judges everything at every reading.

The stories are the inline tests of the shipped rules, so that something happens in them, with whatever else a machine may say put
between: any signal of the catalogue with values around those that the rules compare with, any line that any pattern knows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from effort import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from shipped_rules import shipped_rules

from sentinel.engine.engine import Engine
from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.engine.log.match import Match
from sentinel.model.alert import Transition
from sentinel.model.entity import HOST, Entity, Unknown, Value
from sentinel.model.json_form import to_json, transition_to_dict
from sentinel.model.reading import LogLines, Reading, Samples, ServerFound, ServerGone, Tick
from sentinel.model.signal import Signal
from sentinel.rulefiles.digest import parts
from sentinel.rulefiles.testing.readings import EPOCH, readings

RULESET = shipped_rules()
SERVER, SECOND = Entity("server", "llama.service"), Entity("server", "127.0.0.1:8081")
GPU = Entity("gpu", "0000:03:00.0")
_SAID = " ".join(str(said) for rule in RULESET.rules.values() for said in parts(rule.rule).values())
TEXTS = sorted({text for text in re.findall(r"'([^'\n]{0,20})'", _SAID) if text.isprintable()})
NUMBERS = sorted({float(number) for number in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", _SAID)})
#: those of two minutes: the others only wait longer
CASES = [(r.rule, case) for _, r in sorted(RULESET.rules.items()) for case in r.rule.tests if case.at <= 120]
LINES = [(event.source, pattern.example) for event in RULESET.events.values() for pattern in event.patterns]


class EvaluatesEverything(Engine):
    """The oracle. What time alone can change is judged once a second, by the tick: between two ticks it leaves that out."""

    def step(self, reading: Reading, claimed: Callable[[Match], None] | None = None) -> list[Transition]:
        first = super().step(reading, claimed)
        self.worklist.mark_restless(reading.at)
        by_the_tick = set() if isinstance(reading, Tick) else set(self.worklist.take())
        self.worklist.mark_all()
        for rule, entity in self.worklist.take():
            if (rule, entity) not in by_the_tick:
                self.worklist.mark(rule, entity)
        return first + self.evaluate_dirty(reading.at)


def _values(signal: Signal) -> st.SearchStrategy[Value | Unknown]:
    near = st.builds(lambda number, by: number + by, st.sampled_from(NUMBERS), st.sampled_from([-1, 0, 1]))
    kinds: dict[str, st.SearchStrategy[Value | Unknown]] = {
        "flag": st.booleans(),
        "text": st.sampled_from(TEXTS),
        "int": near.map(int),
        "float": near,
    }
    return kinds[signal.type] | st.just(Unknown("not readable"))


_signals = st.sampled_from(sorted(CATALOGUE)).flatmap(lambda name: st.tuples(st.just(name), _values(CATALOGUE[name])))
_others = st.one_of(
    _signals,
    st.sampled_from(LINES),
    st.sampled_from(["tick", "gone", "found", "silence"]),
)
#: where in the story, as a share of it, and what
_inserts = st.lists(st.tuples(st.floats(0, 1), _others), max_size=25)


def _reading(at: float, what: object, second: bool) -> list[Reading]:
    server = SECOND if second else SERVER
    if what == "gone":
        return [ServerGone(at, "process", server, 4242)]
    if what == "found":
        return [ServerFound(at, "process", server, 4243, at, {"server.log_readable": True})]
    if not isinstance(what, tuple):
        return [Tick(at)]
    name, value = what
    if name in CATALOGUE:
        entity = {"server": server, "gpu": GPU, "host": HOST}[CATALOGUE[name].scope]
        return [Samples(at, "test", entity, {name: value})]
    line = str(value).replace("\n", " ").encode() + b"\n"
    return [LogLines(at, "test", HOST if name == "kernel" else server, line, kind=name)]


def story(case: int, inserts: Sequence[tuple[float, object]]) -> list[Reading]:
    base = list(readings(*CASES[case % len(CASES)]))
    out = list(base)
    for number, (share, what) in enumerate(inserts):
        at = base[min(int(share * len(base)), len(base) - 1)].at
        out += _reading(at, what, number % 3 == 0)
    # Stable: what is put between comes after what the test itself says at that time.
    return sorted(out, key=lambda reading: reading.at)


def told(transitions: Sequence[Transition]) -> list[tuple[float, str, str, str, str, str]]:
    return sorted((t.at or 0.0, t.rule, t.entity.name, t.previous, t.state, t.reason) for t in transitions)


def _number(rule: str, name: str) -> int:
    """Of an inline test, whatever rules are shipped."""
    return next(i for i, (r, case) in enumerate(CASES) if (r.id, case.name) == (rule, name))


_HANG = ("kernel", "amdgpu 0000:03:00.0: amdgpu: ring gfx_0.0.0 timeout, signaled seq=1358449, emitted seq=1358451")
_NO_CODE = (
    "llama-server",
    ":1:hip_fatbin.cpp           :687 : 114369963532 us:  No compatible code objects found for: gfx1152, "
    "value of HIP_FORCE_SPIRV_CODEOBJECT: 0",
)
_UNREADABLE = ("gpu.busy_percent", Unknown("not readable"))


# A GPU of which only the kernel's log was known was not judged again when its hang had lasted 30 seconds.
@example(_number("memory-thrash", "220 GiB on a machine of 128"), [(0.0, _HANG), (1.0, _UNREADABLE)])
# A line at the very second at which time changes the verdict: the tick behind it tells.
@example(_number("restart-loop", "killed for memory each time, and only systemd reports it"), [(0.0, _HANG), (0.02, _UNREADABLE)])
# The age of an event that counts since the start is compared, and nothing else happens.
@example(_number("blind-spot", "its output goes to a terminal"), [(0.0, _NO_CODE)])
@settings(max_examples=examples(40), deadline=None)
@given(st.integers(0, len(CASES) - 1), _inserts)
def test_the_index_loses_nothing_of_whatever_is_read(case: int, inserts: list[tuple[float, object]]) -> None:
    fast, slow = Engine(RULESET), EvaluatesEverything(RULESET)
    for reading in story(case, inserts):
        assert told(fast.step(reading)) == told(slow.step(reading)), f"{reading} at +{reading.at - EPOCH:g}s"
    assert fast.unhealthy.keys() == slow.unhealthy.keys()


@settings(max_examples=examples(40), deadline=None)
@given(st.integers(0, len(CASES) - 1), _inserts)
def test_a_text_that_is_read_late_says_what_it_said_at_once(case: int, inserts: list[tuple[float, object]]) -> None:
    """Also of what was never read before its alert ended."""
    read_late, read_at_once = Engine(RULESET), Engine(RULESET)
    for reading in story(case, inserts):
        late, at_once = read_late.step(reading), read_at_once.step(reading)
        assert [to_json(transition_to_dict(t)) for t in late] == [to_json(transition_to_dict(t)) for t in at_once]
        for record in read_at_once.book.open():
            read_at_once.standing(RULESET.rules[record.rule], record)
    assert to_json(read_late.dump()) == to_json(read_at_once.dump())
