"""`sentinel report`: the last hours of this machine as one HTML page."""

from __future__ import annotations

import argparse
import platform
import time

from sentinel.cli.alerts import since_of
from sentinel.cli.main import CRITICAL, OK
from sentinel.cli.output import NoAnswer, ask, complain, warn, working
from sentinel.cli.report.page_file import CannotWrite, write
from sentinel.cli.report.private import redactor
from sentinel.report.collect import MOST_SECONDS, collect
from sentinel.report.of_daemon import page
from sentinel.report.page import render
from sentinel.report.redaction import redacted, without_keys


def main(arguments: argparse.Namespace) -> int:
    """Ask the daemon and write the page; the exit code says whether that worked, not how the servers are."""
    now = time.time()
    since = since_of(arguments.since, now)
    if since is None or since >= now:
        warn(f"--since '{arguments.since}': write a duration (2h, 3d) or a date that is over (2026-11-23T16:00)")
        return CRITICAL
    if now - since > MOST_SECONDS:
        warn(f"--since '{arguments.since}': values are kept for 31 days; write 31d or less")
        return CRITICAL
    try:
        with working("asking the daemon"):
            # A short name is no pattern to search for: it is left out, not replaced.
            machine = "" if arguments.redact else platform.node()
            collected = collect(lambda path: ask(arguments, path), since, now, machine=machine)
    except NoAnswer as error:
        return complain(error)
    name = arguments.output or f"sentinel-report-{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}.html"
    users = [str(server["user"]) for server in collected.status["servers"] if server.get("user")]
    with working("drawing the page"):
        made = page(collected)
        made = redacted(made, redactor(users)) if arguments.redact else without_keys(made, redactor())
        html = render(made)
    try:
        write(html, name, redacted=arguments.redact)
    except CannotWrite as fault:
        warn(str(fault))
        return CRITICAL
    return OK
