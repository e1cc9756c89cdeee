"""The words of a command line of llama-server that are keys, and never shown or handed on."""

from __future__ import annotations

from collections.abc import Sequence

_FLAGS = frozenset({"--api-key", "--hf-token", "-hft"})


def without_keys(words: Sequence[str], instead: str) -> list[str]:
    """The words with `instead` in place of each key. `--api-key=KEY` as well, which llama-server refuses and people write."""
    shown = []
    for before, word in zip(["", *words], words, strict=False):
        flag, equals, _ = word.partition("=")
        shown.append(instead if before in _FLAGS else f"{flag}={instead}" if equals and flag in _FLAGS else word)
    return shown
