"""The rule that docs/first-rule.md teaches is one that works."""

from __future__ import annotations

from pathlib import Path

import pytest
from places import REPO

from sentinel.cli.main import main
from sentinel.rulefiles.file_names import of_tests

LOG = REPO / "tests/fixtures/logs/b10434-two-slots.log"


@pytest.fixture
def rule(tmp_path: Path) -> Path:
    """The file that a reader saves."""
    text = (REPO / "docs/first-rule.md").read_text(encoding="utf-8")
    file = tmp_path / "slow-generation.toml"
    file.write_text(text.split("```toml\n")[1].split("```")[0], encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("verb", "said"),
    [("lint", "1 rule and"), ("test", "4 passed, 0 failed"), ("coverage", "tried: 1 of 1 rules, 2 of 2 causes")],
)
def test_it_is_well_formed_and_passes_its_own_tests(verb: str, said: str, rule: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["rules", verb, str(rule)])

    told = capsys.readouterr().out
    assert code == 0, told
    assert said in told


def test_what_the_guide_begins_with_is_right_before_a_word_is_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (REPO / "docs/first-rule.md").read_text(encoding="utf-8")
    commands = [line.split("#")[0].split() for line in text.split("```toml")[0].splitlines() if line.startswith("    sentinel")]
    assert [words[2] for words in commands] == ["new", "lint", "test", "schema"]
    for _, *words in commands:
        assert main([word for word in words if word not in (">", "rule.json")]) == 0, words
    assert "3 passed, 0 failed" in capsys.readouterr().out


def test_it_judges_a_recorded_log(rule: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["diagnose", "--rules", str(rule), str(LOG)])

    told = capsys.readouterr().out
    assert code == 0, told
    assert "no failure is named" in told


def test_the_guide_is_followed_from_the_folder_to_an_override(
    rule: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Command by command, as a new user would. The shell has made the file of the override, empty, before the command runs."""
    folder = tmp_path / "xdg/sentinel/rules.d"
    folder.mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    (folder / rule.name).write_bytes(rule.read_bytes())
    assert main(["rules", "list"]) == 0
    assert "slow-generation" in capsys.readouterr().out

    over = folder / "cpu-fallback.toml"
    over.touch()
    assert main(["rules", "override", "cpu-fallback", "severity", "alert.for"]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    over.write_text(told.out.replace('"critical"', '"warning"'), encoding="utf-8")
    assert main(["rules", "lint"]) == 0
    shipped = len([path for path in (REPO / "rules").glob("*.toml") if not of_tests(path.name)])
    assert capsys.readouterr().out.startswith(f"{shipped + 1} rules and ")
    assert main(["diagnose", str(LOG)]) == 0
    assert capsys.readouterr().err == ""

    over.write_text("schema = 1", encoding="utf-8")
    assert main(["diagnose", str(LOG)]) == 0
    told = capsys.readouterr()
    assert "no failure is named" in told.out
    assert told.err.splitlines()[-1] == f"sentinel: judged without {over}"
