"""Checks advice against the flag table: a fix must only name flags that the builds it is shown to accept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from sentinel.llama.flags import DEAD_CMAKE, OPTION, accepted
from sentinel.llama.tokenizer import is_flag, words
from sentinel.model.builds import ANY, BuildRange, common
from sentinel.model.problem import did_you_mean
from sentinel.model.rule import FixDef

#: Text between backticks, and the program whose command line it is.
_QUOTED = re.compile(r"`([^`]*)`(?: (?:to|at the end of) the (?:command line of )?([\w-]+))?")
#: A flag in running prose. Preceded by a blank, so that hyphenated words do not match.
_IN_PROSE = re.compile(r"(?:(?<=\s)|(?<=[('/])|^)(--?[A-Za-z][\w-]*)((?: (?:\d+|\{[^}]*\}|on|off|auto)\b)?)")
_CMAKE = re.compile(r"-D([A-Z_]+)")
_PROGRAM = re.compile(r"(?:^|[\s/])llama-server$")
#: Words that end a shell command.
_ENDS = re.compile(r"\s*(?:&&|\|\||[;|])\s*|\s+#\s*")


def problems(fix: FixDef) -> list[str]:
    """What is wrong with the flags that a fix mentions, one sentence each; empty for a fix without flags."""
    found = []
    offered = fix.builds or ANY
    for flag in dict.fromkeys(flag for flag, _ in (*_mentioned(fix), *_of_commands(fix.verify))):
        if flag not in OPTION:
            found.append(f"'{flag}' is no flag of llama-server that this version of sentinel knows{did_you_mean(flag, OPTION)}")
    for flag, count in dict.fromkeys(_mentioned(fix)):
        builds = accepted(flag, count)
        if builds is not None and not builds.covers(offered):
            used = f" {'with' if count else 'without'} a value" if OPTION[flag].may_stand_alone else ""
            found.append(f"'{flag}'{used} is accepted by builds {builds}, and the fix is offered for {offered}")
    for option in _CMAKE.findall(f"{fix.do} {fix.command}"):
        if option in DEAD_CMAKE:
            found.append(f"-D{option} is ignored by current trees and yields a build for the CPU; write -D{DEAD_CMAKE[option]}")
    return found


def builds(fix: FixDef) -> BuildRange | None:
    """The builds that accept every flag in the fix; None if that is every build, or none."""
    return _common(_mentioned(fix))


def builds_of(command: str) -> BuildRange | None:
    """The same for the calls of llama-server in a shell command line."""
    return _common(_of_commands(command))


def _common(flags: Iterable[tuple[str, int]]) -> BuildRange | None:
    ranges = [accepted(flag, count) for flag, count in flags]
    both = common(one for one in ranges if one is not None)
    return None if both == ANY else both


def in_text(text: str) -> list[str]:
    """Flags of llama-server that a text for people mentions, in order."""
    return [flag for flag, _ in _of_text(text)]


def _mentioned(fix: FixDef) -> Iterator[tuple[str, int]]:
    """Flags of llama-server in the flags, the text and the command of a fix, and how many words belong to each."""
    yield from _flags(fix.flags.split())
    yield from _of_text(fix.do)
    yield from _of_commands(fix.command)


def _of_text(text: str) -> Iterator[tuple[str, int]]:
    for span, program in _QUOTED.findall(text):
        found = span.split()
        if program and program not in ("llama-server", "command"):
            continue
        if found and (is_flag(found[0]) or _PROGRAM.search(found[0])):
            yield from _flags(found)
    for flag, value in _IN_PROSE.findall(_QUOTED.sub(" ", text)):
        if not flag.startswith("-D"):
            yield flag, int(bool(value))


def _of_commands(line: str) -> Iterator[tuple[str, int]]:
    for part in _ENDS.split(line):
        found = part.split()
        at = next((i for i, word in enumerate(found) if _PROGRAM.search(word)), None)
        if at is not None and (at == 0 or found[at - 1] in ("sudo", "exec", "--")):
            yield from _flags(found[at:])


def _flags(found: list[str]) -> Iterator[tuple[str, int]]:
    argv = found if found and _PROGRAM.search(found[0]) else ["llama-server", *found]
    yield from ((word.flag, len(word.values)) for word in words(argv) if word.is_flag)
