"""Alerts on a terminal or any text stream: what people see where no journal is."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import TextIO

from sentinel.model.alert import Transition
from sentinel.sinks.base import SinkDown
from sentinel.sinks.render import Style, render_alert, style_for


class ConsoleSink:
    """Prints alerts on `stream`. `because` is the reason why the terminal stands in for the journal; it is printed once, first.

    A pipe that broke or a terminal that went away turns the sink down and leaves the daemon running.
    """

    name = "console"

    def __init__(self, stream: TextIO | None = None, style: Style | None = None, because: str = "") -> None:
        self._stream = sys.stderr if stream is None else stream
        self._style = style
        self._notice = f"sentinel: {because}; alerts are printed here\n\n" if because else ""

    def deliver(self, transition: Transition, key: str = "") -> None:
        """Print one alert. Raises SinkDown when the stream takes nothing any more."""
        try:
            style = style_for(self._stream) if self._style is None else self._style
            text = self._notice + render_alert(transition, style) + "\n"
            encoding = getattr(self._stream, "encoding", None) or "utf-8"
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self._stream.flush()
        # ValueError: Python's own word for a stream that was closed.
        except (OSError, ValueError) as error:
            raise SinkDown(f"cannot print alerts: {error}; give sentinel a terminal or a file as standard error") from error
        self._notice = ""

    def delivered(self, keys: Collection[str], since: float | None) -> frozenset[str]:
        """None: what was on a terminal is not there to be asked."""
        return frozenset()
