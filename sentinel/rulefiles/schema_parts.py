"""Pieces of a JSON Schema: a text, a duration, a list, a table of named things, signals with their values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.model.entity import Scope
from sentinel.model.signal import Signal

Schema = dict[str, Any]

DURATION = r"^\s*\d+(\.\d+)?(ms|s|m|h|d)\s*$"
_NAMES = {"pattern": "^[a-z][a-z0-9_]{0,63}$"}
_TYPES = {"flag": "boolean", "int": "integer", "float": "number", "text": "string"}


def text(help_: str, **more: Any) -> Schema:
    """A text."""
    return {"type": "string", "description": help_, **more}


def filled(help_: str, **more: Any) -> Schema:
    """A text that is not empty."""
    return text(help_, minLength=1, **more)


def parts_of(help_: str) -> Schema:
    """A text, or its parts in a list."""
    one = {"type": "string", "minLength": 1}
    return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}], "description": f"{help_}; or its parts in a list"}


def one_of(values: Iterable[str], help_: str) -> Schema:
    """One of some words."""
    return {"type": "string", "enum": list(values), "description": help_}


def offered(values: Iterable[str], help_: str) -> Schema:
    """Names that are known, and any other: rules and events of the user's own."""
    return {"anyOf": [{"type": "string", "enum": list(values)}, {"type": "string", "minLength": 1}], "description": help_}


def duration(help_: str) -> Schema:
    """A number with its unit."""
    return text(f"{help_}; a number and ms, s, m, h or d, as in '30s'", pattern=DURATION)


def flag(help_: str) -> Schema:
    """True or false."""
    return {"type": "boolean", "description": help_}


def array(items: Schema, help_: str) -> Schema:
    """A list."""
    return {"type": "array", "items": items, "description": help_}


def table(properties: Mapping[str, Schema], help_: str, required: Iterable[str] = (), **more: Any) -> Schema:
    """A table with these keys and no others."""
    out: Schema = {"type": "object", "description": help_, "properties": dict(properties), "additionalProperties": False}
    if needed := list(required):
        out["required"] = needed
    return out | more


def named(value: Schema, help_: str) -> Schema:
    """A table whose keys are names that the author chose."""
    return {"type": "object", "description": help_, "propertyNames": _NAMES, "additionalProperties": value}


def file(title: str, properties: Mapping[str, Schema], required: Iterable[str], help_: str) -> Schema:
    """The schema of a whole file."""
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": title}
    number = {"const": 1, "type": "integer", "description": "the version of the format"}
    rows = table({"schema": number, **properties}, help_, ["schema", *required])
    return head | rows | {"definitions": {"values": _values(), "signal": _signal()}}


def by_signal(value: Callable[[Signal], Schema], help_: str) -> Schema:
    """A table by signals, whose names may be written with quotes or, as tables within tables, without."""
    rows = {s.name: value(s) for s in CATALOGUE.values()}
    for scope in get_args(Scope):
        inner = {name.partition(".")[2]: row for name, row in rows.items() if name.startswith(f"{scope}.")}
        rows |= {scope: table(inner, f"signals of a {scope}")}
    return table(rows, help_)


def _values() -> Schema:
    return by_signal(
        lambda s: {"type": _TYPES[s.type], "description": f"{s.help} ({s.type}{f', {s.unit}' if s.unit else ''})"},
        "signals with their values",
    )


def _signal() -> Schema:
    return one_of(sorted(CATALOGUE), "a signal of the catalogue (docs/signals.md)")


VALUES, SIGNAL = {"$ref": "#/definitions/values"}, {"$ref": "#/definitions/signal"}
