"""Two systems booted at the same time, as by two workers of pytest, have nothing in common."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from boot import boot

pytestmark = [pytest.mark.booted, pytest.mark.root]

#: Each is up for three seconds with a unit and a port of the same name and number as the other's.
SCRIPT = """
set -e
systemd-run -q --unit=same python3 -c '
import socket, time
with socket.create_server(("127.0.0.1", 8477)):
    print("listens", flush=True)
    time.sleep(60)'
sleep 3
systemctl is-active same
systemctl kill --signal=KILL same
"""


def test_units_and_ports_of_the_same_name_do_not_meet(tmp_path: Path) -> None:
    """`systemctl kill` failed with EIO at the other's processes, and sentinel-web at the other's port."""
    places = [tmp_path / "one", tmp_path / "two"]
    with ThreadPoolExecutor() as pool:
        outcomes = list(pool.map(lambda place: boot(place, SCRIPT, place / "files"), places))
    assert [(outcome.code, outcome.stdout) for outcome in outcomes] == [(0, "active\n")] * 2, outcomes
