"""The rules at the start are those that a check in the daemon itself would have given, whatever becomes of who checks."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from places import TESTS

from sentinel.daemon.load_in_child import load_first
from sentinel.diagnose.diagnosis import diagnose
from sentinel.model.json_form import to_json, transition_to_dict
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


@pytest.mark.parametrize("kept", [0, 1, 5000])
def test_a_result_that_is_cut_off_costs_no_rule(own: Path, monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    """The child may be killed while it writes."""
    monkeypatch.setattr(pickle, "dump", lambda loaded, pipe, form: pipe.write(pickle.dumps(loaded, form)[:kept]))
    loaded = load_first(RuleFiles([own]))

    assert loaded.ruleset is not None
    assert loaded.left_out == (str(own / "broken.toml"),)


def test_rules_from_the_child_judge_and_word_as_those_read_in_place() -> None:
    """Conditions, patterns and texts come through the pipe: every recorded log yields the same alerts."""
    there, here = load_first(RuleFiles()).ruleset, RuleFiles().load_good().ruleset
    assert there is not None
    assert here is not None
    size = 0
    for log in sorted((TESTS / "fixtures/logs").glob("*.log")):
        given = [(log.name, log.read_bytes())]
        first, second = (
            to_json([transition_to_dict(t) for t in diagnose(rules, given, [], {}).transitions]) for rules in (there, here)
        )
        assert first == second
        size += len(first)
    assert size > 1000
