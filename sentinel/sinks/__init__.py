"""Sinks deliver transitions to people: the journal first, a terminal where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from sentinel.sinks.base import Sink, SinkDown, Store
from sentinel.sinks.console import ConsoleSink
from sentinel.sinks.journald import JournaldSink
from sentinel.sinks.outbox import Outbox

#: Every sink there is, by the name that configuration and status use.
SINKS: Mapping[str, type[Sink]] = MappingProxyType({JournaldSink.name: JournaldSink, ConsoleSink.name: ConsoleSink})

__all__ = ["SINKS", "ConsoleSink", "JournaldSink", "Outbox", "Sink", "SinkDown", "Store"]
