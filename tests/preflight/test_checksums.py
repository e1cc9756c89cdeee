"""SHA-256 of a model against a given one, and against what was remembered of the same file."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from sentinel.preflight.checksum import parse_given, verify
from sentinel.preflight.command import NoCommand


def check(model: Path, state: Path, given: str = "") -> list[str]:
    return [why.id for why in verify([str(model)], given, state, lambda _done, _total: None)]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + os.urandom(9 << 20))
    return path


def test_the_first_is_remembered_and_the_same_matches(model: Path, tmp_path: Path) -> None:
    assert check(model, tmp_path / "state") == ["sha256-remembered"]
    assert check(model, tmp_path / "state") == ["sha256-matches"]


def test_content_that_changed_behind_the_same_size_and_time_is_damage(model: Path, tmp_path: Path) -> None:
    check(model, tmp_path / "state")
    before = model.stat()
    with model.open("r+b") as file:
        file.seek(5 << 20)
        file.write(b"\xff")
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert check(model, tmp_path / "state") == ["sha256-differs"]
    assert check(model, tmp_path / "state") == ["sha256-differs"], "the damaged one must not be remembered"


def test_a_new_download_is_another_file(model: Path, tmp_path: Path) -> None:
    check(model, tmp_path / "state")
    model.write_bytes(b"GGUF of another version")

    assert check(model, tmp_path / "state") == ["sha256-changed"]


def test_a_given_one_decides(model: Path, tmp_path: Path) -> None:
    right = hashlib.sha256(model.read_bytes()).hexdigest()

    assert check(model, tmp_path / "state", right) == ["sha256-matches"]
    assert check(model, tmp_path / "state", "0" * 64) == ["sha256-differs"]
    assert check(model, tmp_path / "state") == ["sha256-matches"]


def test_progress_ends_at_the_whole(model: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    verify([str(model)], "", tmp_path / "state", lambda done, total: told.append((done, total)))

    assert told[-1] == (model.stat().st_size, model.stat().st_size)
    assert [done for done, _ in told] == sorted({done for done, _ in told})


def test_a_torn_memory_of_checksums_is_begun_again(model: Path, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/model-sha256.json").write_text('{"/a": [1')

    assert check(model, tmp_path / "state") == ["sha256-remembered"]


def test_a_folder_that_cannot_be_written_is_reported(model: Path) -> None:
    assert check(model, Path("/proc/nowhere")) == ["sha256-remembered", "sha256-not-remembered"]


def test_what_is_no_checksum_is_refused() -> None:
    assert parse_given("SHA256:" + "AB" * 32) == "ab" * 32
    with pytest.raises(NoCommand, match="64 hexadecimal digits"):
        parse_given("abc")
