"""The configuration files that a llama-server has read, if its build reads any (b11434 and later)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from sentinel.files.opener import NotRegular
from sentinel.files.reader import Reader
from sentinel.llama.config_file import SYSTEM, user_file, words_of
from sentinel.sources.fs import Roots, read_text

_MOST = 1 << 16
#: What such a build says when it applies one (common/arg.cpp): a program without these words reads none.
_SAYS = b"using config file: "
_LIBRARY = re.compile(r" (/\S*/(?:libllama-common|libllama-server-impl)\S*\.so\S*)$", re.MULTILINE)
_PIECE, _MOST_PROGRAM = 1 << 20, 256 << 20

#: file -> the words of a command line that it stands for
ConfigFiles = Mapping[str, list[str]]


def config_files(roots: Roots, pid: int, env: Mapping[str, str], reader: Reader) -> ConfigFiles:
    """The files that apply, the later overriding the earlier; empty if there are none, or the build does not know them."""
    found: dict[str, list[str]] = {}
    for path in (SYSTEM, user_file(env)):
        if path and os.path.lexists(f"{roots.proc}/{pid}/root{path}"):
            text = _read(reader, path)
            if text is not None and (words := words_of(text)):
                found[path] = words
    return found if found and _reads_them(roots, pid) else {}


def _read(reader: Reader, path: str) -> str | None:
    """As the process itself could open it: it may name anything."""
    try:
        descriptor = reader.open(path)
    except (OSError, NotRegular, ValueError):
        return None
    try:
        return os.pread(descriptor, _MOST, 0).decode("utf-8", "replace")
    finally:
        os.close(descriptor)


def _reads_them(roots: Roots, pid: int) -> bool:
    process = f"{roots.proc}/{pid}"
    try:
        libraries = dict.fromkeys(_LIBRARY.findall(read_text(f"{process}/maps", 4 << 20)))
    except OSError:
        return False
    return any(_says(path) for path in (f"{process}/exe", *(f"{process}/root{library}" for library in libraries)))


def _says(path: str) -> bool:
    try:
        with open(path, "rb") as program:  # noqa: PTH123 - a file that the process has mapped and runs
            rest = b""
            for _ in range(_MOST_PROGRAM // _PIECE):
                piece = program.read(_PIECE)
                if not piece:
                    return False
                if _SAYS in rest + piece:
                    return True
                rest = piece[-len(_SAYS) :]
    except OSError:
        pass
    return False
