"""The lines of the screen, from the daemon's answers. Pure: a line is a list of pieces, each with the state that colours it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sentinel.cli.top.pieces import Pieces, bar, series_of, with_right
from sentinel.cli.top.poll import Snapshot
from sentinel.model.text import counted, escape, size
from sentinel.terminal import names
from sentinel.terminal.glance import GPU_MORE, counts, fullest, short_size, used_memory, verdict
from sentinel.terminal.sparkline import sparkline
from sentinel.terminal.style import Style, fit, wrap

#: Columns of a row; the name of the server gets the rest.
_VERDICT, _SPEED, _SPARK, _CONTEXT, _BYTES = 18, 6, 12, 4, 6
#: A narrower screen has the name, the verdict, the speed and the context in a row; the rest is shown of the chosen server.
_WIDE = 75
#: Lines of a command that are shown: the whole of it is a key away.
_MOST_COMMAND_LINES = 4


def head(shot: Snapshot, style: Style, shown: int, clock: str) -> list[Pieces]:
    """How things are, in a few words; without a daemon a sentence of more lines, which ends with what is shown below."""
    if shot.fault:
        return [[(fit(text, style.width, style), "gone")] for text in wrap(_gone(shot), style.width, " ")]
    status = shot.status
    alerts = status.get("alerts", [])
    open_alerts = counts(alerts)
    servers = status.get("servers", [])
    # Of one that is known by its log alone no process is ever seen.
    there = sum(bool(s["running"] or not s["process_seen"]) for s in servers)
    line: Pieces = [(" sentinel ", "bold"), (counted(there, "server"), "")]
    if shown != len(servers):
        line.append((f" ({shown} shown)", "dim"))
    for count, severity in open_alerts:
        line += [(style.dot, "dim"), (f"{count} {severity}", severity)]
    if not open_alerts:
        line += [(style.dot, "dim"), (f"{style.mark('ok')} no alert", "ok")]
    return [with_right(line, f"{clock} ", style)]


def _gone(shot: Snapshot) -> str:
    return f"NO DAEMON: {escape(shot.fault)}; asking again every 2 s" + (" (below: what was last known)" if shot.status else "")


def machine(shot: Snapshot, style: Style) -> list[Pieces]:
    """Host and GPUs, one line each."""
    used, total = used_memory(shot.status.get("host", {}))
    lines = [_usage("host", "RAM", used, total, shot, "host", style)]
    for gpu in shot.status.get("gpus", [])[:4]:
        line = _usage(
            escape(str(gpu.get("name") or gpu["address"])), "VRAM", gpu.get("vram_used_bytes"), gpu.get("vram_total_bytes"), shot,
            gpu["address"], style,
        )  # fmt: skip
        more = [f"{gpu[key]:.0f}{unit}" for key, unit in GPU_MORE if isinstance(gpu.get(key), int | float)]
        lines.append([*line, (" " + " ".join(more), "dim")])
    return lines


def _usage(name: str, what: str, used: Any, total: Any, shot: Snapshot, entity: str, style: Style) -> Pieces:
    line: Pieces = [(f" {fit(name, 18, style)} ", ""), (f"{what:<5}", "dim")]
    if not isinstance(used, int | float) or not total:
        return [*line, ("unknown", "dim")]
    share = used / total
    return [*line, *bar(share, 14, style), (f" {size(used)} of {size(total)}", "warning" if share > 0.95 else "")]


def column_heads(style: Style) -> Pieces:
    """The heads of the servers' columns."""
    return [
        (f"  {fit('server', _name_width(style), style)} {fit('verdict', _VERDICT, style)}", "dim"),
        (_numbers("tok/s", "10 minutes", "ctx", "GPU", "memory", style), "dim"),
    ]


def _numbers(speed: str, spark: str, context: str, gpu: str, memory: str, style: Style) -> str:
    if style.width < _WIDE:
        return f" {speed:>{_SPEED}} {context:>{_CONTEXT}}"
    return f" {speed:>{_SPEED}} {fit(spark, _SPARK, style)} {context:>{_CONTEXT}} {gpu:>{_BYTES}} {memory:>{_BYTES}}"


def _name_width(style: Style) -> int:
    return style.width - (2 + 1 + _VERDICT + len(_numbers("", "", "", "", "", style)))


def row(server: Mapping[str, Any], shot: Snapshot, style: Style) -> Pieces:
    """One server in one line."""
    word, state = verdict(server, shot.status["alerts"])
    context = fullest(server)
    speed = server.get("generation_tps")
    numbers = _numbers(
        "" if speed is None else f"{speed:.1f}",
        sparkline(series_of(shot, server, "server.generation_tps"), _SPARK, plain=not style.unicode),
        "" if context is None else f"{context:.0%}",
        short_size(server.get("gpu_memory_bytes")),
        short_size(server.get("rss_bytes")),
        style,
    )
    name = names.label(server["name"], server.get("called"))
    return [
        (f"{style.mark(state)} ", state),
        (f"{names.fitted(name, _name_width(style), style)} ", ""),
        (fit(escape(word), _VERDICT, style), state),
        (numbers, ""),
    ]


def alert(one: Mapping[str, Any], style: Style, now: str) -> list[Pieces]:
    """One open alert: what, why, and the first thing to do."""
    severity = one["severity"]
    notes = [word for word in ("silenced", "flapping") if one.get(word)]
    notes += [f"inhibited by {escape(str(one['inhibited_by']))}"] if one.get("inhibited_by") else []
    title = f"{severity.upper()} {one['rule']}" + (f" ({', '.join(notes)})" if notes else "")
    lines: list[Pieces] = [with_right([(f"{style.mark(severity)} {title}", severity)], f"{now} ", style)]
    lines += [[(text, "bold")] for text in wrap(names.about(one), style.width - 2, "  ")]
    if one["cause"]:
        lines += _said("why", one["cause"]["text"], style)
    fixes = one["fixes"]
    if fixes:
        lines += _said("fix", fixes[0]["do"], style)
        for number, command in enumerate(fixes[0]["command"].splitlines()[:_MOST_COMMAND_LINES]):
            first = "$ " if number == 0 else "  "
            lines += [[(text, "info")] for text in wrap(first + escape(command), style.width - 8, "      ", "  ")]
        if len(fixes) > 1:
            lines.append([(f"      and {len(fixes) - 1} more: w", "dim")])
    return lines


def _said(what: str, text: str, style: Style) -> Iterator[Pieces]:
    for number, part in enumerate(wrap(escape(text), style.width - 8)):
        yield [(f"  {what if number == 0 else '':<4}", "dim"), (part, "")]
