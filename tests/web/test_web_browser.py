"""The live page in a real Chromium: it follows the daemon, says when that is gone, and no name does anything in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

for _library in ("starlette", "uvicorn", "bcrypt", "yaml"):
    pytest.importorskip(_library)

from browser import Browser, program  # noqa: E402
from hostile_names import NAMES  # noqa: E402
from live import wait_for  # noqa: E402
from said_daemon import SaidDaemon  # noqa: E402
from sample_answers import STATES, alert, server  # noqa: E402
from serving import Serving  # noqa: E402

pytestmark = pytest.mark.skipif(program() is None, reason="no Chromium here: apt-get install chromium")

_TEXT = "document.querySelector('main').innerText"
_FIFTY = {
    **STATES["three-alerts"],
    "servers": [
        server(name=f"127.0.0.1:{8000 + n}", called=f"a-model-with-a-long-name-{n:02}-Q4_K_M, port {8000 + n}") for n in range(50)
    ],
    "alerts": [
        alert("cpu-fallback", "runs on the CPU", name=f"127.0.0.1:{8000 + n}", called=f"model-{n:02}, port {8000 + n}")
        for n in range(0, 50, 2)
    ],
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[SaidDaemon]:
    made = SaidDaemon(tmp_path / "s", STATES["healthy"])
    made.begin()
    yield made
    made.close()


@pytest.fixture
def site(daemon: SaidDaemon, tmp_path: Path) -> Iterator[Serving]:
    made = Serving(tmp_path, daemon.socket)
    yield made
    assert made.end() == 0
    assert "Traceback" not in made.said()


def shows(browser: Browser, words: str, within: float = 15.0) -> None:
    wait_for(lambda: words in browser.ask(_TEXT), lambda: f"{words!r} in {browser.ask(_TEXT)[:600]}", within)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [375, 1200])
def test_fifty_servers_fit_and_nothing_is_complained_about(
    browser: Browser, daemon: SaidDaemon, site: Serving, width: int, *, dark: bool
) -> None:
    daemon.status = _FIFTY
    browser.open(site.url, width=width, dark=dark)
    shows(browser, "25 critical")

    assert browser.ask("document.querySelectorAll('.server').length") == 50
    assert browser.ask("document.documentElement.scrollWidth") <= width
    ground = browser.ask("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number).reduce((a, b) => a + b)")
    assert ground < 150 if dark else ground > 700
    painted = browser.ask("[...document.querySelectorAll('.plot canvas')].every(canvas => canvas.width > 100)")
    assert painted
    assert browser.ask("document.querySelectorAll('.plot canvas').length") >= 10
    # Of three servers, GPU and host; each is drawn once, however often the page was asked for.
    assert browser.ask("document.querySelectorAll('[data-plot]').length === document.querySelectorAll('.uplot').length")
    assert browser.problems == []
    assert {url.removeprefix(site.url) for url in browser.requests} <= {"", "live.css", "live.js", "v1/events", "data:,"}


def test_an_alert_is_there_at_once_and_what_is_read_stays_where_it_is(
    browser: Browser, daemon: SaidDaemon, site: Serving
) -> None:
    daemon.status = STATES["three-alerts"]
    browser.open(site.url)
    shows(browser, "context-collapse")
    wait_for(lambda: daemon.streams == 1, "the page follows the events", 10)
    browser.ask("(window.kept = document.querySelectorAll('#alerts details')[1]).open = true; window.name_ = kept.innerText; 1")

    new = alert("gpu-reset", "lost its GPU", since="2026-11-23T16:05:11.000Z")
    daemon.status = {**daemon.status, "alerts": [new, *daemon.status["alerts"]]}
    asked = daemon.asked["status"]
    daemon.publish(new)

    shows(browser, "gpu-reset", 5)
    assert daemon.asked["status"] <= asked + 3
    assert browser.ask("document.title").startswith("2 critical")
    assert browser.ask("[kept.isConnected, kept.open, kept.innerText === name_]") == [True, True, True], "moved, not made again"
    assert browser.ask("[...document.querySelectorAll('#alerts summary')][0].innerText").startswith("◆ CRITICAL")
    assert browser.problems == []


def test_a_daemon_that_goes_is_said_and_comes_back(browser: Browser, daemon: SaidDaemon, site: Serving) -> None:
    browser.open(site.url)
    shows(browser, "No problem found")
    wait_for(lambda: daemon.streams == 1, "the page follows the events", 10)

    daemon.end()
    shows(browser, "NO DAEMON")
    shows(browser, "Below is what was last known")
    assert "gemma-3-27b" in browser.ask(_TEXT)

    daemon.status = STATES["three-alerts"]
    daemon.begin()
    shows(browser, "context-collapse")
    assert "NO DAEMON" not in browser.ask(_TEXT)
    wait_for(lambda: daemon.streams == 1, "the page follows the events again", 10)


def test_a_page_whose_program_goes_says_so_and_goes_on_with_the_next(
    browser: Browser, daemon: SaidDaemon, tmp_path: Path
) -> None:
    first = Serving(tmp_path, daemon.socket)
    browser.open(first.url)
    shows(browser, "No problem found")
    assert first.end() == 0
    lost = "document.getElementById('lost').innerText"
    wait_for(lambda: "No answer from sentinel serve" in browser.ask(lost), "the page says so", 15)
    assert "gemma-3-27b" in browser.ask(_TEXT)

    again = Serving(tmp_path, daemon.socket, listen=f"127.0.0.1:{first.port}")
    wait_for(lambda: browser.ask(lost) == "", "and is live again", 15)
    assert again.end() == 0


def test_a_server_is_chosen_by_a_link_and_has_its_plots(browser: Browser, daemon: SaidDaemon, site: Serving) -> None:
    daemon.status = STATES["three-alerts"]
    browser.open(site.url)
    shows(browser, "context-collapse")
    link = browser.ask("[...document.querySelectorAll('.server a')].find(a => a.innerText.startsWith('Qwen3')).href")
    browser.open(link)
    shows(browser, "plots of Qwen3-30B-A3B-Q4_K_M (llama.service)")
    assert browser.ask("[...document.querySelectorAll('#time h3')].map(h => h.innerText)") == [
        "Qwen3-30B-A3B-Q4_K_M (llama.service)"
    ]
    assert browser.problems == []


def test_a_report_is_shown_under_its_own_policy(browser: Browser, daemon: SaidDaemon, site: Serving) -> None:
    daemon.status = STATES["three-alerts"]
    browser.open(f"{site.url}report?since=24h")
    assert browser.ask("document.querySelectorAll('.plot canvas').length") > 3
    assert "What happened when" in browser.ask(_TEXT)
    assert browser.problems == []


def test_a_hostile_name_is_text_wherever_it_stands(browser: Browser, daemon: SaidDaemon, site: Serving) -> None:
    """Scripts that would run set a variable; elements that would be made are counted, at the first look and after the page was
    asked for again."""
    for name in NAMES:
        daemon.status = _named(name)
        browser.open(site.url)
        shows(browser, "1 critical")
        wait_for(lambda: _asked_again(browser, daemon, site), "it was asked for again", 15, pause=0.2)
        assert browser.ask("typeof window.hit") == "undefined", name
        assert browser.ask("document.querySelectorAll('img, iframe, object, embed, base, form, input, audio, video').length") == 0
        assert browser.ask("document.scripts.length") == 1
        assert browser.ask("[...document.links].every(a => a.origin === location.origin)"), name
        assert browser.ask(
            "[...document.querySelectorAll('*')].every(e => [...e.attributes].every(a => !a.name.startsWith('on')))"
        )
        assert browser.problems == [], name
        assert all(url.startswith((site.url, "data:,")) for url in browser.requests)


def _asked_again(browser: Browser, daemon: SaidDaemon, site: Serving) -> bool:
    """An alert that changes has the page ask at once; without one it would after two seconds."""
    daemon.publish({"rule": "cpu-fallback"})
    return bool(browser.ask("1")) and browser.requests.count(site.url) > 1


def _named(name: str) -> dict[str, Any]:
    fix = {"do": name, "command": name, "risk": name, "verify": name}
    line: dict[str, Any] = {"line": name, "source": name, "n": 1}
    bad = alert("cpu-fallback", name, name=name, called=name, fixes=[fix], evidence=[line],
                cause={"id": "x", "text": name, "confidence": "high"})  # fmt: skip
    return {
        **STATES["healthy"],
        "servers": [server(name=name, called=name, model_path=name, log_where=name, state=name)],
        "alerts": [bad],
        "gpus": [{"address": "0000:03:00.0", "name": name, "vram_used_bytes": 1, "vram_total_bytes": 2}],
    }
