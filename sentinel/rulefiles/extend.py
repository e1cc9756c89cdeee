"""Further patterns for events that another file defines: llama.cpp changes its messages faster than sentinel is released."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Literal

from sentinel.engine.log.extractor import Extractor
from sentinel.engine.log.match import PatternError, compiles
from sentinel.model.event import EventDef
from sentinel.model.problem import Keys, Problem, did_you_mean, spoken

#: Keys below the event, what is wrong, and how bad it is.
_Found = Iterator[tuple[Keys, str, Literal["error", "warning"]]]


def extended(
    events: Mapping[str, EventDef], extensions: Iterable[tuple[EventDef, Keys]], problems: list[Problem]
) -> dict[str, EventDef]:
    """The events with the patterns of `extensions` (each with its keys) after their own.

    Mistakes are noted, and extensions with an error left out. After their own: a user's pattern never changes the match of a line
    that is recognised without it.
    """
    out = dict(events)
    for one, keys in extensions:
        target = out.get(one.name)
        found = list(_check(one, target, out))
        for below, what, level in found:
            where = spoken((*keys, *below), {keys: f"event '{one.name:.60}'"})
            problems.append(Problem(one.path, where, what, level, (*keys, *below)))
        if target is not None and not any(level == "error" for _, _, level in found):
            out[one.name] = replace(target, patterns=target.patterns + one.patterns, fields={**target.fields, **one.fields})
    return out


def _check(one: EventDef, target: EventDef | None, events: Mapping[str, EventDef]) -> _Found:
    if target is None:
        yield ("extends",), f"there is no event '{one.name:.60}' to extend{did_you_mean(one.name[:60], events)}", "error"
        return
    if target.source != one.source:
        yield ("extends",), f"is an event of source '{target.source}'; its patterns stand in a file with that source", "error"
        return
    bad, captured = compiles(one)
    for index, why in bad:
        yield ("pattern", index, "regex"), f"is no pattern of RE2: {why}", "error"
    if bad:
        return
    _, theirs = compiles(target)
    for name, kind in one.fields.items():
        if name not in captured:
            yield ("fields", name), f"no pattern captures '{name}'{did_you_mean(name, captured)}", "error"
        elif name in theirs and kind != target.fields.get(name, "text"):
            yield ("fields", name), f"'{name}' is {target.fields.get(name, 'text')} in {target.path}, not {kind}", "error"
    for signal, name in {**target.sets, **target.adds}.items():
        if name not in captured:
            hint = did_you_mean(name, captured)
            yield (), f"no pattern captures '{name}', so these patterns never set {signal}{hint}", "warning"
    for index in range(len(one.patterns)):
        yield from _pattern(one, index, target, events)


def _pattern(one: EventDef, index: int, target: EventDef, events: Mapping[str, EventDef]) -> _Found:
    """Checks one extension against all events of the source."""
    pattern = one.patterns[index]
    trial = replace(target, patterns=(*target.patterns, pattern), fields={**target.fields, **one.fields})
    others = [e for e in events.values() if e.source == one.source and e.name != one.name and not compiles(e)[0]]
    keys = ("pattern", index)
    try:
        extractor = Extractor([*others, trial])
    except PatternError as error:
        yield (*keys, "regex"), f"goes with no other pattern: {error.why}", "error"
        return
    found = {match.event.name: match for match in extractor.events(pattern.example.encode("utf-8", "replace"))}
    own = found.pop(one.name, None)
    if own is None:
        yield keys, f"does not match its own example {pattern.example[:120]!r}", "error"
    elif own.pattern_index != len(target.patterns):
        yield keys, f"is not needed any more: {target.path} understands its example; remove it", "warning"
    for name, match in found.items():
        if pattern.example not in [p.example for p in match.event.patterns]:
            yield keys, f"its example is an event '{name}' already ({events[name].path})", "error"
    for event in others:
        for theirs in event.patterns:
            claimed = {m.event.name for m in extractor.events(theirs.example.encode("utf-8", "replace"))}
            if one.name in claimed and theirs.example not in [p.example for p in trial.patterns]:
                yield keys, f"is too wide: it claims the example of event '{event.name}'; make it narrower", "error"
                break
