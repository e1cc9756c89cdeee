"""A fleet, the short form of eval/fleet.py: three machines, a real Prometheus, a real Alertmanager, a webhook."""

from __future__ import annotations

import pytest

for _library in ("starlette", "uvicorn", "bcrypt", "yaml"):
    pytest.importorskip(_library)

from eval import fleet  # noqa: E402

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_a_failure_on_any_machine_is_a_webhook_with_cause_fix_and_host_within_15_seconds() -> None:
    """By Prometheus and by `sentinel notify`; a machine more costs what one costs."""
    one, three = fleet.tried((1, 3), seconds=10.0)

    assert one.wrong == three.wrong == []
    assert (len(one.delays), len(three.delays), len(three.direct)) == (1, 3, 3)
    assert max(*one.delays, *three.delays, *three.direct) <= fleet.PROMISE
    assert three.head < 3.5 * one.head
    assert three.scrape_cpu_ms < 100.0
    assert three.daemon_mb < 1.1 * one.daemon_mb
