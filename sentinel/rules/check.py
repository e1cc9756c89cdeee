"""Checks of a rule against the signal catalogue, the event definitions and the other rules."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from sentinel.facts.catalogue import CATALOGUE
from sentinel.model.labels import Value
from sentinel.model.pattern import EventDef
from sentinel.model.problem import Problem, did_you_mean
from sentinel.model.rule import FixDef, RuleDef
from sentinel.model.signal import Signal
from sentinel.rules import advice
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
_ORDERED = ("<", "<=", ">", ">=")
_KINDS = ("firing", "quiet", "unknown")


def check_rule(
    rule: RuleDef, events: Mapping[str, EventDef], rule_ids: Collection[str], undecoded: Collection[str] | None = None
) -> tuple[CompiledRule | None, list[Problem]]:
    """All mistakes of one rule; the compiled rule if it can be used.

    `undecoded` is given for a rule of which only a part could be decoded, which is never used: names that its file declares, so
    that what could not be decoded is not told a second time as an unknown name.
    """
    findings = Findings(rule.path)
    names = _Names(rule, events, findings, undecoded or ())
    for key, expression in _expressions(rule):
        _check_expression(key, expression, names, findings)
    for key, text in _texts(rule):
        try:
            for name in Template.parse(text).names:
                names.check(name, key)
        except TemplateError as error:
            findings.error(key, str(error))
    for other in rule.explains:
        if other not in rule_ids:
            findings.error("explains", f"there is no rule '{other}'{did_you_mean(other, rule_ids)}")
    _check_shape(rule, findings)
    for cause in rule.causes:
        for i, fix in enumerate(cause.fixes, 1):
            for problem in advice.problems(fix):
                findings.error(f"cause '{cause.id}'.fix[{i}]", problem)
    if undecoded is not None or any(p.level == "error" for p in findings.problems):
        return None, findings.problems
    _check_advice(rule, findings)
    return compile_rule(rule), findings.problems


def _check_advice(rule: RuleDef, findings: Findings) -> None:
    """An alert without a single fix helps nobody: whatever else is not known, each cause must have one to tell."""
    for cause in rule.causes:
        # What its own condition reads is known where the cause is told.
        known = {f"{rule.scope}.name", *(Condition(cause.when).paths if cause.when else ())}
        sure = [fix.builds for fix in cause.fixes if not fix.when and _shows(fix, known)]
        every = any(b is None or (b.low is None and b.high is None) for b in sure)
        # Offered to every build by two fixes, one up to some build and one from there on.
        every = every or ({None} <= {b.low for b in sure if b} and {None} <= {b.high for b in sure if b})
        if cause.fixes and not every:
            what = "has only fixes with conditions: where those are not known it gives no advice"
            findings.warning(f"cause '{cause.id}'", f"{what}; end with one that always fits, or add one with otherwise = true")


def _shows(fix: FixDef, known: Collection[str]) -> bool:
    """Every value that its texts must show is known."""
    texts = (Template.parse(text) for text in (fix.do, fix.command, fix.verify, fix.flags))
    return all(name in known for text in texts for name in text.needed)


def _check_shape(rule: RuleDef, findings: Findings) -> None:
    seen: set[str] = set()
    for i, cause in enumerate(rule.causes):
        if cause.id in seen:
            findings.error(f"cause '{cause.id}'", "is there twice")
        seen.add(cause.id)
        if not cause.when and i < len(rule.causes) - 1:
            after = ", ".join(c.id for c in rule.causes[i + 1 :])
            findings.error(f"cause '{cause.id}'", f"has no 'when', so these can never be reached: {after}")
    if not rule.causes:
        findings.error("cause", "is missing: a rule says why and what to do")
    kinds = Counter[str](t.expect.state for t in rule.tests)
    for kind in _KINDS:
        if not kinds[kind]:
            findings.error("test", f"needs at least one test that expects state = '{kind}'")
    for test in rule.tests:
        where = f"test '{test.name}'"
        if test.expect.cause and test.expect.cause not in seen:
            findings.error(
                where, f"expects cause '{test.expect.cause}', which is not there{did_you_mean(test.expect.cause, seen)}"
            )
        given = [*test.given.items(), *(pair for _, values in test.later for pair in values.items())]
        for signal, value in given:
            spec = CATALOGUE.get(signal)
            if spec is None:
                findings.error(where, f"gives unknown signal '{signal}'{did_you_mean(signal, CATALOGUE)}")
            elif not _fits(spec, value):
                findings.error(where, f"gives {value!r} for '{signal}', which is {spec.type}")
        for signal in test.unknown:
            if signal not in CATALOGUE:
                findings.error(where, f"names unknown signal '{signal}'{did_you_mean(signal, CATALOGUE)}")


def _fits(spec: Signal, value: Value) -> bool:
    if isinstance(value, bool):
        return spec.type == "flag"
    if isinstance(value, str):
        return spec.type == "text"
    return spec.type == "float" or (spec.type == "int" and isinstance(value, int))


def _expressions(rule: RuleDef) -> list[tuple[str, str]]:
    out = [(f"value.{v.name}", v.expression) for v in rule.values]
    out += [(f"check.{c.name}", c.expression) for c in rule.checks]
    out += [("alert.when", rule.when), ("alert.clear", rule.clear)]
    for cause in rule.causes:
        out.append((f"cause '{cause.id}'.when", cause.when))
        out += [(f"cause '{cause.id}'.fix[{i}].when", f.when) for i, f in enumerate(cause.fixes, 1)]
    return [(key, text) for key, text in out if text]


def _texts(rule: RuleDef) -> list[tuple[str, str]]:
    out = [("alert.summary", rule.summary)]
    for cause in rule.causes:
        out.append((f"cause '{cause.id}'.text", cause.text))
        for i, fix in enumerate(cause.fixes, 1):
            parts = {"do": fix.do, "command": fix.command, "risk": fix.risk, "verify": fix.verify, "flags": fix.flags}
            out += [(f"cause '{cause.id}'.fix[{i}].{part}", text) for part, text in parts.items()]
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
            self._signal(window.signal, f"window.{window.name}")
            self.samples[window.name] = 7.5
        for binding in rule.events:
            definition = events.get(binding.event)
            fields: dict[str, Value] = dict(_JOINED) if binding.event in _KILLS else {}
            if definition is None:
                findings.error(
                    f"event.{binding.name}", f"there is no event '{binding.event}'{did_you_mean(binding.event, events)}"
                )
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

    def _signal(self, name: str, key: str) -> None:
        scope = name.partition(".")[0]
        if name not in CATALOGUE:
            self._findings.error(key, f"unknown signal '{name}'{did_you_mean(name, CATALOGUE)}")
        elif scope not in {self._rule.scope, "host", *self._undecoded}:
            self._findings.error(key, f"a rule of scope '{self._rule.scope}' cannot read '{name}'")

    def check(self, path: str, key: str) -> bool:
        """Note an error if the name does not exist; True if it does."""
        head, _, rest = path.partition(".")
        before = len(self._findings.problems)
        if head in SCOPES:
            if path != f"{self._rule.scope}.name":
                self._signal(path, key)
        elif head not in self.samples and head in self._undecoded:
            return False
        elif head not in self.samples:
            known = [n for n in self.samples if n not in SCOPES]
            self._findings.error(key, f"unknown name '{path}'{did_you_mean(head, known)}")
        elif isinstance(self.samples[head], dict):
            part, _, field = rest.partition(".")
            if part not in _EVENT_PARTS or (part == "fields") != bool(field):
                self._findings.error(key, f"'{path}': an event has count, age and fields.<name>")
            elif field and field not in self.samples[head]["fields"]:
                known = list(self.samples[head]["fields"])
                self._findings.error(key, f"event '{head}' has no field '{field}'{did_you_mean(field, known)}")
        elif rest:
            self._findings.error(key, f"'{head}' has no part '{rest}'")
        return len(self._findings.problems) == before


def _check_expression(key: str, expression: str, names: _Names, findings: Findings) -> None:
    try:
        condition = Condition(expression)
    except ExpressionError as error:
        findings.error(key, f"is not CEL: {error}")
        return
    # Every name is checked, not only up to the first that is wrong.
    if sum(not names.check(path, key) for path in condition.paths):
        return
    for path, operator, literal in _COMPARED.findall(expression):
        _check_comparison(key, path, operator, literal, names, findings)
    try:
        value = condition.evaluate(context(names.samples))
    except ExpressionError as error:
        findings.error(key, f"mixes types: {error}")
        return
    if key.startswith("value."):
        names.samples[key.removeprefix("value.")] = value
        if isinstance(value, bool):
            findings.warning(key, "is true or false: make it a [check]")
    elif value is not None and not isinstance(value, bool):
        findings.error(key, f"must be true or false, it is {type(value).__name__}")


def _check_comparison(key: str, path: str, operator: str, literal: str, names: _Names, findings: Findings) -> None:
    here: Any = names.samples
    for part in path.split("."):
        here = here.get(part) if isinstance(here, dict) else None
    if here is None or isinstance(here, dict):
        return
    got = "text" if literal[0] in "'\"" else "flag" if literal in ("true", "false") else "number"
    want = "text" if isinstance(here, str) else "flag" if isinstance(here, bool) else "number"
    if got != want:
        findings.error(key, f"compares '{path}', which is {want}, with {literal}, which is {got}")
    elif operator in _ORDERED and want != "number":
        findings.error(key, f"'{path}' is {want} and has no order")
