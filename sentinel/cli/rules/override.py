"""`sentinel rules override`: prints a template of an override: present values, and the digest of the rule it overrides."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from sentinel.cli.main import CRITICAL, OK
from sentinel.cli.output import warn
from sentinel.cli.rules.loading import complain, loaded, of_machine
from sentinel.cli.rules.show import unknown
from sentinel.model.problem import did_you_mean
from sentinel.model.rule import RuleDef
from sentinel.model.text import escape
from sentinel.rulefiles.deprecated import new_part
from sentinel.rulefiles.digest import parts, rule_digest
from sentinel.rulefiles.override import NAMED, SINGLE
from sentinel.rulefiles.toml.writer import fixes, value


def main(arguments: argparse.Namespace) -> int:
    """Print the file; the named fields are set, the others are comments."""
    # The shell creates the target of the redirection, empty, before sentinel starts: mistakes in rule files are ignored here.
    found = loaded(arguments.rules) if arguments.rules else of_machine().load_good()
    if found.ruleset is None:
        complain(found.errors)
        return CRITICAL
    base = next((one.base for one in found.ruleset.overrides if one.rule == arguments.rule), None)
    compiled = found.ruleset.rules.get(arguments.rule)
    rule = compiled.rule if compiled is not None else base
    if rule is None:
        return unknown(found.ruleset, arguments.rule)
    there = {spelled(name): (name, said) for name, said in parts(rule).items() if _replaceable(name)}
    wrong = [field for field in arguments.fields if spelled(field) not in there]
    for field in wrong:
        warn(f"rule '{rule.id}' has no field '{escape(field):.60}'{did_you_mean(field, there)}")
    if wrong:
        return CRITICAL
    wanted = {spelled(field) for field in arguments.fields}
    for line in lines_of(rule, rule_digest(base or rule), list(there.values()), wanted):
        print(line)
    return OK


def spelled(field: str) -> str:
    """A field's name without quotes and blanks, for the shell: ``cause 'no-gpu'.text`` of `lint` as ``cause.no-gpu.text``."""
    return new_part(field).replace("cause '", "cause.").replace("'", "")


def _replaceable(name: str) -> bool:
    return name in SINGLE or name.partition(".")[0] in (*NAMED, "alert") or name.startswith("cause '")


def lines_of(rule: RuleDef, digest: str, there: Sequence[tuple[str, Any]], wanted: set[str]) -> Iterator[str]:
    """The file with all fields of a rule (name, value); those not wanted are commented out."""
    yield f"# Replaces fields of the rule '{rule.id}'. Save it in /etc/sentinel/rules.d (or ~/.config/sentinel/rules.d for a"
    yield f"# daemon of your own) as {rule.id}.toml; what is not named here stays as it is. An expression is replaced as a whole."
    yield "schema = 1"
    yield f'override = "{rule.id}"'
    yield "# the rule that this was written against: sentinel warns when another one is shipped"
    yield f'against = "{digest}"'
    if not wanted:
        yield "# enabled = false"
    group = ""
    for name, said in there:
        mark = "" if spelled(name) in wanted else "# "
        if mark and wanted:
            continue
        head, _, key = name.partition(".")
        if key and head != group:
            yield ""
            cause = head.removeprefix("cause ").strip("'")
            yield from (f"{mark}{line}" for line in ([f"[{head}]"] if cause == head else ["[[cause]]", f'id = "{cause}"']))
        group = head
        lines = fixes(said) if key == "fix" else f"{key or name} = {value(name, said)}".split("\n")
        yield from (f"{mark}{line}" for line in lines)
