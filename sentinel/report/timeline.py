"""The time line of alerts: a bar for each, on the same axis as the plots below it. Drawn here: it needs no script. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sentinel.report.contents import Alert
from sentinel.report.markup import Html, tag
from sentinel.report.severity import label

#: Alerts with a bar of their own; a day of flapping has hundreds.
MOST_BARS = 40
_WIDTH = 1000.0
#: A bar of an alert that was short is still seen: three parts of a thousand.
_LEAST = 3.0
_TICKS = 4


def timeline(alerts: Sequence[Alert], begin: float, end: float, clock: Callable[[float], str]) -> Html:
    """The bars, the alerts that began first at the top, and the axis."""
    within = [(number, one) for number, one in enumerate(alerts, 1) if one.ended is None or one.ended >= begin]
    within.sort(key=lambda item: item[1].began or begin)
    # The last ones are the news.
    shown = within[-MOST_BARS:]
    if not shown:
        return tag("p", "No alerts in this time.", class_="quiet")
    more = len(within) - len(shown)
    return tag(
        "div",
        tag("p", f"{more} earlier alerts have no bar here.", class_="quiet") if more else None,
        tag("ol", (_row(number, one, begin, end, clock) for number, one in shown), class_="bars"),
        tag("div", _axis(begin, end, clock), class_="axis", aria_hidden="true"),
        class_="timeline",
    )


def _row(number: int, one: Alert, begin: float, end: float, clock: Callable[[float], str]) -> Html:
    left = _at(one.began, begin, end) if one.began is not None else 0.0
    right = _at(one.ended, begin, end) if one.ended is not None else _WIDTH
    width = max(right - left, _LEAST)
    bar = tag("rect", x=f"{min(left, _WIDTH - width):.1f}", y=0, width=f"{width:.1f}", height=10, class_=f"bar {one.severity}")
    return tag(
        "li",
        tag(
            "a",
            label(one.severity),
            " ",
            tag("b", one.rule),
            " ",
            tag("span", one.who, class_="who"),
            tag("span", f" {_when(one, clock)}", class_="when"),
            href=f"#alert-{number}",
        ),
        tag("svg", bar, viewBox="0 0 1000 10", preserveAspectRatio="none", aria_hidden="true", class_="track"),
    )


def _when(one: Alert, clock: Callable[[float], str]) -> str:
    began = f"since {clock(one.began)}" if one.began is not None else "since before this time"
    if one.ended is None:
        return f"{began}, open" if one.open else began
    return f"{clock(one.began)} to {clock(one.ended)}" if one.began is not None else f"until {clock(one.ended)}"


def _axis(begin: float, end: float, clock: Callable[[float], str]) -> Iterator[Html]:
    for n in range(_TICKS + 1):
        yield tag("span", clock(begin + (end - begin) * n / _TICKS))


def _at(when: float, begin: float, end: float) -> float:
    return min(max((when - begin) / max(end - begin, 1.0), 0.0), 1.0) * _WIDTH
