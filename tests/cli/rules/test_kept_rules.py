"""Rules without mistakes are decoded once per user and content, in a file that only this user could write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sample_rules import GOOD

from sentinel.cli.rules import kept_rules
from sentinel.cli.rules.loading import for_judging
from sentinel.rulefiles import files


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folders, with an empty drop-in folder."""
    for name in ("cache", "config"):
        monkeypatch.setenv(f"XDG_{name.upper()}_HOME", str(tmp_path / name))
    (tmp_path / "config/sentinel/rules.d").mkdir(parents=True)
    return tmp_path


def never(*_: object, **__: object) -> None:
    raise AssertionError("decoded once more")


def test_a_set_without_mistakes_is_decoded_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = for_judging([])
    monkeypatch.setattr(files, "_load", never)
    again = for_judging([])

    assert first is not None
    assert again is not None
    assert again.rules.keys() == first.rules.keys()
    assert [path.name for path in (home / "cache/sentinel").iterdir()] == ["rules.decoded"]


def test_another_content_is_decoded_and_a_mistake_is_reported_each_time(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = home / "config/sentinel/rules.d/own.toml"
    own.write_text(GOOD)
    with_own = for_judging([])
    assert with_own is not None

    for _ in range(2):
        own.write_text(GOOD.replace("severity", "severty"))
        without = for_judging([])
        assert without is not None
        assert len(without.rules) == len(with_own.rules) - 1
        assert "severty" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["cache", "cache/sentinel"])
def test_a_folder_that_others_may_write_is_not_used(home: Path, place: str) -> None:
    (home / "cache/sentinel").mkdir(parents=True)
    (home / place).chmod(0o777)
    assert kept_rules.of_user({"XDG_CACHE_HOME": str(home / "cache")}) is None
    assert for_judging([]) is not None
    assert list((home / "cache/sentinel").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_in_the_home_of_another_user_leaves_nothing_there(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    assert kept_rules.of_user({"HOME": str(tmp_path)}) is None


def test_without_a_place_for_it_rules_are_decoded_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert for_judging([]) is not None
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert kept_rules.of_user({}) is None
    assert kept_rules.of_user({"HOME": "home", "XDG_CACHE_HOME": "cache"}) is None
