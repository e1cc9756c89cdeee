"""The rule that docs/first-rule.md teaches is one that works."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.cli.main import main

REPO = Path(__file__).resolve().parents[2]
LOG = REPO / "tests/fixtures/logs/b10434-two-slots.log"


@pytest.fixture
def rule(tmp_path: Path) -> Path:
    """The file that a reader saves."""
    text = (REPO / "docs/first-rule.md").read_text(encoding="utf-8")
    file = tmp_path / "slow-generation.toml"
    file.write_text(text.split("```toml\n")[1].split("```")[0], encoding="utf-8")
    return file


@pytest.mark.parametrize("verb", ["lint", "test"])
def test_it_is_well_formed_and_passes_its_own_tests(verb: str, rule: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["rules", verb, str(rule)])

    told = capsys.readouterr().out
    assert code == 0, told
    assert ("1 rules" if verb == "lint" else "3 passed, 0 failed") in told


def test_it_judges_a_recorded_log(rule: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["diagnose", "--rules", str(rule), str(LOG)])

    assert code == 0
    assert "nothing wrong found" in capsys.readouterr().out
