"""The attacks of a local user in their short form: `make attacks` is the whole of it."""

from __future__ import annotations

import pytest

from attacks.run import CAMPAIGN

pytestmark = pytest.mark.root

#: Those that take a few seconds each.
SHORT = (
    "port-prefix",
    "client-text",
    "unknown-flags",
    "private-log",
    "private-model",
    "borrowed-logger",
    "fifo-model",
    "preflight-bait",
    "half-open",
)
#: Those that take a quarter of a minute and more each.
LONG = (
    "sparse-log",
    "gguf-bomb",
    "links-beside-a-log",
    "hanging-files",
    "descriptors",
    "configured-port",
    "silent-servers",
    "large-answers",
    "page",
    "brief-servers",
    "readers",
    "askers",
    "followers",
    "recordings",
    "logs",
)


@pytest.mark.parametrize("name", [*SHORT, *(pytest.param(name, marks=pytest.mark.long) for name in LONG)])
def test_an_attack_costs_little_and_leaks_nothing(name: str) -> None:
    row = CAMPAIGN.attempt(name, short=True)
    if row.skipped:
        pytest.skip(row.skipped)
    assert row.wrong == []
