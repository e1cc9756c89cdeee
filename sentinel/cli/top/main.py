"""`sentinel top`: what needs to be there before the screen can be shown."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

from sentinel.cli.main import CRITICAL
from sentinel.cli.output import warn
from sentinel.files.libraries import how_to_add


def main(arguments: argparse.Namespace) -> int:
    """Show the screen until it is left."""
    if find_spec("textual") is None:
        warn(f"top needs the library Textual: {how_to_add('textual', 'top')}; `sentinel status` and `watch` do without")
        return CRITICAL
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        warn("top needs a terminal; `sentinel status` prints the same once, `sentinel watch` follows the alerts")
        return CRITICAL
    from sentinel.cli.top.app import Top
    from sentinel.cli.top.poll import DaemonPoll

    code = Top(DaemonPoll([Path(arguments.socket)] if arguments.socket else None)).run()
    return code or 0
