"""`sentinel serve` beside the real daemon: what that says of its routes holds here, and its alerts are on the page at once."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

for _library in ("starlette", "uvicorn", "bcrypt", "yaml"):
    pytest.importorskip(_library)

from browser import Browser, program  # noqa: E402
from live import REPO, wait_for  # noqa: E402
from notifier import Switched  # noqa: E402
from serving import Serving  # noqa: E402

#: Routes that are passed on, but for the event stream, which does not end.
_ROUTES = ("/metrics", "/v1/alerts", "/v1/history", "/v1/series", "/v1/status")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switched]:
    one = Switched(tmp_path_factory.mktemp("daemon"))
    one.start()
    yield one
    assert one.end() == 0


@pytest.fixture(scope="module")
def site(daemon: Switched, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    one = Serving(tmp_path_factory.mktemp("site"), daemon.socket)
    yield one
    assert one.end() == 0
    assert "Traceback" not in one.said()


@pytest.mark.skipif(program() is None, reason="no Chromium here: apt-get install chromium")
def test_a_real_alert_is_on_the_page_and_a_daemon_that_is_killed_comes_back(
    daemon: Switched, site: Serving, tmp_path: Path
) -> None:
    text = "document.querySelector('main').innerText"
    with Browser(tmp_path / "profile") as browser:
        browser.open(site.url)
        assert browser.problems == []
        assert "fault-" not in browser.ask(text)
        daemon.switch("s0", on=True)
        wait_for(lambda: daemon.ask("alerts")["alerts"], "the alert", 20)
        begun = time.monotonic()
        wait_for(lambda: "fault-" in browser.ask(text), "it is on the page", 5, pause=0.02)
        assert time.monotonic() - begun < 2.5
        assert browser.problems == []

        daemon.end(signal.SIGKILL)
        wait_for(lambda: "NO DAEMON" in browser.ask(text), "the page says so", 15)
        assert "fault-" in browser.ask(text), "what was last known"
        daemon.start()
        wait_for(lambda: "NO DAEMON" not in browser.ask(text), "the page is live again", 30)
        daemon.switch("s0", on=False)
        wait_for(lambda: not daemon.ask("alerts")["alerts"], "the alert is over", 30)
        wait_for(lambda: "is over" in browser.ask(text) or "came and ended" in browser.ask(text), "so says the page", 10)


def test_schemathesis_finds_nothing_in_what_is_passed_on(daemon: Switched, site: Serving, tmp_path: Path) -> None:
    schemathesis = Path(sys.executable).with_name("schemathesis")
    if not schemathesis.exists() and shutil.which("schemathesis") is None:
        pytest.skip("needs schemathesis (pip install -e '.[dev]')")
    described = json.loads((REPO / "docs/openapi.json").read_text(encoding="utf-8"))
    # Here there is nothing but GET and HEAD, whatever the daemon takes.
    described["paths"] = {path: {"get": described["paths"][path]["get"]} for path in _ROUTES}
    (tmp_path / "openapi.json").write_text(json.dumps(described), encoding="utf-8")
    command = [
        str(schemathesis), "run", "openapi.json", "--url", site.url.rstrip("/"), "--checks", "all", "--max-examples", "20",
        "--phases", "coverage,fuzzing", "--seed", "20261129", "--generation-database", "none", "--no-color",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert site.get("/v1/status").code == 200
