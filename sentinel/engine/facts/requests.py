"""Joins a server's lines about requests into single events that a rule can count.

One request prints five lines and more, and none of them alone shows that something is wrong: that a prompt was evaluated again
shows in its timing together with the similarity with which its slot was chosen; that every request fails, in what lies between
two errors; that a server hangs, in what is missing between clients that give up. The lines are joined here, with a few numbers
for each server, into three events whose field `in_a_row` counts repetitions without a success between them.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from sentinel.engine.facts.prompt_turns import turn_over
from sentinel.engine.facts.request_events import CLIENTS_GIVE_UP, PROMPT_SPINS, REQUEST_OUTCOME
from sentinel.engine.facts.request_state import ServerWork, SlotWork
from sentinel.model.entity import Entity, Scope, Value
from sentinel.model.input_limits import MOST_SLOTS_KEPT

#: Lines that this reads. The engine passes no others.
TAKEN = frozenset(
    {
        "slot_selected",
        "request_started",
        "full_reprocessing",
        "prompt_read_from",
        "timing_header",
        "prompt_timing",
        "generation_timing",
        "request_finished",
        "request_failed",
        "request_overflow",
        "batch_overflow",
        "pool_request_failed",
        "answer_failed",
        "request_cancelled",
        "prompt_progress",
        "prompt_advanced",
        "generation_progress",
        # not about requests: a server that loads, sleeps or wakes begins none
        "model_loading",
        "library_loading",
        "slots_initialized",
        "server_woke",
    }
)
_FAILED = frozenset({"request_failed", "request_overflow", "batch_overflow", "pool_request_failed", "answer_failed"})
_WORK = TAKEN - _FAILED - {"request_cancelled", "timing_header"}
#: Failures further apart are not one series. Seconds.
_SERIES = 900.0
#: The request itself is wrong and the server is well. (Sizes, events of their own, are what context-collapse is about.)
_SENDERS_OWN = re.compile(
    r"[Ff]ailed to format input|[Ii]nvalid slot|Unable to (?:save|restore) slot"
    r"|contains invalid tokens|not supported by multimodal|json_schema|must be (?:provided|a string)|rerank task|aLoRA"
    r"|must fit in one batch"
)
#: Lines of the same progress at which it is reported: a server that spun printed ten thousand a second (llama.cpp#24265).
_SPINS = frozenset({50, 500, 5_000, 50_000})


class Requests:
    """Reads the lines of all servers."""

    def __init__(self) -> None:
        self._servers: dict[Entity, ServerWork] = {}

    def renewed(self, entity: Entity) -> None:
        """A new run of this server begins."""
        self._servers.pop(entity, None)

    def line(self, name: str, fields: Mapping[str, Value], entity: Entity, at: float) -> Iterable[tuple[str, dict[str, Value]]]:
        """Events, name and fields, that this line completes."""
        server = self._servers.get(entity)
        if server is None:
            server = self._servers[entity] = ServerWork()
        out: list[tuple[str, dict[str, Value]]] = []
        if name in _WORK:
            if server.given_up:
                out.append((CLIENTS_GIVE_UP.name, {"in_a_row": 0}))
            server.given_up, server.never_begun, server.worked_at = 0, 0, at
            server.shows_progress |= name in ("prompt_progress", "generation_progress")
            if server.spins and name != "prompt_progress":
                server.spins = False
                out.append((PROMPT_SPINS.name, {"repeats": 0}))
        if name in _FAILED:
            out += _failed(server, name, fields, at)
        elif name == "request_cancelled":
            out += _cancelled(server, _number(fields, "task"), at)
        elif name in ("model_loading", "library_loading", "slots_initialized", "server_woke"):
            server.busy.clear()
            server.contexts.clear()
        else:
            out += _worked(server, name, fields)
        return out

    def rename(self, old: Entity, new: Entity) -> None:
        """Move a server from its provisional name."""
        if (known := self._servers.pop(old, None)) is not None:
            self._servers[new] = known

    def dump(self) -> list[list[Any]]:
        """Plain data for a snapshot."""
        return [
            [e.scope, e.name, asdict(s) | {"slots": [[n, asdict(x)] for n, x in s.slots.items()], **_lists(s)}]
            for e, s in self._servers.items()
        ]

    def contexts(self, entity: Entity) -> list[tuple[int, int, bool]]:
        """Of each slot that had a request its number, the tokens in its context, and whether it works now."""
        server = self._servers.get(entity)
        if server is None:
            return []
        at_work = {number for number, slot in server.slots.items() if slot.task != -1 and slot.task in server.busy}
        known = sorted(server.contexts.keys() | at_work)
        return [(number, server.contexts.get(number, 0), number in at_work) for number in known]

    def load(self, rows: Iterable[tuple[Scope, str, Mapping[str, Any]]]) -> None:
        """Restore what `dump` returned."""
        for scope, name, data in rows:
            slots = {int(number): SlotWork(**kept) for number, kept in data["slots"]}
            tasks = {key: deque((int(task) for task in data[key]), maxlen=64) for key in _TASKS}
            self._servers[Entity(scope, name)] = ServerWork(
                **{**data, "slots": slots, **tasks, "contexts": dict(data.get("contexts") or ())}
            )


_TASKS = ("ended_ill", "begun", "busy")


def _lists(server: ServerWork) -> dict[str, list[Any]]:
    return {**{key: [*getattr(server, key)] for key in _TASKS}, "contexts": [[*pair] for pair in server.contexts.items()]}


def _number(fields: Mapping[str, Value], key: str, default: int = -1) -> int:
    value = fields.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _failed(server: ServerWork, name: str, fields: Mapping[str, Value], at: float) -> Iterable[tuple[str, dict[str, Value]]]:
    task, why = _number(fields, "task"), str(fields.get("why", ""))
    out = list(_confirmed(server, task))
    if server.perhaps == task:
        server.perhaps = -1
    server.ended_ill.append(task)
    if name not in ("request_failed", "answer_failed") or _SENDERS_OWN.search(why):
        return out
    server.failures = server.failures + 1 if at - server.failed_at <= _SERIES else 1
    server.failed_at = at
    return [*out, (REQUEST_OUTCOME.name, {"in_a_row": server.failures, "why": why, "task": task})]


def _confirmed(server: ServerWork, task: int) -> Iterable[tuple[str, dict[str, Value]]]:
    """A released task that no line reported as failed, up to one about another task, has succeeded."""
    if server.perhaps in (-1, task):
        return ()
    server.perhaps = -1
    return _succeeded(server)


def _succeeded(server: ServerWork) -> Iterable[tuple[str, dict[str, Value]]]:
    if server.failures == 0:
        return ()
    server.failures = 0
    return ((REQUEST_OUTCOME.name, {"in_a_row": 0}),)


def _cancelled(server: ServerWork, task: int, at: float) -> Iterable[tuple[str, dict[str, Value]]]:
    if server.perhaps == task:
        server.perhaps = -1
    if task in server.ended_ill:
        # the server's own HTTP side cancels each failed request as well
        return ()
    server.ended_ill.append(task)
    if server.worked_at < 0.0:
        # no line about work was ever seen: at -lv 2 none is printed, so their absence says nothing
        return ()
    server.given_up += 1
    server.never_begun = server.never_begun + 1 if task not in server.begun and not server.busy else 0
    said: dict[str, Value] = {
        "in_a_row": server.given_up,
        "never_begun": server.never_begun,
        "silent_seconds": round(max(0.0, at - server.worked_at), 1),
        "shows_progress": server.shows_progress,
    }
    return ((CLIENTS_GIVE_UP.name, said),)


def _worked(server: ServerWork, name: str, fields: Mapping[str, Value]) -> Iterable[tuple[str, dict[str, Value]]]:
    number = _number(fields, "slot", server.current)
    slot = server.slots.get(number)
    if slot is None:
        if len(server.slots) >= MOST_SLOTS_KEPT:
            server.slots.clear()
            server.contexts.clear()
        slot = server.slots[number] = SlotWork()
    server.current = number
    task = _number(fields, "task")
    match name:
        case "slot_selected":
            similarity = fields.get("similarity")
            # by its number: no comparison; as the least recently used: the similarity was below the threshold of 0.1
            unlike = -1.0 if fields.get("by") == "id" else 0.0
            server.slots[number] = SlotWork(similarity=similarity if isinstance(similarity, float) else unlike)
        case "request_started":
            if slot.task != -1:
                slot = server.slots[number] = SlotWork()
            slot.task = task
            server.begun.append(task)
            server.busy.append(task)
            return _confirmed(server, task)
        case "prompt_progress":
            server.contexts[number] = max(_number(fields, "n"), 0)
            return _read(server, slot, _number(fields, "n"), task)
        case "full_reprocessing":
            slot.forced = True
        case "prompt_read_from":
            slot.read_from(_number(fields, "n"), held=server.contexts.get(number, 0))
        case "prompt_timing":
            ms = fields.get("ms")
            slot.evaluated, slot.ms = _number(fields, "n"), ms if isinstance(ms, float) else 0.0
        case "generation_timing":
            slot.generated = _number(fields, "n")
            server.perhaps = -1
            return [*_succeeded(server), *turn_over(server, number)]
        case "request_finished":
            slot.held = _number(fields, "n_tokens")
            server.contexts[number] = max(slot.held, 0)
            if task in server.busy:
                server.busy.remove(task)
            out = list(_confirmed(server, task))
            if task not in server.ended_ill:
                server.perhaps = task
            return [*out, *turn_over(server, number)]
    return ()


def _read(server: ServerWork, slot: SlotWork, tokens: int, task: int) -> Iterable[tuple[str, dict[str, Value]]]:
    slot.repeats = slot.repeats + 1 if tokens == slot.read else 0
    slot.read = tokens
    if slot.repeats in _SPINS:
        server.spins = True
        return ((PROMPT_SPINS.name, {"repeats": slot.repeats, "n": tokens, "task": task}),)
    if server.spins and slot.repeats == 0:
        server.spins = False
        return ((PROMPT_SPINS.name, {"repeats": 0}),)
    return ()
