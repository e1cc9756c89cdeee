"""The sources that the daemon polls read the kernel's file systems where the configuration says that these are."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from composed_proc import Machine

from sentinel.daemon.config import Config
from sentinel.daemon.wiring import polls
from sentinel.model.cuts import Cuts
from sentinel.model.reading import ServerFound
from sentinel.sources.fs import Roots
from sentinel.sources.processes.discover import Servers


def test_every_source_of_servers_looks_below_the_configured_roots(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.start(10, "-m", "x.gguf", "--port", "8123")
    roots = machine.roots
    config = Config(
        file=None, state_dir=tmp_path, socket=tmp_path / "s", proc=roots.proc, sys=roots.sys, dev=roots.dev, watch_slots=True
    )
    supervisor, logs = SimpleNamespace(poller=lambda *_, **__: None), SimpleNamespace(units=None)
    sources = [source for source, _ in polls(config, cast(Any, supervisor), cast(Any, logs), lambda _: None, Cuts())]

    [servers] = [source for source in sources if isinstance(source, Servers)]
    assert [one.pid for one in servers.poll(0.0) if isinstance(one, ServerFound)] == [10]
    used = {type(source).__name__: vars(source).get("_roots", vars(source).get("roots")) for source in sources}
    assert {name: at for name, at in used.items() if isinstance(at, Roots) and at.proc != roots.proc} == {}
    assert {"LlamaHttp", "LlamaSlots"} <= used.keys()
