"""A page about log files, from what `sentinel diagnose` found in them. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from sentinel.diagnose.answer import AlertInRun, findings, no_server, state, verdict
from sentinel.diagnose.diagnosis import Diagnosis
from sentinel.diagnose.remarks import remarks
from sentinel.model.json_form import iso, transition_to_dict
from sentinel.model.text import counted
from sentinel.report.alerts import MOST_ALERTS, alert
from sentinel.report.clock import Clock
from sentinel.report.contents import Alert, Command, Fact, Page, Panel, Verdict
from sentinel.report.of_daemon import MOST_PLOTTED
from sentinel.report.plots import plots

_NO_VALUES = "A log has no values of memory and GPU over time, and this one reports no speeds: nothing is plotted."
_SPEEDS_ALONE = "Of a log only the speeds that it reports are plotted; a daemon has memory and GPU as well: sentinel report."
#: Points of a plot.
_POINTS = 300
_FEWEST = 3


def page(
    found: Diagnosis,
    names: Sequence[str],
    command_line: str,
    made: float,
    offset: int,
    zone: str,
    *,
    kernel: bool,
    redacted: bool,
) -> Page:
    """The page. `names` are those of the files."""
    said = findings(found)
    reported = [_alert(one, found) for one in said[:MOST_ALERTS]]
    times = [t.at for t in found.transitions if t.at is not None]
    # Between two runs of a log without dates any time may have passed.
    usable = found.dated or max(found.runs.values(), default=1) == 1
    begin, end = found.span[0], max([found.span[1], *times])
    # A moment has no axis.
    axis = usable and end - begin >= 1
    panels = _panels(found, begin, end, offset) if axis else []
    unread = no_server(found, files=bool(names))
    beside = [] if unread else [*remarks(found, kernel=kernel)]
    files = ", ".join(names) or "no log"
    return Page(
        title=f"sentinel diagnose: {files}",
        made=made,
        offset=offset,
        zone=zone,
        begin=begin if axis else None,
        end=end,
        about=files,
        verdict=Verdict("unknown" if unread else state(found, said), unread or verdict(found), beside),
        alerts=reported,
        first=[n for n, one in enumerate(said[:MOST_ALERTS]) if not one.earlier and one.alert.severity != "info"],
        alerts_left_out=max(0, len(said) - MOST_ALERTS),
        panels=panels,
        plots_missing=_SPEEDS_ALONE if panels else _NO_VALUES,
        facts=[*_facts(found)],
        commands=[Command("as given", command_line)] if command_line else [],
        redacted=redacted,
        relative=axis and not found.dated,
        facts_title="What was read",
        to_share="sentinel diagnose --share --html",
    )


def _panels(found: Diagnosis, begin: float, end: float, offset: int) -> list[Panel]:
    """The speeds of each server, in steps of whole seconds."""
    clock = Clock(offset, begin, end, relative=not found.dated)
    step = max(1, math.ceil((end - begin) / _POINTS))
    count = int((end - begin) // step) + 1
    panels = []
    for server in dict.fromkeys(name for name, _ in found.speeds):
        entity = {"scope": "server", "name": server}
        rows = [
            {"entity": entity, "signal": signal, **_points(reports, begin, step, count)}
            for (name, signal), reports in found.speeds.items()
            # One answer or two are no course of anything.
            if name == server and len(reports) >= _FEWEST
        ]
        drawn = plots("server", {"begin": iso(begin), "step": step, "series": rows}, clock)
        if drawn:
            panels.append(Panel(server, server, "server", drawn))
    return panels[:MOST_PLOTTED]


def _points(reports: Sequence[tuple[float, float]], begin: float, step: int, count: int) -> dict[str, list[float | None]]:
    within: list[list[float]] = [[] for _ in range(count)]
    for at, value in reports:
        within[min(max(int((at - begin) // step), 0), count - 1)].append(value)
    return {
        "min": [min(values, default=None) for values in within],
        "mean": [sum(values) / len(values) if values else None for values in within],
        "max": [max(values, default=None) for values in within],
    }


def _alert(one: AlertInRun, found: Diagnosis) -> Alert:
    ended = None
    if one.over:
        ends = (t.at for t in reversed(found.transitions) if t.fingerprint == one.alert.fingerprint and t.state == "resolved")
        ended = next(ends, None)
    made = alert(transition_to_dict(one.alert), one.alert.at, ended, is_open=not one.earlier)
    marks = [*made.marks, f"run {one.run} of {one.runs}"] if one.runs > 1 else list(made.marks)
    if one.over and ended is None:
        marks.append("over when the log ended")
    return made._replace(marks=tuple(marks))


def _facts(found: Diagnosis) -> Iterator[Fact]:
    yield Fact("read", f"{counted(found.lines, 'line')}, {counted(found.events, 'event')} of llama-server recognised")
    for server, runs in found.runs.items():
        yield Fact(server, counted(runs, "run"))
