"""Which flags a process's llama-server accepts, derived from its command line and its files without running it.

It accepted the flags it was started with. All other names are stored as text in the program or in libllama-common
(common/arg.cpp), each between two zero bytes; when linkers merge the end of a longer text, only the leading one is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sentinel.llama.flags import OPTION
from sentinel.model.builds import ANY
from sentinel.model.entity import Unknown
from sentinel.model.text import clean
from sentinel.preflight.build import Build, unasked
from sentinel.preflight.command import Command
from sentinel.preflight.flag_check import words_of
from sentinel.sources.fs import Roots
from sentinel.sources.processes.program_text import ProgramText

#: in every build; a file without it does not parse the command line
_ALWAYS = "--ctx-size"
#: Flags that differ by build and affect sizes or suggestions.
_WANTED = ("--fit", "--load-mode", "--cache-ram", "--ctx-checkpoints", "--n-cpu-moe")


def build_of(command: Command, roots: Roots) -> Build:
    """The build of a process. Its flags are Unknown if no file of it holds their names."""
    base = unasked(command)
    given = {word.flag: bool(word.values) for word in words_of(command.argv, base)}
    between = {b"\0" + name.encode() + b"\0": name for name in (_ALWAYS, *_WANTED)}
    for texts in ProgramText(roots, command.pid, command.opener(roots)).found([*between]):
        found = {between[text] for text in texts}
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
