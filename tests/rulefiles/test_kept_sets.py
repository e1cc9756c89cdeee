"""A kept rule set is the one that was decoded, and counts only for what it was made of and where nobody else could write it."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from sample_rules import EVENTS, GOOD, plain

import sentinel
from sentinel.rulefiles import kept
from sentinel.rulefiles.digest import event_digests, rule_digests
from sentinel.rulefiles.files import RuleFiles
from sentinel.rulefiles.kept import KeptRules


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where it is kept."""
    place = tmp_path / "kept"
    place.mkdir(mode=0o700)
    return place


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A rule and its event, which stand for the shipped ones."""
    place = tmp_path / "rules"
    (place / "events").mkdir(parents=True)
    (place / "own.toml").write_text(GOOD)
    (place / "events/own.toml").write_text(EVENTS)
    return place


def test_what_is_found_is_what_was_decoded(folder: Path, tmp_path: Path) -> None:
    """Of all shipped rules, one of them overridden."""
    base = RuleFiles().load_good().ruleset
    assert base is not None
    against = rule_digests(base)["cpu-fallback"]
    override = f'schema = 1\noverride = "cpu-fallback"\nagainst = "{against}"\nseverity = "info"\n'
    (tmp_path / "calm.toml").write_text(override)
    files = RuleFiles(paths=[tmp_path / "calm.toml"])
    decoded = files.load_good()
    KeptRules(folder).keep(decoded)
    found = KeptRules(folder).find(files)

    assert found is not None
    assert decoded.ruleset is not None
    assert found.ruleset is not None
    assert found.ruleset.rules["cpu-fallback"].rule.severity == "info"
    assert (found.files, found.signature, found.digest) == (decoded.files, decoded.signature, decoded.digest)
    assert plain(found.ruleset) == plain(decoded.ruleset)
    assert rule_digests(found.ruleset) == rule_digests(decoded.ruleset)
    assert event_digests(found.ruleset) == event_digests(decoded.ruleset)


def test_one_byte_more_is_another_set(folder: Path, own: Path) -> None:
    files = RuleFiles(base=own)
    KeptRules(folder).keep(files.load_good())
    (own / "own.toml").write_text(GOOD + "\n")
    assert KeptRules(folder).find(files) is None
    (own / "own.toml").write_text(GOOD)
    assert KeptRules(folder).find(files) is not None
    (own / "more.toml").write_text(GOOD)
    assert KeptRules(folder).find(files) is None


@pytest.mark.parametrize("what", ["version", "python", "code"])
def test_another_program_decodes_for_itself(folder: Path, own: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    KeptRules(folder).keep(RuleFiles(base=own).load_good())
    assert KeptRules(folder).find(RuleFiles(base=own)) is not None
    if what == "python":
        monkeypatch.setattr("sys.version", "3.99")
    elif what == "code":
        monkeypatch.setattr(kept, "_code", lambda: "changed")
    else:
        monkeypatch.setattr(sentinel, "__version__", "99")
    assert KeptRules(folder).find(RuleFiles(base=own)) is None


def test_code_that_was_changed_is_other_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    module = tmp_path / "model/rule.py"
    module.write_text("a = 1\n")
    monkeypatch.setattr(sentinel, "__file__", str(tmp_path / "__init__.py"))
    before = kept._code()
    module.write_text("a = 11\n")
    assert kept._code() != before


def test_a_set_with_a_mistake_or_a_warning_is_not_kept(folder: Path, own: Path) -> None:
    """Whoever starts the daemon again must be told again."""
    (own / "broken.toml").write_text(GOOD.replace("severity", "severty"))
    KeptRules(folder).keep(RuleFiles(base=own).load_good())
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("left", [0, 31, 32, 500, -1])
def test_a_file_that_was_cut_off_counts_for_nothing(folder: Path, own: Path, left: int) -> None:
    KeptRules(folder).keep(RuleFiles(base=own).load_good())
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:left])
    assert KeptRules(folder).find(RuleFiles(base=own)) is None


@pytest.mark.parametrize("what", ["others write the file", "others write the folder", "a link", "a pipe"])
def test_what_others_could_have_written_counts_for_nothing(folder: Path, own: Path, what: str) -> None:
    KeptRules(folder).keep(RuleFiles(base=own).load_good())
    (file,) = folder.iterdir()
    if what == "others write the file":
        file.chmod(0o666)
    elif what == "others write the folder":
        folder.chmod(0o777)
    else:
        elsewhere = file.rename(folder / "elsewhere")
        if what == "a link":
            file.symlink_to(elsewhere)
        else:
            os.mkfifo(file)
    assert KeptRules(folder).find(RuleFiles(base=own)) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_file_of_another_user_counts_for_nothing(folder: Path, own: Path) -> None:
    KeptRules(folder).keep(RuleFiles(base=own).load_good())
    (file,) = folder.iterdir()
    os.chown(file, 12345, 12345)
    assert KeptRules(folder).find(RuleFiles(base=own)) is None


class _Command:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch it-ran",)


@pytest.mark.parametrize("content", [_Command(), {"rules": 1}, [os.path.join]])
def test_nothing_but_a_rule_set_comes_out_even_of_a_file_with_the_right_seal(
    folder: Path, own: Path, monkeypatch: pytest.MonkeyPatch, content: object
) -> None:
    monkeypatch.chdir(folder)
    data = pickle.dumps(content)
    (folder / "rules.decoded").write_bytes(kept._seal(RuleFiles(base=own).found().digest, data) + data)
    assert KeptRules(folder).find(RuleFiles(base=own)) is None
    assert [path.name for path in folder.iterdir()] == ["rules.decoded"]


def test_what_cannot_be_written_leaves_nothing_behind(folder: Path, own: Path) -> None:
    (folder / "rules.decoded").mkdir()
    KeptRules(folder).keep(RuleFiles(base=own).load_good())
    assert [path.name for path in folder.iterdir()] == ["rules.decoded"]
