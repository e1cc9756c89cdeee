"""The page as one file: no network, no style attributes, and a policy under which nothing runs but the page's own script.

Pure but for reading its own style and scripts, which lie beside this file.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from sentinel.model.alert import SEVERITY_RANK
from sentinel.report import sections
from sentinel.report.clock import Clock
from sentinel.report.contents import Page, Panel
from sentinel.report.markup import Html, tag

#: How a page begins: a file that begins otherwise is not replaced by one.
BEGINS = "<!doctype html>\n<!-- sentinel report -->\n"
_HERE = Path(__file__).parent
#: JSON in a page: what could end a script, or is a line end to an old one, is written as an escape.
_INERT = {ord(char): f"\\u{ord(char):04x}" for char in "<>&'\u2028\u2029"}


def render(page: Page) -> str:
    """The whole file."""
    clock = Clock(page.offset, page.begin if page.begin is not None else page.end, page.end, relative=page.relative)
    style, script = _style(), _script()
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy(style, script)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", page.title),
        # None: served over HTTP a browser asks for one, and Firefox prints an error that the policy forbids it.
        Html('<link rel="icon" href="data:,">'),
        # Both are files of the package: what a tag would escape must stay as it is for its hash.
        Html(f"<style>{style}</style>"),
    )
    body = tag(
        "body",
        tag("main", sections.every(page, clock)),
        Html(f'<script type="application/json" id="data">{data(page)}</script><script>{script}</script>'),
    )
    return f"{BEGINS}{tag('html', head, body, lang='en')}\n"


def policy(style: str, script: str) -> str:
    """The Content-Security-Policy: this style and this script, the icon that is none, and nothing else from anywhere."""
    return (
        f"default-src 'none'; script-src '{digest(script)}'; style-src '{digest(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def digest(source: str) -> str:
    """As the policy wants it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}"


def data(page: Page) -> str:
    """The numbers of the plots, as JSON. No text from outside is in it."""
    panels = [(panel, plot) for panel in page.panels for plot in panel.plots]
    begin = page.begin if page.begin is not None else page.end
    # Where times are counted from the begin, so are the marks of the axis.
    origin = begin if page.relative else 0.0
    value = {
        "begin": begin - origin,
        "end": page.end - origin,
        "offset": 0 if page.relative else page.offset,
        "relative": page.relative,
        "plots": [
            {
                "unit": plot.unit,
                "top": plot.top,
                "begin": plot.begin - origin,
                "step": plot.step,
                "labels": [line.label for line in plot.lines],
                "lines": [[list(line.least), list(line.mean), list(line.most)] for line in plot.lines],
                "bands": [] if page.relative else [*bands(page, panel)],
            }
            for panel, plot in panels
        ],
    }
    return json.dumps(value, separators=(",", ":"), allow_nan=False).translate(_INERT)


def bands(page: Page, panel: Panel) -> Iterator[tuple[float, float, int]]:
    """From when to when the alerts about it were open, and their severity as a number."""
    for one in page.alerts:
        known = one.began is not None or one.ended is not None or one.open
        if known and (one.scope, one.entity) == (panel.scope, panel.entity):
            began = one.began if one.began is not None else page.begin or page.end
            ended = one.ended if one.ended is not None else page.end
            yield began, ended, SEVERITY_RANK.get(one.severity, 2)


@cache
def asset(name: str) -> str:
    """A file of this room."""
    return (_HERE / name).read_text(encoding="utf-8").strip()


def page_policy() -> str:
    """The policy of every report."""
    return policy(_style(), _script())


def _style() -> str:
    return asset("vendor/uPlot.min.css") + asset("assets/page.css")


def _script() -> str:
    return f"{uplot()}\n{asset('assets/page.js')}"


def uplot() -> str:
    """What draws the plots, under its licence."""
    licence = asset("vendor/LICENSE")
    return f"/* uPlot 1.6.32\n{licence}\n*/\n{asset('vendor/uPlot.iife.min.js')}"
