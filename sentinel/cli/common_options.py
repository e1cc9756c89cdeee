"""Options that several verbs have: for the form of the output, the rules, the daemon that is asked."""

from __future__ import annotations

import argparse


def add_json(verb: argparse.ArgumentParser) -> None:
    """Of every verb that prints data."""
    verb.add_argument("--json", action="store_true", help="print JSON")


def add_rules(verb: argparse.ArgumentParser) -> None:
    """Of every verb that loads rules."""
    verb.add_argument(
        "--rules",
        metavar="PATH",
        action="append",
        default=[],
        help="rule files or folders of yours, with the shipped rules and instead of those in the drop-in folders",
    )


def add_socket(verb: argparse.ArgumentParser) -> None:
    """Of every verb that may ask the daemon."""
    verb.add_argument("--socket", metavar="PATH", help="the daemon's socket (default: your own daemon's, else the service's)")


def add_asking(verb: argparse.ArgumentParser, verbose: str = "") -> None:
    """Of every verb that asks the daemon."""
    add_socket(verb)
    if verbose:
        verb.add_argument("--verbose", "-v", action="store_true", help=verbose)
    add_json(verb)
