"""From the bytes of rule files and event files to a rule set, with every mistake of every file."""

from __future__ import annotations

from collections.abc import Mapping

from sentinel.facts.cards import INCIDENT
from sentinel.model.pattern import EventDef
from sentinel.model.problem import Keys, Problem
from sentinel.model.rule import RuleDef
from sentinel.rules.check import Undecoded, check_rule
from sentinel.rules.check_events import check_event, check_wordings
from sentinel.rules.decode import Findings
from sentinel.rules.explains import check_explains
from sentinel.rules.ruleset import SCOPES, CompiledRule, RuleSet
from sentinel.rules.schema import SOURCES, event_defs, rule_def
from sentinel.rules.toml import decode, placed

#: events that the engine makes of others, so that no wording is theirs
DERIVED = (INCIDENT,)
#: tables of a rule file whose keys are names for its expressions
_NAMING = ("window", "event", "value", "check")


def load_events(files: Mapping[str, bytes]) -> tuple[dict[str, EventDef], list[Problem]]:
    """Event definitions by name, from file name -> content."""
    problems: list[Problem] = []
    events: dict[str, EventDef] = {}
    origin: dict[str, str] = {made.name: "sentinel itself" for made in DERIVED}
    places: dict[str, Keys] = {}
    for file, data in sorted(files.items()):
        decoded = decode(data, file)
        problems += decoded.problems
        if not decoded.usable:
            continue
        findings = Findings(file, left_out=decoded.left_out)
        defs = event_defs(decoded, findings)
        for i, definition in enumerate(defs):
            if definition.name in origin:
                findings.error(("event", i), f"is defined in {origin[definition.name]} too")
                continue
            check_event(definition, ("event", i), findings)
            events[definition.name] = definition
            origin[definition.name] = file
            places[definition.name] = ("event", i)
        problems += findings.problems
    for source in SOURCES:
        problems += check_wordings({name: e for name, e in events.items() if e.source == source}, places)
    return events, problems


def load_rules(files: Mapping[str, bytes], events: Mapping[str, EventDef]) -> tuple[list[CompiledRule], list[Problem]]:
    """Compiled rules from file name -> content; a file with an error yields none."""
    problems: list[Problem] = []
    rules: list[RuleDef] = []
    #: by file, what of a rule could be decoded only in part: what there is of it is checked as well
    broken: dict[str, Undecoded] = {}
    for file, data in sorted(files.items()):
        decoded = decode(data, file)
        problems += decoded.problems
        if not decoded.usable:
            continue
        rule, bad = rule_def(decoded, file)
        problems += bad
        rules.append(rule)
        bad = [*decoded.problems, *bad]
        if any(p.level == "error" for p in bad):
            table = decoded.table
            names = {name for kind in _NAMING if isinstance(table.get(kind), dict) for name in table[kind]}
            names |= {str(keys[1]) for keys in decoded.left_out if len(keys) > 1 and keys[0] in _NAMING}
            if any(p.keys == ("scope",) for p in bad):
                # Which signals it may read is not known.
                names |= set(SCOPES)
            broken[file] = Undecoded(names, decoded.left_out)
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
                what = f"'{value}' is used by {first[value]} too; each rule needs its own"
                problems.append(Problem(rule.path, key, what, keys=(key,)))
            first.setdefault(value, rule.path)
    return problems


def load(rule_files: Mapping[str, bytes], event_files: Mapping[str, bytes]) -> tuple[RuleSet | None, list[Problem]]:
    """A rule set, or None if there is any error; warnings do not stop it. Each problem comes with its line."""
    events, problems = load_events(event_files)
    events |= {made.name: made for made in DERIVED}
    rules, more = load_rules(rule_files, events)
    problems = placed(problems + more, {**rule_files, **event_files})
    if any(p.level == "error" for p in problems):
        return None, problems
    return RuleSet.build(rules, events.values()), problems
