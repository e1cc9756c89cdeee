"""A page about log files, from what `sentinel diagnose` found in them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sentinel.diagnose.answer import AlertInRun, findings, no_server, state, verdict
from sentinel.diagnose.diagnosis import Diagnosis
from sentinel.diagnose.remarks import remarks
from sentinel.model.json_form import transition_to_dict
from sentinel.model.text import counted
from sentinel.report.alerts import MOST_ALERTS, alert
from sentinel.report.contents import Alert, Command, Fact, Page, Verdict

_NO_VALUES = "A log has no values of memory and GPU over time, so nothing is plotted; a daemon has them: sentinel report."


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
    begin, end = (min(times), max(times)) if times else (None, made)
    unread = no_server(found, files=bool(names))
    beside = [] if unread else [*remarks(found, kernel=kernel)]
    files = ", ".join(names) or "no log"
    return Page(
        title=f"sentinel diagnose: {files}",
        made=made,
        offset=offset,
        zone=zone,
        # A moment has no axis.
        begin=begin if begin is not None and end - begin >= 1 else None,
        end=end,
        about=files,
        verdict=Verdict("unknown" if unread else state(found, said), unread or verdict(found), beside),
        alerts=reported,
        first=[n for n, one in enumerate(said[:MOST_ALERTS]) if not one.earlier and one.alert.severity != "info"],
        alerts_left_out=max(0, len(said) - MOST_ALERTS),
        panels=(),
        plots_missing=_NO_VALUES,
        facts=[*_facts(found)],
        commands=[Command("as given", command_line)] if command_line else [],
        redacted=redacted,
    )


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
