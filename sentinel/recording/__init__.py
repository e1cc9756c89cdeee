"""Readings as lines of JSON and back: the engine's input can be stored and replayed. Versioned; the format is an interface.

A recording is a header, the engine's state where it begins, a line for each reading, and an end. Version 1 had neither state nor
end, and whole log lines; it is still read. A recording may come from a stranger: types are checked, sizes are bounded, and errors
are reported with their line.
"""

from __future__ import annotations

from sentinel.recording.line_types import VERSION, Header, RulesChanged, SilenceChanged, builtins
from sentinel.recording.read import Recording, RecordingError
from sentinel.recording.write import dump, end, header, row, rules_changed, silence_changed, state

__all__ = (
    "VERSION", "Header", "Recording", "RecordingError", "RulesChanged", "SilenceChanged", "builtins",
    "dump", "end", "header", "row", "rules_changed", "silence_changed", "state",
)  # fmt: skip
