"""Builds a rule set from the bytes of rule files and event files, with every mistake of every file."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sentinel.engine.facts.gpu_incidents import INCIDENT, WORK_ENDED
from sentinel.engine.facts.request_events import DERIVED as OF_REQUESTS
from sentinel.engine.rules.ruleset import SCOPES, CompiledRule, RuleSet
from sentinel.model.event import EventDef
from sentinel.model.problem import Keys, Problem, did_you_mean
from sentinel.model.rule import OverrideDef, RuleDef
from sentinel.rulefiles.decode import SOURCES, event_defs, rule_def
from sentinel.rulefiles.digest import content_digest
from sentinel.rulefiles.extend import extended
from sentinel.rulefiles.file_kinds import sorted_out
from sentinel.rulefiles.lint.cycles import check_inhibits
from sentinel.rulefiles.lint.events import check_event, check_patterns
from sentinel.rulefiles.lint.rule import Undecoded
from sentinel.rulefiles.override import Overridden, lint
from sentinel.rulefiles.toml.document import Decoded, decode, placed
from sentinel.rulefiles.toml.tables import Findings, Table

#: events that the engine derives from others, so no pattern defines them
DERIVED = (INCIDENT, WORK_ENDED, *OF_REQUESTS)
#: tables of a rule file whose keys are names for its expressions
_NAMING = ("window", "event", "value", "check")


def load_events(files: Mapping[str, bytes], checked: Collection[str] = ()) -> tuple[dict[str, EventDef], list[Problem]]:
    """Event definitions by name, from file name -> content. The `checked` files are known to be without mistakes."""
    problems: list[Problem] = []
    events: dict[str, EventDef] = {}
    origin: dict[str, str] = {made.name: "sentinel itself" for made in DERIVED}
    places: dict[str, Keys] = {}
    extensions: list[tuple[EventDef, Keys]] = []
    for file, data in sorted(files.items()):
        decoded = decode(data, file)
        problems += decoded.problems
        if not decoded.usable:
            continue
        findings = Findings(file, left_out=decoded.left_out)
        defs = event_defs(decoded, findings)
        for i, definition in enumerate(defs):
            if definition.extends:
                extensions.append((definition, ("event", i)))
                continue
            if definition.name in origin:
                more = f"; further patterns stand under extends = '{definition.name}'"
                findings.error(("event", i), f"is defined in {origin[definition.name]} too{more}")
                continue
            if file not in checked:
                check_event(definition, ("event", i), findings)
            events[definition.name] = definition
            origin[definition.name] = file
            places[definition.name] = ("event", i)
        problems += findings.problems
    # Those of all files against each other, so one file that is new is enough.
    for source in SOURCES if files.keys() - {*checked} else ():
        problems += check_patterns({name: e for name, e in events.items() if e.source == source}, places)
    return extended(events, extensions, problems), problems


def load_rules(
    files: Mapping[str, bytes], events: Mapping[str, EventDef], *, tests: bool = True, checked: Collection[str] = ()
) -> tuple[list[CompiledRule], list[OverrideDef], list[Problem]]:
    """Compiled rules and overrides from file name -> content; a file with an error yields none.

    Without `tests` the rules' tests are left out, and test files count by their names alone. A rule of a `checked` file that
    nothing overrides is compiled as it is.
    """
    given = sorted_out(files, tests=tests)
    problems = given.problems
    rules: list[RuleDef] = []
    written: dict[str, Decoded] = {}
    #: by file, rules that were only partly decoded: the decoded part is checked as well
    broken: dict[str, Undecoded] = {}
    for file, decoded in given.rules.items():
        rule, bad = rule_def(decoded, file, tests=tests)
        problems += bad
        rules.append(rule)
        written[file] = decoded
        bad += [p for p in problems if p.file == file]
        if decoded.left_out or any(p.level == "error" for p in bad):
            table = decoded.table
            names = {name for kind in _NAMING if isinstance(table.get(kind), dict) for name in table[kind]}
            names |= {str(keys[1]) for keys in decoded.left_out if len(keys) > 1 and keys[0] in _NAMING}
            if any(p.keys == ("scope",) for p in bad):
                # The signals it may read are unknown.
                names |= set(SCOPES)
            broken[file] = Undecoded(names, decoded.left_out)
    rules.sort(key=lambda rule: rule.path)
    problems += _duplicates(rules)
    ids = {r.id for r in rules}
    #: by rule id, in file order: the last one wins
    layers: dict[str, list[tuple[str, Decoded]]] = {}
    for file, decoded in given.overrides.items():
        findings = Findings(file, left_out=decoded.left_out)
        layers.setdefault(Table(decoded.table, (), findings).text("override", required=True), []).append((file, decoded))
        problems += findings.problems
    for rule_id in layers.keys() - ids - {""}:
        what = f"there is no rule '{rule_id:.60}'{did_you_mean(rule_id[:60], ids)}"
        problems += [Problem(file, "override", what, keys=("override",)) for file, _ in layers[rule_id]]
    compiled = []
    overrides: list[OverrideDef] = []
    effective = []
    for rule in rules:
        over = Overridden(rule, written[rule.path], layers.get(rule.id, ()), broken.get(rule.path), given)
        problems += over.problems
        overrides += over.definitions({file: content_digest(files[file]) for file, _ in layers.get(rule.id, ())})
        if over.enabled:
            effective.append(over)
    problems += check_inhibits([over.rule for over in effective])
    for over in effective:
        ready, bad = over.check(events, ids, checked=over.rule.path in checked)
        problems += bad
        if ready is not None:
            compiled.append(ready)
    problems += lint(overrides)
    return compiled, overrides, [given.placed(problem) for problem in problems]


def _duplicates(rules: list[RuleDef]) -> list[Problem]:
    problems = []
    for key in ("id", "message_id"):
        first: dict[str, str] = {}
        for rule in rules:
            value = str(getattr(rule, key))
            if value and value in first:
                what = f"'{value}' is used by {first[value]} too; each rule needs its own"
                if key == "id":
                    what += f"; to change that one, write override = '{value}' and only the fields to replace"
                problems.append(Problem(rule.path, key, what, keys=(key,)))
            first.setdefault(value, rule.path)
    return problems


def load(
    rule_files: Mapping[str, bytes],
    event_files: Mapping[str, bytes],
    *,
    tests: bool = True,
    checked: Collection[str] = (),
) -> tuple[RuleSet | None, list[Problem]]:
    """A rule set, or None if there is any error; warnings do not prevent it. Each problem comes with its line.

    Files that are known to be without mistakes (`checked`) are decoded and not checked.
    Of two overrides of one field the one in the later file wins, in the order in which the files are given.
    """
    events, problems = load_events(event_files, checked)
    events |= {made.name: made for made in DERIVED}
    rules, overrides, more = load_rules(rule_files, events, tests=tests, checked=checked)
    problems = placed(problems + more, {**rule_files, **event_files})
    if any(p.level == "error" for p in problems):
        return None, problems
    return RuleSet.build(rules, events.values(), overrides=overrides), problems
