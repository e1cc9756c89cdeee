"""A file is written whole or not at all, for its owner only."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.files.atomic import write_atomically


def test_what_is_there_is_replaced_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("before")
    file.chmod(0o644)
    with file.open() as reader:
        write_atomically(file, b"now")
        assert reader.read() == "before"
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"now", 0o600)
    assert list(tmp_path.iterdir()) == [file]


def test_a_name_as_long_as_any_can_be_written(tmp_path: Path) -> None:
    file = tmp_path / ("漢" * 85)
    write_atomically(file, b"x")
    assert file.read_bytes() == b"x"


def test_what_cannot_be_put_in_its_place_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_atomically(tmp_path / "folder", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_self: Path, _target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a", b"x")
    assert list(tmp_path.iterdir()) == []
