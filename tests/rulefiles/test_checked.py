"""Shipped files that are as they were when they were checked are not checked again; anything else is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sample_rules import EVENTS, GOOD, plain

from sentinel.generate import checked_rules
from sentinel.rulefiles import checked, override
from sentinel.rulefiles.files import RuleFiles, read, shipped
from sentinel.rulefiles.lint.rule import check_rule

#: A rule that asks for an event which nothing defines.
BROKEN = GOOD.replace("backend_init_failed", "nothing_such")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Rules that stand for the shipped ones, with the digests of what they are now."""
    place = tmp_path / "rules"
    (place / "events").mkdir(parents=True)
    (place / "own.toml").write_text(GOOD)
    (place / "events/own.toml").write_text(EVENTS)
    _write_digests(place)
    return place


def _write_digests(base: Path) -> None:
    rules, events, _ = read([base])
    (base / checked.NAME).write_text(checked.manifest({**rules, **events}, str(base)))


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the rules that are checked."""
    seen: list[str] = []

    def counted(rule: object, *more: object) -> object:
        seen.append(rule.id)  # type: ignore[attr-defined]
        return check_rule(rule, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(override, "check_rule", counted)
    return seen


def test_the_shipped_rules_are_those_that_a_check_gives(checks: list[str], tmp_path: Path) -> None:
    base = tmp_path / "shipped"
    shutil.copytree(shipped(), base)
    assert checked_rules.main([str(base / checked.NAME)]) == 0
    checks.clear()
    known = RuleFiles(base=base).load()
    checked_again = set(checks)
    checks.clear()
    whole = RuleFiles(base=base).load(tests=True)
    assert checked_again == {Path(problem.file).stem for problem in whole.problems}
    assert len(checks) == len(whole.ruleset.rules if whole.ruleset else ()) > 20

    assert known.ruleset is not None
    assert whole.ruleset is not None
    assert not whole.errors
    for name, rule in whole.ruleset.rules.items():
        mine, theirs = plain(known.ruleset.rules[name]), plain(rule)
        assert mine["rule"].pop("tests") == []
        assert theirs["rule"].pop("tests")
        assert mine == theirs
    assert plain(known.ruleset.events) == plain(whole.ruleset.events)
    assert plain(known.ruleset.extractors) == plain(whole.ruleset.extractors)


@pytest.mark.parametrize("tests", [False, True])
def test_a_rule_that_was_changed_is_checked(base: Path, checks: list[str], tests: bool) -> None:
    assert RuleFiles(base=base).load().problems == ()
    assert checks == []
    (base / "own.toml").write_text(BROKEN)
    loaded = RuleFiles(base=base).load(tests=tests)
    assert loaded.ruleset is None
    assert any("nothing_such" in problem.what for problem in loaded.problems)


def test_a_rule_is_checked_again_when_the_events_it_may_read_are_others(base: Path) -> None:
    (base / "events/own.toml").write_text(EVENTS.replace('"backend_init_failed"', '"renamed"'))
    loaded = RuleFiles(base=base).load()
    assert loaded.ruleset is None
    assert any("backend_init_failed" in problem.what for problem in loaded.problems)


@pytest.mark.parametrize("change", ["gone", "more"])
def test_a_shared_file_more_or_less_is_other_shared_files(base: Path, checks: list[str], change: str) -> None:
    if change == "gone":
        (base / "events/more.toml").write_text(EVENTS.replace('"backend_init_failed"', '"other"').replace("init of", "end of"))
        _write_digests(base)
        (base / "events/more.toml").unlink()
    else:
        (base / "fixes").mkdir()
        (base / "fixes/own.toml").write_text('schema = 1\n[fix.look]\ndo = "look"\n')
    assert RuleFiles(base=base).load().ruleset is not None
    assert checks == ["too-slow"]


def test_what_a_user_wrote_is_checked_whatever_stands_beside_it(base: Path, checks: list[str], tmp_path: Path) -> None:
    """Whoever may write a drop-in folder says nothing about what is in it."""
    mine = tmp_path / "rules.d"
    mine.mkdir()
    own = BROKEN.replace("too-slow", "mine").replace("00000001", "00000002")
    (mine / "mine.toml").write_text(own)
    _write_digests(mine)
    loaded = RuleFiles([mine], base=base).load_good()
    assert loaded.left_out == (str(mine / "mine.toml"),)
    assert set(checks) <= {"mine"}


def test_a_checked_rule_with_an_override_is_checked(base: Path, checks: list[str], tmp_path: Path) -> None:
    calm = tmp_path / "calm.toml"
    calm.write_text('schema = 1\noverride = "too-slow"\n[check]\nslow = "sped < 1.0"\n')
    loaded = RuleFiles(paths=[calm], base=base).load()
    assert any(problem.file == str(calm) and "sped" in problem.what for problem in loaded.errors)
    assert checks


@pytest.mark.parametrize("said", [b"", b"\xff\xfe", b"0" * 64 + b"  own.toml\n", b"not a digest  own.toml\n"])
def test_a_manifest_that_says_nothing_of_the_files_trusts_none(base: Path, checks: list[str], said: bytes) -> None:
    (base / checked.NAME).write_bytes(said)
    assert RuleFiles(base=base).load().ruleset is not None
    assert checks == ["too-slow"]


def test_a_rule_with_a_warning_is_not_known_as_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever loads it is told so each time."""
    base = tmp_path / "shipped"
    shutil.copytree(shipped(), base)
    (base / "warned.toml").write_text(GOOD.replace("[value]", '[value]\nslow_by_name = "speed < 2.0"'))
    monkeypatch.setattr(checked_rules, "shipped", lambda: base)
    assert checked_rules.main([str(base / checked.NAME)]) == 0
    assert "slow_by_name" in capsys.readouterr().err
    said = (base / checked.NAME).read_text()
    assert "warned.toml" not in said
    assert "load-oom.toml" in said


def test_lines_of_two_branches_stand_beside_each_other(base: Path, checks: list[str]) -> None:
    """Git keeps both lines of a file that two changed."""
    there = (base / checked.NAME).read_text()
    (base / checked.NAME).write_text("0" * 64 + "  own.toml\n" + there)
    assert RuleFiles(base=base).load().ruleset is not None
    assert checks == []


def test_a_stale_list_is_reported_and_written_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / checked.NAME
    assert checked_rules.main([str(file), "--check"]) == 1
    assert not file.exists()
    assert checked_rules.main([str(file)]) == 0
    whole = file.read_text()
    file.write_text("0" * 64 + f"  load-oom.toml\n{whole}")
    assert checked_rules.main([str(file), "--check"]) == 0
    assert checked_rules.main([str(file)]) == 0
    assert file.read_text() == whole
    file.write_text("".join(whole.splitlines(keepends=True)[1:]))
    assert checked_rules.main([str(file), "--check"]) == 1
    assert "is stale; make docs" in capsys.readouterr().out
