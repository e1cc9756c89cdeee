"""Rules without mistakes are checked once per user and content; what says so is a file that only this user could write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sample_rules import GOOD

from sentinel.cli.rules import clean_sets
from sentinel.cli.rules.loading import for_judging
from sentinel.rulefiles import load
from sentinel.rulefiles.digest import event_digests, rule_digests


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folders, with an empty drop-in folder."""
    for name in ("cache", "config"):
        monkeypatch.setenv(f"XDG_{name.upper()}_HOME", str(tmp_path / name))
    (tmp_path / "config/sentinel/rules.d").mkdir(parents=True)
    return tmp_path


def kept(home: Path) -> tuple[str, ...]:
    return clean_sets.read({"XDG_CACHE_HOME": str(home / "cache")})


def never(*_: object, **__: object) -> None:
    raise AssertionError("checked once more")


def test_a_set_without_mistakes_is_checked_once_and_judges_alike(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = for_judging([])
    assert len(kept(home)) == 1
    monkeypatch.setattr(load, "check_event", never)
    again = for_judging([])

    assert first is not None
    assert again is not None
    assert rule_digests(again) == rule_digests(first)
    assert event_digests(again) == event_digests(first)


def test_another_content_is_checked_and_one_with_a_mistake_is_never_kept(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = home / "config/sentinel/rules.d/own.toml"
    own.write_text(GOOD)
    with_own = for_judging([])
    assert with_own is not None
    assert len(kept(home)) == 1

    for _ in range(2):
        own.write_text(GOOD.replace("severity", "severty"))
        without = for_judging([])
        assert without is not None
        assert len(without.rules) == len(with_own.rules) - 1
        assert "severty" in capsys.readouterr().err
    assert len(kept(home)) == 1


@pytest.mark.parametrize("place", ["cache", "cache/sentinel"])
def test_a_folder_that_others_may_write_is_not_used(home: Path, place: str) -> None:
    environ = {"XDG_CACHE_HOME": str(home / "cache")}
    clean_sets.add("00ff", environ)
    assert kept(home) == ("00ff",)
    (home / place).chmod(0o777)
    clean_sets.add("11ff", environ)
    assert kept(home) == ()
    (home / place).chmod(0o755)
    assert kept(home) == ("00ff",)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_in_the_home_of_another_user_leaves_nothing_there(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    clean_sets.add("00ff", {"HOME": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_leaves_nothing_behind(home: Path) -> None:
    (home / "cache/sentinel/clean-rules").mkdir(parents=True)
    clean_sets.add("00ff", {"XDG_CACHE_HOME": str(home / "cache")})
    assert [path.name for path in (home / "cache/sentinel").iterdir()] == ["clean-rules"]


def test_the_oldest_go_and_nothing_is_kept_twice(home: Path) -> None:
    for n in (*range(40), 30):
        clean_sets.add(f"{n:02}", {"XDG_CACHE_HOME": str(home / "cache")})
    assert kept(home) == tuple(f"{n:02}" for n in (*range(24, 30), *range(31, 40), 30))


def test_without_a_place_for_it_rules_are_checked_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert for_judging([]) is not None
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert clean_sets.folder({}) is None
    assert clean_sets.folder({"HOME": "home", "XDG_CACHE_HOME": "cache"}) is None
