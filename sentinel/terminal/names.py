"""Names of servers for people: the model and where it listens, not an address alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sentinel.model.text import escape
from sentinel.terminal.style import Style, cells, fit

#: Columns that a model keeps at least where its name is cut.
_LEAST = 8


def label(name: str, called: object = None) -> str:
    """A server as people call it: ``gemma-3-270m :8080`` for `called` ``gemma-3-270m, port 8080``; else its name.

    A unit, a container and a name of the configuration are chosen by people: they stay, behind the model.
    """
    name = escape(name)
    model, _, port = escape(str(called or "")).rpartition(", port ")
    if not model:
        return name
    # The address may be followed by the user who listens there: 127.0.0.1:8080@1000.
    return f"{model} :{port}" if f"{name}@".partition(f":{port}@")[1] else f"{model} ({name})"


def fitted(name: str, width: int, style: Style) -> str:
    """A name in exactly `width` columns: the model is cut, and where it listens stays, by which two of one model differ."""
    model, _, where = name.rpartition(" ")
    room = width - cells(where) - 1
    if cells(name) <= width or room < _LEAST or not where.startswith((":", "(")):
        return fit(name, width, style)
    return f"{fit(model, room, style)} {where}"


def of_alert(alert: Mapping[str, Any]) -> str:
    """What an alert is about, as people call it."""
    entity = alert["entity"]
    return "this host" if entity["scope"] == "host" else label(entity["name"], alert.get("called"))


def about(alert: Mapping[str, Any]) -> str:
    """The summary of an alert with people's name of the server in it."""
    name = escape(alert["entity"]["name"])
    summary = escape(alert["summary"])
    rest = summary.removeprefix(name)
    # The name alone at the front, and not the beginning of a longer one.
    return of_alert(alert) + rest if name and rest != summary and rest[:1] in (" ", ":", ",", "'", "") else summary


def without_name(alert: Mapping[str, Any]) -> str:
    """The summary without the name in front, for where the name has a column of its own."""
    summary = escape(alert["summary"])
    return summary.removeprefix(escape(alert["entity"]["name"])).lstrip(" :,") or summary
