"""A start that dies at once, right after another process: in whatever order its lines and its process are seen, it is named.

The scan for processes and the log are read on two threads. On a busy machine the last lines of the process before are read when
the next one is known, or all lines of the next before anybody has seen it. One order in two hundred was not named once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import pytest

from sentinel.engine.engine import Engine
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.alert import Verdict
from sentinel.model.entity import Entity, Unknown, Value
from sentinel.model.reading import WATCH, Event, LogLines, Reading, ServerFound, ServerGone, Tick

SERVER = Entity("server", "127.0.0.1:8080")
BEGAN = 1_700_000_000.0
BEFORE = BEGAN - 5.0
VALUES: dict[str, Value | Unknown] = {
    "server.host": "127.0.0.1",
    "server.port": 8080,
    "server.is_router": False,
    "server.front_end": "",
    "server.log_readable": True,
}
FIRST = b"0.00.020.113 I cmn  common_param: common_params_print_info: verbosity = 3 (adjust with the `-lv N` CLI arg)\n"
SERVED = (
    FIRST
    + b"0.00.119.358 I srv    load_model: loading model '/tmp/dense.gguf'\n"
    + b"0.00.753.348 I srv  llama_server: listening on http://127.0.0.1:8080\n"
)
STOPS = b"0.04.759.452 I srv    operator(): operator(): cleaning up before exit...\n"
TAKEN = b"0.00.160.398 E srv         start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 8080\n"
GIVES_UP = (
    b"0.00.160.398 I srv    operator(): operator(): cleaning up before exit...\n"
    b"0.00.165.411 E srv  llama_server: exiting due to HTTP server error\n"
)
REFUSED = b"warning: failed to mlock 24973312-byte buffer (after previously locking 0 bytes): Cannot allocate memory\n"
#: A template that does not parse is refused before the first line that begins a run, past the logger, whose thread prints beside
#: that: one time in ten (measured) its stamp stands before the other's words.
NOT_PARSED = b"0.00.042.425 E common_chat_templates_init: error: Unexpected token type\n"
GLUED = b"0.00.042.553 E error: the supplied chat template is not supported: {% if x %}\n"
UNAPPLIED = b"\ncommon_chat_verify_template: failed to apply template: std::exception\n"
#: of whose start the stamps of a reading count, in order: of the first process's, of none that is known, of the second's
BASES = {"1": BEFORE, "-": None, "2": BEGAN}


@pytest.fixture(scope="module")
def rules(ruleset: RuleSet) -> RuleSet:
    """Those that speak of an end: thousands of orders are tried."""
    chosen = [ruleset.rules[name] for name in ("start-failed", "server-crashed", "restart-loop")]
    return RuleSet.build(chosen, ruleset.events.values(), ruleset.extractors)


def joined(parts: Sequence[bytes]) -> Iterator[tuple[bytes, ...]]:
    """The lines in one reading, in four, and all between."""
    for breaks in product((False, True), repeat=len(parts) - 1):
        found = [parts[0]]
        for apart, part in zip(breaks, parts[1:], strict=True):
            if apart:
                found.append(part)
            else:
                found[-1] += part
        yield tuple(found)


def merged(left: Sequence[object], right: Sequence[object]) -> Iterator[list[object]]:
    if not left or not right:
        yield [*left, *right]
        return
    for rest in merged(left[1:], right):
        yield [left[0], *rest]
    for rest in merged(left, right[1:]):
        yield [right[0], *rest]


def orders(readings: Sequence[bytes]) -> Iterator[list[Reading]]:
    """All that can be: the stamps count from the second start once that is known, from none once an end was seen."""
    for order in merged(["gone 1", "found 2", "gone 2"], readings):
        places = [order.index(one) for one in readings]
        for bases in map("".join, product(BASES, repeat=len(readings))):
            if not re.fullmatch("1*-*2*-*", bases) or bases[0] == "-":
                continue
            known = [set(order[:place]) for place in places]
            if any(
                ("found 2" not in before if base == "2" else base == "-" and not before & {"gone 1", "gone 2"})
                for base, before in zip(bases, known, strict=True)
            ):
                continue
            yield list(readings_of(order, dict(zip(readings, bases, strict=True))))


def readings_of(order: Sequence[object], bases: dict[bytes, str]) -> Iterator[Reading]:
    for number, one in enumerate(order):
        at = BEGAN + 0.25 + number * 0.05
        if isinstance(one, bytes):
            yield LogLines(at, "log", SERVER, one, elapsed_base=BASES[bases[one]])
        elif one == "found 2":
            yield ServerFound(at, WATCH, SERVER, 2, BEGAN, VALUES)
        else:
            yield ServerGone(at, WATCH, SERVER, int(str(one)[-1]))


def in_few_or_many(*parts: bytes) -> list[Any]:
    return [pytest.param(readings, id="-".join(str(part.count(b"\n")) for part in readings)) for readings in joined(parts)]


@pytest.mark.parametrize("readings", in_few_or_many(STOPS, FIRST, TAKEN, GIVES_UP))
def test_it_is_named_and_over(rules: RuleSet, readings: tuple[bytes, ...]) -> None:
    named_and_over(rules, readings, "port-taken")


@pytest.mark.parametrize(
    "readings",
    [*in_few_or_many(STOPS, NOT_PARSED, GLUED, UNAPPLIED), *in_few_or_many(STOPS, GLUED[GLUED.index(b"error") :], NOT_PARSED)],
)
def test_one_that_dies_before_its_first_own_line_is_named_and_over(rules: RuleSet, readings: tuple[bytes, ...]) -> None:
    """What it said was known, and what it said it of was dated to the run before: the model's own template was blamed."""
    named_and_over(rules, readings, "template-given", "this build can use: Unexpected token type")


@pytest.mark.parametrize("readings", in_few_or_many(STOPS, FIRST))
def test_one_whose_log_lost_all_but_its_first_line_is_named(rules: RuleSet, readings: tuple[bytes, ...]) -> None:
    """Its logger was not waited for. The stop of the process before, read a moment after its end, was taken for its own."""
    named_and_over(rules, readings, "exit-status-alone", status=1)


def named_and_over(rules: RuleSet, readings: tuple[bytes, ...], cause: str, text: str = "", *, status: int | None = None) -> None:
    """In each order. With the status, if the kernel reported it of the second process."""
    for readings_only in orders(readings):
        order = [*with_status(readings_only, status)]
        engine = Engine(rules)
        engine.step(ServerFound(BEFORE + 0.2, WATCH, SERVER, 1, BEFORE, VALUES))
        engine.step(LogLines(BEFORE + 1.0, "log", SERVER, SERVED, elapsed_base=BEFORE))
        news = [change for reading in order for change in engine.step(reading)]
        for second in (1.0, 2.5, 7.0, 8.0):
            news += engine.step(Tick(BEGAN + second))
        told = {change.rule: change.cause.id if change.cause is not None else "" for change in news if change.state == "firing"}
        assert told == {"start-failed": cause}, order
        assert [change for change in news if change.cause is not None and text in change.cause.text], order
        run, state = engine.state.runs[SERVER], engine.state.facts.last(SERVER, "server.state")
        assert (run.gone, run.pid) == (True, 2), order
        assert state is not None, order
        assert state.value == "exited", order


def with_status(order: Sequence[Reading], status: int | None) -> Iterator[Reading]:
    for one in order:
        if status is not None and isinstance(one, ServerGone) and one.pid == 2:
            fields: dict[str, Value] = {"unit": "", "exit": status, "status": f"{status}", "lived": 0.3}
            yield Event(one.at, "main_process_exited", SERVER, fields, WATCH)
        yield one


def test_a_line_that_waited_for_its_author_does_not_undo_what_the_same_log_said_later(ruleset: RuleSet) -> None:
    """A process that lives does not load again, so the line waits; once the end is seen, the next one sleeps already."""
    sleeps = b"0.01.232.363 I srv  handle_sleep: server is entering sleeping state\n"
    loads = b"0.00.100.000 I srv  llama_server: loading model\n"
    listens = b"0.00.753.348 I srv  llama_server: listening on http://127.0.0.1:8080\n"
    engine = Engine(ruleset)
    engine.step(ServerFound(BEFORE + 0.2, WATCH, SERVER, 1, BEFORE, VALUES))
    engine.step(LogLines(BEFORE + 1.0, "log", SERVER, loads + listens))
    engine.step(LogLines(BEFORE + 2.0, "log", SERVER, sleeps))
    engine.step(LogLines(BEGAN + 0.25, "log", SERVER, loads + listens))
    engine.step(LogLines(BEGAN + 0.5, "log", SERVER, sleeps))
    engine.step(ServerGone(BEGAN + 0.6, WATCH, SERVER, 1))
    engine.step(ServerFound(BEGAN + 0.6, WATCH, SERVER, 2, BEGAN, VALUES))
    state = engine.state.facts.last(SERVER, "server.state")
    assert state is not None
    assert state.value == "sleeping"


def test_what_the_process_before_printed_is_not_the_next_ones_however_soon_that_begins(ruleset: RuleSet) -> None:
    """Half a second before a process began counts as its own; systemd restarts in a tenth, and `why` named the old failure."""
    engine = Engine(ruleset)
    engine.step(ServerFound(BEFORE + 0.2, WATCH, SERVER, 1, BEFORE, VALUES))
    engine.step(LogLines(BEFORE + 0.3, "log", SERVER, FIRST + REFUSED, elapsed_base=BEFORE))
    assert engine.finding("mlock-denied", SERVER, BEFORE + 0.35).verdict is Verdict.MATCH
    engine.step(ServerGone(BEFORE + 0.4, WATCH, SERVER, 1))
    engine.step(ServerFound(BEFORE + 0.6, WATCH, SERVER, 2, BEFORE + 0.5, VALUES))
    assert engine.finding("mlock-denied", SERVER, BEFORE + 0.7).verdict is Verdict.NO_MATCH
    engine.step(LogLines(BEFORE + 0.8, "log", SERVER, FIRST + REFUSED, elapsed_base=BEFORE + 0.5))
    assert engine.finding("mlock-denied", SERVER, BEFORE + 0.9).verdict is Verdict.MATCH


def test_where_one_scan_sees_the_end_and_the_next_start_half_a_second_counts(ruleset: RuleSet) -> None:
    """Its clock is not finer, and the end was at any time since the scan before."""
    engine = Engine(ruleset)
    engine.step(ServerFound(BEFORE + 0.2, WATCH, SERVER, 1, BEFORE, VALUES))
    engine.step(LogLines(BEFORE + 1.0, "log", SERVER, REFUSED))
    engine.step(ServerGone(BEFORE + 1.3, WATCH, SERVER, 1))
    engine.step(ServerFound(BEFORE + 1.3, WATCH, SERVER, 2, BEFORE + 1.1, VALUES))
    assert engine.finding("mlock-denied", SERVER, BEFORE + 1.4).verdict is Verdict.MATCH


def test_an_end_that_was_seen_after_the_next_start_hides_nothing_of_it(ruleset: RuleSet) -> None:
    """Its first line began the run, and its process is found last."""
    engine = Engine(ruleset)
    engine.step(ServerFound(BEFORE + 0.2, WATCH, SERVER, 1, BEFORE, VALUES))
    engine.step(ServerGone(BEFORE + 1.3, WATCH, SERVER, 1))
    engine.step(LogLines(BEFORE + 1.4, "log", SERVER, FIRST))
    engine.step(LogLines(BEFORE + 1.4, "log", SERVER, REFUSED, elapsed_base=BEFORE + 1.1))
    engine.step(ServerFound(BEFORE + 1.5, WATCH, SERVER, 2, BEFORE + 1.1, VALUES))
    run = engine.state.runs[SERVER]
    assert run.since < run.start == BEFORE + 1.1
    assert engine.finding("mlock-denied", SERVER, BEFORE + 1.6).verdict is Verdict.MATCH
