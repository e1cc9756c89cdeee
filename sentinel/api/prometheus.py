"""Metric families as Prometheus text, by prometheus_client. Imported at the first request: without one it costs nothing.

prometheus_client can also serve over TLS and push, and imports OpenSSL, urllib and wsgiref for that. The daemon needs none of
them, and blocks OpenSSL (daemon/lean_imports.py), without which the import fails. So these modules are replaced by stubs while
prometheus_client is imported: 0.6 MB instead of 2.4 MB and OpenSSL's 5 MB.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from types import ModuleType

from sentinel.engine.inspect.metrics import Family


class _StandIn(ModuleType):
    """A stub module: every name in it is a class of its own, for use as a base class and in annotations."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


_SERVING = ("ssl", "http.server", "urllib.request", "wsgiref", "wsgiref.simple_server")
_ABSENT = [name for name in _SERVING if name not in sys.modules]
for name in _ABSENT:
    sys.modules[name] = _StandIn(name)
try:
    from prometheus_client import exposition
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.process_collector import ProcessCollector
    from prometheus_client.registry import Collector, CollectorRegistry
finally:
    for name in _ABSENT:
        del sys.modules[name]

#: Version 0.0.4 of the text format, which every scraper reads.
CONTENT_TYPE = exposition.CONTENT_TYPE_PLAIN_0_0_4


class _Families(Collector):
    """The collector for a registry."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """The families in prometheus_client's own form."""
        for family in self._families:
            about = family.about
            kind = CounterMetricFamily if about.kind == "counter" else GaugeMetricFamily
            metric = kind(about.name, about.help, labels=about.labels)
            for labels, number in family.rows:
                metric.add_metric(labels, number)
            yield metric


def text(families: Iterable[Family]) -> str:
    """The families, with CPU, memory and open files of this process. node_exporter has its own ``process_*``."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(families))
    ProcessCollector("sentinel", registry=registry)
    return exposition.generate_latest(registry).decode()
