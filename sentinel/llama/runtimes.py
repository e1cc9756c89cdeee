"""Which row of the table a program, a process or a log belongs to, and how to say a flag in that program's terms."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sentinel.llama.flags import OPTION, same_as
from sentinel.llama.runtime_table import RUNTIMES, Runtime

#: `llama serve` has this second name; the other subcommands (bench, cli, quantize, ...) are no servers (app/llama.cpp).
_SERVES = {"serve": frozenset({"serve", "server"}), "runner": frozenset({"runner"})}


def titled(name: str) -> str:
    """What people call a front end; its name if that is not known."""
    return next((row.title for row in RUNTIMES if name and row.name == name), name)


def of_name(name: str) -> Runtime | None:
    """The row of a front end."""
    return next((row for row in RUNTIMES if row.name == name), None) if name else None


def of_program(program: str, words: Sequence[str]) -> Runtime | None:
    """The row of a server by another name; `program` is the file's name without its folder, `words` the command line."""
    for row in RUNTIMES:
        serves = not row.subcommand or (len(words) > 1 and words[1] in _SERVES[row.subcommand])
        if row.program and serves and re.fullmatch(row.program, program):
            return row
    return None


def of_module(words: Sequence[str]) -> Runtime | None:
    """The row of a server that an interpreter runs as its main program."""
    head = words[1:4]
    for row in RUNTIMES:
        if row.module and any(re.search(rf"(?:^|/)(?:{row.module})\Z", word) for word in head):
            return row
    return None


def of_library(maps: bytes) -> Runtime | None:
    """The row of a server inside an interpreter, by what it has mapped."""
    return next((row for row in RUNTIMES if row.library and row.library.encode() in maps), None)


def of_starter(path: str, above: Sequence[str]) -> Runtime | None:
    """The row of what starts a server: `path` of its program, names of the processes `above` it, the nearest first."""
    for name in above:
        for row in RUNTIMES:
            if row.parent and re.fullmatch(row.parent, name):
                return row
    folders = path.lower().split("/")[:-1]
    return next((row for row in RUNTIMES if row.folder and row.folder in folders), None)


def writer_of(line: str) -> str:
    """The front end that keeps this log, by what it puts before a line; empty if the line does not show one."""
    head = line[:160]
    return next((row.name for row in RUNTIMES if row.prefix and re.search(row.prefix, head)), "")


def translated(words: Sequence[str], options: Mapping[str, str]) -> list[str]:
    """Another program's command line in llama-server's flags, as far as they mean the same."""
    out = list(words[:1])
    rest = iter(words[1:])
    for word in rest:
        name, equals, value = word.partition("=")
        flag = options.get(name)
        if not flag:
            continue
        value = value if equals else next(rest, "")
        if value:
            out += [flag, value]
    return out


def placed(flags: str, name: str) -> str | None:
    """How to set `flags` in that front end, as the text after a fix; None if it has no way to set one of them."""
    row = of_name(name)
    if row is None:
        return None
    own: dict[str, None] = {}
    others = []
    for flag, value in _pairs(flags):
        name = next((one for one in _names(flag) if one in row.settings), "")
        if name:
            on = value not in ("off", "0", "false")
            said = row.settings[name].format(value=value, on=int(on), true=str(on).lower())
            own[said] = None
        elif row.place and not row.reserved.intersection(_names(flag)):
            others.append(f"{flag} {value}".rstrip())
        else:
            return None
    parts = [row.within + (", " if row.name == "jan" else "; ").join(own)] if own else []
    if others:
        parts.append(row.place.format(flags=" ".join(others)))
    return f" ({'; '.join(parts)})"


def own_name(row: Runtime, flag: str) -> str:
    """What a flag is called there, without a value; empty if it has no name of its own."""
    said = next((row.settings[name] for name in _names(flag) if name in row.settings), "")
    return re.sub(r"[ =:]*\{\w+\}", "", said)


def _names(flag: str) -> tuple[str, ...]:
    return same_as(flag) if flag in OPTION else (flag,)


def _pairs(flags: str) -> list[tuple[str, str]]:
    words = flags.split()
    starts = [at for at, word in enumerate(words) if word.startswith("-")]
    ends = [*starts[1:], len(words)][: len(starts)]
    return [(words[at], " ".join(words[at + 1 : end])) for at, end in zip(starts, ends, strict=True)]
