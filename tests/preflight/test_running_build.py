"""Which flags a running llama-server takes, as shown by the files it has mapped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sentinel.memory.fit import FitVerdict
from sentinel.model.entity import Unknown
from sentinel.preflight.build import Build
from sentinel.preflight.build_from_files import build_of, takes
from sentinel.preflight.command import Command, Place
from sentinel.preflight.on_start import fitting
from sentinel.preflight.report import Report
from sentinel.preflight.suggest import Suggestion
from sentinel.sources.fs import Roots
from sentinel.sources.processes import program_text

OLD = b"\0--ctx-size\0--flash-attn\0"
NEW = OLD + b"--fit\0--load-mode\0--cache-ram\0--n-cpu-moe\0"


def process(
    folder: Path, exe: bytes, library: bytes | None, *argv: str, name: str = "libllama-common.so.0.1.0"
) -> tuple[Command, Roots]:
    """A process of which /proc shows the program and one library."""
    roots = Roots(proc=folder / "proc")
    at = roots.proc / "77"
    at.mkdir(parents=True)
    me = os.geteuid()
    (at / "status").write_text(f"Uid:\t{me}\t{me}\t{me}\t{me}\nGid:\t0\t0\t0\t0\nCapEff:\t{'0' if me else '1ff'}\n")
    (at / "exe").write_bytes(exe)
    maps = "7f-7f r--p 0 08:01 5 /usr/lib/libc.so.6\n"
    if library is not None:
        path = folder / name
        path.write_bytes(library)
        maps += f"7f-7f r-xp 0 08:01 6 {path}\n7f-7f r--p 0 08:01 6 {path}\n"
    (at / "maps").write_text(maps)
    words = ("llama-server", *argv)
    return Command(words, {}, folder, None, Place(0, frozenset(), None, -1), 77), roots


def test_the_library_that_reads_the_command_line_shows_it(tmp_path: Path) -> None:
    build = build_of(*process(tmp_path, b"\x7fELF nothing of it", NEW, "-c", "512"))
    assert [build.accepts(flag) for flag in ("--fit", "--load-mode", "--ctx-checkpoints", "--ctx-size")] == [
        True,
        True,
        False,
        True,
    ]


def test_a_program_in_one_piece_shows_it_by_itself(tmp_path: Path) -> None:
    build = build_of(*process(tmp_path, OLD, None))
    assert (build.accepts("--fit"), build.accepts("--ctx-size")) == (False, True)


def test_what_it_was_started_with_it_takes(tmp_path: Path) -> None:
    build = build_of(*process(tmp_path, OLD, None, "--fit", "off"))
    assert build.accepts("--fit") is True


def test_nothing_is_concluded_where_no_file_holds_the_names(tmp_path: Path) -> None:
    build = build_of(*process(tmp_path, b"", b"--ctx-size in a sentence"))
    assert isinstance(build.flags, Unknown)
    assert not takes(build, {"-c": ("512",)})


def test_a_name_that_lies_across_two_parts_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_text, "_PART", 97)
    for shift in range(97):
        folder = tmp_path / str(shift)
        folder.mkdir()
        build = build_of(*process(folder, b"x" * shift + NEW, None))
        assert build.accepts("--n-cpu-moe") is True, shift


def test_a_switch_that_takes_a_value_by_now_is_given_one_only_where_that_is_known(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    old, new = build_of(*process(tmp_path / "a", OLD, None)), build_of(*process(tmp_path / "b", NEW, None))
    assert (takes(old, {"--flash-attn": ("on",)}), takes(new, {"--flash-attn": ("on",)})) == (False, True)


def test_a_pipe_or_a_folder_under_that_name_is_passed_over(tmp_path: Path) -> None:
    command, roots = process(tmp_path, b"", OLD)
    (tmp_path / "libllama-common.so.0.1.0").unlink()
    os.mkfifo(tmp_path / "libllama-common.so.0.1.0")
    assert isinstance(build_of(command, roots).flags, Unknown)
    (roots.proc / "77/exe").unlink()
    assert isinstance(build_of(command, roots).flags, Unknown)


FLAGS = {
    "-m": True,
    "--model": True,
    "-c": True,
    "--ctx-size": True,
    "-fa": True,
    "--flash-attn": True,
    "--mlock": False,
    "--fit": True,
}


def command_of(*words: str) -> Command:
    return Command(("llama-server", *words), {}, Path("/"), None, Place(0, frozenset(), None, -1), 77)


def judged(verdict: FitVerdict, *suggestions: tuple[str, ...], worse: bool = False) -> Report:
    found = tuple(
        Suggestion(("llama-server", *words), (), "what it gives up", "fails" if worse else "fits") for words in suggestions
    )
    return Report(verdict, (), suggestions=found)


def test_what_to_change_is_reported_in_words_for_a_shell() -> None:
    report = judged("fails", ("-m", "a.gguf", "-c", "8192", "-fa", "on"))
    found = fitting(command_of("-m", "a.gguf", "-c", "65536", "--mlock"), Build("x", flags=FLAGS), report)
    assert found == {
        "server.fitting_flags": "-c 8192 -fa on",
        "server.fitting_drops": "--mlock",
        "server.fitting_why": "what it gives up",
    }


@pytest.mark.parametrize(
    ("report", "why"),
    [
        (judged("fits", ("-m", "a.gguf")), "the verdict on these is 'fits'"),
        (judged("unknown"), "the verdict on these is 'unknown'"),
        (judged("fails"), "no flags were found"),
        (judged("fails", ("-m", "a.gguf", "-c", "512"), worse=True), "no flags were found"),
        # what this build may not take is not advised
        (judged("fails", ("-m", "a.gguf", "-c", "512", "--n-cpu-moe", "9")), "no flags were found"),
    ],
)
def test_what_is_not_known_to_help_is_not_reported(report: Report, why: str) -> None:
    found = fitting(command_of("-m", "a.gguf", "-c", "65536"), Build("x", flags=FLAGS), report)
    assert all(isinstance(value, Unknown) and why in value.why for value in found.values())
