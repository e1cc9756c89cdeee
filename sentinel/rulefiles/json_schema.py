"""JSON Schemas of the kinds of rule file, for editors with a TOML language server: completion, hover texts, checking.

Made from the same literals and catalogues that the decoder uses. They know the shape of a file; what its expressions say, and
what its names lead to, `sentinel rules lint` knows. Draft 7, for that is what language servers of TOML read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.alert import REASONS, Severity
from sentinel.model.entity import Scope
from sentinel.model.event import FieldType
from sentinel.model.rule import Basis, Confidence, Take
from sentinel.model.signal import Signal
from sentinel.rulefiles.decode import SOURCES

Schema = dict[str, Any]
KINDS = ("rule", "override", "events", "tests", "shared")

_DURATION = r"^\s*\d+(\.\d+)?(ms|s|m|h|d)\s*$"
_IDS = {"pattern": "^[a-z][a-z0-9]*(-[a-z0-9]+)*$"}
_NAMES = {"pattern": "^[a-z][a-z0-9_]{0,63}$"}
_TYPES = {"flag": "boolean", "int": "integer", "float": "number", "text": "string"}
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


# --- pieces ---


def _text(help_: str, **more: Any) -> Schema:
    return {"type": "string", "description": help_, **more}


def _filled(help_: str, **more: Any) -> Schema:
    return _text(help_, minLength=1, **more)


def _parts_of(help_: str) -> Schema:
    """A text, or its parts in a list."""
    one = {"type": "string", "minLength": 1}
    return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}], "description": f"{help_}; or its parts in a list"}


def _one_of(values: Iterable[str], help_: str) -> Schema:
    return {"type": "string", "enum": list(values), "description": help_}


def _offered(values: Iterable[str], help_: str) -> Schema:
    """Names that are known, and any other: rules and events of the user's own."""
    return {"anyOf": [{"type": "string", "enum": list(values)}, {"type": "string", "minLength": 1}], "description": help_}


def _duration(help_: str) -> Schema:
    return _text(f"{help_}; a number and ms, s, m, h or d, as in '30s'", pattern=_DURATION)


def _flag(help_: str) -> Schema:
    return {"type": "boolean", "description": help_}


def _list(items: Schema, help_: str) -> Schema:
    return {"type": "array", "items": items, "description": help_}


def _table(properties: Mapping[str, Schema], help_: str, required: Iterable[str] = (), **more: Any) -> Schema:
    out: Schema = {"type": "object", "description": help_, "properties": dict(properties), "additionalProperties": False}
    if needed := list(required):
        out["required"] = needed
    return out | more


def _named(value: Schema, help_: str) -> Schema:
    return {"type": "object", "description": help_, "propertyNames": _NAMES, "additionalProperties": value}


def _file(title: str, properties: Mapping[str, Schema], required: Iterable[str], help_: str) -> Schema:
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": title}
    number = {"const": 1, "type": "integer", "description": "the version of the format"}
    table = _table({"schema": number, **properties}, help_, ["schema", *required])
    return head | table | {"definitions": {"values": _values(), "signal": _signal()}}


def _by_signal(value: Callable[[Signal], Schema], help_: str) -> Schema:
    """A table by signals, whose names may be written with quotes or, as tables within tables, without."""
    rows = {s.name: value(s) for s in CATALOGUE.values()}
    for scope in get_args(Scope):
        inner = {name.partition(".")[2]: row for name, row in rows.items() if name.startswith(f"{scope}.")}
        rows |= {scope: _table(inner, f"signals of a {scope}")}
    return _table(rows, help_)


def _values() -> Schema:
    return _by_signal(
        lambda s: {"type": _TYPES[s.type], "description": f"{s.help} ({s.type}{f', {s.unit}' if s.unit else ''})"},
        "signals with their values",
    )


def _signal() -> Schema:
    return _one_of(sorted(CATALOGUE), "a signal of the catalogue (docs/signals.md)")


_VALUES, _SIGNAL = {"$ref": "#/definitions/values"}, {"$ref": "#/definitions/signal"}


# --- a rule ---


def _rule(rules: list[str], events: list[str]) -> Schema:
    alert = _alert() | {"required": ["when", "summary"], "anyOf": [{"required": ["clear"]}, {"required": ["clear_after"]}]}
    own = {
        "id": _filled("what state, silences and the journal know it by; for ever", pattern="^[a-z][a-z0-9]*(-[a-z0-9]+)*$"),
        "message_id": _text("32 hex digits from `systemd-id128 new`, never used again", pattern="^[0-9a-f]{32}$"),
        "scope": _one_of(get_args(Scope), "what it judges: one alert for each"),
        **_parts(rules, events),
        "alert": alert,
        "cause": _list(_cause(["id", "text"]), "why it happens: the first whose `when` is true is told") | {"minItems": 1},
        "test": _list(_test(), "tests, here or in ID.test.toml beside it: at least one that fires, one quiet, one unknown"),
        "fix": _fixes(),
        "base": _bases(),
    }
    required = ("id", "message_id", "title", "severity", "scope", "alert", "cause")
    return _file("a rule of sentinel", own, required, "One failure: is it happening, why, and what to do.")


def _parts(rules: list[str], events: list[str]) -> dict[str, Schema]:
    """What a rule has and an override may replace."""
    window = {
        "signal": _SIGNAL,
        "over": _duration("the last so long"),
        "take": _one_of(get_args(Take), "reduced to one number; rate is per second"),
    }
    event = {
        "name": _offered(events, "an event (docs/events.md)"),
        "since": _one_of(["server.start"], "since the server's present run began"),
        "over": _duration("within the last so long"),
    }
    binding = _table(event, "did it happen: name.count, name.age, name.fields.x", ["name"])
    return {
        "title": _filled("the failure in a few words, as the end of 'tells that ...'"),
        "severity": _one_of(get_args(Severity), "how bad it is"),
        "basis": _list(_one_of(get_args(Basis), "seed, source, thread or measured"), "where the knowledge comes from"),
        "references": _list({"type": "string"}, "addresses to read more"),
        "false_positives": _list({"type": "string"}, "what looks like it and is not"),
        "explains": _list(_offered(rules, "a rule"), "rules that are effects of this one: not told beside it"),
        "window": _named(_table(window, "numbers over time", ["signal", "over", "take"]), "numbers over time, by name"),
        "event": _named(
            binding | {"oneOf": [{"required": ["since"]}, {"required": ["over"]}]}, "events that it reads, by a name of its own"
        ),
        "value": _named(_filled("a number or text computed once for checks and texts, in CEL"), "computed values, by name"),
        "check": _named(_filled(_CEL), "conditions by name, shown one by one by `sentinel why`"),
    }


def _alert() -> Schema:
    keys = {
        "when": _filled(f"fires while this is true: {_CEL}"),
        "for": _duration("for so long without a break before it fires"),
        "clear": _text(f"ends when this is true: {_CEL}"),
        "clear_after": _duration("ends so long after it was last so, for what only happens"),
        "keep": _duration("held so long after it cleared, against flapping"),
        "summary": _filled(f"one sentence with its values: {_SHOWN}"),
        "outlives_server": _flag("stays open when the server's process has ended"),
    }
    return _table(keys, "when it fires and when it ends")


def _fix() -> dict[str, Schema]:
    """The keys of a fix, of a cause's own and of a named one."""
    return {
        "do": _filled(f"what to do: {_SHOWN}"),
        "command": _text("the command, its values quoted for the shell; nothing runs it"),
        "flags": _text("instead of a command: what belongs on the command line of llama-server"),
        "restart": _flag("the server has to be started anew: by its unit, its container or a person, and the command says so"),
        "stop": _flag("the server has to be stopped, and the command says so"),
        "unit": _text("instead of a command: a setting in the [Service] of the server's unit, as in 'LimitMEMLOCK=infinity'"),
        "container": _text("the same setting for a container: options of docker run"),
        "shell": _text("the same setting for a server that a person starts: a command of the shell"),
        "env": _text("instead of a command: a variable to set where the server is started, NAME=value"),
        "unset": _text("instead of a command: the name of a variable to remove where the server is started"),
        "risk": _text("what may go wrong or stop"),
        "verify": _text("a command that shows whether it worked"),
        "builds": _text("shown only to these builds of llama.cpp: b5000-, -b5300, b3942-b5300 or any", pattern=_BUILDS),
        "when": _text(f"shown only where this is not false: {_CEL}"),
        "otherwise": _flag("shown where none of the others is known to fit"),
    }


def _fixes() -> Schema:
    keys = {**_fix(), "value": _named(_filled("a number or text that its texts read, in CEL"), "values for whoever uses it")}
    return _library(_table(keys, "a fix"), "fixes by name, for `use`")


def _bases() -> Schema:
    keys = {key: said for key, said in _test_keys().items() if key not in ("name", "expect")}
    return _library(_table(keys, "what tests share"), "bases of tests by name, for `base`")


def _library(one: Schema, help_: str) -> Schema:
    return {"type": "object", "description": help_, "propertyNames": _IDS, "additionalProperties": one}


def _cause(required: list[str]) -> Schema:
    use = {"use": _filled("a named fix, [fix.NAME]; what stands beside this is said instead of what that says")}
    fix = _table({**use, **_fix()}, "advice") | {"anyOf": [{"required": ["do"]}, {"required": ["use"]}]}
    keys = {
        "id": _filled("its name within the rule"),
        "when": _text(f"the first cause for which this is true; without it always: {_CEL}"),
        "text": _filled(f"the cause in a sentence: {_SHOWN}"),
        "confidence": _one_of(get_args(Confidence), "how sure that is"),
        "severity": _one_of(get_args(Severity), "how bad it is where this is the cause; without it as the rule says"),
        "fix": _list(fix, "what to do, best first"),
    }
    return _table(keys, "a cause", required)


def _test() -> Schema:
    return _table(_test_keys(), "a test on a virtual clock that starts at 0 s", ["name", "expect"])


def _test_keys() -> dict[str, Schema]:
    some = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    expect = {
        "at": _duration("at this time of the test"),
        "state": _one_of(_STATES, "state of the alert"),
        "cause": _text("id of the cause that is told"),
        "summary_contains": _text("a part of the summary"),
        "fix_contains": some | {"description": "parts of fixes that are told"},
        "fix_lacks": some | {"description": "what no fix says"},
        "missing": _list({"type": "string"}, "values that must be unknown"),
        "reason": _one_of(REASONS, "why it came to this state"),
    }
    one = _table(expect, "what is expected", ["state"])
    timed = _text("'+3s the line'", pattern=r"^\+\d+(\.\d+)?(ms|s|m|h|d) ")
    return {
        "name": _filled("what it shows"),
        "base": some | {"description": "bases, [base.NAME], that it stands on; of a signal the test has the last word"},
        "without": _list(_SIGNAL, "signals of its bases of which nothing is said"),
        "at": _duration("when it is looked at; 60s if it does not say"),
        "given": _VALUES,
        "unknown": _list(_SIGNAL, "signals that cannot be read"),
        "later": {
            "type": "object",
            "description": 'values that change, by the time from which on: "5s" = { ... }',
            "propertyNames": {"pattern": _DURATION},
            "additionalProperties": _VALUES,
        },
        "series": _by_signal(
            lambda _: {"type": "string"},
            "values over time, one a step: '0.4x30', a ramp '1..100x20', ? cannot be read, _ is not read",
        ),
        "step": _duration("between two values of a series; 1s if it does not say"),
        "log": _list(timed, "lines of llama-server with their times"),
        "kernel": _list(timed, "lines of the kernel"),
        "systemd": _list(timed, "what systemd and other daemons say of the unit"),
        "gone": _duration("when the server's process ends"),
        "restart": _duration("when a new process of the server is found"),
        "sentinel_restarts": _list(_duration("a time"), "when sentinel itself is restarted"),
        "unplugged": _duration("when the card is taken off the bus"),
        "expect": {"anyOf": [one, _list(one, "each with its time") | {"minItems": 1}], "description": "what is expected"},
    }


# --- an override, an event file ---


def _override(rules: list[str], events: list[str]) -> Schema:
    own = {
        "override": _offered(rules, "id of the rule of which fields are replaced"),
        "against": _text("digest of the rule that this was written against, from `sentinel rules override ID`"),
        "enabled": _flag("false switches the rule off"),
        **_parts(rules, events),
        "alert": _alert(),
        "cause": _list(_cause(["id"]), "fields of causes, by the cause's id; fixes are replaced together"),
        "test": _list(_test(), "tests of this override; one with the name of a test of the rule takes its place"),
        "fix": _fixes(),
        "base": _bases(),
    }
    return _file("an override of sentinel", own, ["override"], "Replaces named fields of a rule; nothing is appended.")


def _tests() -> Schema:
    own = {"test": _list(_test(), "tests of the rule in the file beside it"), "base": _bases()}
    return _file("tests of a rule of sentinel", own, [], "ID.test.toml beside ID.toml: the tests of that rule.")


def _shared() -> Schema:
    return _file("what rules of sentinel share", {"fix": _fixes(), "base": _bases()}, [], "Named fixes and bases of tests.")


def _events(events: list[str]) -> Schema:
    pattern = {
        "builds": _text("builds of llama.cpp that print it: b5000-, -b5300, b3942-b5300 or any", pattern=_BUILDS),
        "regex": _parts_of("RE2, begins with ^, matched after prefix, colour and time are taken off; (?P<name>...) are fields"),
        "example": _parts_of("one real line, which is its test"),
        "from": _one_of(_ORIGINS, "where the example comes from"),
    }
    captured = {"type": "object", "propertyNames": {"enum": sorted(CATALOGUE)}, "additionalProperties": {"type": "string"}}
    wordings = _list(_table(pattern, "a wording", ["builds", "regex", "example"]), "wordings, newest first") | {"minItems": 1}
    keys = {
        "name": _filled("its name, for a new event"),
        "extends": _offered(events, "instead of a name: the event that gets these wordings beside its own"),
        "help": _text("what it means, for the catalogue"),
        "fields": {
            "type": "object",
            "description": "types of captured fields; those that are not named are text",
            "additionalProperties": {"enum": list(get_args(FieldType))},
        },
        "sets": captured | {"description": "signal -> captured field that becomes its value"},
        "adds": captured | {"description": "signal -> captured number that is added to it"},
        "const": _VALUES,
        "forgets": _list(_SIGNAL, "signals that it makes void"),
        "starts_run": _flag("the first line of a run of the server"),
        "pattern": wordings,
    }
    event = _table(keys, "an event", ["pattern"]) | {"oneOf": [{"required": ["name"]}, {"required": ["extends"]}]}
    own = {"source": _one_of(SOURCES, "whose lines these are"), "event": _list(event, "events and further wordings")}
    return _file("events of sentinel", own, ["source"], "How a line of a log becomes a named event.")


def as_text(schema: Mapping[str, object]) -> str:
    """A JSON Schema as it is kept in docs/schema."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
