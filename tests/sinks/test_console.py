"""A terminal as a sink: what it prints once, and that a terminal can go away."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from datetime import UTC

import pytest
from sample_transitions import FIRING

from sentinel.sinks import SINKS, ConsoleSink, SinkDown
from sentinel.terminal.style import Style

PLAIN = Style(width=80, zone=UTC)


def test_the_sink_says_once_why_it_prints() -> None:
    """A terminal that stands in for the journal says so before the first alert."""
    stream = io.StringIO()
    sink = ConsoleSink(stream, PLAIN, because="no journal at /run/systemd/journal/socket")
    sink.deliver(FIRING)
    sink.deliver(FIRING)

    assert stream.getvalue().startswith("sentinel: no journal at /run/systemd/journal/socket; alerts are printed here\n\n●")
    assert stream.getvalue().count("alerts are printed here") == 1
    assert stream.getvalue().count("● CRITICAL") == 2


def test_a_stream_without_unicode_gets_what_it_can_show() -> None:
    """A summary in another script is escaped where the encoding has no word for it."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, "ascii", write_through=True)
    ConsoleSink(stream).deliver(replace(FIRING, documentation="", summary="モデル"))

    assert b"\\u30e2" in raw.getvalue()
    stream.close()


def test_a_broken_pipe_turns_the_sink_down() -> None:
    """`sentinel run | head` ends the printing, not the watching."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    with pytest.raises(SinkDown, match="cannot print alerts"), os.fdopen(write_end, "w") as stream:
        try:
            ConsoleSink(stream).deliver(FIRING)
        finally:
            os.dup2(os.open(os.devnull, os.O_WRONLY), write_end)

    closed = io.StringIO()
    closed.close()
    with pytest.raises(SinkDown, match="closed file"):
        ConsoleSink(closed).deliver(FIRING)


def test_every_sink_is_in_the_table() -> None:
    """By the name it gives itself."""
    assert {name: sink.name for name, sink in SINKS.items()} == {"journald": "journald", "console": "console"}
