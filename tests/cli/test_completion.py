"""Completion in real shells: verbs, options, names of rules and servers; a hostile name is not offered, for bash would run it."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sentinel.api import client
from sentinel.cli import completion
from sentinel.cli.main import main

_BASH = """
source {script}
COMP_WORDS=({words} "$1"); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_LINE="${{COMP_WORDS[*]}}"; COMP_POINT=${{#COMP_LINE}}
_shtab_sentinel
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
LINES = [
    ("sentinel", "sta", {"status"}),
    ("sentinel status", "--na", {"--nagios"}),
    ("sentinel why", "cpu-f", {"cpu-fallback"}),
    ("sentinel rules show", "thermal", {"thermal-throttle"}),
    ("sentinel silence", "load-oom", {"load-oom", "load-oom-forecast"}),
    ("sentinel completion", "", {"bash", "zsh", "fish"}),
]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """No daemon, and sentinel on the path."""
    if shutil.which("sentinel", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("sentinel is not installed beside this Python")
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "SENTINEL_SOCKET": str(tmp_path / "none"),
        "LC_ALL": "C.UTF-8",
        "TERM": "xterm",
    }


def _shell(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}")
    return found


@pytest.mark.parametrize(("words", "begun", "expected"), LINES)
def test_bash_completes(words: str, begun: str, expected: set[str], environ: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "sentinel"
    script.write_text(completion.script("bash"))
    program = _BASH.format(script=script, words=words)
    done = subprocess.run(
        [_shell("bash"), "--norc", "-c", program, "bash", begun],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (set(done.stdout.split()), done.stderr) == (expected, "")


def test_fish_completes(environ: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "sentinel.fish"
    script.write_text(completion.script("fish"))
    program = f"source {script}\n" + "\n".join(f"echo '> {w} {b}'; complete -C '{w} {b}'" for w, b, _ in LINES)
    done = subprocess.run(
        [_shell("fish"), "--no-config", "-c", program], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    offered = [{line.split("\t")[0] for line in part.splitlines()[1:]} for part in done.stdout.split("> ")[1:]]
    assert offered == [expected for _, _, expected in LINES]


def test_zsh_completes(environ: dict[str, str], tmp_path: Path) -> None:
    """Typed at a terminal, from a file in $fpath, as a package installs it."""
    (tmp_path / "_sentinel").write_text(completion.script("zsh"))
    (tmp_path / ".zshrc").write_text(f"fpath=({tmp_path} $fpath); autoload -Uz compinit; compinit -u -D; PROMPT='READY> '\n")
    shell = _shell("zsh")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(shell, [shell, "-i"], {**environ, "ZDOTDIR": str(tmp_path), "TERM": "dumb"})
    try:
        _until(terminal, "READY> ")
        os.write(terminal, b"sentinel why cpu-f\t")
        _until(terminal, "cpu-fallback")
        os.write(terminal, b"\x15sentinel status --na\t")
        _until(terminal, "--nagios")
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)


def _until(terminal: int, expected: str) -> None:
    seen, deadline = "", time.monotonic() + 40
    while expected not in seen:
        if not select.select([terminal], [], [], deadline - time.monotonic())[0]:
            pytest.fail(f"no {expected!r} in {seen!r}")
        seen += os.read(terminal, 4096).decode("utf-8", "replace")


def test_a_name_that_a_shell_could_run_is_not_offered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server is called what somebody else called it."""
    hostile = ["$(touch x)", "`id`", "a b", "a;b", "--json", "a'b", 'a"b', "a\\b", "a|b", "a\nb", "a*", "~root", "é", ""]
    fine = ["llama.service", "127.0.0.1:8080", "llama@1.service", "0000:03:00.0"]

    def answer(path: str) -> tuple[int, dict[str, Any]]:
        return 200, {"servers": [{"name": name} for name in [*hostile, *fine]]}

    monkeypatch.setattr(client, "get", answer)
    assert main(["completion", "--names", "servers"]) == 0
    assert capsys.readouterr().out.splitlines() == sorted(fine)


def test_without_a_shell_it_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion"]) == 2
    assert "bash, zsh or fish" in capsys.readouterr().err
