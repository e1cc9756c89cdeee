"""Sinks deliver transitions to people: to the journal, or without one to a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from sentinel.sinks.base import Sink, SinkDown, Store
from sentinel.sinks.console import ConsoleSink
from sentinel.sinks.journald import JournaldSink
from sentinel.sinks.outbox import Outbox

#: Every sink, by its name in the configuration and the status.
SINKS: Mapping[str, type[Sink]] = MappingProxyType({JournaldSink.name: JournaldSink, ConsoleSink.name: ConsoleSink})

__all__ = ["SINKS", "ConsoleSink", "JournaldSink", "Outbox", "Sink", "SinkDown", "Store"]
