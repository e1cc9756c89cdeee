"""A new rule is right from its first moment, and nothing that is there is written over."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.cli.main import CRITICAL, OK, main


@pytest.mark.parametrize("scope", ["server", "host", "gpu"])
def test_it_is_well_formed_and_passes_its_three_tests(scope: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "new", "my-own-rule", "--scope", scope, "--to", str(tmp_path)]) == OK
    file = tmp_path / "my-own-rule.toml"
    assert f"{file}: now change it" in capsys.readouterr().out

    assert main(["rules", "lint", str(file)]) == OK
    assert "1 rule and" in capsys.readouterr().out
    assert main(["rules", "test", str(file)]) == OK
    assert "3 passed, 0 failed" in capsys.readouterr().out
    assert main(["rules", "coverage", str(file)]) == OK
    assert {state for state in ("firing", "quiet", "unknown") if f'state = "{state}"' in file.read_text()} == {
        "firing",
        "quiet",
        "unknown",
    }


def test_each_has_a_message_id_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    ids = set()
    for _ in range(2):
        assert main(["rules", "new", "mine", "--to", "-"]) == OK
        ids |= {line for line in capsys.readouterr().out.splitlines() if line.startswith("message_id")}
    assert len(ids) == 2


def test_a_file_that_is_there_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.toml").write_text("my work")
    assert main(["rules", "new", "mine", "--to", str(tmp_path)]) == CRITICAL
    assert capsys.readouterr().err == f"sentinel: {tmp_path}/mine.toml is there already; give another id, or remove it first\n"
    assert (tmp_path / "mine.toml").read_text() == "my work"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["My Rule"], "'My Rule' is not a rule id; write lower-case words joined by '-'"),
        (["../x"], "'../x' is not a rule id"),
        (["mine", "--to", "/nowhere/at/all"], "/nowhere/at/all/mine.toml cannot be written: No such file or directory"),
    ],
)
def test_a_mistake_is_one_sentence(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "new", *words]) == CRITICAL
    assert capsys.readouterr().err.startswith(f"sentinel: {told}")
