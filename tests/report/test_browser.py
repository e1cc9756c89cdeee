"""The page in a real Chromium: plots are drawn, nothing is fetched or complained about, hostile names do nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, program
from hostile_names import NAMES
from sample_answers import alert, server
from sample_pages import collected, series

from sentinel.report.of_daemon import Collected, page
from sentinel.report.page import render

pytestmark = pytest.mark.skipif(program() is None, reason="no Chromium here: apt-get install chromium")

#: Of each plot the pixels that have exactly the colour of its first line.
_PAINTED = """
[...document.querySelectorAll('.plot canvas')].map(canvas => {
  const wanted = getComputedStyle(document.documentElement).getPropertyValue('--line-0').trim().slice(1).match(/../g);
  const [red, green, blue] = wanted.map(part => parseInt(part, 16));
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let painted = 0;
  for (let n = 0; n < data.length; n += 4) {
    if (data[n] === red && data[n + 1] === green && data[n + 2] === blue && data[n + 3] === 255) painted++;
  }
  return painted;
})
"""
_OVERFLOW = "[document.documentElement.scrollWidth, innerWidth]"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture
def shown(tmp_path: Path, browser: Browser) -> Any:
    """Opens a page in the browser."""

    def show(given: Collected, **how: Any) -> Browser:
        file = tmp_path / "page.html"
        file.write_text(render(page(given)), encoding="utf-8")
        browser.open(file, **how)
        return browser

    return show


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [375, 1200])
def test_every_plot_is_drawn_and_nothing_is_complained_about(shown: Any, width: int, dark: bool) -> None:
    there = shown(collected(), width=width, dark=dark)

    painted = there.ask(_PAINTED)
    assert len(painted) == len(re.findall('data-plot="', render(page(collected()))))
    assert min(painted) > 30, painted
    assert there.problems == []
    assert len(there.requests) == 1, "the page itself"


def test_a_value_without_a_neighbour_is_a_point(shown: Any) -> None:
    """Of a day with three answers the plot was empty: a line needs two that follow each other."""
    lonely = series("server", "127.0.0.1:8080")
    (speeds,) = [one for one in lonely["series"] if one["signal"] == "server.generation_tps"]
    for key in ("min", "mean", "max"):
        speeds[key] = [40.0 if n in (100, 150, 200) else None for n in range(288)]
    there = shown(collected(series={("server", "127.0.0.1:8080"): {**lonely, "series": [speeds]}}))

    (painted,) = there.ask(_PAINTED)
    assert 15 < painted < 180


@pytest.mark.parametrize("state", ["empty", "loading", "healthy", "three-alerts", "forty-servers"])
def test_a_phone_needs_no_horizontal_scrolling(shown: Any, state: str) -> None:
    there = shown(collected(state), width=375)

    wide, window = there.ask(_OVERFLOW)
    assert window == 375
    assert wide <= window
    assert there.problems == []


def test_dark_is_dark_and_light_is_light(shown: Any) -> None:
    ground = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number).reduce((a, b) => a + b)"

    assert shown(collected(), dark=True).ask(ground) < 150
    assert shown(collected(), dark=False).ask(ground) > 700


def test_on_paper_the_page_is_light_and_nothing_is_folded(shown: Any) -> None:
    there = shown(collected(), dark=True)
    folded = "document.querySelectorAll('details:not([open])').length"
    ground = "getComputedStyle(document.body).backgroundColor"
    there.ask(f"addEventListener('beforeprint', () => queueMicrotask(() => {{ window.seen = [{folded}, {ground}]; }})), 1")

    paper = there.pdf()

    assert paper.startswith(b"%PDF-")
    assert there.ask("window.seen") == [0, "rgb(255, 255, 255)"]
    assert there.ask(folded) > 0, "folded again"
    assert there.problems == []


def test_a_hostile_name_is_text_wherever_it_stands(shown: Any) -> None:
    """Scripts that would run set a variable; elements that would be made are counted."""
    for name in NAMES:
        there = shown(_named(name))
        assert there.ask("typeof window.hit") == "undefined", name
        made = "img, iframe, object, embed, link:not([rel=icon]), base, form, input, audio, video"
        assert there.ask(f"document.querySelectorAll('{made}').length") == 0
        assert there.ask("document.scripts.length") == 2
        assert there.ask("[...document.querySelectorAll('a')].every(a => a.getAttribute('href').startsWith('#'))")
        assert there.ask("[...document.querySelectorAll('*')].every(e => [...e.attributes].every(a => !a.name.startsWith('on')))")
        assert there.problems == [], name
        assert len(there.requests) == 1


def _named(name: str) -> Collected:
    fix = {"do": name, "command": name, "risk": name, "verify": name}
    line: dict[str, Any] = {"line": name, "source": name, "n": 1}
    said: dict[str, Any] = {"check": "x", "value": True, "reads": {}, "text": name}
    bad = alert("cpu-fallback", name, name=name, called=name, fixes=[fix], evidence=[line, said],
                cause={"id": "x", "text": name, "confidence": "high"})  # fmt: skip
    given = collected("healthy")
    status = {
        **given.status,
        "servers": [server(name=name, called=name, model_path=name, log_where=name)],
        "alerts": [bad],
        "gpus": [{"address": "0000:03:00.0", "name": name}],
    }
    return replace(
        given,
        machine=name,
        status=status,
        transitions=[],
        series={("server", name): series("server", name)},
        commands={name: name},
    )
