"""What the store takes: values of a signal's type, and text that every rule can read."""

from __future__ import annotations

import pytest

from sentinel.engine.facts.store import FactStore
from sentinel.model.entity import Entity

SERVER = Entity("server", "llama.service")


@pytest.mark.parametrize(
    ("name", "kept"),
    [("/m/\udcff.gguf", "/m/\ufffd.gguf"), ("/m/\ud800.gguf", "/m/\ufffd\ufffd\ufffd.gguf"), ("/m/größe.gguf", "/m/größe.gguf")],
)
def test_a_name_that_is_no_unicode_is_kept_as_text_that_a_rule_can_read(name: str, kept: str) -> None:
    """CEL refuses it, and whichever rule reads the name would end the daemon."""
    facts = FactStore()
    facts.put(SERVER, "server.model_path", name, 1.0, "process")
    fact = facts.last(SERVER, "server.model_path")
    assert fact is not None
    assert fact.value == kept
    assert kept.encode()
