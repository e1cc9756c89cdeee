"""The verdict of a page about a running daemon: is all well, and if not, how much is wrong. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sentinel.model.text import counted, duration
from sentinel.report.alerts import is_loud
from sentinel.report.contents import Alert, Verdict


def verdict(status: Mapping[str, Any], alerts: Sequence[Alert], about: str) -> Verdict:
    """In one sentence; then what is to be known beside it."""
    wrong, past = [one for one in alerts if is_loud(one)], [one for one in alerts if not one.open]
    running = [server for server in status["servers"] if server["running"]]
    beside = list(_beside(status, alerts, past, about, wrong=bool(wrong)))
    if len(wrong) > 1:
        about_many = len({(one.scope, one.entity) for one in wrong})
        where = "" if about_many == 1 else f" about {about_many} servers or GPUs"
        return Verdict(wrong[0].severity, f"{counted(len(wrong), 'open alert')}{where}, the worst first", beside)
    if wrong:
        return Verdict(wrong[0].severity, wrong[0].summary, beside)
    loading = sum(server["state"] == "loading" for server in running)
    busy = f", {loading} of them loading" if loading else ""
    serve = f"{counted(len(running), 'server')} {'runs' if len(running) == 1 else 'run'}{busy}"
    if past:
        last = next((one for one in past if one.severity != "info"), past[0])
        return Verdict("ok", f"Nothing is wrong now; {serve}. The last alert is over{_lasted(last)}: {last.summary}", beside)
    if running:
        return Verdict("ok", f"No problem found; {serve}", beside)
    return Verdict("unknown", "No llama-server runs here", beside)


def _lasted(one: Alert) -> str:
    return "" if one.began is None or one.ended is None else f" ({duration(max(one.ended - one.began, 0.0))})"


def _beside(status: Mapping[str, Any], alerts: Sequence[Alert], past: Sequence[Alert], about: str, *, wrong: bool) -> list[str]:
    rows = []
    if past:
        rows.append(f"In {about} {counted(len(past), 'alert')} came and ended.")
    elif wrong:
        rows.append(f"No other alert in {about}.")
    else:
        rows.append(f"No alert in {about}.")
    quiet = sum(one.open and one.silenced for one in alerts)
    if quiet:
        rows.append(f"{counted(quiet, 'open alert')} {'is' if quiet == 1 else 'are'} silenced.")
    advice = sum(one.open and one.severity == "info" and not one.silenced for one in alerts)
    if advice:
        rows.append(f"{counted(advice, 'piece')} of advice below: not a fault.")
    spots = len(status.get("blind_spots", ()))
    if spots:
        rows.append(f"{counted(spots, 'thing')} sentinel cannot see here: sentinel status --verbose.")
    return rows
