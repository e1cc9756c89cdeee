"""Public reports (eval/wild): each case holds as its expect.toml says, but for those that are known not to."""

from __future__ import annotations

import datetime
import tomllib
from pathlib import Path

import pytest

from eval import wild, wild_page
from eval.wild_case import WILD, Case, CaseError, FirstLook, judge, load
from sentinel.engine.rules.ruleset import RuleSet

REPO = Path(__file__).resolve().parents[2]
MISSES: dict[str, str] = tomllib.loads((WILD / "known-misses.toml").read_text(encoding="utf-8"))["misses"]
CASES = load()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_report_is_answered_as_expected(case: Case, ruleset: RuleSet) -> None:
    outcome = judge(case, ruleset)

    if case.name in MISSES:
        assert not outcome.holds, f"{case.name} holds: take it out of eval/wild/known-misses.toml"
    else:
        assert outcome.holds, f"{wild.line(outcome)}\n{outcome.answer}"


def test_every_known_miss_is_a_case() -> None:
    assert MISSES.keys() <= {case.name for case in CASES}


def test_every_case_has_its_first_look() -> None:
    assert [case.name for case in CASES if case.first_look is None and not case.healthy] == []


def test_the_page_of_first_looks_is_not_stale() -> None:
    assert (REPO / "docs/wild.md").read_text(encoding="utf-8") == wild_page.page(CASES), "run: make docs"


def _folder(root: Path, expect: str, log: str, argv: str = "") -> Path:
    case = root / "case"
    case.mkdir()
    (case / "README.md").write_text("Thread: owner/repo#7\n", encoding="utf-8")
    (case / "server.log").write_text(log, encoding="utf-8")
    (case / "argv.txt").write_text(argv, encoding="utf-8")
    (case / "expect.toml").write_text(expect, encoding="utf-8")
    return root


OUT_OF_MEMORY = (
    "0.00.311.002 I srv    load_model: loading model '/m/a.gguf'\n"
    "0.05.311.002 E ggml_backend_cuda_buffer_type_alloc_buffer: allocating 40000.00 MiB on device 0: "
    "cudaMalloc failed: out of memory\n"
    "0.05.311.002 E alloc_tensor_range: failed to allocate CUDA0 buffer of size 41943040000\n"
    "0.05.312.002 E llama_model_load: error loading model: unable to allocate CUDA0 buffer\n"
    "0.05.313.002 E srv    load_model: failed to load model, '/m/a.gguf'\n"
)


def test_a_case_that_is_answered_wrongly_does_not_hold(tmp_path: Path, ruleset: RuleSet) -> None:
    """The scorer itself: the rule counts, the cause is read of that rule only, and what must never be said is found."""
    expect = 'rule = "allocation-failed"\ncause = "no such cause"\nfix = "."\nnever = "allocat"\n'
    (case,) = load(_folder(tmp_path, expect, OUT_OF_MEMORY))

    outcome = judge(case, ruleset)

    assert (outcome.rule, outcome.cause, outcome.fix, outcome.holds) == (True, False, False, False)
    assert outcome.wrong.lower() == "allocat"
    assert wild.line(outcome).startswith("R--!")


def test_a_healthy_case_is_missed_when_something_fires(tmp_path: Path, ruleset: RuleSet) -> None:
    (case,) = load(_folder(tmp_path, 'rule = "-"\n', OUT_OF_MEMORY))

    outcome = judge(case, ruleset)

    assert not outcome.holds
    assert wild.line(outcome).startswith("FALSE")


@pytest.mark.parametrize(
    ("expect", "why"),
    [
        ('rule = "x"\ncause = "a"\n', "`cause` and `fix`"),
        ('rule = "x"\ncause = "("\nfix = "."\n', "unterminated"),
        ('rule = "-"\nrules = 1\n', "'rules'"),
        ('rule = "-"\n[first_look]\non = 2026-11-29\nrule = true\nfalse = ""\n', "'false'"),
        ("rule = ", "Invalid value"),
    ],
)
def test_a_mistake_in_a_case_is_one_sentence(expect: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=why):
        load(_folder(tmp_path, expect, ""))


def test_the_page_shows_misses_and_false_statements(tmp_path: Path) -> None:
    look = '[first_look]\non = 2026-11-29\nrule = true\ncause = false\nfix = false\nfalse_statement = "a | b"\n'
    cases = load(_folder(tmp_path, f'rule = "x"\ncause = "a"\nfix = "b"\n{look}', ""))

    assert "| case | owner/repo#7 | 2026-11-29 | right | missed | missed | a \\| b |" in wild_page.page(cases)
    assert "rule 1, cause 0, fix 0 of 1; something untrue or harmful in 1" in wild_page.page(cases)


def test_the_page_counts_numbered_cases_thirty_at_a_time() -> None:
    """Four failures, one of them answered right, and 26 healthy ones, one of which was not left alone."""
    on = datetime.datetime(2026, 11, 29, tzinfo=datetime.UTC)

    def seen(number: int) -> Case:
        look = FirstLook(on, number in (1, 2) or number > 5, number == 1, number == 1, "a cure that harms" if number == 2 else "")
        return Case(f"look-{number:02}-a-report", CASES[0].folder, "x" if number < 5 else "-", "", "", "", look)

    page = wild_page.page([seen(number) for number in range(1, 31)])

    assert "| look-01 to 30 | 4 | 2 | 1 | 1 | 1 | 25 of 26 |" in page
    assert "| look-01 to 30 |" not in wild_page.page([seen(number) for number in range(1, 30)])
