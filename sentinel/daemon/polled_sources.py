"""The machine's polled sources, as a table; each with its interval from the configuration.

Sources of servers, logs, the kernel log and udev depend on each other or stream; `daemon/daemon.py` and
`daemon/log_followers.py` wire them.
"""

from __future__ import annotations

from collections.abc import Callable

from sentinel.daemon.config import Intervals
from sentinel.sources.base import Polled
from sentinel.sources.fs import Roots
from sentinel.sources.gpu.amdgpu import AmdGpus
from sentinel.sources.gpu.rocm_smi import RocmSmi
from sentinel.sources.host import Host


def _host(roots: Roots, intervals: Intervals) -> Polled:
    source = Host(roots)
    source.interval = intervals.host
    return source


def _amdgpu(roots: Roots, intervals: Intervals) -> Polled:
    source = AmdGpus(roots)
    source.interval = intervals.gpu
    return source


def _rocm_smi(roots: Roots, intervals: Intervals) -> Polled:
    return RocmSmi(roots, pause=intervals.rocm_smi)


#: The machine's polled sources.
SOURCES: tuple[Callable[[Roots, Intervals], Polled], ...] = (_host, _amdgpu, _rocm_smi)
#: Streaming sources and sources of servers, wired by name.
WIRED = (
    "logs/docker_local",
    "logs/file",
    "logs/journal",
    "logs/kernel",
    "logs/llama_swap",
    "logs/oom_daemons",
    "processes/discover",
    "processes/sample",
    "processes/gpu_sample",
    "gpu/nvml",
    "gpu/hotplug",
    "server/health",
    "server/slots",
)
