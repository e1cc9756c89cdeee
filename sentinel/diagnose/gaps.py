"""Why files leave signals unknown, and what would provide them, the most useful first."""

from __future__ import annotations

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.llama.command_line import decode
from sentinel.model.entity import Unknown, Value

ARGV = Unknown("a log does not show it", "--argv 'COMMAND', the server's command line")
NO_KERNEL_LOG = Unknown("no kernel log was given", "--kernel-log FILE, from journalctl -k -b > FILE")
#: printed by a server at a higher verbosity
DETAIL = Unknown("the log that was given does not say it", "a log of a server started with -lv 4")
LIVE = Unknown("a log does not show it", "sentinel running beside the server (sentinel run)")
NO_LOG = Unknown("no log of the server was given")
REMEDIES = tuple(gap.remedy for gap in (ARGV, NO_KERNEL_LOG, DETAIL, LIVE))


def not_in_a_log() -> dict[str, Value | Unknown]:
    """Signals that no log contains, each with another way to provide it."""
    asked = set(decode([], {}).signals())
    return {
        name: ARGV if name in asked else LIVE
        for name, signal in CATALOGUE.items()
        if signal.scope == "server" and signal.origin in ("process", "model")
    }
