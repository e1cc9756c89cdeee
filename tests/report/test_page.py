"""The page as text: safe whatever stands in it, of a bounded size, with a policy that fits its own script and style."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from effort import examples
from hostile_names import NAMES
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sample_answers import NOW, STATES, alert, server
from sample_pages import DAY, collected, series

from sentinel.model.text import UNSAFE
from sentinel.report import alerts as caps
from sentinel.report.contents import Page
from sentinel.report.markup import tag
from sentinel.report.of_daemon import MOST_PLOTTED, Collected, page
from sentinel.report.page import BEGINS, asset, render


class Read(HTMLParser):
    """A page as a parser sees it: elements, attributes, text outside of scripts, and what scripts and styles hold."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.said: list[str] = []
        self.inner: dict[str, list[str]] = {"script": [], "style": []}
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(name)
        self.attributes += [(key, value or "") for key, value in attrs]
        if name not in ("meta", "link", "rect"):
            self._open.append(name)
            if name in self.inner:
                self.inner[name].append("")

    def handle_endtag(self, name: str) -> None:
        # Every element ends where it should: nothing of a name closed one.
        assert self._open.pop() == name

    def handle_data(self, text: str) -> None:
        if self._open and self._open[-1] in self.inner:
            self.inner[self._open[-1]][-1] += text
        else:
            self.said.append(text)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).split())


def read(given: Collected) -> Read:
    return Read(render(page(given)))


def test_the_policy_allows_this_script_and_this_style_and_nothing_else() -> None:
    found = read(collected())

    (policy,) = [value for key, value in found.attributes if key == "content" and "default-src" in value]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    (style,), (numbers, script) = found.inner["style"], found.inner["script"]

    def hashed(text: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"

    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == hashed(script)
    assert rules["style-src"] == hashed(style)
    assert rules["img-src"] == "data:"
    assert rules["base-uri"] == rules["form-action"] == "'none'"
    assert json.loads(numbers)["plots"]
    assert render(page(collected())).startswith(BEGINS)


def test_nothing_in_the_page_leads_elsewhere_or_runs() -> None:
    found = read(collected())

    assert {"img", "iframe", "object", "base", "form"} & set(found.tags) == set()
    # The one link is the icon that is none: without it Firefox asks for one, which the policy forbids, and prints an error.
    assert found.tags.count("link") == 1
    assert [value for key, value in found.attributes if key == "href" and not value.startswith("#")] == ["data:,"]
    assert [key for key, _ in found.attributes if key.startswith("on") or key in ("style", "src", "srcdoc")] == []


@pytest.mark.parametrize(
    "name", ["vendor/uPlot.iife.min.js", "vendor/uPlot.min.css", "assets/page.js", "assets/page.css", "vendor/LICENSE"]
)
def test_what_stands_in_the_page_as_it_is_ends_no_element(name: str) -> None:
    """A browser reads CRLF as LF before it takes the hash; `</script` and `<!--` end a script or begin another state."""
    text = asset(name)

    assert "\r" not in text
    assert re.search(r"</(?:script|style)|<!--|<script", text, re.IGNORECASE) is None
    assert name != "vendor/LICENSE" or "*/" not in text
    assert "url(" not in text and "@import" not in text


def test_the_library_is_the_published_one() -> None:
    """uPlot 1.6.32, dist/ of its package."""
    digests = {name: hashlib.sha256((asset(f"vendor/{name}") + end).encode()).hexdigest()[:16] for name, end in _ENDS.items()}

    assert digests == {"uPlot.iife.min.js": "19c8d4c6ad88929a", "uPlot.min.css": "df630c6a8d6f8eea"}
    assert "Copyright (c) 2022 Leon Sorokin" in render(page(collected()))


_ENDS = {"uPlot.iife.min.js": "\n", "uPlot.min.css": ""}


@pytest.mark.parametrize("state", STATES)
def test_the_verdict_comes_first_with_what_to_do(state: str) -> None:
    given = collected(state)
    found = read(given)
    begin = found.text[:1200]

    if state == "three-alerts":
        assert "CRITICAL 2 open alerts about 2 servers or GPUs, the worst first" in begin
        assert "CRITICAL gemma-3-27b-it-Q4_K_M :8080 runs on the CPU: -ngl 99 was asked for" in begin
        assert "it is in neither the group video nor render" in begin
        assert "sudo usermod -aG render,video llama && sudo systemctl restart llama.service" in begin
        assert "1 open alert is silenced" in found.text
    elif state == "healthy":
        assert "OK Nothing is wrong now; 2 servers run" in begin
    elif state == "empty":
        assert "No llama-server runs here" in begin or "Nothing is wrong now; 0 servers run" in begin


def test_what_is_wrong_with_ten_servers_is_said_once() -> None:
    """A loop of failing starts filled the verdict with one and the same fix."""
    same = [alert("flags-rejected", "did not start", name=f"127.0.0.1:{8000 + n}", called="") for n in range(10)]
    other = alert("context-collapse", ": a slot has 512 tokens", severity="warning", cause=None)
    made = page(collected("healthy", status={**STATES["healthy"], "alerts": [*same, other]}, transitions=[]))
    verdict = Read(render(made)).text.partition("What happened when")[0]

    assert "11 open alerts about 11 servers or GPUs, the worst first" in verdict
    assert verdict.count("Do this first") == 2
    assert "The same on 127.0.0.1:8001, 127.0.0.1:8002, 127.0.0.1:8003, 127.0.0.1:8004, 127.0.0.1:8005 and 4 more." in verdict
    assert "a slot has 512 tokens" in verdict


def test_a_start_that_failed_at_once_has_no_plots() -> None:
    brief = series("server", "llama.service")
    for one in brief["series"]:
        for key in ("min", "mean", "max"):
            one[key] = [value if n in (7, 8) else None for n, value in enumerate(one[key])]

    assert page(collected("healthy", series={("server", "llama.service"): brief})).panels == []


def test_what_was_and_never_fired_is_left_out() -> None:
    """Of seven transitions one alert is over, one began before, one is still open, one never fired."""
    found = page(collected("healthy"))

    assert [(one.rule, one.open) for one in found.alerts] == [("cpu-fallback", False), ("start-failed", False)]
    assert "memory-thrash" not in read(collected("healthy")).text


def test_without_values_the_page_says_so() -> None:
    found = page(collected(series={}, transitions=[]))

    assert found.panels == []
    assert (
        "No values of memory, speed or load are stored for this time: the daemon began 24.0 h ago"
        in read(collected(series={}, transitions=[])).text
    )


def test_a_young_daemon_makes_a_page_of_its_own_time() -> None:
    """A day of which ten minutes are known would be an empty plot with a line at its edge."""
    young = {("host", "host"): series("host", "host", 2, begin=NOW - 600)}
    found = page(collected("healthy", series=young, transitions=[]))

    assert found.begin == NOW - 600
    assert "Nothing is stored from before: of 24.0 h the last 10 min are shown." in found.plots_missing


def test_every_plot_is_there_in_words() -> None:
    said = read(collected()).text

    assert re.search(r"resident memory: 2\.8\d? GiB on average, least 1\.67 at \d\d Nov \d\d:\d\d, most 3\.9\d at", said)
    assert re.search(r"generation: \d+\.?\d* tokens/s on average.*answers in \d+ % of the time", said)
    assert "swap free: " in said


def test_a_page_is_of_a_bounded_size() -> None:
    """A thousand alerts full of long texts, and a hundred servers."""
    long = "x" * 100_000
    many = [
        alert("cpu-fallback", long, name=f"s{n}", fixes=[{"do": long, "command": long, "risk": "", "verify": ""}] * 50,
              evidence=[{"line": long, "source": "a", "n": 1}] * 100)
        for n in range(300)
    ]  # fmt: skip
    names = [f"127.0.0.1:{n}" for n in range(100)]
    status = {**STATES["healthy"], "servers": [server(name=name) for name in names], "alerts": many}
    made = page(collected(status=status, series={("server", name): series("server", name) for name in names}))

    assert len(made.alerts) == caps.MOST_ALERTS
    assert made.alerts_left_out == 300 + 2 - caps.MOST_ALERTS
    assert len(made.panels) == MOST_PLOTTED
    assert "84 more servers or GPUs" in made.plots_missing
    assert len(render(made)) < 12 << 20
    assert "its command of 100000 characters is left out here" in made.alerts[0].fixes[0].do
    assert made.alerts[0].fixes[0].command == ""


NASTY = "<>&\"'/=!-`\\{}$ \x00\x1b\r\n\t\x7f\u202e\u2066\u200f\u2028\ufeff\udcff\U000e0041"
TEXT = st.text(alphabet=st.sampled_from(NASTY + "ab漢😀\u0301"), max_size=40) | st.text(max_size=60) | st.sampled_from(NAMES)


def _named(name: str) -> Collected:
    fix = {"do": name, "command": name, "risk": name, "verify": name}
    evidence: list[dict[str, Any]] = [
        {"line": name, "source": name, "n": 1},
        {"check": "x", "value": True, "reads": {}, "text": name},
    ]
    cause = {"id": "x", "text": name, "confidence": "high"}
    bad = alert("cpu-fallback", name, name=name, called=name, fixes=[fix], evidence=evidence, cause=cause) | {"summary": name}
    status = {
        **STATES["healthy"],
        "servers": [server(name=name, called=name, model_path=name)],
        "alerts": [bad],
        "gpus": [{"address": name, "name": name}],
        "series": {"fault": name},
    }
    values = {("server", name): series("server", name, 2), ("gpu", name): series("gpu", name, 2)}
    return collected(status=status, machine=name, transitions=[], series=values, commands={name: name}, notes=[name], zone=name)


_PLAIN = read(_named("plain"))


@settings(max_examples=examples(150), deadline=None)
@example(name="</script><script>hit()</script>")
@example(name="\u202e")
@given(name=TEXT)
def test_no_text_makes_an_element_or_draws_with_marks(name: str) -> None:
    """The elements and attributes are those of a page with plain names; what hides or turns text is shown as an escape."""
    # A longer command would be left out.
    text = render(page(_named(name[:1000] or "a")))
    found = Read(text)

    assert found.tags == _PLAIN.tags
    assert [key for key, _ in found.attributes] == [key for key, _ in _PLAIN.attributes]
    assert found.inner["script"][1] == _PLAIN.inner["script"][1]
    assert found.inner["style"] == _PLAIN.inner["style"]
    assert found.inner["script"][0] == _PLAIN.inner["script"][0], "no text from outside is among the numbers"
    assert UNSAFE.sub("", text.replace("\n", "")) == text.replace("\n", "")
    text.encode()


def test_an_attribute_that_could_run_or_fetch_is_refused() -> None:
    for wrong in ({"onclick": "x"}, {"style": "x"}, {"href": "https://example.org"}, {"href": "javascript:x"}, {"src": "x"}):
        with pytest.raises(ValueError, match="has no place"):
            tag("a", **wrong)


def test_a_log_without_times_has_no_time_line() -> None:
    made: Page = page(collected())._replace(begin=None)

    assert "The log has no dates" in Read(render(made)).text


def times(made: Page) -> Iterator[float | None]:
    yield made.begin
    yield made.end


def test_times_are_the_machines_wherever_the_page_is_read() -> None:
    there = replace(collected(), offset=5 * 3600 + 1800, zone="IST")

    assert "2026-11-23 21:35:12 (IST)" in read(there).text
    assert list(times(page(there))) == [NOW - DAY, NOW]
