"""`sentinel notify`: brings alerts to phones, chats, mail, webhooks, commands and Alertmanager. What the unit starts."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentinel.cli.main import CRITICAL, OK, UNKNOWN, WARNING
from sentinel.cli.output import emit, emit_line, say, warn, working
from sentinel.files.xdg import state_folder
from sentinel.model.fault import Fault
from sentinel.model.json_form import iso
from sentinel.model.problem import ConfigError
from sentinel.model.text import counted, duration, escape
from sentinel.notify import build
from sentinel.notify.apprise_service import NotUsable
from sentinel.notify.config import load
from sentinel.notify.message import Message, test_message
from sentinel.notify.outcome import DELIVERED, Outcome, Sender
from sentinel.notify.settings import Channel, Config
from sentinel.notify.store import FILE, Store, read
from sentinel.notify.template import default_body

if TYPE_CHECKING:
    import argparse


def main(arguments: argparse.Namespace) -> int:
    """Deliver until stopped; or check, test, show."""
    folder = Path(arguments.state) if arguments.state else state_folder(os.environ, "sentinel-notify")
    if arguments.status:
        return _status(folder, json_too=arguments.json)
    try:
        config = load(Path(arguments.config) if arguments.config else None, os.environ)
        if arguments.socket:
            config = replace(config, socket=arguments.socket)
        senders = {channel.name: build.sender(channel) for channel in config.channels if channel.kind != "alertmanager"}
        if arguments.check:
            return _check(config, json_too=arguments.json)
        if arguments.test is not None:
            return _test(config, senders, arguments.test, json_too=arguments.json)
        if arguments.dry_run:
            with tempfile.TemporaryDirectory(prefix="sentinel-notify-") as empty:
                return _run(config, Path(empty), json_too=arguments.json, dry=True)
        return _run(config, folder, json_too=arguments.json)
    except ConfigError as error:
        for problem in error.problems:
            warn(str(problem))
        return CRITICAL
    except NotUsable as error:
        warn(str(error))
        return CRITICAL
    except Fault as error:
        warn(str(error))
        return WARNING


def _run(config: Config, folder: Path, *, json_too: bool, dry: bool = False) -> int:
    store = Store(folder)
    if store.message:
        _journal(4, store.message)
    make = (lambda channel: _Shown(channel, json_too=json_too)) if dry else None
    service = build.service(config, store, _journal, make)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    names = ", ".join(channel.name for channel in config.channels)
    _journal(6, f"would deliver to {names}; nothing is sent; end with Ctrl-C" if dry else f"delivers to {names}")
    service.run([config.socket] if config.socket else None)
    store.close()
    return OK


def _journal(level: int, sentence: str) -> None:
    """One line on standard error; under systemd with its level (sd-daemon(3))."""
    mark = f"<{level}>" if os.environ.get("JOURNAL_STREAM") else "sentinel: "
    print(f"{mark}{escape(sentence)}", file=sys.stderr, flush=True)


class _Shown:
    """Stands for every channel in `--dry-run`: what would be sent is printed."""

    def __init__(self, channel: Channel, *, json_too: bool) -> None:
        self._channel = channel
        self._json = json_too

    def send(self, message: Message) -> Outcome:
        """Nothing leaves."""
        if self._json:
            emit_line({"channel": self._channel.name, **default_body(message)})
        else:
            print(f"--- to {self._channel.name} ({self._channel.kind}) ---\n{message.title}\n{message.text}\n", flush=True)
        return DELIVERED


def _check(config: Config, *, json_too: bool) -> int:
    if json_too:
        rows = [{"name": one.name, "type": one.kind} for one in config.channels]
        emit({"file": str(config.file), "host": config.host, "channels": rows})
    else:
        shown = ", ".join(f"{channel.name} ({channel.kind})" for channel in config.channels)
        say(f"{config.file}: {counted(len(config.channels), 'channel')}: {shown}")
    return OK


def _test(config: Config, senders: dict[str, Sender], wanted: list[str], *, json_too: bool) -> int:
    """One try for each channel. 0: all took it; 1: one did not."""
    for name in wanted:
        if name not in {channel.name for channel in config.channels}:
            warn(f"there is no channel '{name}'; there are {', '.join(channel.name for channel in config.channels)}")
            return CRITICAL
    failed = False
    for channel in config.channels:
        if wanted and channel.name not in wanted:
            continue
        with working(f"sending to {channel.name}"):
            if channel.kind == "alertmanager":
                outcome = build.test_alertmanager(channel, config)
            else:
                outcome = senders[channel.name].send(test_message(config.host, channel.name))
        failed |= outcome.kind != "delivered"
        if json_too:
            emit_line({"channel": channel.name, "outcome": outcome.kind, "why": outcome.why})
        else:
            say(f"{channel.name} ({channel.kind}): {outcome.kind}{f', {outcome.why}' if outcome.why else ''}")
    return WARNING if failed else OK


def _status(folder: Path, *, json_too: bool) -> int:
    """0: every channel delivers all; 1: one does not, nothing runs, or no daemon answers; 3: nothing is known."""
    try:
        (folder / FILE).stat()
        found = read(folder)
    except PermissionError:
        warn(f"may not look into {folder}; ask as root: sudo sentinel notify --status")
        return UNKNOWN
    except FileNotFoundError:
        warn(f"there is no state in {folder}; start it with `systemctl start sentinel-notify` or `sentinel notify`")
        return UNKNOWN
    except Fault as error:
        warn(str(error))
        return UNKNOWN
    channels = found["channels"]
    if json_too:
        daemon = "unreachable" if found["meta"].get("unreachable") else "ok"
        emit({"runs": found["runs"], "channels": [_row(one) for one in channels], "daemon": daemon})
    else:
        for one in channels:
            say(_line(one, time.time()))
        if found["meta"].get("unreachable"):
            say("the daemon does not answer")
        if not found["runs"]:
            say("nothing is delivered: `sentinel notify` does not run (systemctl status sentinel-notify)")
    fails = any(one["failing_since"] is not None or one["aside"] for one in channels)
    return WARNING if fails or not found["runs"] or found["meta"].get("unreachable") else OK


def _row(one: dict[str, Any]) -> dict[str, Any]:
    return one | {name: iso(one[name]) for name in ("delivered_at", "failing_since")}


def _line(one: dict[str, Any], now: float) -> str:
    words = [f"{counted(one['messages'], 'message')} delivered"]
    if one["delivered_at"] is not None:
        words.append(f"the last {duration(max(0.0, now - one['delivered_at']))} ago")
    words.append(f"{counted(one['waiting'], 'alert')} waiting")
    if one["lost"]:
        words.append(f"{one['lost']} given up")
    if one["aside"]:
        words.append(f"{one['aside']} refused while others are not, tried again")
    if one["failing_since"] is not None:
        words.append(f"fails for {duration(max(0.0, now - one['failing_since']))}: {one['why']}")
    return f"{one['name']}: {'ok' if one['failing_since'] is None else 'DOES NOT DELIVER'}; {', '.join(words)}"
