"""Generates the journal's message catalog from the rule files: `python -m sentinel.generate.journal_catalog FILE [--check]`.

With it `journalctl -x` prints an alert's cause, evidence and fixes below it: journalctl replaces ``@FIELD@`` by the entry's
value (systemd.io/CATALOG). The output is deterministic.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.rule import RuleDef
from sentinel.rulefiles.files import load_paths, shipped

_HEAD = "# Made by `make docs` from rules/: change those, not this. For journalctl -x; systemd.io/CATALOG."

# Field names have only letters and underscores, and two never touch: @@ stands for one @ (replace-var.c).
_TEXT = """\
@SENTINEL_ENTITY@: @SENTINEL_STATE@ (@SENTINEL_SEVERITY@)

Cause:
@SENTINEL_CAUSE_TEXT@

Evidence:
@SENTINEL_EVIDENCE_TEXT@

What to do (sentinel does none of it by itself):
@SENTINEL_FIX_TEXT@

How each check stands now: sentinel why {rule}
"""


def catalog(ruleset: RuleSet) -> str:
    """One entry per rule, by its MESSAGE_ID."""
    rules = (ruleset.rules[name].rule for name in sorted(ruleset.rules))
    return "\n".join([_HEAD, *(f"\n{_entry(rule)}" for rule in rules)])


def _entry(rule: RuleDef) -> str:
    head = [f"-- {rule.message_id}", f"Subject: {rule.title.replace('@', '@@')}", "Defined-By: sentinel"]
    # URLs stay as they are, so that they can be clicked.
    head += [f"Documentation: {reference}" for reference in ("man:sentinel(1)", *rule.references[:1])]
    return "\n".join([*head, "", _TEXT.format(rule=rule.id)])


def main(argv: Sequence[str] | None = None) -> int:
    """Write the file, or with --check report whether it is stale. 1: it is stale; 2: the rules cannot be loaded."""
    parser = argparse.ArgumentParser(
        prog="python -m sentinel.generate.journal_catalog", description="Makes the journal's catalog."
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; say whether the file is stale")
    arguments = parser.parse_args(argv)
    ruleset, problems = load_paths([shipped()])
    if ruleset is None:
        sys.stderr.write("".join(f"{problem}\n" for problem in problems))
        return 2
    made = catalog(ruleset)
    if arguments.file.is_file() and arguments.file.read_text(encoding="utf-8") == made:
        return 0
    sys.stdout.write(f"{arguments.file}{' is stale; make docs' if arguments.check else ''}\n")
    if arguments.check:
        return 1
    arguments.file.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
