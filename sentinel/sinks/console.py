"""Alerts on a terminal or any text stream, for machines without a journal."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import TextIO

from sentinel.model.alert import Transition
from sentinel.model.json_form import iso, transition_to_dict
from sentinel.sinks.base import SinkDown
from sentinel.terminal.alert import render
from sentinel.terminal.style import Style, style_for


class ConsoleSink:
    """Prints alerts on `stream`. `because` is why the terminal is used instead of the journal; it is printed once, first.

    After a broken pipe or a closed terminal the sink is down, and the daemon keeps running.
    """

    name = "console"

    def __init__(self, stream: TextIO | None = None, style: Style | None = None, because: str = "") -> None:
        self._stream = sys.stderr if stream is None else stream
        self._style = style
        self._notice = f"sentinel: {because}; alerts are printed here\n\n" if because else ""

    def deliver(self, transition: Transition, key: str = "") -> None:
        """Print one alert. Raises SinkDown if the stream is closed or broken."""
        try:
            style = style_for(self._stream) if self._style is None else self._style
            said = transition_to_dict(transition) | {"since": iso(transition.since)}
            text = self._notice + render(said, style, verbose=True) + "\n"
            encoding = getattr(self._stream, "encoding", None) or "utf-8"
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self._stream.flush()
        # Python raises ValueError for a closed stream.
        except (OSError, ValueError) as error:
            raise SinkDown(f"cannot print alerts: {error}; give sentinel a terminal or a file as standard error") from error
        self._notice = ""

    def delivered(self, keys: Collection[str], since: float | None) -> frozenset[str]:
        """Returns none: a terminal cannot be queried."""
        return frozenset()
