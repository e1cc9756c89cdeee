"""Loads the rules at the daemon's start: as kept by an earlier one, or in a child process, so that the memory which reading and
checking them takes is freed.
"""

from __future__ import annotations

import os
import pickle

from sentinel.rulefiles.files import Loaded, RuleFiles
from sentinel.rulefiles.kept import KeptRules


def load_first(files: RuleFiles, kept: KeptRules | None = None) -> Loaded:
    """Like `load_good`. It forks, so call it before any thread is started.

    Checking the shipped rules in the daemon itself left 2.3 MB of fragmented heap for good, reading them 0.6 MB (measured).
    """
    found = kept.find(files) if kept is not None else None
    if found is None:
        found = _elsewhere(files, kept)
    return files.load_good() if found is None else found


def _elsewhere(files: RuleFiles, kept: KeptRules | None) -> Loaded | None:
    """The child's result; None if it did not finish."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(reading)
            with os.fdopen(writing, "wb") as pipe:
                loaded = files.load_good()
                pickle.dump(loaded, pipe, pickle.HIGHEST_PROTOCOL)
            if kept is not None:
                kept.keep(loaded)
        finally:
            # Exit handlers and buffers are the parent's: neither may run or flush twice.
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    try:
        found = pickle.loads(said)  # noqa: S301 (of our own child)
    except (EOFError, pickle.UnpicklingError):
        return None
    return found if isinstance(found, Loaded) else None
