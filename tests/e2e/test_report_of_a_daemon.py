"""`sentinel report` of the real daemon: one that has just begun says so, one with values plots them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import Sentinel, wait_for

from sentinel.api.client import get


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Sentinel]:
    sentinel = Sentinel(tmp_path, "discover = false", kernel=False).start()
    yield sentinel
    sentinel.end()


def test_a_page_has_the_values_that_the_daemon_recorded(daemon: Sentinel, tmp_path: Path) -> None:
    def recorded() -> int:
        code, answer = get("/v1/series?seconds=60&points=60&signal=host.mem_available_bytes", [daemon.socket])
        assert code == 200
        return sum(value is not None for one in answer["series"] for value in one["mean"])

    wait_for(lambda: recorded() >= 2, "two seconds are recorded", 20)
    file = tmp_path / "page.html"
    done = daemon.cli("report", "-o", str(file))

    assert done.returncode == 0, done.stderr
    text = file.read_text(encoding="utf-8")
    assert "memory available: " in text
    assert "Nothing is stored from before: of 24.0 h the last " in text
    assert "No llama-server runs here" in text
    assert "No alert in the last 24.0 h." in text
    said = re.findall(r"<p>memory available: [^<]*", text)[0]
    # of the 24 hours it would be 1 %; a second may be missed on a busy machine
    known = re.search(r"for (\d+) % of the time", said)
    assert known is None or int(known[1]) >= 50, "the plot begins where the values do"
