"""Rules that look back over minutes, on the real llama-server: what makes them fire, and the first fix as the alert has it.

Overrides in the daemon's own rule folder shorten the windows, so that no test takes a quarter of an hour, and a tenth of the
shipped growth is enough. What is measured, what it is compared with and what the advice says is as shipped.
"""

from __future__ import annotations

import contextlib
import json
import re
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from control_groups import control_group
from live import PROMISE, Sentinel, first_flags, needs_root, over, wait_for
from make_models import write_moe
from real_server import ServerDied, free_port, request, server

pytestmark = [pytest.mark.long, pytest.mark.real_server, pytest.mark.timeout(240)]

_SHORTER = {
    "prompt-cache-growth": """
[alert]
for = "1s"
keep_firing_for = "1s"
[window]
grown = { signal = "server.firm_bytes", over = "2m", take = "delta" }
pace = { signal = "server.firm_bytes", over = "2m", take = "rate" }
[check]
grows = "grown > 53687091.0"
settled = "(ready.count == 0 || ready.age > 3.0) && (loaded.count == 0 || loaded.age > 3.0)"
""",
    "restart-loop": """
[alert]
keep_firing_for = "1s"
[event]
refused = { name = "argument_rejected", over = "20s" }
""",
}


@pytest.fixture(scope="module")
def impatient(new_sentinel: Callable[..., Sentinel]) -> Sentinel:
    sentinel = new_sentinel()
    sentinel.rules.mkdir(parents=True)
    for rule, fields in _SHORTER.items():
        (sentinel.rules / f"{rule}.toml").write_text(f'schema = 1\noverride = "{rule}"\n{fields}')
    return sentinel.start()


def reads(sentinel: Sentinel, rule: str, name: str) -> dict[str, Any]:
    """Value of each check of the rule and of what it reads."""
    (subject,) = sentinel.ask("why", rule, name)["subjects"]
    found = {check["check"]: check["value"] for check in subject["checks"]}
    return found | {read["name"]: read.get("value") for check in subject["checks"] for read in check["reads"]}


def fill(sentinel: Sentinel, name: str, url: str, prompts: range) -> None:
    """Finished prompts that have nothing in common: the server keeps each when the next one comes.

    What it held before is looked at first, or the growth is measured from its middle: a quick machine is through in seconds.
    """
    wait_for(
        lambda: reads(sentinel, "prompt-cache-growth", name).get("server.memory_left_bytes") is not None,
        lambda: f"the memory of {name} is read; {reads(sentinel, 'prompt-cache-growth', name)}",
        PROMISE,
    )
    for number in prompts:
        body = {"prompt": [3 + (number * 7 + place * (number + 1)) % 250 for place in range(500)], "n_predict": 1}
        with contextlib.suppress(urllib.error.HTTPError):
            # An answer of noise may be no text.
            request(f"{url}/completion", json.dumps(body).encode())


@pytest.mark.root
def test_prompts_that_are_kept_until_memory_ends_are_bounded_by_the_first_fix(
    impatient: Sentinel, models: Path, tmp_path: Path
) -> None:
    """A group of 2 GB, of which the default cache of 8 GiB would take all."""
    needs_root()
    weights = write_moe(tmp_path / "deep.gguf", experts=0, layers=16)
    arguments = ["-m", str(weights), "-c", "1024", "-np", "1", "-ctk", "f32", "-ctv", "f32", "--no-warmup"]
    port, log = free_port(), tmp_path / "log"
    with control_group("sentinel-growth", 2 << 30, 2.0) as groups:
        enter = "".join(f"echo $$ > {group}/cgroup.procs; " for group in groups)
        wrap = ["sh", "-c", f'{enter} exec "$0" "$@"']
        with server(*arguments, log=log, port=port, wrap=wrap) as running:
            name = impatient.name_of(running.process.pid)
            fill(impatient, name, running.url, range(9))
            alert = impatient.await_alert("prompt-cache-growth", name)
        assert alert["cause"]["id"] == "grows-while-serving"

        with server(*arguments, *first_flags(alert), log=log, port=port, wrap=wrap) as running:
            assert impatient.name_of(running.process.pid) == name
            fill(impatient, name, running.url, range(9))

            def as_before() -> bool:
                found = reads(impatient, "prompt-cache-growth", name)
                return bool(found["settled"] and found["grows"])

            wait_for(as_before, lambda: f"it grows as before: {reads(impatient, 'prompt-cache-growth', name)}", PROMISE)
            over(impatient, "prompt-cache-growth", name)
            assert reads(impatient, "prompt-cache-growth", name)["beyond_memory"] is False


def test_a_loop_of_refused_starts_ends_with_the_line_that_the_first_fix_points_to(
    impatient: Sentinel, models: Path, tmp_path: Path
) -> None:
    """As `while true; do llama-server ...; done` with the article's flags; no unit counts its restarts."""
    right = ["-m", str(models / "dense.gguf"), "-c", "512", "-np", "1"]
    port, log = free_port(), tmp_path / "log"
    with server(*right, log=log, port=port) as running:
        # so that its log is known
        name = impatient.name_of(running.process.pid)
    for _ in range(5):
        with pytest.raises(ServerDied), server(*right, "--flash-attn", "--defrag-thold", "0.1", log=log, port=port):
            pass
    alert = impatient.await_alert("restart-loop", name)
    assert alert["cause"]["id"] == "refused-arguments"

    pointed = re.search(r"correct the command line: `sentinel why (\S+)` says how", alert["fixes"][0]["do"])
    assert pointed, alert["fixes"]
    (subject,) = impatient.ask("why", pointed[1], name)["subjects"]
    instead = re.search(r"Write `([^`]*)` where --flash-attn stands alone", subject["alert"]["fixes"][0]["do"])
    assert instead, subject["alert"]["fixes"]
    with server(*right, *instead[1].split(), "--defrag-thold", "0.1", log=log, port=port) as running:
        assert impatient.name_of(running.process.pid) == name
        over(impatient, "restart-loop", name, within=20.0 + PROMISE)
        assert impatient.alert(pointed[1], name) is None
