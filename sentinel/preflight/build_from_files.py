"""Which flags a process's llama-server accepts, derived from its command line and its files without running it.

It accepted the flags it was started with. All other names are stored as text in the program or in libllama-common
(common/arg.cpp), each between two zero bytes; when linkers merge the end of a longer text, only the leading one is missing.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from sentinel.files.opener import NotRegular, Opener
from sentinel.llama.flags import OPTION
from sentinel.model.builds import ANY
from sentinel.model.entity import Unknown
from sentinel.model.text import clean
from sentinel.preflight.build import Build, unasked
from sentinel.preflight.command import Command
from sentinel.preflight.flag_check import words_of
from sentinel.sources.fs import Roots, read_bytes
from sentinel.sources.processes.log_location import inside

#: in every build; a file without it does not parse the command line
_ALWAYS = "--ctx-size"
#: Flags that differ by build and affect sizes or suggestions.
_WANTED = ("--fit", "--load-mode", "--cache-ram", "--ctx-checkpoints", "--n-cpu-moe")
#: Files are read in chunks, because a program with CUDA has hundreds of megabytes; larger files are not searched.
_PART, _MOST = 1 << 20, 1 << 30
#: Of a processor, for all files of one process: a program with CUDA takes 0.5.
_SECONDS = 2.0
#: where common/arg.cpp ends up: libllama-common today, libcommon in local builds, the server's own library
_COMMON = re.compile(rb" (/[^\n]*/lib(?:llama-common|llama-server-impl|common)\.so[^/\n]*)$", re.MULTILINE)
_MOST_FILES = 4


def build_of(command: Command, roots: Roots) -> Build:
    """The build of a process. Its flags are Unknown if no file of it holds their names."""
    base = unasked(command)
    given = {word.flag: bool(word.values) for word in words_of(command.argv, base)}
    until = time.thread_time() + _SECONDS
    for path, opener in _files(command, roots):
        found = _texts(path, (_ALWAYS, *_WANTED), opener, until)
        if _ALWAYS in found:
            known = {flag: min(option.words) > 0 for flag, option in OPTION.items() if option.builds[flag] == ANY}
            return replace(base, flags={**known, **dict.fromkeys(found, True), **given})
    name = clean(str(command.binary or command.argv[0]))
    return replace(base, flags=Unknown(f"which flags {name} takes is unknown: its files do not show it"))


def takes(build: Build, words: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether it certainly accepts these flags with these values."""
    return all(build.accepts(flag) is True and _takes_value(build, flag) for flag in words)


def _takes_value(build: Build, flag: str) -> bool:
    """Whether the flag takes a value. For a former switch, newer flags of the build or its own command line must show it."""
    option = OPTION.get(flag)
    if option is None or not option.may_stand_alone:
        return True
    since = option.words[1].low or 0
    younger = any(build.accepts(one) and OPTION[one].builds[one].is_from(since) for one in _WANTED)
    return younger or (not isinstance(build.flags, Unknown) and build.flags.get(flag) is True)


def _files(command: Command, roots: Roots) -> Iterable[tuple[str, Opener]]:
    """The program itself, then its mapped libraries that may parse the command line."""
    yield f"{roots.proc}/{command.pid}/exe", Opener()
    try:
        maps = read_bytes(f"{roots.proc}/{command.pid}/maps", 8 << 20)
    except OSError:
        return
    for path in sorted({match[1] for match in _COMMON.finditer(maps)})[:_MOST_FILES]:
        yield inside(roots, command.pid, os.fsdecode(path)), command.opener(roots)


def _texts(path: str, names: Iterable[str], opener: Opener, until: float) -> set[str]:
    """The names that the file holds between two zero bytes; none if it cannot be read."""
    left = {name: b"\0" + name.encode() + b"\0" for name in names}
    found, tail, size = set[str](), b"", 0
    try:
        with os.fdopen(opener.open(path), "rb", buffering=0) as file:
            while left and size < _MOST and time.thread_time() < until and (part := file.read(_PART)):
                size += len(part)
                part = tail + part
                found |= {name for name, text in left.items() if text in part}
                left = {name: text for name, text in left.items() if name not in found}
                tail = part[-64:]
    except (OSError, NotRegular, ValueError):
        return set()
    return found
