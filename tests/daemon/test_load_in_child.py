"""The rules at the start are those that a check in the daemon itself would have given, whatever becomes of who checks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sentinel.daemon import load_in_child
from sentinel.daemon.load_in_child import load_first
from sentinel.rulefiles.digest import changes
from sentinel.rulefiles.files import RuleFiles

OVERRIDE = 'schema = 1\noverride = "cpu-fallback"\nseverity = "info"\n'


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A drop-in folder: an override, a warning, and a file with a mistake."""
    folder = tmp_path / "rules.d"
    folder.mkdir()
    (folder / "calm.toml").write_text(OVERRIDE, encoding="utf-8")
    (folder / "broken.toml").write_text('schema = 1\nid = "broken"\nseverity = "loud"\n', encoding="utf-8")
    return folder


def test_it_gives_what_a_check_in_place_gives_without_the_inline_tests(own: Path) -> None:
    there, here = load_first(RuleFiles([own])), RuleFiles([own]).load_good()

    assert there.ruleset is not None
    assert here.ruleset is not None
    assert changes(here.ruleset, there.ruleset) == {"added": [], "removed": [], "changed": []}
    assert (there.problems, there.left_out, there.files) == (here.problems, here.left_out, here.files)
    assert there.left_out == (str(own / "broken.toml"),)
    assert there.ruleset.rules["cpu-fallback"].rule.severity == "info"
    assert not any(one.rule.tests for one in there.ruleset.rules.values())
    assert set(there.ruleset.events) == set(here.ruleset.events)


def test_a_process_that_is_killed_while_it_checks_costs_no_rule(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the kernel, where memory is short."""
    parent, whole = os.getpid(), RuleFiles.load_good

    def killed(files: RuleFiles) -> object:
        if os.getpid() != parent:
            os._exit(9)
        return whole(files)

    monkeypatch.setattr(RuleFiles, "load_good", killed)
    loaded = load_first(RuleFiles([own]))

    assert loaded.ruleset is not None
    assert loaded.left_out == (str(own / "broken.toml"),)


def test_files_that_change_between_the_check_and_the_reading_are_checked_again(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is used is never what nobody checked."""
    check = load_in_child._elsewhere

    def then_written(files: RuleFiles) -> object:
        found = check(files)
        (own / "calm.toml").write_text(OVERRIDE.replace("info", "quiet"), encoding="utf-8")
        return found

    monkeypatch.setattr(load_in_child, "_elsewhere", then_written)
    loaded = load_first(RuleFiles([own]))

    assert loaded.ruleset is not None
    assert str(own / "calm.toml") in loaded.left_out
    assert loaded.ruleset.rules["cpu-fallback"].rule.severity == "critical"
