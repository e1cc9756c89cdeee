"""From the bytes of rule files and event files to a rule set, with every mistake of every file."""

from __future__ import annotations

from collections.abc import Mapping

from sentinel.facts.cards import INCIDENT
from sentinel.facts.catalogue import CATALOGUE
from sentinel.model.pattern import EventDef
from sentinel.model.problem import Problem, did_you_mean
from sentinel.model.rule import RuleDef
from sentinel.parsing.extract import Extractor, PatternError
from sentinel.rules.check import check_rule
from sentinel.rules.explains import check_explains
from sentinel.rules.ruleset import SCOPES, CompiledRule, RuleSet
from sentinel.rules.schema import SOURCES, decode, event_defs, rule_def

#: events that the engine makes of others, so that no wording is theirs
DERIVED = (INCIDENT,)
#: tables of a rule file whose keys are names for its expressions
_NAMING = ("window", "event", "value", "check")


def load_events(files: Mapping[str, bytes]) -> tuple[dict[str, EventDef], list[Problem]]:
    """Event definitions by name, from file name -> content."""
    problems: list[Problem] = []
    events: dict[str, EventDef] = {}
    origin: dict[str, str] = {}
    for made in DERIVED:
        origin[made.name] = "sentinel itself"
    for file, data in sorted(files.items()):
        table, bad = decode(data, file)
        problems += bad
        if bad:
            continue
        defs, bad = event_defs(table, file)
        problems += bad
        for definition in defs:
            if definition.name in origin:
                problems.append(Problem(file, f"event '{definition.name}'", f"is defined in {origin[definition.name]} too"))
                continue
            problems += _signals(definition, file)
            events[definition.name] = definition
            origin[definition.name] = file
    for source in SOURCES:
        mine = [e for e in events.values() if e.source == source]
        try:
            problems += [Problem(origin.get(_subject(text), source), "", text) for text in Extractor(mine).self_check()]
        except PatternError as error:
            problems.append(Problem(origin.get(error.event, source), f"event '{error.event}'", str(error)))
            # A set with a broken pattern cannot be built: go on without the event so that other findings still come.
            events.pop(error.event, None)
    return events, problems


def _subject(text: str) -> str:
    return text.split("'")[1] if text.count("'") >= 2 else ""


def _signals(definition: EventDef, file: str) -> list[Problem]:
    where = f"event '{definition.name}'"
    return [
        Problem(file, where, f"sets unknown signal '{signal}'{did_you_mean(signal, CATALOGUE)}")
        for signal in (*definition.sets, *definition.const, *definition.adds, *definition.forgets)
        if signal not in CATALOGUE
    ]


def load_rules(files: Mapping[str, bytes], events: Mapping[str, EventDef]) -> tuple[list[CompiledRule], list[Problem]]:
    """Compiled rules from file name -> content; a file with an error yields none."""
    problems: list[Problem] = []
    rules: list[RuleDef] = []
    #: by file, the names that a rule declares which could be decoded only in part: what there is of it is checked as well
    broken: dict[str, set[str]] = {}
    for file, data in sorted(files.items()):
        table, bad = decode(data, file)
        problems += bad
        if bad:
            continue
        rule, bad = rule_def(table, file)
        problems += bad
        rules.append(rule)
        if any(p.level == "error" for p in bad):
            broken[file] = {name for kind in _NAMING if isinstance(table.get(kind), dict) for name in table[kind]}
        if any(p.where == "scope" for p in bad):
            # Which signals it may read is not known.
            broken[file] |= set(SCOPES)
    problems += _duplicates(rules)
    problems += check_explains(rules)
    ids = {r.id for r in rules}
    compiled = []
    for rule in rules:
        ready, bad = check_rule(rule, events, ids, broken.get(rule.path))
        problems += bad
        if ready is not None:
            compiled.append(ready)
    return compiled, problems


def _duplicates(rules: list[RuleDef]) -> list[Problem]:
    problems = []
    for key in ("id", "message_id"):
        first: dict[str, str] = {}
        for rule in rules:
            value = str(getattr(rule, key))
            if value and value in first:
                problems.append(Problem(rule.path, key, f"'{value}' is used by {first[value]} too; each rule needs its own"))
            first.setdefault(value, rule.path)
    return problems


def load(rule_files: Mapping[str, bytes], event_files: Mapping[str, bytes]) -> tuple[RuleSet | None, list[Problem]]:
    """A rule set, or None if there is any error; warnings do not stop it."""
    events, problems = load_events(event_files)
    events |= {made.name: made for made in DERIVED}
    rules, more = load_rules(rule_files, events)
    problems += more
    if any(p.level == "error" for p in problems):
        return None, problems
    return RuleSet.build(rules, events.values()), problems
