"""What is wrong with the words of the command line for this build, and the same command as the build accepts it.

Where the program was asked its own refusals count; the table of eight trees (`llama/flag_builds.py`) tells the rest: what to
write instead, and that a command line fits no build at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sentinel.llama.flag_builds import ACCEPTED, DEAD_CMAKE, NEWEST, VALUE_SINCE, accepted, common
from sentinel.llama.flags import OPTIONAL_VALUE_FLAGS, PAIR_FLAGS, PRINT_AND_EXIT, SWITCHES, VALUE_FLAGS
from sentinel.memory.fit import Why
from sentinel.model.builds import BuildRange
from sentinel.model.entity import Unknown
from sentinel.model.text import clean
from sentinel.preflight.build import Build
from sentinel.preflight.command import Command

_VALUES_OF_FLASH = frozenset({"on", "off", "auto", "1", "0", "true", "false", "enabled", "disabled"})
#: Taken and without effect in builds since 2025-02 (common/arg.cpp: "deprecated" in their help)
_NO_EFFECT = frozenset({"-dt", "--defrag-thold"})
#: flag of the past -> words of today for it; empty: it can go
_TODAY: Mapping[str, tuple[str, ...]] = {
    "--mmap": (),
    "--no-mmap": ("--load-mode", "none"),
    "--mlock": ("--load-mode", "mmap+mlock"),
    "-dio": ("--load-mode", "dio"),
    "--direct-io": ("--load-mode", "dio"),
    "-ndio": (),
    "--no-direct-io": (),
}


@dataclass(frozen=True, slots=True)
class Word:
    """A flag as it stands in the command line: where, as written, and the words that belong to it."""

    at: int
    flag: str
    values: tuple[str, ...] = ()


def words_of(argv: Sequence[str], build: Build) -> list[Word]:
    """The command line taken apart as this build does; by the table of all builds where its help is not known."""
    found, at = [], 1
    while at < len(argv):
        flag = _spelled(argv[at])
        count = min(_values(flag, argv[at + 1 : at + 2], build), len(argv) - at - 1)
        found.append(Word(at, flag, tuple(argv[at + 1 : at + 1 + count])))
        at += 1 + count
    return found


def problems(command: Command, build: Build) -> Iterator[Why]:
    """Everything that the build refuses, ignores or reads otherwise than it was meant."""
    words = words_of(command.argv, build)
    asked = not isinstance(build.flags, Unknown)
    for one in build.refusals:
        what = f"{one.flag} in the environment" if one.at < 0 else f"{one.flag!r}"
        yield Why("flag-rejected", f"this build refuses {what}: {one.said}{_instead(one.flag, build)}", "fails")
    if not asked:
        yield from _by_the_table(words, build)
    for word in words:
        yield from _oddities(word, build)
    for text in command.wrapper:
        name = text.removeprefix("-D").partition("=")[0]
        if name in DEAD_CMAKE:
            said = f"cmake ignores -D{name} today, and what it builds runs on the CPU: write -D{DEAD_CMAKE[name]}=ON"
            yield Why("cmake-option-dead", said, "tight")


def _by_the_table(words: Sequence[Word], build: Build) -> Iterator[Why]:
    """Without the program: what no build takes, and what no single build takes together."""
    ranges: dict[str, BuildRange] = {}
    for word in words:
        if not word.flag.startswith("-"):
            yield Why("flag-rejected", f"{clean(word.flag)!r:.80} is no flag: llama-server takes no other words", "fails")
            continue
        if "=" in word.flag:
            yield Why(
                "flag-rejected",
                f"{clean(word.flag)!r:.80}: llama-server takes a value as a word of its own, not behind '='",
                "fails",
            )
            continue
        found = accepted(word.flag, with_value=bool(word.values))
        if found is None and word.flag not in SWITCHES | VALUE_FLAGS | OPTIONAL_VALUE_FLAGS | PAIR_FLAGS:
            yield Why("flag-rejected", f"no build of llama-server that sentinel knows takes {clean(word.flag)!r:.80}", "fails")
        elif found is not None:
            ranges[word.flag] = found
    if common(ranges.values()) is None:
        first, second = _apart(ranges)
        text = f"no build takes both {first} (builds {spell(ranges[first])}) and {second} (builds {spell(ranges[second])})"
        yield Why("no-build-accepts", f"{text}: this command line starts nowhere", "fails")
    elif build.number is not None:
        for flag, found in ranges.items():
            if not _inside(build.number, found):
                yield Why(
                    "flag-rejected",
                    f"build {build.number} refuses {flag!r} (builds {spell(found)} take it){_instead(flag, build)}",
                    "fails",
                )


def no_build(command: Command) -> Why | None:
    """Whether the command line fits no build at all, whichever is installed."""
    words = words_of(command.argv, Build(Unknown("any"), None, Unknown("any")))
    return next(
        (why for why in _by_the_table(words, Build(Unknown("any"), None, Unknown("any"))) if why.id == "no-build-accepts"), None
    )


def _oddities(word: Word, build: Build) -> Iterator[Why]:
    refused = {one.flag for one in build.refusals}
    if word.flag in refused:
        return
    if word.flag in _NO_EFFECT or (word.flag in build.deprecated and word.flag not in _TODAY and not word.values):
        yield Why("flag-ignored", f"{word.flag} has no effect in builds of today: it can go", "note")
    elif word.flag in build.deprecated and word.flag in _TODAY:
        today = " ".join(_TODAY[word.flag])
        yield Why("flag-deprecated", f"{word.flag} is deprecated{f': {today} says it today' if today else ' and can go'}", "note")
    if word.flag in PRINT_AND_EXIT:
        yield Why("flag-ends-it", f"with {word.flag} llama-server prints something and ends: nothing is served", "fails")


def _apart(ranges: Mapping[str, BuildRange]) -> tuple[str, str]:
    """Two flags that no build has together."""
    flags = list(ranges)
    return next((a, b) for i, a in enumerate(flags) for b in flags[i + 1 :] if common((ranges[a], ranges[b])) is None)


def _inside(number: int, builds: BuildRange) -> bool:
    return (builds.low is None or number >= builds.low) and (builds.high is None or number <= builds.high)


def spell(builds: BuildRange) -> str:
    """A range of builds for people."""
    if builds.low is None:
        return "of any age" if builds.high is None else f"until about b{builds.high}"
    return f"since about b{builds.low}" if builds.high is None else f"from b{builds.low} to b{builds.high}"


def _instead(flag: str, build: Build) -> str:
    if flag in ("-fa", "--flash-attn"):
        return f"; write {flag} on"
    if flag in _TODAY and build.accepts("--load-mode") is not False:
        today = " ".join(_TODAY[flag])
        return f"; write {today}" if today else "; leave it out, it is the default"
    if "=" in flag:
        name, _, value = flag.partition("=")
        return f"; write {name} {value}"
    found = ACCEPTED.get(flag)
    return f"; builds {spell(found)} take it" if found is not None and (found.low or found.high) else ""


def accepted_form(command: Command, build: Build) -> tuple[str, ...]:
    """The same command as this build takes it: what it refuses is written in its words of today, or left out."""
    refused = {one.at for one in build.refusals}
    kept = [command.argv[0]]
    for word in words_of(command.argv, build):
        if word.flag in _NO_EFFECT or word.flag in PRINT_AND_EXIT:
            continue
        unknown = not _takes(build, word.flag)
        if word.flag in ("-fa", "--flash-attn") and not word.values and (word.at in refused or isinstance(build.flags, Unknown)):
            kept += [word.flag, "on"]
        elif "=" in word.flag and word.flag.startswith("--"):
            name, _, value = word.flag.partition("=")
            kept += [name, value] if _takes(build, name) else []
        elif unknown or (word.at in refused and not word.values):
            kept += _TODAY.get(word.flag, ()) if _takes(build, "--load-mode") else ()
        elif word.at not in refused:
            kept += [command.argv[word.at], *word.values]
    return tuple(kept)


def _takes(build: Build, flag: str) -> bool:
    """Whether the build has the flag; one that is not known is taken for the newest that the table has."""
    if not isinstance(build.flags, Unknown):
        return flag in build.flags
    found = ACCEPTED.get(flag)
    return found is not None and _inside(NEWEST if build.number is None else build.number, found)


def _spelled(word: str) -> str:
    return word.replace("_", "-") if word.startswith("--") and "=" not in word else word


def _values(flag: str, following: Sequence[str], build: Build) -> int:
    """How many words after the flag are its value."""
    if flag in PAIR_FLAGS:
        return 2
    if flag in VALUE_SINCE:
        # bare in old builds; what a newer one would swallow by mistake is a flag of its own here
        return int(bool(following) and following[0].lower() in _VALUES_OF_FLASH | {"always", "never"})
    if not isinstance(build.flags, Unknown) and flag in build.flags:
        return int(build.flags[flag])
    if flag in VALUE_FLAGS:
        return 1
    if flag in SWITCHES or not flag.startswith("-") or "=" in flag:
        return 0
    # a flag that nobody knows takes the word after it with it, unless that is a flag
    return int(bool(following) and not following[0].startswith("-"))
