"""Event definitions: how a line of a log becomes a named event. Decoded from rules/events/*.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sentinel.model.builds import BuildRange
from sentinel.model.entity import Value

#: Types of captured fields. ``MiB``, ``GiB`` and ``kB`` (1024 bytes, as the kernel means it) become bytes (int).
FieldType = Literal["text", "int", "float", "flag", "MiB", "GiB", "kB"]


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern. `regex` is RE2, searched in the line after its envelope (container, colour, time, level) is removed."""

    regex: str
    example: str
    builds: BuildRange
    #: where the example comes from: recorded, source, reference or composed; empty if the file does not say
    origin: str = ""
    #: the file that adds it to an event which another file defines; empty for the event's own
    path: str = ""


@dataclass(frozen=True, slots=True)
class EventDef:
    """A named event of one log source and all its patterns, newest first."""

    name: str
    source: str
    patterns: tuple[Pattern, ...]
    #: captured group -> type; groups not named here are text
    fields: Mapping[str, FieldType] = field(default_factory=dict)
    #: signal -> captured field
    sets: Mapping[str, str] = field(default_factory=dict)
    #: signal -> constant
    const: Mapping[str, Value] = field(default_factory=dict)
    #: signal -> captured number that is added to what the signal already holds in this run of the server
    adds: Mapping[str, str] = field(default_factory=dict)
    #: signals that this event makes unknown, for example buffers that are freed when the server falls asleep
    forgets: tuple[str, ...] = ()
    #: the first line of a run of the server: facts learned from the log of an earlier run are dropped
    starts_run: bool = False
    #: what it means, for the generated catalogue
    help: str = ""
    #: the file it was read from, as given
    path: str = ""
    #: only further patterns (and fields that they alone have) for the event of this name, which another file defines
    extends: bool = False
