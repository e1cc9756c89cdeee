"""The last minutes of a value of each server, for sparklines."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from sentinel.cli.output import NoAnswer, ask

#: A column of a sparkline each: ten minutes in steps of 20 s.
SECONDS, POINTS = 600, 30

Values = Sequence[float | None]


def recent(arguments: argparse.Namespace, signal: str = "server.generation_tps") -> dict[str, Values]:
    """The values by server, oldest first; none from a daemon that is older than its series."""
    try:
        answer = ask(arguments, f"/v1/series?seconds={SECONDS}&points={POINTS}&signal={signal}")
    except NoAnswer:
        return {}
    return {one["entity"]["name"]: one["mean"] for one in answer["series"]}
