"""A fix that sets what is set already is no advice."""

from __future__ import annotations

from typing import Any

import pytest

from sentinel.engine.rules.already_set import already_set, signals_of
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.llama.command_line import decode
from sentinel.model.entity import Unknown


def known(command: str) -> dict[str, Any]:
    return {n: None if isinstance(v, Unknown) else v for n, v in decode(("llama-server", *command.split()), {}).signals().items()}


@pytest.mark.parametrize(
    ("asked", "flags", "done"),
    [
        ("-ub 128", "-ub 128", True),
        ("--ubatch-size 128", "-ub 128", True),
        ("-ub 512", "-ub 128", False),
        ("-c 4096", "-c 0", False),
        ("-c 0", "-c 0", True),
        ("", "-c 0", False),
        ("-ctk q8_0 -ctv q8_0", "-ctk q8_0 -ctv q8_0", True),
        ("-ctk q8_0", "-ctk q8_0 -ctv q8_0", False),
        ("--no-mmap", "--no-mmap", True),
        # a default is another in other builds
        ("-m m.gguf", "--no-context-shift", False),
        ("-m m.gguf", "-fit on", False),
        ("-fit off", "-fit on", False),
        # a flag that sentinel has no signal for: nothing is known of it
        ("--jinja", "--jinja", False),
        ("-ub 128 --jinja", "-ub 128 --jinja", False),
        ("-ub 128", "-ub 'x", False),
        ("-ub 128", "", False),
    ],
)
def test_only_what_is_known_to_be_set_to_that_value_is_done(asked: str, flags: str, done: bool) -> None:
    assert already_set(flags, known(asked).get) is done


def test_of_a_log_without_a_command_line_nothing_is_done() -> None:
    assert not already_set("-ub 128", lambda _: None)


def test_every_rule_reads_the_signals_that_its_flags_are_judged_by(ruleset: RuleSet) -> None:
    for compiled in ruleset.rules.values():
        for cause in compiled.causes:
            for fix in cause.fixes:
                assert signals_of(fix.fix.flags) <= set(compiled.signal_reads), f"{compiled.rule.id}, {cause.cause.id}"
