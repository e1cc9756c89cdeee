"""Flags as the arithmetic of memory takes them."""

from __future__ import annotations

import pytest

from sentinel.llama.command_line import decode
from sentinel.llama.memory_settings import AnyBuild, settings_of
from sentinel.llama.settings import Settings


def settings(words: str) -> Settings:
    found = settings_of(decode(["llama-server", "-m", "x.gguf", *words.split()], {}), AnyBuild())
    assert isinstance(found, Settings)
    return found


@pytest.mark.parametrize(
    ("words", "ctx", "given"),
    [
        ("--kv-unified-per-slot 8192", 32768, True),  # -np auto is four slots
        ("--kv-unified-per-slot 8192 -np 2", 16384, True),
        # a limit within what -c asks for; -c 0 is the context of the model
        ("--kv-unified-per-slot 8192 -c 65536", 65536, True),
        ("--kv-unified-per-slot 8192 -c 0", 0, True),
        ("--kv-unified-per-slot 0", 0, False),
        ("", 0, False),
    ],
)
def test_a_context_for_each_slot_makes_the_pool_where_no_context_is_asked_for(words: str, ctx: int, given: bool) -> None:
    assert (settings(words).ctx, settings(words).ctx_given) == (ctx, given)
