"""A real llama-server whose mapped model does not fit into its control group reads it again and again: told, and mended."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from control_groups import control_group, raise_memory_limit
from live import Sentinel, needs_root, over
from real_server import large_model, request, server

pytestmark = [pytest.mark.long, pytest.mark.real_server, pytest.mark.root, pytest.mark.timeout(300)]

_LIMIT = 250 << 20
#: A daemon's own rule folder holds this, so that the end is not held back for a minute; when it is over is as shipped.
_AT_ONCE = 'schema = 1\noverride = "memory-thrash"\n[alert]\nkeep = "1s"\n'


def _cold_copy(path: Path) -> None:
    """Page cache is charged to the group that reads it first: it must be this one."""
    shutil.copyfile(large_model(), path)
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def test_a_model_that_is_read_again_and_again_is_reported_and_the_first_fix_ends_it(
    new_sentinel: Callable[..., Sentinel], models: Path, tmp_path: Path
) -> None:
    """540 MB mapped in a group of 250 MB, while a request is answered."""
    needs_root()
    weights = tmp_path / "model.gguf"
    _cold_copy(weights)
    if weights.stat().st_size < 1.8 * _LIMIT:
        pytest.skip(f"{weights.stat().st_size} bytes are too few for a group of {_LIMIT}")
    sentinel = new_sentinel()
    sentinel.rules.mkdir(parents=True)
    (sentinel.rules / "at-once.toml").write_text(_AT_ONCE)
    sentinel.start()
    body = json.dumps({"prompt": "Once upon a time", "n_predict": 10_000, "ignore_eos": True}).encode()
    with control_group("sentinel-thrash", _LIMIT, 1.0) as groups:
        enter = "".join(f"echo $$ > {group}/cgroup.procs; " for group in groups)
        wrap = ["sh", "-c", f'{enter} exec "$0" "$@"']
        with server("-m", str(weights), "-c", "16384", "--no-warmup", log=tmp_path / "log", wrap=wrap) as running:

            def ask() -> None:
                try:
                    request(f"{running.url}/completion", body, timeout=200.0)
                except (OSError, http.client.HTTPException):
                    # the server is ended before the answer is
                    return

            threading.Thread(target=ask, daemon=True).start()
            name = sentinel.name_of(running.process.pid)
            alert = sentinel.await_alert("memory-thrash", name, within=150.0)
            assert alert["cause"]["id"] == "group-limit"
            assert "sentinel-thrash" in alert["cause"]["text"]
            assert not sentinel.alert("load-oom-forecast", name)

            first = re.search(r"control group (/\S+) above (\d+) MiB", alert["fixes"][0]["do"])
            assert first, alert["fixes"]
            # Its cache of the context and the program need the rest.
            raise_memory_limit(first[1], (int(first[2]) + 500) << 20)
            over(sentinel, "memory-thrash", name, within=60.0)
            assert sentinel.alert("load-oom", name) is None
