"""`sentinel rules schema`: the JSON Schema of a kind of rule file, with the names of this machine's rules and events."""

from __future__ import annotations

import argparse

from sentinel.cli.main import CRITICAL, OK
from sentinel.cli.rules.loading import for_judging
from sentinel.rulefiles.json_schema import as_text, schemas


def main(arguments: argparse.Namespace) -> int:
    """Print the schema."""
    ruleset = for_judging([])
    if ruleset is None:
        return CRITICAL
    print(as_text(schemas(ruleset)[arguments.kind]), end="")
    return OK
