"""`sentinel status --nagios`: one line in the Monitoring Plugins' format: a sentence, a bar, performance data.

www.monitoring-plugins.org/doc/guidelines.html: exit code 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN; performance data is
'label'=value[unit];[warning];[critical];[least];[most]. A bar would end the sentence, so it may not contain one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sentinel.cli.main import CRITICAL, OK, UNKNOWN, WARNING
from sentinel.model.text import counted, escape

_WORDS = {OK: "OK", WARNING: "WARNING", CRITICAL: "CRITICAL", UNKNOWN: "UNKNOWN"}
#: Characters of the sentence: old versions of Nagios cut a plugin's answer after 1 KiB, NSCA after 512 bytes.
_LONGEST = 400
#: Servers and GPUs with data of their own.
_MOST = 20


def line(answer: Mapping[str, Any], code: int) -> str:
    """The line for an answer of /v1/status and its exit code."""
    alerts = [alert for alert in answer["alerts"] if not alert.get("silenced")]
    running = sum(bool(server["running"]) for server in answer["servers"])
    if alerts:
        first = f"{alerts[0]['rule']}: {alerts[0]['summary']}"
        what = first if len(alerts) == 1 else f"{len(alerts)} alerts, {first}"
    else:
        what = f"no alerts, {counted(running, 'server')} running"
    if answer["blind_spots"]:
        what += f" ({len(answer['blind_spots'])} things cannot be judged)"
    return f"{sentence(code, what)} | {' '.join(_data(answer, running))}"


def sentence(code: int, what: str) -> str:
    """The part before the bar."""
    plain = escape(" ".join(what.split())).replace("|", "/")
    cut = plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 3]}..."
    return f"SENTINEL {_WORDS[code]} - {cut}"


def _data(answer: Mapping[str, Any], running: int) -> Iterator[str]:
    open_alerts = [alert for alert in answer["alerts"] if not alert.get("silenced")]
    counts = {severity: sum(a["severity"] == severity for a in open_alerts) for severity in ("critical", "warning", "info")}
    # A range of 0 only: any other value is outside.
    yield f"critical={counts['critical']};;0;0"
    yield f"warning={counts['warning']};0;;0"
    yield f"info={counts['info']};;;0"
    yield f"silenced={len(answer['alerts']) - len(open_alerts)};;;0"
    yield f"servers={running};;;0"
    yield f"blind_spots={len(answer['blind_spots'])};;;0"
    yield f"sources_failed={sum(source['health'] == 'failed' for source in answer['sources'])};;;0"
    host = answer["host"]
    yield from _bytes("mem_available", host.get("mem_available_bytes"), host.get("mem_total_bytes"))
    for gpu in answer["gpus"][:_MOST]:
        yield from _bytes(f"vram_used {gpu['address']}", gpu.get("vram_used_bytes"), gpu.get("vram_total_bytes"))
    for server in [s for s in answer["servers"] if s["running"]][:_MOST]:
        yield from _bytes(f"rss {server['name']}", server["rss_bytes"], None)
        if isinstance(server["generation_tps"], int | float):
            yield f"{_label('tokens_per_second ' + server['name'])}={server['generation_tps']:.2f};;;0"


def _bytes(label: str, value: object, most: object) -> Iterable[str]:
    """Nothing for an unknown value: U is allowed, but few graphing tools support it."""
    if not isinstance(value, int):
        return ()
    return (f"{_label(label)}={value}B;;;0;{most if isinstance(most, int) else ''}".rstrip(";"),)


def _label(text: str) -> str:
    plain = "".join("_" if char in "='|" or (char.isspace() and char != " ") else char for char in escape(text))
    return f"'{plain[:100]}'" if " " in plain else plain[:100]
