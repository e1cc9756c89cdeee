"""The JSON body of a webhook from a template: values with ``{names}`` in their text. No expressions, no attributes, no code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sentinel.model.problem import did_you_mean
from sentinel.notify.message import Message, first_fix

_NAME = re.compile(r"\{\{|\}\}|\{([A-Za-z_]*)\}")
#: A name that stands alone becomes the value itself: a list, a number, true or false.
_ALONE = re.compile(r"^\{([a-z_]+)\}$")
NAMES = (
    "title", "text", "status", "severity", "host", "key", "repeat", "count", "alerts",
    "rule", "entity", "scope", "summary", "cause", "fix", "command", "since",
)  # fmt: skip


def default_body(message: Message) -> dict[str, Any]:
    """Without a template, and for a command: everything."""
    names = ("title", "text", "status", "severity", "host", "key", "repeat", "alerts")
    values = _values(message)
    return {name: values[name] for name in names}


def filled(template: object, message: Message) -> object:
    """The template with the values of a message. Keys stay as they are."""
    return _fill(template, _values(message))


def literal(text: str) -> str:
    """Written so that a template shows it as it is."""
    return text.replace("{", "{{").replace("}", "}}")


def mistakes(template: object) -> Iterator[str]:
    """A sentence for each name that there is not, and each value that JSON has not."""
    if isinstance(template, Mapping):
        for value in template.values():
            yield from mistakes(value)
    elif isinstance(template, list):
        for value in template:
            yield from mistakes(value)
    elif isinstance(template, str):
        for found in _NAME.finditer(template):
            if found[1] is not None and found[1] not in NAMES:
                known = f"; names are {', '.join(NAMES)}" if not did_you_mean(found[1], NAMES) else did_you_mean(found[1], NAMES)
                yield f"there is no {{{found[1]:.40}}}{known}"
    elif not isinstance(template, bool | int | float):
        yield f"{template!s:.40} is a date, which JSON has not; write it in quotes"


def _fill(template: object, values: Mapping[str, Any]) -> object:
    if isinstance(template, Mapping):
        return {key: _fill(value, values) for key, value in template.items()}
    if isinstance(template, list):
        return [_fill(value, values) for value in template]
    if not isinstance(template, str):
        return template
    alone = _ALONE.match(template)
    if alone and alone[1] in values:
        return values[alone[1]]
    return _NAME.sub(lambda found: found[0][0] if found[1] is None else _text(values[found[1]]), template)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int) else ""


def _values(message: Message) -> dict[str, Any]:
    # What concerns one alert is of the last that fires, else of the last.
    shown = next((one for one in reversed(message.alerts) if one["state"] == "firing"), None)
    one: Mapping[str, Any] = shown or (message.alerts[-1] if message.alerts else {})
    entity = one.get("entity") or {"name": "", "scope": ""}
    fix = first_fix(one) or {"do": "", "command": ""}
    return {
        "title": message.title,
        "text": message.text,
        "status": message.status,
        "severity": message.severity,
        "host": message.host,
        "key": message.key,
        "repeat": message.repeat,
        "count": len(message.alerts),
        "alerts": list(message.alerts),
        "rule": one.get("rule", ""),
        "entity": entity["name"],
        "scope": entity["scope"],
        "summary": one.get("summary", ""),
        "cause": (one.get("cause") or {"text": ""})["text"],
        "fix": fix["do"],
        "command": fix["command"],
        "since": one.get("since") or "",
    }
