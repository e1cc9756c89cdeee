"""llama.cpp's own configuration files, as the process that names them could read them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sentinel.files.reader import Reader
from sentinel.sources.fs import Roots
from sentinel.sources.processes.config_files import ConfigFiles, config_files

#: Maps a file, says so, and waits for the end of its input.
MAPS = """
import mmap, sys
with open(sys.argv[1], "rb") as file:
    held = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
print("mapped", flush=True)
sys.stdin.read()
"""
WORDS = ["--ctx-size", "4096"]


@contextmanager
def process(library: Path, text: bytes) -> Iterator[int]:
    """A process that has mapped `library`, which holds `text`."""
    library.write_bytes(b"\0" * 5000 + text + b"\0" * 100)
    command = [sys.executable, "-c", MAPS, str(library)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"mapped\n"
        yield running.pid
        running.kill()


def read(pid: int, home: Path) -> ConfigFiles:
    roots = Roots()
    return config_files(roots, pid, {"HOME": str(home)}, Reader.of(roots.proc, pid))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    file = tmp_path / ".config/llama.cpp/config.ini"
    file.parent.mkdir(parents=True)
    file.write_text("ctx-size = 4096\n")
    return tmp_path


def test_they_count_where_the_build_reads_them(home: Path) -> None:
    with process(home / "libllama-common.so.0", b"using config file: %s") as pid:
        assert read(pid, home) == {str(home / ".config/llama.cpp/config.ini"): WORDS}


def test_an_older_build_reads_none(home: Path) -> None:
    with process(home / "libllama-common.so.0", b"--ctx-size") as pid:
        assert read(pid, home) == {}


@pytest.mark.parametrize("through", ["name", "link"])
def test_a_library_that_has_become_a_pipe_is_not_opened(home: Path, through: str) -> None:
    """Opening it would hang, and end whoever writes into it by SIGPIPE."""
    library, pipe = home / "libllama-common.so.0", home / "pipe"
    with process(library, b"using config file: %s") as pid:
        library.unlink()
        # The kernel marks the name of what was deleted: a file of just that name is what would be opened.
        named = Path(f"{library} (deleted)")
        assert str(named) in Path(f"/proc/{pid}/maps").read_text()
        os.mkfifo(pipe)
        pipe.rename(named) if through == "name" else named.symlink_to(pipe)
        assert read(pid, home) == {}
