"""Generates the journal's message catalog from the rule files: `python -m sentinel.generate.journal_catalog FILE [--check]`.

With it `journalctl -x` prints an alert's cause, evidence and fixes below it: journalctl replaces ``@FIELD@`` by the entry's
value (systemd.io/CATALOG). The output is deterministic.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sentinel.engine.rules.ruleset import RuleSet
from sentinel.generate.made_file import asked, put
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
    arguments = asked(argv, "sentinel.generate.journal_catalog", "Makes the journal's catalog.")
    ruleset, problems = load_paths([shipped()])
    if ruleset is None:
        sys.stderr.write("".join(f"{problem}\n" for problem in problems))
        return 2
    return put(arguments.file, catalog(ruleset), check=arguments.check)


if __name__ == "__main__":
    sys.exit(main())
