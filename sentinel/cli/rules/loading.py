"""Loads the rules that a verb uses: those at the given paths, else those of this user's daemon."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sentinel.cli.garbage import uncollected
from sentinel.cli.output import working
from sentinel.cli.rules import kept_rules
from sentinel.daemon.config import Config, drop_in_folders, load
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.problem import ConfigError, Problem
from sentinel.model.text import escape
from sentinel.rulefiles.files import Loaded, RuleFiles, load_given


def of_config(config: Config, given: Sequence[str] = ()) -> RuleFiles:
    """The shipped rules and a daemon's own: drop-in folders and the configuration's `rules`, or `given` instead."""
    if given:
        return RuleFiles(paths=[Path(path) for path in given])
    return RuleFiles(drop_in_folders(os.environ), config.rules)


def of_machine() -> RuleFiles:
    """The same for the configuration of this user's daemon. An invalid configuration is reported and ignored."""
    try:
        config = load(None, os.environ)
    except ConfigError as error:
        complain(error.problems)
        return RuleFiles(drop_in_folders(os.environ))
    return of_config(config)


def loaded(paths: Sequence[str], *, tests: bool = True) -> Loaded:
    """Load the rules at the given paths, else those of the machine; with every mistake. Without `tests` as the daemon does."""
    if not tests and not paths:
        found = load_once(of_machine())
        if not found.problems:
            return found
    return load_given([Path(path) for path in paths]) if paths else of_machine().load(tests=True)


def for_judging(paths: Sequence[str]) -> RuleSet | None:
    """The rules to evaluate a log with. A mistake in a named file is fatal (None); one in a drop-in folder is reported and the
    rest is used, as in the daemon."""
    with working("reading the rules"):
        found = load_given([Path(path) for path in paths], tests=False) if paths else load_once(of_machine())
    complain(found.errors)
    if found.left_out and found.ruleset is not None:
        print(f"sentinel: judged without {', '.join(escape(file) for file in found.left_out)}", file=sys.stderr)
    return found.ruleset


def load_once(files: RuleFiles) -> Loaded:
    """As `load_good`, without decoding and checking again what was found to be without mistakes."""
    kept = kept_rules.of_user(os.environ)
    with uncollected():
        found = None if kept is None else kept.find(files)
        if found is None:
            found = files.load_good()
            if kept is not None:
                kept.keep(found)
    return found


def complain(problems: Sequence[Problem]) -> None:
    """Print one sentence per problem."""
    for problem in problems:
        print(f"sentinel: {problem}", file=sys.stderr)
