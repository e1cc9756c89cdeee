"""The attacks of a local user in their short form: `make attacks` is the whole of it."""

from __future__ import annotations

import pytest

from attacks.run import attempt

pytestmark = pytest.mark.root

#: Those that take a few seconds each.
SHORT = ("port-prefix", "client-text", "unknown-flags")


@pytest.mark.parametrize("name", SHORT)
def test_an_attack_costs_little_and_leaks_nothing(name: str) -> None:
    row = attempt(name, short=True)
    if row.skipped:
        pytest.skip(row.skipped)
    assert row.wrong == []
