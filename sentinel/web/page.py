"""The live page: what `sentinel top` shows, and below it the sections of a report, from the same view. Pure.

The browser asks for the whole page again and puts what changed into what it shows (assets/live.js), so nothing is written twice:
there is no form of an alert, a size or a server but the one made here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from sentinel.diagnose.share import Redactor
from sentinel.model.text import counted, size
from sentinel.report import sections
from sentinel.report.clock import Clock
from sentinel.report.contents import Alert, Page
from sentinel.report.markup import Html, tag
from sentinel.report.of_daemon import about_server, page
from sentinel.report.page import data
from sentinel.report.redaction import without_keys
from sentinel.report.severity import mark
from sentinel.terminal.glance import GPU_MORE, counts, fullest, rank, short_size, used_memory, verdict
from sentinel.terminal.names import label
from sentinel.terminal.sparkline import sparkline
from sentinel.web.view import SPANS, View

#: Servers and alerts with a place; open alerts that are unfolded at first.
_MOST_SERVERS, _MOST_ALERTS, _MOST_UNFOLDED = 200, 50, 2
_MOST_GPUS = 8
_FULL, _NEARLY = 0.95, 0.85
_NO_PLOTS = '{"plots":[]}'


def render(view: View) -> str:
    """The whole document."""
    found = None if view.collected is None else without_keys(page(view.collected), Redactor([]))
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", _title(view)),
        Html('<link rel="icon" href="data:,"><link rel="stylesheet" href="live.css"><script src="live.js" defer></script>'),
    )
    # No script element: the policy lets no script put anything into one.
    numbers = Html(f'<p id="data" hidden>{_NO_PLOTS if found is None else data(found)}</p>')
    gone = "gone" if view.fault else "there"
    body = tag("body", tag("p", id="lost", role="status"), tag("main", _main(view, found), class_=gone), numbers)
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _title(view: View) -> str:
    if view.fault or view.collected is None:
        return f"no daemon - sentinel on {view.host}"
    bad = counts(view.collected.status["alerts"])[:1]
    return "".join(f"{count} {severity} - " for count, severity in bad if severity != "info") + f"sentinel on {view.host}"


def _main(view: View, found: Page | None) -> Iterator[Html | None]:
    yield _head(view)
    if view.fault:
        below = " Below is what was last known." if found is not None else ""
        yield tag(
            "p", tag("b", "NO DAEMON: "), f"{view.fault}. It is asked again every 2 s.{below}", class_="fault", role="alert"
        )
    if found is None or view.collected is None:
        return
    clock = Clock(found.offset, found.begin or found.end, found.end)
    status = view.collected.status
    yield sections.verdict(found)
    yield tag("section", tag("h2", "Servers"), _servers(view, status), id="servers")
    yield tag("section", tag("h2", "Machine"), tag("ul", _machine(status), class_="machine"), id="machine")
    yield tag("section", _choices(view, status), sections.over_time(found, clock), id="time")
    yield _alerts(found, clock)


def _head(view: View) -> Html:
    said = []
    if view.collected is not None:
        status = view.collected.status
        said = [counted(sum(bool(one["running"]) for one in status["servers"]), "server")]
        said += [f"{count} {severity}" for count, severity in counts(status["alerts"])] or ["no alert"]
    links = [tag("a", f"report of {span}", href=f"report?since={span}") for span in SPANS]
    return tag(
        "header",
        tag("h1", f"sentinel on {view.host}"),
        tag("p", " · ".join(said), " ", tag("span", id="asof"), class_="quiet"),
        tag("nav", links, class_="links"),
    )


def _servers(view: View, status: Mapping[str, Any]) -> Iterator[Html]:
    servers = sorted(status["servers"], key=lambda one: rank(one, status["alerts"]))
    if not servers:
        yield tag("p", "No llama-server runs here; one is found within a second of its start.", class_="quiet")
        return
    yield tag("ul", (_server(view, one, status) for one in servers[:_MOST_SERVERS]), class_="servers")
    if len(servers) > _MOST_SERVERS:
        yield tag("p", f"{len(servers) - _MOST_SERVERS} more servers: sentinel status", class_="quiet")


def _server(view: View, server: Mapping[str, Any], status: Mapping[str, Any]) -> Html:
    name = str(server["name"])
    word, state = verdict(server, status["alerts"])
    speed, context = server.get("generation_tps"), fullest(server)
    numbers = [
        ("speed", "" if speed is None else f"{speed:.1f} tok/s"),
        ("spark", sparkline(view.speeds.get(name, ()), 12)),
        ("context", "" if context is None else f"ctx {context:.0%}"),
        ("gpu", _sized("GPU", server.get("gpu_memory_bytes"))),
        ("memory", _sized("RAM", server.get("rss_bytes"))),
    ]
    chosen = name == view.chosen
    return tag(
        "li",
        tag("a", label(name, server.get("called")), href=f"?of={quote(name, safe='', errors='replace')}&since={view.span}"),
        mark(state, word),
        (tag("span", text, class_=key, aria_hidden=key == "spark") for key, text in numbers),
        tag("p", "; ".join(about_server(server)), class_="quiet") if chosen else None,
        class_="server chosen" if chosen else "server",
        id=_key("server", name),
    )


def _sized(what: str, value: Any) -> str:
    shown = short_size(value)
    return f"{what} {shown}" if shown else ""


def _machine(status: Mapping[str, Any]) -> Iterator[Html]:
    yield _usage("RAM", *used_memory(status["host"]), "")
    for gpu in status["gpus"][:_MOST_GPUS]:
        more = [f"{gpu[key]:.0f}{unit}" for key, unit in GPU_MORE if isinstance(gpu.get(key), int | float)]
        named = str(gpu.get("name") or gpu["address"])
        yield _usage(named, gpu.get("vram_used_bytes"), gpu.get("vram_total_bytes"), " · ".join(more))


def _usage(name: str, used: Any, total: Any, more: str) -> Html:
    if not isinstance(used, int | float) or not total:
        return tag("li", tag("b", name), " ", tag("span", "unknown", class_="quiet"), f" {more}")
    share = min(max(used / total, 0.0), 1.0)
    state = "critical" if share > _FULL else "warning" if share > _NEARLY else "ok"
    bar = tag("rect", x=0, y=0, width=f"{1000 * share:.0f}", height=10, class_=f"bar {state}")
    return tag(
        "li",
        tag("b", name), f" {size(used)} of {size(total)}", f" · {more}" if more else None,
        tag("svg", bar, viewBox="0 0 1000 10", preserveAspectRatio="none", aria_hidden="true", class_="track"),
    )  # fmt: skip


def _choices(view: View, status: Mapping[str, Any]) -> Html:
    of = f"of={quote(view.chosen, safe='', errors='replace')}&" if view.chosen else ""
    spans = [tag("b", span) if span == view.span else tag("a", span, href=f"?{of}since={span}") for span in SPANS]
    called = {one["name"]: one.get("called") for one in status["servers"]}
    about = [
        tag("span", "plots of ", tag("b", label(view.chosen, called.get(view.chosen)))),
        tag("a", "of all", href=f"?since={view.span}"),
    ]
    return tag("nav", spans, about if view.chosen else None, class_="links")


def _alerts(found: Page, clock: Clock) -> Html:
    shown = found.alerts[:_MOST_ALERTS]
    more = len(found.alerts) + found.alerts_left_out - len(shown)
    return tag(
        "section",
        tag("h2", "Alerts"),
        (
            # Its place changes when another comes; this stays, so that what is read stays where it is.
            tag("div", sections.alert(one, n, sections.when(one, clock), unfolded=one.open and n <= _MOST_UNFOLDED), id=_of(one))
            for n, one in enumerate(shown, 1)
        ),
        None if shown else tag("p", "None in this time.", class_="quiet"),
        tag("p", f"{more} more: sentinel alerts lists them.", class_="quiet") if more else None,
        id="alerts",
    )


def _of(one: Alert) -> str:
    return _key(one.scope, one.entity, one.rule, str(one.began))


def _key(*parts: str) -> str:
    return f"k-{hashlib.blake2b(chr(0).join(parts).encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"
