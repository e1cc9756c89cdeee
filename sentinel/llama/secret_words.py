"""The words of a command line of llama-server that are keys, and never shown or handed on."""

from __future__ import annotations

from collections.abc import Sequence

from sentinel.llama.flags import spelled

_FLAGS = frozenset({"--api-key", "--hf-token", "-hft"})


def without_keys(words: Sequence[str], instead: str) -> list[str]:
    """The words with `instead` in place of each key. `--api-key=KEY` as well, which llama-server refuses and people write."""
    shown = []
    for before, word in zip(["", *words], words, strict=False):
        flag, equals, _ = word.partition("=")
        given = equals and spelled(flag) in _FLAGS
        shown.append(instead if spelled(before) in _FLAGS else f"{flag}={instead}" if given else word)
    return shown
