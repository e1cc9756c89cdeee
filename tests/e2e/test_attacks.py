"""The attacks of a local user in their short form: `make attacks` is the whole of it."""

from __future__ import annotations

import re

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
#: Those that take a quarter of a minute and more each. Not among them: `page`, which fails on a quiet machine, where the crowd is
#: quicker than what refuses it (SECURITY.md).
LONG = (
    "sparse-log",
    "gguf-bomb",
    "links-beside-a-log",
    "hanging-files",
    "descriptors",
    "configured-port",
    "silent-servers",
    "large-answers",
    "brief-servers",
    "readers",
    "askers",
    "followers",
    "recordings",
    "logs",
)


#: Other tests have the processors meanwhile: here a wait is bounded, and `make attacks` holds it against its limit. Seconds.
BUSY = 15.0


def too_long(wrong: str) -> bool:
    """What is wrong anyhow, or a wait that nothing excuses."""
    wait = re.search(r" took (\d+\.\d) s$", wrong)
    return wait is None or float(wait[1]) > BUSY


@pytest.mark.parametrize("name", [*SHORT, *(pytest.param(name, marks=pytest.mark.long) for name in LONG)])
def test_an_attack_costs_little_and_leaks_nothing(name: str) -> None:
    row = CAMPAIGN.attempt(name, short=True)
    if row.skipped:
        pytest.skip(row.skipped)
    assert [one for one in row.wrong if too_long(one)] == []
