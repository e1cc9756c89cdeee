"""What a message says: what, since when, cause, first fix. Short, because it is read on a phone."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from sentinel.model.alert import SEVERITY_RANK
from sentinel.model.restarts import RESTART_WORDS
from sentinel.model.text import counted, duration, escape
from sentinel.terminal.alert import confidence
from sentinel.terminal.names import about
from sentinel.terminal.times import clock, seconds_of

#: Alerts that are shown with cause and fix, and those that get a line; the rest is a number.
_MOST_WHOLE, _MOST_LINES = 5, 20
#: Characters of a sentence, of a command (whole or not at all: half a command is useless), and of the whole text.
_LONGEST, _LONGEST_COMMAND, _LONGEST_TEXT = 300, 600, 3500
_MORE = "... and more: sentinel alerts"


@dataclass(frozen=True, slots=True)
class Message:
    """Ready to be sent. `key` is the same when it goes out again; `repeat`: an earlier try may have arrived."""

    key: str
    host: str
    title: str
    text: str
    #: firing while anything in it fires, else resolved; of a test: test
    status: str
    #: the worst that fires, else that ended
    severity: str
    alerts: Sequence[Mapping[str, Any]]
    repeat: bool = False


def key_of(database: str, channel: str, numbers: Sequence[int]) -> str:
    """The identity of a message: the same alerts to the same channel."""
    text = f"{database}\0{channel}\0{','.join(map(str, numbers))}"
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def compose(
    alerts: Sequence[Mapping[str, Any]],
    host: str,
    key: str,
    *,
    digest: bool = False,
    repeat: bool = False,
    lost: int = 0,
    aside: int = 0,
    now: float | None = None,
    zone: tzinfo | None = None,
) -> Message:
    """A message of these alerts, oldest first. `lost`: earlier ones, not delivered; `aside`: such that are refused."""
    now = time.time() if now is None else now
    newest = _newest(alerts)
    firing = [alert for alert in newest if alert["state"] == "firing"]
    worst = min((alert["severity"] for alert in firing or newest), key=lambda one: SEVERITY_RANK.get(one, 9), default="info")
    notes = []
    if lost:
        notes.append(f"{counted(lost, 'earlier alert')} could not be delivered: sentinel alerts --since 24h")
    if aside:
        notes.append(f"{counted(aside, 'alert')} refused by this receiver: sentinel alerts --since 24h")
    if repeat:
        notes.append("(sent again: it is not known whether it arrived)")
    lines = _fitting(list(_lines(newest, now, zone)), _LONGEST_TEXT - sum(len(note) + 1 for note in notes))
    return Message(
        key=key,
        host=host,
        title=_title(newest, firing, host, digest=digest),
        text="\n".join((*lines, *notes)),
        status="firing" if firing else "resolved",
        severity=worst,
        alerts=alerts,
        repeat=repeat,
    )


def test_message(host: str, channel: str) -> Message:
    """What `sentinel notify --test` sends."""
    text = f"Alerts of sentinel on {host} arrive here. Nothing is wrong."
    return Message(key_of(str(time.time()), channel, ()), host, f"{host}: test of {channel}", text, "test", "info", ())


def _newest(alerts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The last word on each, worst first; what ended comes last."""
    last: dict[str, Mapping[str, Any]] = {}
    for alert in alerts:
        last.pop(alert["fingerprint"], None)
        last[alert["fingerprint"]] = alert
    return sorted(last.values(), key=lambda one: (one["state"] != "firing", SEVERITY_RANK.get(one["severity"], 9)))


def _title(newest: Sequence[Mapping[str, Any]], firing: Sequence[Mapping[str, Any]], host: str, *, digest: bool) -> str:
    host = escape(host)
    if len(newest) == 1 and not digest:
        said = about(newest[0])
        return _cut(f"{host}: {said}" if firing else f"{host}: over: {said}", 200)
    counts = [(sum(one["severity"] == level for one in firing), level) for level in SEVERITY_RANK]
    words = [f"{count} {level}" for count, level in counts if count]
    if len(newest) > len(firing):
        words.append(f"{len(newest) - len(firing)} over")
    what = counted(len(newest), "alert")
    return f"{host}: {'while it was quiet: ' if digest else ''}{what} ({', '.join(words)})"


def _lines(newest: Sequence[Mapping[str, Any]], now: float, zone: tzinfo | None) -> Iterator[str]:
    alone = len(newest) == 1
    for at, alert in enumerate(newest[:_MOST_LINES]):
        if alert["state"] != "firing":
            yield _over(alert)
            continue
        since = _since(alert, now, zone)
        head = f"{alert['severity'].upper()} {alert['rule']}{since}"
        if (done := RESTART_WORDS.get(alert.get("reason", ""))) is not None:
            head += f" ({done})"
        yield head if alone else f"{head}: {_cut(about(alert), _LONGEST)}"
        if at < _MOST_WHOLE:
            yield from _why(alert)
    if len(newest) > _MOST_LINES:
        yield f"... and {len(newest) - _MOST_LINES} more: sentinel alerts"


def _why(alert: Mapping[str, Any]) -> Iterator[str]:
    cause = alert.get("cause")
    if cause:
        yield f"Cause: {_cut(escape(cause['text']), _LONGEST)}{confidence(cause)}"
    fix = first_fix(alert)
    if fix is not None:
        yield f"Fix: {_cut(escape(fix['do']), _LONGEST)}"
        command = escape(fix["command"])
        if command and len(command) <= _LONGEST_COMMAND:
            yield f"  {command}"


def first_fix(alert: Mapping[str, Any]) -> Mapping[str, str] | None:
    """What to try first."""
    fixes = alert.get("fixes") or ()
    return fixes[0] if fixes else None


def _over(alert: Mapping[str, Any]) -> str:
    since, at = seconds_of(alert.get("since")), seconds_of(alert["at"])
    lasted = f" after {duration(at - since)}" if since is not None and at is not None and at >= since else ""
    return f"OVER {alert['rule']}{lasted} ({escape(alert['reason'])}): {_cut(about(alert), _LONGEST)}"


def _since(alert: Mapping[str, Any], now: float, zone: tzinfo | None) -> str:
    since = seconds_of(alert.get("since") or alert["at"])
    return "" if since is None else f" since {clock(since, now, zone, '%H:%M')}"


def _fitting(lines: list[str], longest: int) -> list[str]:
    """Whole lines, so that no command is cut."""
    if len("\n".join(lines)) <= longest:
        return lines
    left = longest - len(_MORE)
    for count, line in enumerate(lines):
        left -= len(line) + 1
        if left < 0:
            return [*lines[:count], _MORE]
    return lines


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."
