"""Returns freed heap memory to the system."""

from __future__ import annotations

import ctypes

#: malloc.h of glibc
_M_ARENA_MAX = -8


def give_back() -> None:
    """Return free memory to the system: checking the rules leaves 5 MB in glibc's heap, the first polls another 5 MB (measured).

    glibc would keep it for ever. Takes about a millisecond; does nothing with another C library.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def one_arena() -> None:
    """Make all threads share one arena. Call it before any thread is started; does nothing with another C library.

    glibc creates arenas per thread, up to eight per processor: 0.3 MB here (measured), for threads that hold the GIL most of
    the time anyway.
    """
    option = getattr(ctypes.CDLL(None), "mallopt", None)
    if option is not None:
        option(_M_ARENA_MAX, 1)
