"""JSON Schemas of the kinds of rule file, for editors with a TOML language server: completion, hover texts, checking.

Made from the same literals and catalogues that the decoder uses. They know the shape of a file; what its expressions say, and
what its names lead to, `sentinel rules lint` knows. Draft 7, for that is what language servers of TOML read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import get_args

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.alert import REASONS, Severity
from sentinel.model.entity import Scope
from sentinel.model.event import FieldType
from sentinel.model.rule import Basis, Confidence, Take
from sentinel.rulefiles.decode import SOURCES
from sentinel.rulefiles.schema_parts import (
    DURATION,
    SIGNAL,
    VALUES,
    Schema,
    array,
    by_signal,
    duration,
    file,
    filled,
    flag,
    named,
    offered,
    one_of,
    parts_of,
    table,
    text,
)

_IDS = {"pattern": "^[a-z][a-z0-9]*(-[a-z0-9]+)*$"}
_STATES = ("firing", "quiet", "pending", "unknown", "resolved")
_ORIGINS = ("recorded", "reference", "source", "composed")
_BUILDS = r"^(any|b\d+-(b\d+)?|-b\d+)$"
_CEL = "a CEL expression over signals, windows, events, values and checks; unknown is neither true nor false"
_SHOWN = "{name} and {name:format} show values, [? ... ?] vanishes where one in it is unknown"


def schemas(ruleset: RuleSet) -> dict[str, Schema]:
    """The schema of each kind. `ruleset` gives the names of rules and events that an editor offers."""
    rules, events = sorted(ruleset.rules), sorted(ruleset.events)
    return {
        "rule": _rule(rules, events),
        "override": _override(rules, events),
        "events": _events(events),
        "tests": _tests(),
        "shared": _shared(),
    }


# --- a rule ---


def _rule(rules: list[str], events: list[str]) -> Schema:
    alert = _alert() | {"required": ["when", "summary"], "anyOf": [{"required": ["clear"]}, {"required": ["clear_after"]}]}
    own = {
        "id": filled("what state, silences and the journal know it by; for ever", pattern="^[a-z][a-z0-9]*(-[a-z0-9]+)*$"),
        "message_id": text("32 hex digits from `systemd-id128 new`, never used again", pattern="^[0-9a-f]{32}$"),
        "scope": one_of(get_args(Scope), "what it judges: one alert for each"),
        **_parts(rules, events),
        "alert": alert,
        "cause": array(_cause(["id", "text"]), "why it happens: the first whose `when` is true is reported") | {"minItems": 1},
        "test": array(_test(), "tests, here or in ID.test.toml beside it: at least one that fires, one quiet, one unknown"),
        "fix": _fixes(),
        "base": _bases(),
    }
    required = ("id", "message_id", "title", "severity", "scope", "alert", "cause")
    return file("a rule of sentinel", own, required, "One failure: is it happening, why, and what to do.")


def _parts(rules: list[str], events: list[str]) -> dict[str, Schema]:
    """What a rule has and an override may replace."""
    window = {
        "signal": SIGNAL,
        "over": duration("the last so long"),
        "take": one_of(get_args(Take), "reduced to one number; rate is per second"),
    }
    event = {
        "name": offered(events, "an event (docs/events.md)"),
        "since": one_of(["server.start"], "since the server's present run began"),
        "over": duration("within the last so long"),
    }
    binding = table(event, "did it happen: name.count, name.age, name.fields.x", ["name"])
    return {
        "title": filled("the failure in a few words, as the end of 'reports that ...'"),
        "impact": filled("what it costs the people who use the server, in a sentence or two; shown on the rule's page"),
        "severity": one_of(get_args(Severity), "how bad it is"),
        "basis": array(one_of(get_args(Basis), "seed, source, thread or measured"), "where the knowledge comes from"),
        "references": array({"type": "string"}, "addresses to read more"),
        "false_positives": array({"type": "string"}, "what looks like it and is not"),
        "inhibits": array(
            offered(rules, "a rule"), "rules whose alerts are effects of this one: they do not notify while it fires"
        ),
        "explains": array({"type": "string"}, "deprecated: write 'inhibits'") | {"deprecated": True},
        "window": named(table(window, "numbers over time", ["signal", "over", "take"]), "numbers over time, by name"),
        "event": named(
            binding | {"oneOf": [{"required": ["since"]}, {"required": ["over"]}]}, "events that it reads, by a name of its own"
        ),
        "value": named(filled("a number or text computed once for checks and texts, in CEL"), "computed values, by name"),
        "check": named(filled(_CEL), "conditions by name, shown one by one by `sentinel why`"),
        "evidence": named(filled(f"what holds when this check is true, in words: {_SHOWN}"), "by the name of a check"),
    }


def _alert() -> Schema:
    keys = {
        "when": filled(f"fires while this is true: {_CEL}"),
        "for": duration("for so long without a break before it fires"),
        "clear": text(f"ends when this is true: {_CEL}"),
        "clear_after": duration("ends so long after it was last so, for what only happens"),
        "clear_after_by_hand": duration("the same for a server that nothing starts again: no unit, no container, no front end"),
        "keep_firing_for": duration("goes on firing for so long after it cleared, against flapping"),
        "keep": duration("deprecated: write 'keep_firing_for'") | {"deprecated": True},
        "summary": filled(f"one sentence with its values: {_SHOWN}"),
        "outlives_server": flag("stays open when the server's process has ended"),
        "slows_generation": flag("makes answers slow: while it is open, no usual speed is learned from this server's answers"),
    }
    return table(keys, "when it fires and when it ends")


def _fix() -> dict[str, Schema]:
    """The keys of a fix, of a cause's own and of a named one."""
    return {
        "do": filled(f"what to do: {_SHOWN}"),
        "command": text("the command, its values quoted for the shell; nothing runs it"),
        "flags": text("instead of a command: what belongs on the command line of llama-server"),
        "restart": flag("the server has to be restarted: by its unit, its container or a person, and the command says so"),
        "stop": flag("the server has to be stopped, and the command says so"),
        "unit": text("instead of a command: a setting in the [Service] of the server's unit, as in 'LimitMEMLOCK=infinity'"),
        "container": text("the same setting for a container: options of docker run"),
        "shell": text("the same setting for a server that a person starts: a command of the shell"),
        "env": text("instead of a command: a variable to set where the server is started, NAME=value"),
        "unset": text("instead of a command: the name of a variable to remove where the server is started"),
        "risk": text("what may go wrong or stop"),
        "verify": text("a command that shows whether it worked"),
        "builds": text("shown only to these builds of llama.cpp: b5000-, -b5300, b3942-b5300 or any", pattern=_BUILDS),
        "when": text(f"shown only where this is not false: {_CEL}"),
        "otherwise": flag("shown where none of the others is known to fit"),
    }


def _fixes() -> Schema:
    keys = {**_fix(), "value": named(filled("a number or text that its texts read, in CEL"), "values for whoever uses it")}
    return _library(table(keys, "a fix"), "fixes by name, for `use`")


def _bases() -> Schema:
    keys = {key: said for key, said in _test_keys().items() if key not in ("name", "expect")}
    return _library(table(keys, "what tests share"), "bases of tests by name, for `base`")


def _library(one: Schema, help_: str) -> Schema:
    return {"type": "object", "description": help_, "propertyNames": _IDS, "additionalProperties": one}


def _cause(required: list[str]) -> Schema:
    use = {"use": filled("a named fix, [fix.NAME]; what stands beside this is said instead of what that says")}
    fix = table({**use, **_fix()}, "advice") | {"anyOf": [{"required": ["do"]}, {"required": ["use"]}]}
    keys = {
        "id": filled("its name within the rule"),
        "when": text(f"the first cause for which this is true; without it always: {_CEL}"),
        "text": filled(f"the cause in a sentence: {_SHOWN}"),
        "confidence": one_of(get_args(Confidence), "how sure that is"),
        "severity": one_of(get_args(Severity), "how bad it is where this is the cause; without it as the rule says"),
        "also": array(text("a cause's id"), "less likely causes: the first that is true as well is named with this one"),
        "fix": array(fix, "what to do, best first"),
    }
    return table(keys, "a cause", required)


def _test() -> Schema:
    return table(_test_keys(), "a test on a virtual clock that starts at 0 s", ["name", "expect"])


def _test_keys() -> dict[str, Schema]:
    some = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    expect = {
        "at": duration("at this time of the test"),
        "state": one_of(_STATES, "state of the alert"),
        "cause": text("id of the cause that is reported"),
        "summary_contains": text("a part of the summary"),
        "fix_contains": some | {"description": "parts of fixes that are shown"},
        "fix_lacks": some | {"description": "what no fix says"},
        "missing": array({"type": "string"}, "values that must be unknown"),
        "reason": one_of(REASONS, "why it came to this state"),
    }
    one = table(expect, "what is expected", ["state"])
    timed = text("'+3s the line'", pattern=r"^\+\d+(\.\d+)?(ms|s|m|h|d) ")
    return {
        "name": filled("what it shows"),
        "base": some | {"description": "bases, [base.NAME], that it stands on; of a signal the test has the last word"},
        "without": array(SIGNAL, "signals of its bases of which nothing is said"),
        "at": duration("when it is looked at; 60s if it does not say"),
        "given": VALUES,
        "unknown": array(SIGNAL, "signals that cannot be read"),
        "later": {
            "type": "object",
            "description": 'values that change, by the time from which on: "5s" = { ... }',
            "propertyNames": {"pattern": DURATION},
            "additionalProperties": VALUES,
        },
        "series": by_signal(
            lambda _: {"type": "string"},
            "values over time, one a step: '0.4x30', a ramp '1..100x20', ? cannot be read, _ is not read",
        ),
        "step": duration("between two values of a series; 1s if it does not say"),
        "log": array(timed, "lines of llama-server with their times"),
        "kernel": array(timed, "lines of the kernel"),
        "systemd": array(timed, "what systemd and other daemons say of the unit"),
        "gone": duration("when the server's process ends"),
        "restart": duration("when a new process of the server is found"),
        "sentinel_restarts": array(duration("a time"), "when sentinel itself is restarted"),
        "unplugged": duration("when the GPU is taken off the bus"),
        "expect": {"anyOf": [one, array(one, "each with its time") | {"minItems": 1}], "description": "what is expected"},
    }


# --- an override, an event file ---


def _override(rules: list[str], events: list[str]) -> Schema:
    own = {
        "override": offered(rules, "id of the rule of which fields are replaced"),
        "against": text("digest of the rule that this was written against, from `sentinel rules override ID`"),
        "enabled": flag("false switches the rule off"),
        **_parts(rules, events),
        "alert": _alert(),
        "cause": array(_cause(["id"]), "fields of causes, by the cause's id; fixes are replaced together"),
        "test": array(_test(), "tests of this override; one with the name of a test of the rule takes its place"),
        "fix": _fixes(),
        "base": _bases(),
    }
    return file("an override of sentinel", own, ["override"], "Replaces named fields of a rule; nothing is appended.")


def _tests() -> Schema:
    own = {"test": array(_test(), "tests of the rule in the file beside it"), "base": _bases()}
    return file("tests of a rule of sentinel", own, [], "ID.test.toml beside ID.toml: the tests of that rule.")


def _shared() -> Schema:
    return file("what rules of sentinel share", {"fix": _fixes(), "base": _bases()}, [], "Named fixes and bases of tests.")


def _events(events: list[str]) -> Schema:
    pattern = {
        "builds": text("builds of llama.cpp that print it: b5000-, -b5300, b3942-b5300 or any", pattern=_BUILDS),
        "regex": parts_of("RE2, begins with ^, matched after prefix, colour and time are taken off; (?P<name>...) are fields"),
        "example": parts_of("one real line, which is its test"),
        "from": one_of(_ORIGINS, "where the example comes from"),
    }
    captured = {"type": "object", "propertyNames": {"enum": sorted(CATALOGUE)}, "additionalProperties": {"type": "string"}}
    patterns = array(table(pattern, "a pattern", ["builds", "regex", "example"]), "patterns, newest first") | {"minItems": 1}
    keys = {
        "name": filled("its name, for a new event"),
        "extends": offered(events, "instead of a name: the event that gets these patterns beside its own"),
        "help": text("what it means, for the catalogue"),
        "fields": {
            "type": "object",
            "description": "types of captured fields; those that are not named are text",
            "additionalProperties": {"enum": list(get_args(FieldType))},
        },
        "sets": captured | {"description": "signal -> captured field that becomes its value"},
        "adds": captured | {"description": "signal -> captured number that is added to it"},
        "const": VALUES,
        "forgets": array(SIGNAL, "signals that it makes void"),
        "starts_run": flag("the first line of a run of the server"),
        "pattern": patterns,
    }
    event = table(keys, "an event", ["pattern"]) | {"oneOf": [{"required": ["name"]}, {"required": ["extends"]}]}
    own = {"source": one_of(SOURCES, "whose lines these are"), "event": array(event, "events and further patterns")}
    return file("events of sentinel", own, ["source"], "How a line of a log becomes a named event.")


def as_text(schema: Mapping[str, object]) -> str:
    """A JSON Schema as it is kept in docs/schema."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
