"""The fault campaign in its short form: `make faults` is the whole of it."""

from __future__ import annotations

import pytest

from faults.run import CAMPAIGN

#: Those that take a few seconds each; the others need minutes, a mount or a control group to mean anything.
SHORT = ("killed", "log-copytruncated", "journald-stopped", "socket-folder-removed")
#: Three starts of a daemon under another clock: half a minute.
LONG = ("clock-set-by-a-day",)


@pytest.mark.parametrize("name", [*SHORT, *(pytest.param(name, marks=pytest.mark.long) for name in LONG)])
def test_nothing_is_lost(name: str) -> None:
    row = CAMPAIGN.attempt(name, short=True)
    if row.skipped:
        pytest.skip(row.skipped)
    assert row.wrong == []
