"""Preflights as they come out, one for each verdict: for tests of the screen."""

from __future__ import annotations

from sentinel.llama.settings import Item
from sentinel.memory.fit import FitNote
from sentinel.preflight.report import Limit, Report
from sentinel.preflight.suggest import Suggestion

_MIB, _GIB = 1 << 20, 1 << 30
_ARGV = ("llama-server", "-m", "gemma.gguf", "-c", "32768", "-ngl", "99")


def _items(weights: int, kv: int) -> tuple[Item, ...]:
    return (
        Item("ROCm0", "weights", weights, weights, weights),
        Item("ROCm0", "kv", kv, kv, kv),
        Item("ROCm0", "compute", 500 * _MIB, 300 * _MIB, 700 * _MIB),
        Item("host", "weights", 200 * _MIB, 200 * _MIB, 200 * _MIB, mapped=True),
        Item("host", "cache", 8 * _GIB, 0, 8 * _GIB),
        Item("host", "overhead", 300 * _MIB, 200 * _MIB, 400 * _MIB),
    )


_LIMITS = (
    Limit("ROCm0", "vram-free", 23 * _GIB),
    Limit("host", "MemAvailable", 48 * _GIB),
    Limit("host", "cgroup:/system.slice/llama.service", 32 * _GIB),
    Limit("host", "memlock", 8 * _MIB),
    Limit("host", "swap-free", 0),
)
_SMALLER = Suggestion(
    ("llama-server", "-m", "gemma.gguf", "-c", "8192", "-ngl", "99"),
    _items(15 * _GIB, 2 * _GIB),
    "8192 tokens of context instead of 32768",
)

REPORTS = {
    "fits": Report("fits", (), _items(15 * _GIB, 4 * _GIB), _LIMITS, argv=_ARGV),
    "tight": Report(
        "tight",
        (FitNote("tight-gpu", "23.0 GiB of ROCm0 are free, and 22.3 GiB to 22.7 GiB are needed", "tight"),),
        _items(18 * _GIB, 4 * _GIB),
        _LIMITS,
        argv=_ARGV,
    ),
    "fails": Report(
        "fails",
        (
            FitNote("gpu-memory", "it needs at least 30.3 GiB on ROCm0, and 23.0 GiB are free there", "fails"),
            FitNote("mlock", "--mlock wants 200 MiB locked, and 8.0 MiB may be: it says so once, and runs without", "tight"),
            FitNote("unknown-flag", "'--no-such-flag' is no flag of the builds that sentinel knows, up to b11549", "unknown"),
        ),
        _items(26 * _GIB, 4 * _GIB),
        _LIMITS,
        (_SMALLER,),
        argv=_ARGV,
    ),
    "unknown": Report(
        "unknown",
        (
            FitNote("no-architecture", "sentinel does not know the architecture 'newest': what it needs is not computed",
                "unknown"),
        ),
        limits=_LIMITS,
        argv=_ARGV,
    ),
    "missing-file": Report(
        "fails",
        (FitNote("model-file", "/srv/gemma.gguf cannot be opened: No such file or directory; give the file with -m", "fails"),),
        argv=_ARGV,
    ),
}  # fmt: skip
