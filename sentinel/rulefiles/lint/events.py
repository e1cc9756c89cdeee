"""Checks event definitions: the signals they set against the catalogue, their patterns against their examples and each other."""

from __future__ import annotations

from collections.abc import Mapping

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.engine.log.extractor import Extractor
from sentinel.engine.log.match import PatternError, compiles
from sentinel.model.event import EventDef, FieldType
from sentinel.model.problem import Keys, Problem, did_you_mean, quoted, spoken
from sentinel.model.signal import SignalType
from sentinel.rulefiles.toml.tables import Findings

#: the type of a captured field when it is read
_READ_AS: dict[FieldType, SignalType] = {
    "text": "text",
    "int": "int",
    "float": "float",
    "flag": "flag",
    "MiB": "int",
    "GiB": "int",
    "kB": "int",
}
_NUMBERS = ("int", "float")


def check_event(event: EventDef, keys: Keys, findings: Findings) -> None:
    """Note the mistakes of a single event; `keys` lead to its table."""
    bad, captured = compiles(event)
    for index, why in bad:
        findings.error((*keys, "pattern", index, "regex"), f"is no pattern of RE2: {why}")
    groups = None if bad else captured
    for signal, name in event.sets.items():
        _check_field(event, (*keys, "sets", signal), signal, name, groups, findings)
    for signal, name in event.adds.items():
        if _check_field(event, (*keys, "adds", signal), signal, name, groups, findings):
            kind = CATALOGUE[signal].type
            if kind not in _NUMBERS:
                findings.error((*keys, "adds", signal), f"is {kind}, nothing can be added to it; use 'sets'")
    for signal, value in event.const.items():
        if _known(signal, (*keys, "const", signal), findings) and not fits(CATALOGUE[signal].type, value):
            what = f"must be {CATALOGUE[signal].type}, as '{signal}' is, not {quoted(value)}"
            findings.error((*keys, "const", signal), what)
    for i, signal in enumerate(event.forgets):
        _known(signal, (*keys, "forgets", i), findings)
    if groups is not None:
        for name in event.fields:
            if name not in groups:
                findings.error((*keys, "fields", name), f"no pattern captures '{name}'{did_you_mean(name, groups)}")


def _check_field(event: EventDef, keys: Keys, signal: str, name: str, groups: frozenset[str] | None, findings: Findings) -> bool:
    """A captured field can become a value of the signal."""
    if not _known(signal, keys, findings):
        return False
    if groups is not None and name not in groups:
        findings.error(keys, f"no pattern captures '{name}'{did_you_mean(name, groups)}")
        return False
    got, want = _READ_AS[event.fields.get(name, "text")], CATALOGUE[signal].type
    if got != want and not (got == "int" and want == "float"):
        findings.error(keys, f"takes '{name}', which is {got}, for '{signal}', which is {want}; say so in 'fields'")
        return False
    return True


def _known(signal: str, keys: Keys, findings: Findings) -> bool:
    if signal not in CATALOGUE:
        findings.error(keys, f"sets unknown signal '{signal}'{did_you_mean(signal, CATALOGUE)}")
        return False
    return True


def fits(kind: SignalType, value: object) -> bool:
    """A value is of a signal's type."""
    if isinstance(value, bool):
        return kind == "flag"
    if isinstance(value, str):
        return kind == "text"
    return (kind == "float" and isinstance(value, int | float)) or (kind == "int" and isinstance(value, int))


def check_patterns(events: Mapping[str, EventDef], places: Mapping[str, Keys]) -> list[Problem]:
    """Checks the examples of the events of one source against all their patterns.

    `places` has the keys of each event by its name. An event with a pattern that RE2 rejects is left out.
    """
    sound = [event for event in events.values() if not compiles(event)[0]]
    try:
        found = Extractor(sound).self_check()
    except PatternError as error:
        return [Problem(sound[0].path, "", str(error))]
    out = []
    for event, index, what in found:
        keys = (*places[event.name], "pattern", index)
        where = spoken(keys, {places[event.name]: f"event '{event.name:.60}'"})
        out.append(Problem(event.path, where, what, keys=keys))
    return out
