"""Which command is judged, and mistakes in saying so: one sentence each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sentinel.preflight.command import NoCommand, from_process, from_words

ELF = b"\x7fELF" + b"\0" * 60


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "llama-server"
    path.write_bytes(ELF)
    path.chmod(0o755)
    return path


def test_words_before_the_program_are_kept_apart_and_assignments_count(program: Path) -> None:
    words = ["env", "LLAMA_ARG_CTX_SIZE=4096", "numactl", "-N0", str(program), "-m", "a.gguf"]

    command = from_words(words, {"PATH": "/bin"})

    assert command.argv == (str(program), "-m", "a.gguf")
    assert command.wrapper == ("env", "numactl", "-N0")
    assert command.requested.number("ctx", 0) == 4096


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no program"),
        (["A=b"], "no program"),
        (["rm", "-rf", "x"], "not named llama-server"),
        (["./model.gguf"], "not named llama-server"),
        (["llama-server"] * 5000, "more than 4096"),
    ],
)
def test_what_is_no_llama_server_is_refused_and_not_run(words: list[str], said: str) -> None:
    with pytest.raises(NoCommand, match=said) as caught:
        from_words(words, os.environ)

    assert "\n" not in str(caught.value)


def test_a_program_that_is_not_installed_can_still_be_judged() -> None:
    command = from_words(["llama-server", "-m", "a.gguf"], {"PATH": "/nonexistent"})

    assert command.binary is None
    assert not command.may_ask


def test_a_process_that_is_none_or_no_server_is_one_sentence() -> None:
    with pytest.raises(NoCommand, match="no process 99999999"):
        from_process(99999999)
    with pytest.raises(NoCommand, match="no llama-server"):
        from_process(os.getpid())
