"""Whether the flags that a fix sets are set so already: then it is no advice, and whoever follows it learns nothing. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from sentinel.llama.command_line import decode
from sentinel.llama.flags import OPTION, spelled
from sentinel.model.entity import Unknown, Value

#: Where a value came from, and where llama-server listens, say nothing of what it does.
_ASIDE = frozenset({"server.gpu_layers_source", "server.unknown_flags"})


def already_set(flags: str, look_up: Callable[[str], Any]) -> bool:
    """Each of these flags is known to have the value that it would get."""
    try:
        parts = list(_parts(shlex.split(flags)))
    except ValueError:
        return False
    return bool(parts) and all(_is_so(part, look_up) for part in parts)


def signals_of(flags: str) -> frozenset[str]:
    """The signals by which `already_set` judges them; values may be missing."""
    return frozenset(name for part in _parts(flags.split()) for name in _sets(part))


def _is_so(part: tuple[str, ...], look_up: Callable[[str], Any]) -> bool:
    wanted = _sets(part)
    # What was default in some builds only (--no-context-shift) is not known to be so unless it was asked for.
    return any(value != _plain()[name] for name, value in wanted.items()) and all(
        not isinstance(value, Unknown) and look_up(name) == value for name, value in wanted.items()
    )


def _parts(words: list[str]) -> Iterator[tuple[str, ...]]:
    """Each flag with its values."""
    part: list[str] = []
    for word in words:
        if part and word.startswith("-") and spelled(word) in OPTION:
            yield tuple(part)
            part = []
        part.append(word)
    if part:
        yield tuple(part)


def _sets(part: tuple[str, ...]) -> Mapping[str, Value | Unknown]:
    """What it makes of the signals that it settles, or that it changes."""
    plain, asked = _plain(), decode(("llama-server", *part), {})
    settled = asked.settled()
    return {
        name: value for name, value in asked.signals().items() if name not in _ASIDE and (name in settled or value != plain[name])
    }


@cache
def _plain() -> Mapping[str, Value | Unknown]:
    return decode(("llama-server",), {}).signals()
