"""`sentinel run`: the daemon in the foreground."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO, cast

# This must be first: the imports below would load what it keeps out.
from sentinel.daemon.lean_imports import asyncio, structlog

# isort: split

from sentinel.cli.main import CRITICAL
from sentinel.cli.rules.loading import complain, of_config
from sentinel.daemon.config import Config, load
from sentinel.daemon.daemon import AGAIN, Daemon
from sentinel.daemon.descriptors import raise_limit
from sentinel.daemon.lean_code import forget
from sentinel.daemon.load_in_child import load_first
from sentinel.daemon.malloc import give_back, one_arena
from sentinel.daemon.state_lock import StateInUse
from sentinel.daemon.systemd import to_journal
from sentinel.model.problem import ConfigError
from sentinel.model.text import counted, escape
from sentinel.rulefiles.files import Loaded, RuleFiles
from sentinel.rulefiles.kept import KeptRules

#: Python's own is 5 ms. It matters only while two threads compute; at rest none does. Seconds.
_SWITCH = 0.001


def main(arguments: argparse.Namespace) -> int:
    """Load the configuration and the rules, then watch until stopped."""
    one_arena()
    forget()
    raise_limit()
    # An answer takes a dozen system calls, and after each the event loop waits for threads of sources that compute.
    sys.setswitchinterval(_SWITCH)
    _log(verbose=arguments.verbose)
    try:
        config = load(Path(arguments.config) if arguments.config else None, os.environ)
    except ConfigError as error:
        for problem in error.problems:
            _complain(str(problem))
        return CRITICAL
    files = of_config(config, arguments.rules)
    kept = KeptRules(config.state_dir)
    return asyncio.run(_run(config, files, load_first(files, kept), kept))


async def _run(config: Config, files: RuleFiles, loaded: Loaded, kept: KeptRules) -> int:
    give_back()
    if loaded.ruleset is None:
        complain(loaded.errors)
        count = counted(len(loaded.errors), "mistake")
        _complain(f"not started: {count} in the rules that came with sentinel; reinstall it")
        return CRITICAL
    while True:
        try:
            daemon = Daemon(config, files, loaded)
        except StateInUse as used:
            _complain(f"not started: {used}")
            return CRITICAL
        # The first rule set must not stay in memory once another has replaced it: 6 MB (measured).
        del loaded
        code = await daemon.run()
        if code != AGAIN:
            return code
        # Rule files may have changed since the start. Mostly they have not, and decoding them would keep everybody waiting for
        # 1.3 s of CPU (half a minute on a busy machine) after each suspend.
        again = kept.find(files) or files.load_good()
        loaded = daemon.rules.loaded if again.ruleset is None else again


def _complain(text: str) -> None:
    print(f"{'<3>' if to_journal() else ''}sentinel: {text}", file=sys.stderr)


def _log(*, verbose: bool) -> None:
    """Set up sentinel's own log on standard error: one line per event; under systemd with a priority and without a time."""
    structlog.configure(
        processors=[structlog.processors.add_log_level, _journal_line if to_journal() else _plain_line],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Log(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    # An exception of a scheduled call ends the daemon; the scheduler's own report would be a second one.
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)


class _Log:
    """A standard error that may fail: a closed terminal or a broken pipe loses sentinel's own log, and nothing else.

    Faults are in `sentinel status` as well, so only these lines are lost.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


#: sd-daemon(3): a line starting with <N> gets that priority in the journal.
_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


def _text(event: structlog.typing.EventDict) -> str:
    text = event.pop("event", "")
    rest = ", ".join(f"{key} {value}" for key, value in event.items())
    return escape(f"{text}: {rest}" if rest else str(text))


def _plain_line(_logger: object, level: str, event: structlog.typing.EventDict) -> str:
    event.pop("level", None)
    mark = "" if level in ("info", "debug") else f"{level}: "
    return f"{time.strftime('%H:%M:%S')} sentinel: {mark}{_text(event)}"


def _journal_line(_logger: object, level: str, event: structlog.typing.EventDict) -> str:
    event.pop("level", None)
    return f"<{_PRIORITY.get(level, 6)}>{_text(event)}"
