"""The configuration files that a llama-server has read, if its build reads any (b11434 and later)."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sentinel.files.opener import NotRegular
from sentinel.files.reader import Reader
from sentinel.llama.config_file import SYSTEM, user_file, words_of
from sentinel.model.input_limits import MOST_CONFIG_BYTES
from sentinel.sources.fs import Roots
from sentinel.sources.processes.program_text import ProgramText

#: What such a build says when it applies one (common/arg.cpp): a program without these words reads none.
_SAYS = b"using config file: "

#: file -> the words of a command line that it stands for
ConfigFiles = Mapping[str, list[str]]


def config_files(roots: Roots, pid: int, env: Mapping[str, str], reader: Reader) -> ConfigFiles:
    """The files that apply, the later overriding the earlier; empty if there are none, or the build does not know them."""
    found: dict[str, list[str]] = {}
    for path in (SYSTEM, user_file(env)):
        text = _read(reader, path) if path else None
        if text is not None and (words := words_of(text)):
            found[path] = words
    reads_any = bool(found) and any(_SAYS in texts for texts in ProgramText(roots, pid, reader).found([_SAYS]))
    return found if reads_any else {}


def _read(reader: Reader, path: str) -> str | None:
    """As the process itself could open it: it may name anything."""
    try:
        descriptor = reader.open(path)
    except (OSError, NotRegular, ValueError):
        return None
    try:
        return os.pread(descriptor, MOST_CONFIG_BYTES, 0).decode("utf-8", "replace")
    finally:
        os.close(descriptor)
