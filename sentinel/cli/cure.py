"""`sentinel cure`: restarts units for alerts that a restart ends. What the unit starts; off until it is configured."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from sentinel.cli.main import CRITICAL, OK
from sentinel.cli.output import emit, say, warn
from sentinel.cure import polkit
from sentinel.cure.config import Config, load
from sentinel.cure.service import Cure, Dry, OverSocket, Rounds, systemctl
from sentinel.model.problem import ConfigError
from sentinel.model.text import counted, duration, escape


def main(arguments: argparse.Namespace) -> int:
    """Restart until stopped; or check, or print the polkit rule."""
    try:
        config = load(Path(arguments.config) if arguments.config else None, os.environ)
    except ConfigError as error:
        for problem in error.problems:
            warn(str(problem))
        return CRITICAL
    if arguments.polkit:
        print(polkit.rules(action.unit for action in config.actions), end="")
        return OK
    if arguments.check:
        return _check(config, json_too=arguments.json)
    return _run(config, arguments)


def _check(config: Config, *, json_too: bool) -> int:
    if json_too:
        rows = [
            {"unit": a.unit, "server": a.server, "rules": sorted(a.rules), "causes": sorted(a.causes), "per_hour": a.per_hour,
             "pause_seconds": a.pause, "after_seconds": a.after}
            for a in config.actions
        ]  # fmt: skip
        emit({"file": str(config.file), "actions": rows})
        return OK
    say(f"{config.file}: {counted(len(config.actions), 'action')}")
    for action in config.actions:
        causes = f" ({', '.join(sorted(action.causes))})" if action.causes else ""
        limits = f"at most {action.per_hour} an hour, {duration(action.pause)} apart"
        say(f"  restart {action.unit} for {', '.join(sorted(action.rules))}{causes}: {limits}")
    return OK


def _run(config: Config, arguments: argparse.Namespace) -> int:
    sockets = [socket] if (socket := arguments.socket or config.socket) else None
    daemon = OverSocket(sockets)
    if arguments.dry_run:
        cure = Cure(config.actions, Dry(daemon, time.time), _would, _say, user=arguments.user)
    else:
        cure = Cure(config.actions, daemon, lambda unit: systemctl(unit, user=arguments.user), _say, user=arguments.user)
    rounds = Rounds(cure, _say, sockets)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: rounds.stop())
    units = ", ".join(sorted({action.unit for action in config.actions}))
    _say(6, f"would restart {units}; nothing is done; end with Ctrl-C" if arguments.dry_run else f"may restart {units}")
    rounds.run()
    return OK


def _would(_unit: str) -> str:
    return ""


def _say(level: int, sentence: str) -> None:
    """One line on standard error; under systemd with its level (sd-daemon(3))."""
    mark = f"<{level}>" if os.environ.get("JOURNAL_STREAM") else "sentinel: "
    print(f"{mark}{escape(sentence)}", file=sys.stderr, flush=True)
