"""Errors in the command line for this build, and the same command as the build accepts it.

If the program was run, its own refusals count; the flag table (`llama/flag_table.py`) covers the rest: replacements, and
command lines that fit no build at all. A flag missing from the table is not an error: a newer build may have it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sentinel.llama.flags import (
    DEAD_CMAKE,
    NEWEST,
    NO_EFFECT,
    OPTION,
    PRINT_AND_EXIT,
    RENAMED,
    TODAY,
    accepted,
    nearest,
    possible,
    takes,
)
from sentinel.llama.tokenizer import Word, words
from sentinel.memory.fit import FitNote
from sentinel.model.builds import ANY, BuildRange, common
from sentinel.model.entity import Unknown
from sentinel.model.text import clean
from sentinel.preflight.build import Build
from sentinel.preflight.command import Command


def words_of(argv: Sequence[str], build: Build) -> list[Word]:
    """The command line as this build parses it; by the table of all builds if its help is unknown."""
    return list(words(argv, None if isinstance(build.flags, Unknown) else build.flags))


def problems(command: Command, build: Build) -> Iterator[FitNote]:
    """Everything that the build refuses, ignores or parses differently than intended."""
    found = words_of(command.argv, build)
    for one in build.refusals:
        what = f"{one.flag} in the environment" if one.at < 0 else f"{one.flag!r}"
        instead = _instead(one.flag, build) or _builds_that_do(one.flag)
        yield FitNote("flag-rejected", f"this build refuses {what}: {one.said}{instead}", "fails")
    if isinstance(build.flags, Unknown):
        yield from _by_the_table(found, build, runs=command.runs)
    for word in found:
        yield from _oddities(word, build)
    for text in command.wrapper:
        name = text.removeprefix("-D").partition("=")[0]
        if name in DEAD_CMAKE:
            said = f"cmake ignores -D{name} today, and what it builds runs on the CPU: write -D{DEAD_CMAKE[name]}=ON"
            yield FitNote("cmake-option-dead", said, "tight")


def _by_the_table(found: Sequence[Word], build: Build, *, runs: bool) -> Iterator[FitNote]:
    """Without the program: flags that no build takes, or no single build takes together. A running process took them all."""
    if runs:
        return
    ranges: dict[str, BuildRange] = {}
    for word in found:
        option = OPTION.get(word.flag)
        flag = clean(word.flag)
        if word.assigned is not None:
            yield FitNote(
                "flag-rejected", f"{flag!r:.80}: llama-server takes a value as a word of its own, not behind '='", "fails"
            )
        elif not word.is_flag:
            yield FitNote("flag-rejected", f"{flag!r:.80} is no flag: llama-server takes no other words", "fails")
        elif option is None:
            yield FitNote("flag-unknown", _not_known(flag, build), "unknown")
        elif builds := possible(word.flag, len(word.values)):
            bare = " without a value" if option.may_stand_alone and not word.values else ""
            ranges[f"{word.flag}{bare}"] = builds
    if build.number is not None and build.number > NEWEST:
        return
    if common(ranges.values()) is None:
        first, second = _apart(ranges)
        text = f"no build takes both {first} (builds {ranges[first].words}) and {second} (builds {ranges[second].words})"
        yield FitNote("no-build-accepts", f"{text}: this command line starts nowhere", "fails")
    elif build.number is not None:
        for flag, count in {word.flag: len(word.values) for word in found}.items():
            if takes(flag, build.number, count) is False:
                text = f"build {build.number} refuses {flag!r}{_instead(flag, build) or _builds_that_do(flag)}"
                yield FitNote("flag-rejected", text, "fails")


def _not_known(flag: str, build: Build) -> str:
    near = nearest(flag)
    meant = f"; did you mean {near!r}" if near else ""
    if build.number is not None and build.number > NEWEST:
        known = f"sentinel knows the flags of builds up to b{NEWEST}"
        return f"whether build {build.number} takes {flag!r:.80} is not known: {known}{meant}"
    return f"{flag!r:.80} is no flag of the builds that sentinel knows, up to b{NEWEST}; a newer build may take it{meant}"


def _oddities(word: Word, build: Build) -> Iterator[FitNote]:
    refused = {one.flag for one in build.refusals}
    if word.flag in refused:
        return
    if word.flag in NO_EFFECT or (word.flag in build.deprecated and word.flag not in TODAY and not word.values):
        yield FitNote("flag-ignored", f"{word.flag} has no effect in builds of today: it can go", "note")
    elif word.flag in build.deprecated and word.flag in TODAY:
        today = " ".join(TODAY[word.flag])
        yield FitNote(
            "flag-deprecated", f"{word.flag} is deprecated{f': {today} says it today' if today else ' and can go'}", "note"
        )
    if word.flag in PRINT_AND_EXIT:
        yield FitNote("flag-ends-it", f"with {word.flag} llama-server prints something and ends: nothing is served", "fails")


def _apart(ranges: Mapping[str, BuildRange]) -> tuple[str, str]:
    """Two flags that no build has together."""
    flags = list(ranges)
    return next((a, b) for i, a in enumerate(flags) for b in flags[i + 1 :] if common((ranges[a], ranges[b])) is None)


def _instead(flag: str, build: Build) -> str:
    if flag in ("-fa", "--flash-attn"):
        return f"; write {flag} on"
    if flag in TODAY and build.accepts("--load-mode") is not False:
        today = " ".join(TODAY[flag])
        return f"; write {today}" if today else "; leave it out, it is the default"
    if "=" in flag:
        name, _, value = flag.partition("=")
        return f"; write {name} {value}"
    if flag in RENAMED and build.accepts(RENAMED[flag]) is not False:
        return f"; write {RENAMED[flag]}"
    return ""


def _builds_that_do(flag: str) -> str:
    found = accepted(flag)
    return f"; builds {found.words} take it" if found is not None and found != ANY else ""


def accepted_form(command: Command, build: Build) -> tuple[str, ...]:
    """The same command as this build accepts it: refused flags are replaced by their current names or left out."""
    refused = {one.at for one in build.refusals}
    kept = [command.argv[0]]
    for word in words_of(command.argv, build):
        if word.flag in NO_EFFECT or word.flag in PRINT_AND_EXIT:
            continue
        unknown = not _takes(build, word.flag)
        if word.flag in ("-fa", "--flash-attn") and not word.values and (word.at in refused or isinstance(build.flags, Unknown)):
            kept += [word.flag, "on"]
        elif "=" in word.flag and word.flag.startswith("--"):
            name, _, value = word.flag.partition("=")
            kept += [name, value] if _takes(build, name) else []
        elif unknown and word.flag in RENAMED and word.values:
            kept += [RENAMED[word.flag], *word.values]
        elif unknown or (word.at in refused and not word.values):
            kept += TODAY.get(word.flag, ()) if _takes(build, "--load-mode") else ()
        elif word.at not in refused:
            kept += [command.argv[word.at], *word.values]
    return tuple(kept)


def _takes(build: Build, flag: str) -> bool:
    """Whether the build has the flag; an unknown build is treated as the newest in the table."""
    if not isinstance(build.flags, Unknown):
        return flag in build.flags
    return takes(flag, NEWEST if build.number is None else min(build.number, NEWEST)) is not False
