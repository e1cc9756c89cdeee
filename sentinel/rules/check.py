"""Checks of a rule against the signal catalogue, the event definitions and the other rules."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sentinel.facts.catalogue import CATALOGUE
from sentinel.model.labels import Unknown, Value
from sentinel.model.pattern import EventDef
from sentinel.model.problem import Keys, Problem, did_you_mean
from sentinel.model.rule import CaseDef, FixDef, RuleDef
from sentinel.rules import advice
from sentinel.rules.check_events import fits
from sentinel.rules.condition import Condition, ExpressionError, context
from sentinel.rules.decode import Findings
from sentinel.rules.ruleset import SCOPES, CompiledRule, compile_rule
from sentinel.rules.template import Template, TemplateError

_SAMPLES: dict[str, Value] = {"flag": True, "int": 7, "float": 7.5, "text": "x"}
_FIELD_SAMPLES: dict[str, Value] = {"text": "x", "int": 7, "float": 7.5, "flag": True, "MiB": 7, "GiB": 7, "kB": 7}
_EVENT_PARTS = ("count", "age", "fields")
_KILLS = ("oom_killed", "oomd_killed", "earlyoom_killed")
#: what attribution adds to the events of a kill (facts/attribution.py, facts/oom_report.py)
_JOINED: dict[str, Value] = {
    "server_state": "x",
    "load_share": 0.5,
    "model_bytes": 7,
    "locked_bytes": 7,
    "rss_bytes": 7,
    "mlock_requested": True,
    "memory_left": 7,
    "grown_anon": 7,
    "grown_file": 7,
    "grown_locked": 7,
    "invoked_by": "x",
    "constraint": "x",
    "limit_group": "x",
    "victim_group": "x",
    "limit_bytes": 7,
    "usage_bytes": 7,
    "other1": "x",
    "other2": "x",
    "other3": "x",
    "other1_bytes": 7,
    "other2_bytes": 7,
    "other3_bytes": 7,
}
_COMPARED = re.compile(r"([A-Za-z_][\w.]*)\s*(==|!=|<=|>=|<|>)\s*('[^']*'|\"[^\"]*\"|-?\d[\d.]*|true|false)")
#: Characters that an expression may make of texts of one character each.
_LONGEST_TEXT = 1000
_ORDERED = ("<", "<=", ">", ">=")
_KINDS = ("firing", "quiet", "unknown")


@dataclass(frozen=True, slots=True)
class Undecoded:
    """What a rule's file has beside what could be decoded of it: names that it declares, and parts that were left out."""

    names: Collection[str]
    keys: Collection[Keys] = ()


def check_rule(
    rule: RuleDef, events: Mapping[str, EventDef], rule_ids: Collection[str], undecoded: Undecoded | None = None
) -> tuple[CompiledRule | None, list[Problem]]:
    """All mistakes of one rule; the compiled rule if it can be used.

    `undecoded` is given for a rule of which only a part could be decoded, which is never used: what could not be decoded is not
    told a second time, as an unknown name or as missing.
    """
    findings = Findings(rule.path, left_out=undecoded.keys if undecoded is not None else (), names=_called(rule))
    names = _Names(rule, events, findings, undecoded.names if undecoded is not None else ())
    for keys, expression in _expressions(rule):
        _check_expression(keys, expression, names, findings)
    for keys, text in _texts(rule):
        try:
            for name in Template.parse(text).names:
                names.check(name, keys)
        except TemplateError as error:
            findings.error(keys, str(error))
    for i, other in enumerate(rule.explains):
        if other not in rule_ids:
            findings.error(("explains", i), f"there is no rule '{other}'{did_you_mean(other, rule_ids)}")
    _check_shape(rule, findings)
    for i, cause in enumerate(rule.causes):
        for j, fix in enumerate(cause.fixes):
            for problem in advice.problems(fix):
                findings.error(("cause", i, "fix", j), problem)
    if undecoded is not None or any(p.level == "error" for p in findings.problems):
        return None, findings.problems
    _check_advice(rule, findings)
    return compile_rule(rule), findings.problems


def _check_advice(rule: RuleDef, findings: Findings) -> None:
    """An alert without a single fix helps nobody: whatever else is not known, each cause must have one to tell."""
    for i, cause in enumerate(rule.causes):
        # What its own condition reads is known where the cause is told.
        known = {f"{rule.scope}.name", *(Condition(cause.when).paths if cause.when else ())}
        sure = [fix.builds for fix in cause.fixes if not fix.when and _shows(fix, known)]
        every = any(b is None or (b.low is None and b.high is None) for b in sure)
        # Offered to every build by two fixes, one up to some build and one from there on.
        every = every or ({None} <= {b.low for b in sure if b} and {None} <= {b.high for b in sure if b})
        if cause.fixes and not every:
            what = "has only fixes with conditions: where those are not known it gives no advice"
            findings.warning(("cause", i), f"{what}; end with one that always fits, or add one with otherwise = true")


def _shows(fix: FixDef, known: Collection[str]) -> bool:
    """Every value that its texts must show is known."""
    texts = (Template.parse(text) for text in (fix.do, fix.command, fix.verify, fix.flags))
    return all(name in known for text in texts for name in text.needed)


def _check_shape(rule: RuleDef, findings: Findings) -> None:
    seen: set[str] = set()
    for i, cause in enumerate(rule.causes):
        if cause.id in seen:
            findings.error(("cause", i), "is there twice")
        seen.add(cause.id)
        if not cause.when and i < len(rule.causes) - 1:
            after = ", ".join(c.id for c in rule.causes[i + 1 :])
            findings.error(("cause", i), f"has no 'when', so these can never be reached: {after}")
    if not rule.causes:
        findings.error(("cause",), "is missing: a rule says why and what to do")
    kinds = Counter[str](expect.state for t in rule.tests for _, expect in t.expectations)
    for kind in _KINDS:
        if not kinds[kind]:
            findings.error(("test",), f"needs at least one test that expects state = '{kind}'")
    for i, test in enumerate(rule.tests):
        _check_test(("test", i), test, seen, findings)


def _check_test(keys: Keys, test: CaseDef, causes: Collection[str], findings: Findings) -> None:
    for _, expect in test.expectations:
        if expect.cause and expect.cause not in causes:
            findings.error(keys, f"expects cause '{expect.cause}', which is not there{did_you_mean(expect.cause, causes)}")
    _check_given((*keys, "given"), test.given.items(), findings)
    _check_given((*keys, "later"), (pair for _, values in test.later for pair in values.items()), findings)
    for signal, steps in test.series.items():
        known = [(signal, step) for step in steps if step is not None and not isinstance(step, Unknown)]
        _check_given((*keys, "series"), known[:1] or [(signal, None)], findings)
        kinds = {type(step) for _, step in known}
        if len(kinds) > 1 and kinds != {int, float}:
            findings.error((*keys, "series", signal), "mixes types: a signal has one")
    for i, signal in enumerate(test.unknown):
        if signal not in CATALOGUE:
            findings.error((*keys, "unknown", i), f"names unknown signal '{signal}'{did_you_mean(signal, CATALOGUE)}")


def _check_given(keys: Keys, values: Iterable[tuple[str, Value | None]], findings: Findings) -> None:
    for signal, value in values:
        spec = CATALOGUE.get(signal)
        if spec is None:
            findings.error((*keys, signal), f"gives unknown signal '{signal}'{did_you_mean(signal, CATALOGUE)}")
        elif value is not None and not fits(spec.type, value):
            findings.error((*keys, signal), f"gives {value!r:.60} for '{signal}', which is {spec.type}")


def _called(rule: RuleDef) -> dict[Keys, str]:
    """What people call the parts of a rule."""
    names: dict[Keys, str] = {("cause", i): f"cause '{cause.id:.60}'" for i, cause in enumerate(rule.causes) if cause.id}
    return names | {("test", i): f"test '{test.name:.120}'" for i, test in enumerate(rule.tests) if test.name}


def _expressions(rule: RuleDef) -> list[tuple[Keys, str]]:
    out: list[tuple[Keys, str]] = [(("value", v.name), v.expression) for v in rule.values]
    out += [(("check", c.name), c.expression) for c in rule.checks]
    out += [(("alert", "when"), rule.when), (("alert", "clear"), rule.clear)]
    for i, cause in enumerate(rule.causes):
        out.append((("cause", i, "when"), cause.when))
        out += [(("cause", i, "fix", j, "when"), f.when) for j, f in enumerate(cause.fixes)]
    return [(keys, text) for keys, text in out if text]


def _texts(rule: RuleDef) -> list[tuple[Keys, str]]:
    out: list[tuple[Keys, str]] = [(("alert", "summary"), rule.summary)]
    for i, cause in enumerate(rule.causes):
        out.append((("cause", i, "text"), cause.text))
        for j, fix in enumerate(cause.fixes):
            parts = {"do": fix.do, "command": fix.command, "risk": fix.risk, "verify": fix.verify, "flags": fix.flags}
            out += [(("cause", i, "fix", j, part), text) for part, text in parts.items()]
    return out


class _Names:
    """Every name an expression or a text of a rule may use, with a value of its type."""

    def __init__(self, rule: RuleDef, events: Mapping[str, EventDef], findings: Findings, undecoded: Collection[str]) -> None:
        self._rule = rule
        self._undecoded = undecoded
        self._findings = findings
        self.samples: dict[str, Any] = {scope: {} for scope in SCOPES}
        allowed = {rule.scope, "host"}
        for name, signal in CATALOGUE.items():
            scope, _, key = name.partition(".")
            if scope in allowed:
                self.samples[scope][key] = _SAMPLES[signal.type]
        self.samples[rule.scope]["name"] = "x"
        for window in rule.windows:
            self._signal(window.signal, ("window", window.name))
            self.samples[window.name] = 7.5
        for binding in rule.events:
            definition = events.get(binding.event)
            fields: dict[str, Value] = dict(_JOINED) if binding.event in _KILLS else {}
            if definition is None:
                what = f"there is no event '{binding.event}'{did_you_mean(binding.event, events)}"
                findings.error(("event", binding.name), what)
            else:
                groups = {g for p in definition.patterns for g in re.findall(r"\(\?P<(\w+)>", p.regex)}
                if not definition.patterns:
                    groups = set(definition.fields)
                fields |= {g: _FIELD_SAMPLES[definition.fields.get(g, "text")] for g in groups}
            self.samples[binding.name] = {"count": 1, "age": 7.5, "fields": fields}
        for value in rule.values:
            self.samples[value.name] = None
        for check in rule.checks:
            self.samples[check.name] = True

    def _signal(self, name: str, keys: Keys) -> None:
        scope = name.partition(".")[0]
        if name not in CATALOGUE:
            self._findings.error(keys, f"unknown signal '{name}'{did_you_mean(name, CATALOGUE)}")
        elif scope not in {self._rule.scope, "host", *self._undecoded}:
            self._findings.error(keys, f"a rule of scope '{self._rule.scope}' cannot read '{name}'")

    def of(self, paths: Iterable[str]) -> dict[str, Any]:
        """The samples of these names. To prepare those of the whole catalogue for each expression takes 1.7 ms (measured)."""
        out: dict[str, Any] = {scope: {} for scope in SCOPES}
        for path in paths:
            root, _, rest = path.partition(".")
            if root not in SCOPES or not rest:
                out |= {root: self.samples[root]} if root in self.samples else {}
            elif rest in self.samples[root]:
                out[root][rest] = self.samples[root][rest]
        return out

    def check(self, path: str, keys: Keys) -> bool:
        """Note an error if the name does not exist; True if it does."""
        head, _, rest = path.partition(".")
        before = len(self._findings.problems)
        if head in SCOPES:
            if path != f"{self._rule.scope}.name":
                self._signal(path, keys)
        elif head not in self.samples and head in self._undecoded:
            return False
        elif head not in self.samples:
            known = [n for n in self.samples if n not in SCOPES]
            self._findings.error(keys, f"unknown name '{path}'{did_you_mean(head, known)}")
        elif isinstance(self.samples[head], dict):
            part, _, field = rest.partition(".")
            if part not in _EVENT_PARTS or (part == "fields") != bool(field):
                self._findings.error(keys, f"'{path}': an event has count, age and fields.<name>")
            elif field and field not in self.samples[head]["fields"]:
                known = list(self.samples[head]["fields"])
                self._findings.error(keys, f"event '{head}' has no field '{field}'{did_you_mean(field, known)}")
        elif rest:
            self._findings.error(keys, f"'{head}' has no part '{rest}'")
        return len(self._findings.problems) == before


def _check_expression(keys: Keys, expression: str, names: _Names, findings: Findings) -> None:
    try:
        condition = Condition(expression)
    except ExpressionError as error:
        findings.error(keys, f"is not CEL: {error}", error.row)
        return
    # Every name is checked, not only up to the first that is wrong.
    if sum(not names.check(path, keys) for path in condition.paths):
        return
    for path, operator, literal in _COMPARED.findall(expression):
        _check_comparison(keys, path, operator, literal, names, findings)
    try:
        value = condition.evaluate(context(names.of(condition.paths)))
    except ExpressionError as error:
        findings.error(keys, f"mixes types: {error}")
        return
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        findings.error(keys, f"makes a text of {len(value)} characters of texts of one; it would grow without bounds")
        return
    if keys[0] == "value":
        names.samples[str(keys[1])] = value
        if isinstance(value, bool):
            findings.warning(keys, "is true or false: make it a [check]")
    elif value is not None and not isinstance(value, bool):
        findings.error(keys, f"must be true or false, it is {type(value).__name__}")


def _check_comparison(keys: Keys, path: str, operator: str, literal: str, names: _Names, findings: Findings) -> None:
    here: Any = names.samples
    for part in path.split("."):
        here = here.get(part) if isinstance(here, dict) else None
    if here is None or isinstance(here, dict):
        return
    got = "text" if literal[0] in "'\"" else "flag" if literal in ("true", "false") else "number"
    want = "text" if isinstance(here, str) else "flag" if isinstance(here, bool) else "number"
    if got != want:
        findings.error(keys, f"compares '{path}', which is {want}, with {literal}, which is {got}")
    elif operator in _ORDERED and want != "number":
        findings.error(keys, f"'{path}' is {want} and has no order")
