"""The labelled cases of eval/: the short form of `make eval`, without the real llama-server."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval import score
from eval.case import CASES, ERAS, CaseError, load
from eval.judge import Judged, corpus, judge
from sentinel.engine.rules.ruleset import RuleSet


@pytest.fixture(scope="module")
def results(ruleset: RuleSet) -> list[Judged]:
    """Every case, judged by the shipped rules; those of the corpus are skipped where it is absent."""
    return [judge(case, ruleset, corpus()) for case in load()]


@pytest.fixture(scope="module")
def found(results: list[Judged]) -> score.Score:
    """Their count."""
    return score.score(results)


def test_every_target_is_met(found: score.Score) -> None:
    """Failures named, causes right, silence where nothing is wrong; every label names a rule and a cause that there are."""
    assert [f"{t.name}: {t.value}, should be {t.target}" for t in found.targets if t.met is False] == [], found.wrongs
    assert not any(row.not_built for row in found.failures)


def test_every_shipped_rule_has_cases(ruleset: RuleSet, found: score.Score) -> None:
    """A rule without a labelled case has no figure."""
    assert ruleset.rules.keys() <= {row.group for row in found.failures}


def test_every_era_has_failures_and_healthy_cases(results: list[Judged]) -> None:
    """No wording of llama.cpp is tried on one side only."""
    for era, (bad, good, _) in score.eras(results).items():
        assert bad, era
        assert good, era
    assert set(score.eras(results)) == set(ERAS)


def test_what_can_be_judged_without_the_corpus_is_enough(ruleset: RuleSet, results: list[Judged], tmp_path: Path) -> None:
    """Sixty and sixty stand in the project itself; the rest is counted as skipped."""

    def reads_the_corpus(result: Judged) -> bool:
        return any(name.startswith("corpus:") for name in (result.case.recording, result.case.kernel_recording))

    others = [result.case for result in results if reads_the_corpus(result)]
    judged = [result for result in results if not reads_the_corpus(result)]

    assert others
    assert {judge(case, ruleset, tmp_path).skipped for case in others} == {"no corpus"}
    assert not any(result.skipped for result in judged)
    assert sum(bool(result.case.rule) for result in judged) >= score.ENOUGH
    assert sum(not result.case.rule for result in judged) >= score.ENOUGH


def test_a_wrong_label_is_counted_as_wrong(results: list[Judged]) -> None:
    """The table can show a miss, a wrong cause and a false alarm."""
    fine = next(r for r in results if r.case.rule == "cpu-fallback" and r.told.keys() == {"cpu-fallback"})
    silent = next(r for r in results if not r.case.rule and not r.told and not r.skipped)
    missed = Judged(fine.case, {})
    other = Judged(silent.case, fine.told)
    told = {rule: type(t)("another", t.severity, t.summary) for rule, t in fine.told.items()}
    wrong = score.score([missed, Judged(fine.case, told), other])

    assert (wrong.failures[0].missed, wrong.failures[0].wrong, wrong.silent[0].critical) == (1, 1, 1)
    assert {t.name for t in wrong.targets if t.met is False} >= {"failures named", "right cause"}
    assert len(wrong.wrongs) == 3


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name = 'x'", "era: is missing"),
        ("name = 'x'\nera = 'b114xx'\norigin = 'guessed'\nfrom = 'y'", "'guessed' is none of"),
        ("name = 'x'\nera = 'b114xx'\norigin = 'composed'\nfrom = 'y'\nlog = ['no time']", "must begin with its time"),
        ("name = 'x'\nera = 'b114xx'\norigin = 'composed'\nfrom = 'y'\nlog = ['+1s @b114xx-ready slots=1']", "does not give"),
        ("name = 'x'\nera = 'b114xx'\norigin = 'composed'\nfrom = 'y'\nlabel = 'z'", "unknown key"),
    ],
)
def test_a_mistake_in_a_case_is_reported_with_its_place(tmp_path: Path, text: str, complaint: str) -> None:
    """As mistakes in rule files are."""
    (tmp_path / "bases.toml").write_bytes((CASES / "bases.toml").read_bytes())
    (tmp_path / "healthy.toml").write_text(f"schema = 1\n[[case]]\n{text}\n", encoding="utf-8")

    with pytest.raises(CaseError, match=complaint):
        load(tmp_path)
