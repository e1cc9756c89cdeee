"""Memory that was needed for a while and is free now, given back to the system."""

from __future__ import annotations

import ctypes

#: malloc.h of glibc
_M_ARENA_MAX = -8


def give_back() -> None:
    """Checking the rules leaves 5 MB of free memory in glibc's heap, the first looks of the sources as much again (measured).

    glibc would keep them for ever. Takes about a millisecond; does nothing with another C library.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def one_arena() -> None:
    """Threads share one heap. Only before there are threads; does nothing with another C library.

    glibc gives each thread a heap of its own, up to eight times the processors: 0.3 MB here (measured), for threads that hold
    Python's lock most of the time anyway.
    """
    option = getattr(ctypes.CDLL(None), "mallopt", None)
    if option is not None:
        option(_M_ARENA_MAX, 1)
