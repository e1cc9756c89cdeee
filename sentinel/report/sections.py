"""The sections of the page, in order: the verdict, the time line over the plots, the alerts, the machine. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import sentinel
from sentinel.model.text import counted, duration
from sentinel.report.clock import Clock
from sentinel.report.contents import Alert, Fix, LogLine, Page, Panel, Plot
from sentinel.report.markup import Html, tag
from sentinel.report.severity import label
from sentinel.report.timeline import timeline

#: Open alerts with their first fix in the verdict, and names of others that have the same: the rest is below.
_MOST_FIRST, _MOST_NAMES = 3, 5


def every(page: Page, clock: Clock) -> Iterator[Html]:
    """All of them."""
    yield from _head(page, clock)
    yield verdict(page)
    yield over_time(page, clock)
    yield _alerts(page, clock)
    if page.facts or page.commands:
        yield _machine(page)
    yield _foot(page)


def _head(page: Page, clock: Clock) -> Iterator[Html]:
    made = clock.exact(page.made)
    if page.dated:
        times = f": {clock.exact(page.begin or 0.0)} to {clock.exact(page.end)} ({page.zone}). Made {made}."
    else:
        times = f", a log without dates. Made {made} ({page.zone})."
    yield tag("h1", page.title)
    yield tag("p", f"About {page.about}{times}", class_="quiet")


def verdict(page: Page) -> Html:
    """Is all well, and the first thing to do about what is not."""
    said, same = page.verdict, _alike(page)
    shown = same[:_MOST_FIRST]
    more = sum(map(len, same[_MOST_FIRST:]))
    return tag(
        "section",
        tag("h2", label(said.state), " ", tag("span", said.headline)),
        (_first(page, places, alone=len(page.first) == 1) for places in shown),
        tag("p", f"{counted(more, 'more open alert')} below.") if more else None,
        tag("ul", (tag("li", row) for row in said.beside), class_="beside") if said.beside else None,
        class_=f"verdict {said.state}",
    )


def _alike(page: Page) -> list[list[int]]:
    """The open alerts, those of one rule and cause together: what is wrong with ten servers is said once."""
    groups: dict[tuple[str, str], list[int]] = {}
    for place in page.first:
        one = page.alerts[place]
        groups.setdefault((one.rule, one.cause), []).append(place)
    return list(groups.values())


def _first(page: Page, places: Sequence[int], *, alone: bool) -> Html:
    """What is wrong and the first thing to do about it."""
    one = page.alerts[places[0]]
    others = [page.alerts[place].who for place in places[1:]]
    beyond = f" and {len(others) - _MOST_NAMES} more" if len(others) > _MOST_NAMES else ""
    return tag(
        "div",
        None if alone else tag("h3", label(one.severity), " ", one.summary),
        tag("p", f"The same on {', '.join(others[:_MOST_NAMES])}{beyond}.") if others else None,
        tag("p", tag("b", "Cause: "), one.cause) if one.cause else None,
        _fix(one.fixes[0], "Do this first") if one.fixes else None,
        tag("p", tag("a", "evidence and all fixes", href=f"#alert-{places[0] + 1}")),
        class_="first",
    )


def _fix(fix: Fix, title: str) -> Html:
    return tag(
        "div",
        tag("p", tag("b", f"{title}: "), fix.do),
        tag("pre", tag("code", _command(fix.command))) if fix.command else None,
        tag("p", f"Risk: {fix.risk}", class_="quiet") if fix.risk else None,
        tag("p", f"Then check: {fix.verify}", class_="quiet") if fix.verify else None,
        class_="fix",
    )


def _command(command: str) -> Iterator[Html | str]:
    for row, line in enumerate(command.split("\n")):
        yield "" if row == 0 else Html("\n")
        yield line


def over_time(page: Page, clock: Clock) -> Html:
    """The time line over the plots."""
    return tag(
        "section",
        tag("h2", "What happened when"),
        _bars(page, clock),
        tag("p", page.plots_missing, class_="quiet" if page.panels else "missing") if page.plots_missing else None,
        _panels(page),
        class_="time",
    )


def _bars(page: Page, clock: Clock) -> Html | None:
    if page.begin is not None and not page.relative:
        return timeline(page.alerts, page.begin, page.end, clock)
    return tag("p", "The log has no dates: its alerts have no time line.", class_="quiet") if page.alerts else None


def _panels(page: Page) -> Iterator[Html]:
    number = 0
    if page.panels:
        yield Html("<noscript><p>The plots need scripts. What they show stands below each in words.</p></noscript>")
    for panel in page.panels:
        yield tag("h3", panel.name)
        drawn = []
        for plot in panel.plots:
            drawn.append(_plot(panel, plot, number))
            number += 1
        yield tag("div", drawn, class_="plots")


def _plot(panel: Panel, plot: Plot, number: int) -> Html:
    said = [line.words for line in plot.lines]
    legend = (
        tag("span", tag("span", class_=f"swatch line-{n}", aria_hidden="true"), line.label, class_="legend")
        for n, line in enumerate(plot.lines)
    )
    return tag(
        "figure",
        tag("h4", f"{plot.title}, {plot.unit}" if plot.unit else plot.title),
        tag("div", legend, class_="legends") if len(plot.lines) > 1 else None,
        tag("div", class_="plot", data_plot=number, role="img", aria_label=f"{plot.title} of {panel.name}. {' '.join(said)}"),
        tag("p", class_="now", aria_hidden="true"),
        tag("figcaption", (tag("p", row) for row in [*said, *filter(None, [plot.top_words])])),
    )


def _alerts(page: Page, clock: Clock) -> Html:
    return tag(
        "section",
        tag("h2", "Alerts"),
        (
            alert(one, number, when(one, clock) if page.dated else (), unfolded=one.open)
            for number, one in enumerate(page.alerts, 1)
        ),
        None if page.alerts else tag("p", "None in this time.", class_="quiet"),
        tag("p", f"{counted(page.alerts_left_out, 'older alert')} left out: sentinel alerts --all lists them.", class_="quiet")
        if page.alerts_left_out
        else None,
    )


def alert(one: Alert, number: int, times: Iterable[str], *, unfolded: bool) -> Html:
    """One alert with all that is known of it, folded under its summary."""
    return tag(
        "details",
        tag(
            "summary",
            label(one.severity),
            " ",
            tag("span", one.summary),
            tag("span", f" {'; '.join((one.rule, *times, *one.marks))}", class_="when"),
        ),
        tag("p", tag("b", "Cause: "), one.cause) if one.cause else None,
        (_fix(fix, "Fix" if len(one.fixes) == 1 else f"Fix {n} of {len(one.fixes)}") for n, fix in enumerate(one.fixes, 1)),
        tag("p", tag("b", "How it is known")) if one.evidence or one.lines else None,
        tag("ul", (tag("li", said) for said in one.evidence)) if one.evidence else None,
        tag("pre", tag("code", _rows(one.lines)), class_="log") if one.lines else None,
        tag("p", f"{one.left_out} more fixes or pieces of evidence are left out.", class_="quiet") if one.left_out else None,
        id=f"alert-{number}",
        open=unfolded,
    )


def _rows(lines: Sequence[LogLine]) -> Iterator[Html | str]:
    for row, one in enumerate(lines):
        yield Html("\n" if row else "")
        yield f"{one.where}: {one.line}"


def when(one: Alert, clock: Clock) -> Iterator[str]:
    """Since when, or how long."""
    if one.began is None:
        if one.ended is not None:
            yield f"until {clock(one.ended)}"
        elif one.open:
            yield "open since before this time"
    elif one.ended is None:
        yield f"{'open ' if one.open else ''}since {clock(one.began)}"
    else:
        yield f"{clock(one.began)} to {clock(one.ended)}, {duration(max(one.ended - one.began, 0.0))}"


def _machine(page: Page) -> Html:
    return tag(
        "section",
        tag("h2", page.facts_title),
        tag("dl", ((tag("dt", fact.name), tag("dd", fact.value)) for fact in page.facts)) if page.facts else None,
        tag("h3", "Command lines") if page.commands else None,
        ((tag("p", one.name), tag("pre", tag("code", one.line))) for one in page.commands),
    )


def _foot(page: Page) -> Html:
    private = (
        "Names of people and machines, paths, addresses and keys were replaced. Read the page before you share it."
        if page.redacted
        else f"Names, paths and command lines of the machine are in it; keys are left out. To share one: {page.to_share}."
    )
    return tag(
        "footer",
        (tag("p", note) for note in page.notes),
        tag("p", private),
        tag(
            "p",
            f"Made by sentinel {sentinel.__version__}, which ran none of the commands shown here. Plots: uPlot 1.6.32, MIT.",
        ),
    )
