"""What is not known of a server's command line and environment is not known to be absent.

Each inline test of the shipped rules runs again without what the command line says, as a log alone is judged. No cause may
then be certain that was not reported before: it would be one that is right only because a flag is absent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.engine.rules.ruleset import CompiledRule, RuleSet
from sentinel.model.rule import CaseDef
from sentinel.rulefiles.testing.runner import run_case

#: Read from /proc/PID/cmdline and environ.
_FROM = CATALOGUE["server.mmproj_asked"].provide
#: What is true whatever was asked for: the server's own line says it.
_SAID_BY_THE_LOG = {
    # The line names both lengths. With a command line that asks for just that, it is silent as what was meant.
    ("context-collapse", "capped-at-training-length"),
    # The line of the shift. With --context-shift it is silent as what was meant.
    ("context-collapse", "context-shift"),
    # The refusals are counted, with their lengths.
    ("context-collapse", "requests-larger-than-slot"),
    # The device table says which GPU is which; somebody who named both wanted it so.
    ("gpu-misplaced", "integrated-gpu-in-the-split"),
    # The runtime's own words; its text names the variable that may be behind it where that is not known.
    ("server-crashed", "no-code-for-this-card"),
}


def _without(case: CaseDef, signals: Iterable[str]) -> CaseDef:
    gone = set(signals)
    return replace(
        case,
        given={name: value for name, value in case.given.items() if name not in gone},
        series={name: steps for name, steps in case.series.items() if name not in gone},
        later=tuple((at, {name: value for name, value in new.items() if name not in gone}) for at, new in case.later),
    )


def _certain(compiled: CompiledRule, case: CaseDef, ruleset: RuleSet) -> set[str]:
    told = run_case(compiled, case, ruleset).transitions
    return {one.cause.id for one in told if one.state == "firing" and one.cause is not None and one.cause.confidence == "high"}


def test_no_cause_is_certain_because_a_flag_is_not_known(ruleset: RuleSet) -> None:
    tried = 0
    wrong: list[str] = []
    for name, compiled in sorted(ruleset.rules.items()):
        for case in compiled.rule.tests:
            read = {*case.given, *case.series, *(signal for _, new in case.later for signal in new)}
            asked = {signal for signal in read if CATALOGUE[signal].provide == _FROM}
            if not asked:
                continue
            tried += 1
            before = _certain(compiled, case, ruleset)
            for cause in sorted(_certain(compiled, _without(case, asked), ruleset) - before):
                if (name, cause) not in _SAID_BY_THE_LOG:
                    wrong.append(f"{name}, '{case.name}': {cause} is certain without {', '.join(sorted(asked))}")
    assert not wrong
    assert tried > 150


@pytest.mark.parametrize(("rule", "cause"), sorted(_SAID_BY_THE_LOG))
def test_what_is_excepted_is_there(ruleset: RuleSet, rule: str, cause: str) -> None:
    assert cause in {one.cause.id for one in ruleset.rules[rule].causes}
