"""Holds advice against the table of flags: what a fix tells people to type must be accepted where the fix is shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from sentinel.llama.flag_builds import ACCEPTED, DEAD_CMAKE, VALUE_SINCE, accepted, common
from sentinel.model.builds import BuildRange
from sentinel.model.problem import did_you_mean
from sentinel.model.rule import FixDef

_ANY = BuildRange(None, None)
#: What stands between backticks, and whose command line it is said to be for.
_QUOTED = re.compile(r"`([^`]*)`(?: (?:to|at the end of) the (?:command line of )?([\w-]+))?")
_FLAG = re.compile(r"--?[A-Za-z][\w-]*\Z")
#: A flag in running prose. Preceded by a blank, so that words with hyphens are none.
_IN_PROSE = re.compile(r"(?:(?<=\s)|(?<=[('/])|^)(--?[A-Za-z][\w-]*)((?: (?:\d+|\{[^}]*\}|on|off|auto)\b)?)")
_CMAKE = re.compile(r"-D([A-Z_]+)")
_PROGRAM = re.compile(r"(?:^|[\s/])llama-server$")
#: Words after which a command of the shell ends.
_ENDS = re.compile(r"\s*(?:&&|\|\||[;|])\s*|\s+#\s*")


def problems(fix: FixDef) -> list[str]:
    """What is wrong with the flags that a fix mentions, one sentence each; nothing for a fix without any."""
    found = []
    offered = fix.builds or _ANY
    for flag, has_value in dict.fromkeys([*_mentioned(fix), *_of_commands(fix.verify)]):
        builds = accepted(flag, with_value=has_value)
        if builds is None:
            found.append(f"'{flag}' is no flag of llama-server that this version of sentinel knows{did_you_mean(flag, ACCEPTED)}")
    for flag, has_value in dict.fromkeys(_mentioned(fix)):
        builds = accepted(flag, with_value=has_value)
        used = f"'{flag}'" if flag not in VALUE_SINCE else f"'{flag}' {'with' if has_value else 'without'} a value"
        if builds is not None and not _inside(offered, builds):
            found.append(f"{used} is accepted by builds {builds}, and the fix is offered for {offered}")
    for option in _CMAKE.findall(f"{fix.do} {fix.command}"):
        if option in DEAD_CMAKE:
            found.append(f"-D{option} is ignored by current trees and yields a build for the CPU; write -D{DEAD_CMAKE[option]}")
    return found


def builds(fix: FixDef) -> BuildRange | None:
    """The builds that accept every flag the fix tells to type; None where that is every build, or none."""
    return _common(_mentioned(fix))


def builds_of(command: str) -> BuildRange | None:
    """The same for the calls of llama-server in a line of the shell."""
    return _common(_of_commands(command))


def _common(flags: Iterable[tuple[str, bool]]) -> BuildRange | None:
    ranges = [accepted(flag, with_value=has_value) for flag, has_value in flags]
    both = common(one for one in ranges if one is not None)
    return None if both == _ANY else both


def _mentioned(fix: FixDef) -> Iterator[tuple[str, bool]]:
    """Flags of llama-server in the flags, the text and the command of a fix, and whether a value follows them."""
    yield from _words(fix.flags.split())
    for span, program in _QUOTED.findall(fix.do):
        words = span.split()
        if program and program not in ("llama-server", "command"):
            continue
        if words and (_FLAG.match(words[0]) or _PROGRAM.search(words[0])):
            yield from _words(words)
    for flag, value in _IN_PROSE.findall(_QUOTED.sub(" ", fix.do)):
        if not flag.startswith("-D"):
            yield flag, bool(value)
    yield from _of_commands(fix.command)


def _of_commands(line: str) -> Iterator[tuple[str, bool]]:
    for part in _ENDS.split(line):
        words = part.split()
        at = next((i for i, word in enumerate(words) if _PROGRAM.search(word)), None)
        if at is not None and (at == 0 or words[at - 1] in ("sudo", "exec", "--")):
            yield from _words(words[at:])


def _words(words: list[str]) -> Iterator[tuple[str, bool]]:
    for i, word in enumerate(words):
        if _FLAG.match(word):
            following = words[i + 1] if i + 1 < len(words) else ""
            yield word, bool(following) and not _FLAG.match(following)


def _inside(offered: BuildRange, builds: BuildRange) -> bool:
    low = builds.low is None or (offered.low is not None and offered.low >= builds.low)
    high = builds.high is None or (offered.high is not None and offered.high <= builds.high)
    return low and high
