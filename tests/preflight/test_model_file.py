"""What is wrong with a model's file, and what to do: another copy helps only where the content is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.gguf.header import read_header
from sentinel.gguf.reader import GgufError
from sentinel.preflight.command import from_words
from sentinel.preflight.model_check import read
from sentinel.sources.fs import Roots


def _said(path: Path, known: GgufError | None = None) -> str:
    (why,) = read(from_words(["llama-server", "-m", str(path)], {"PATH": "/nonexistent"}), Roots(), known).whys
    return why.text


def test_a_folder_is_not_to_be_fetched_again(tmp_path: Path) -> None:
    assert _said(tmp_path) == f"{tmp_path} is not a regular file but a directory; give the file with -m"


def test_what_is_no_gguf_is_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "page.gguf").write_text("<html>not found</html>")

    assert _said(tmp_path / "page.gguf").endswith("its first four bytes are not 'GGUF'; fetch the file again")


def test_a_file_that_may_not_be_read_is_let_be_read(tmp_path: Path) -> None:
    """It was to be fetched again, which whoever may not read the file cannot, and which would change nothing."""
    path = tmp_path / "m.gguf"
    path.touch()

    def denied(_path: str) -> int:
        raise PermissionError(13, "Permission denied")

    with pytest.raises(GgufError) as caught:
        read_header(str(path), denied)

    assert _said(path, caught.value) == (
        f"{path} cannot be opened: Permission denied; let the user that runs llama-server read it, and each folder above it"
    )
