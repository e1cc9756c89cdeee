"""The lines of the screen, from the daemon's answers. Pure: a line is a list of pieces, each with the state that colours it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sentinel.cli.top.poll import Snapshot, Values
from sentinel.model.text import duration, escape, size
from sentinel.terminal import names
from sentinel.terminal.sparkline import sparkline
from sentinel.terminal.style import Style, cells, fit, wrap

#: Text with a state: ok, critical, warning, info, loading, dim, bold, or none.
Piece = tuple[str, str]
Line = list[Piece]

#: Columns of a row; the name of the server gets the rest.
_VERDICT, _SPEED, _SPARK, _CONTEXT, _BYTES = 18, 6, 12, 4, 6
_MOST_SLOTS = 8
_LABEL = 9
_BAR = 16
#: Lines of a command that are shown: the whole of it is a key away.
_MOST_COMMAND_LINES = 4


def head(shot: Snapshot, style: Style, shown: int, clock: str) -> list[Line]:
    """How things are, in a few words; without a daemon a sentence of more lines, which ends with what is shown below."""
    if shot.fault:
        return [[(fit(text, style.width, style), "gone")] for text in wrap(_gone(shot), style.width, " ")]
    status = shot.status
    alerts = status.get("alerts", [])
    counts = [(n, s) for s in ("critical", "warning", "info") if (n := sum(a["severity"] == s for a in alerts))]
    servers = status.get("servers", [])
    running = sum(bool(s["running"]) for s in servers)
    line: Line = [(" sentinel ", "bold"), (f"{running} server{'s' if running != 1 else ''}", "")]
    if shown != len(servers):
        line.append((f" ({shown} shown)", "dim"))
    for count, severity in counts:
        line += [(style.dot, "dim"), (f"{count} {severity}", severity)]
    if not counts:
        line += [(style.dot, "dim"), (f"{style.mark('ok')} no alert", "ok")]
    return [_with_right(line, f"{clock} ", style)]


def _gone(shot: Snapshot) -> str:
    return f"NO DAEMON: {escape(shot.fault)}; asking again every 2 s" + (" (below: what was last known)" if shot.status else "")


def machine(shot: Snapshot, style: Style) -> list[Line]:
    """Host and GPUs, one line each."""
    host = shot.status.get("host", {})
    total, free = host.get("mem_total_bytes"), host.get("mem_available_bytes")
    lines = [_usage("host", "RAM", None if None in (total, free) else total - free, total, shot, "host", style)]
    for gpu in shot.status.get("gpus", [])[:4]:
        line = _usage(
            escape(str(gpu.get("name") or gpu["address"])), "VRAM", gpu.get("vram_used_bytes"), gpu.get("vram_total_bytes"), shot,
            gpu["address"], style,
        )  # fmt: skip
        more = [f"{gpu[key]:.0f}{unit}" for key, unit in _GPU_MORE if isinstance(gpu.get(key), int | float)]
        lines.append([*line, (" " + " ".join(more), "dim")])
    return lines


_GPU_MORE = (("busy_percent", "%"), ("power_watts", "W"), ("temp_edge_celsius", "C"))


def _usage(name: str, what: str, used: Any, total: Any, shot: Snapshot, entity: str, style: Style) -> Line:
    line: Line = [(f" {fit(name, 18, style)} ", ""), (f"{what:<5}", "dim")]
    if not isinstance(used, int | float) or not total:
        return [*line, ("unknown", "dim")]
    share = used / total
    return [*line, *bar(share, 14, style), (f" {size(used)} of {size(total)}", "warning" if share > 0.95 else "")]


def bar(share: float, width: int, style: Style, mark: float | None = None) -> Line:
    """A bar that is full at 1. `mark` is where a forecast lies; beyond the end it is at the end, in red."""
    full, empty, line = ("█", "░", "┃") if style.unicode else ("#", ".", "|")
    filled = round(min(max(share, 0.0), 1.0) * width)
    state = "critical" if share > 0.95 else "warning" if share > 0.85 else "ok"
    if mark is None:
        return [(full * filled, state), (empty * (width - filled), "dim")]
    at = min(max(round(mark * width), 0), width - 1)
    text = full * filled + empty * (width - filled)
    before, after = text[:at], text[at + 1 :]
    pieces = [(before[:filled], state), (before[filled:], "dim"), (line, "critical" if mark > 1.0 else "bold")]
    return [*pieces, (after[: max(filled - at - 1, 0)], state), (after[max(filled - at - 1, 0) :], "dim")]


def column_heads(style: Style) -> Line:
    """The heads of the servers' columns."""
    return [
        (f"  {fit('server', _name_width(style), style)} {fit('verdict', _VERDICT, style)}", "dim"),
        (_numbers("tok/s", "10 minutes", "ctx", "GPU", "memory", style), "dim"),
    ]


def _numbers(speed: str, spark: str, context: str, gpu: str, memory: str, style: Style) -> str:
    return f" {speed:>{_SPEED}} {fit(spark, _SPARK, style)} {context:>{_CONTEXT}} {gpu:>{_BYTES}} {memory:>{_BYTES}}"


def _name_width(style: Style) -> int:
    return max(style.width - (2 + _VERDICT + _SPEED + _SPARK + _CONTEXT + 2 * _BYTES + 6) - 1, 10)


def verdict(server: Mapping[str, Any], alerts: Sequence[Mapping[str, Any]]) -> Piece:
    """What is to be said of a server in one or two words."""
    mine = of_server(server, alerts)
    if mine:
        more = f" +{len(mine) - 1}" if len(mine) > 1 else ""
        return f"{mine[0]['rule']}{more}", mine[0]["severity"]
    state = str(server.get("state") or "")
    if not server["running"] and server["process_seen"]:
        return "ended", "dim"
    if state == "loading":
        share = server.get("load_share")
        return f"loading {share:.0%}" if share is not None else "loading", "loading"
    if server.get("log_readable") is not True:
        return "log not read", "warning"
    return ("ok", "ok") if state == "ready" else (state or "unknown", "dim")


def of_server(server: Mapping[str, Any], alerts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The open alerts of a server, worst first."""
    return [a for a in alerts if a["entity"]["scope"] == "server" and a["entity"]["name"] == server["name"]]


def rank(server: Mapping[str, Any], alerts: Sequence[Mapping[str, Any]]) -> int:
    """Servers with the worst alerts come first."""
    return min((("critical", "warning", "info").index(a["severity"]) for a in of_server(server, alerts)), default=3)


def row(server: Mapping[str, Any], shot: Snapshot, style: Style) -> Line:
    """One server in one line."""
    word, state = verdict(server, shot.status["alerts"])
    fills = _fills(server)
    speed = server.get("generation_tps")
    numbers = _numbers(
        "" if speed is None else f"{speed:.1f}",
        sparkline(_series(shot, server, "server.generation_tps"), _SPARK, plain=not style.unicode),
        f"{max(fills):.0%}" if fills else "",
        _bytes(server.get("gpu_memory_bytes")),
        _bytes(server.get("rss_bytes")),
        style,
    )
    name = names.label(server["name"], server.get("called"))
    return [
        (f"{style.mark(state)} ", state),
        (f"{fit(name, _name_width(style), style)} ", ""),
        (fit(escape(word), _VERDICT, style), state),
        (numbers, ""),
    ]


def _bytes(value: Any) -> str:
    """A size in at most five characters: 812M, 3.1G, 118G."""
    if not isinstance(value, int | float) or value < 0:
        return ""
    mebibytes = value / (1 << 20)
    if mebibytes < 1000:
        return f"{mebibytes:.0f}M"
    return f"{mebibytes / 1024:.{1 if mebibytes < 102_400 else 0}f}G"


def _fills(server: Mapping[str, Any]) -> list[float]:
    limit = server.get("ctx_per_slot")
    filled = [server["slot_fill"]] if isinstance(server.get("slot_fill"), float) else []
    return filled + [one["tokens"] / limit for one in server.get("contexts") or () if limit]


def _series(shot: Snapshot, server: Mapping[str, Any], signal: str) -> Values:
    return shot.series.get((server["name"], signal), ())


def detail(server: Mapping[str, Any], shot: Snapshot, style: Style) -> list[Line]:
    """The lines about the server that is chosen."""
    named = [names.label(server["name"], server.get("called"))]
    named += [f"pid {server['pid']}"] if server.get("pid") else []
    named += [f"user {escape(str(server['user']))}"] if server.get("user") else []
    lines: list[Line] = [[(fit(f" {style.dot.join(named)}", style.width, style), "bold")]]
    lines.append(_load(server, shot, style) if server.get("state") == "loading" else _speeds(server, shot, style))
    lines += _contexts(server, style)
    lines.append(_gpu(server, style))
    lines.append(_memory(server, style))
    return lines


def _load(server: Mapping[str, Any], shot: Snapshot, style: Style) -> Line:
    share = server.get("load_share")
    if share is None:
        return [_label("loading"), ("how far is not known", "dim")]
    left = shot.seconds_left.get(server["name"])
    of = f" of {size(server['model_bytes'])}" if server.get("model_bytes") else ""
    time_left = f"{style.dot}{duration(left)} left" if left is not None else ""
    # Whether it will work shows in its colour only at the memory: a full bar is what one waits for.
    filled = [(text, "loading" if state not in ("dim", "") else state) for text, state in bar(share, _BAR, style)]
    return [_label("loading"), *filled, (f" {share:.0%}{of}{time_left}", "")]


def _speeds(server: Mapping[str, Any], shot: Snapshot, style: Style) -> Line:
    line: Line = [_label("speed")]
    for what, key in (("", "generation_tps"), ("prompt ", "prompt_tps")):
        values = _series(shot, server, f"server.{key}")
        now = server.get(key)
        last = next((v for v in reversed(values) if v is not None), None) if now is None else now
        shown = "no answer yet" if last is None else f"{last:.1f} tok/s"
        # The label, two texts, and what stands between them.
        width = min((style.width - _LABEL - 41) // 2, len(values) or 1)
        line.append((f"{what}{fit(shown, 14, style)} ", "" if last is not None else "dim"))
        line.append((sparkline(values, width, plain=not style.unicode) + "  ", "info"))
    return line


def _contexts(server: Mapping[str, Any], style: Style) -> list[Line]:
    limit, slots = server.get("ctx_per_slot"), server.get("slots")
    known = server.get("contexts") or []
    if not limit:
        return [[_label("context"), ("not known yet", "dim")]]
    many = f"{slots} slot{'s' if slots != 1 else ''} of {limit}" if slots else f"slots of {limit}"
    if not known:
        return [[_label("context"), (f"{many} tokens, no request yet", "dim")]]
    lines: list[Line] = []
    line: Line = [_label("context")]
    used = _LABEL + 1
    for one in known[:_MOST_SLOTS]:
        text = f" {one['tokens']}/{limit}"
        wide = 4 + 10 + len(text) + 3
        if used + wide > style.width and len(line) > 1:
            lines.append(line)
            line, used = [(" " * (_LABEL + 1), "")], _LABEL + 1
        number = f"#{one['slot']}{'*' if one['busy'] else ' '}"
        line += [(f"{number} ", "bold" if one["busy"] else "dim"), *bar(one["tokens"] / limit, 10, style), (f"{text}   ", "")]
        used += wide
    if (left := len(known) - _MOST_SLOTS) > 0:
        line.append((f"+{left}", "dim"))
    return [*lines, line]


def _gpu(server: Mapping[str, Any], style: Style) -> Line:
    held, total = server.get("gpu_memory_bytes"), server.get("gpu_vram_total_bytes")
    asked = server.get("gpu_layers_asked")
    wanted = f"{style.dot}-ngl {escape(str(asked))}" if asked is not None else ""
    if not isinstance(held, int | float):
        return [_label("GPU"), (f"what it holds is not known{wanted}", "dim")]
    if not total:
        return [_label("GPU"), (f"holds {size(held)}{wanted}", "")]
    return [_label("GPU"), *bar(held / total, _BAR, style), (f" {size(held)} of {size(total)}{wanted}", "")]


def _memory(server: Mapping[str, Any], style: Style) -> Line:
    held, left, need = server.get("firm_bytes"), server.get("memory_left_bytes"), server.get("need_bytes")
    if not isinstance(held, int) or not isinstance(left, int) or held + left <= 0:
        return [_label("memory"), (f"{_bytes(server.get('rss_bytes')) or '?'} resident; its limit is not known", "dim")]
    limit = held + left
    where = f" of {escape(str(server['memory_left_where']))}" if server.get("memory_left_where") else ""
    line: Line = [_label("memory")]
    if not isinstance(need, int) or need <= held:
        return [*line, *bar(held / limit, _BAR, style), (f" {size(held)} of {size(limit)}{where}", "")]
    fits = need <= limit
    line += bar(held / limit, _BAR, style, need / limit)
    forecast = f"{style.dot}needs {size(need)}" + ("" if fits else ": too much")
    return [*line, (f" {size(held)} of {size(limit)}", ""), (forecast, "" if fits else "critical"), (where, "dim")]


def _label(text: str) -> Piece:
    return f" {text:<{_LABEL}}", "dim"


def alert(one: Mapping[str, Any], style: Style, now: str) -> list[Line]:
    """One open alert: what, why, and the first thing to do."""
    severity = one["severity"]
    notes = [word for word in ("silenced", "flapping") if one.get(word)]
    notes += [f"inhibited by {escape(str(one['inhibited_by']))}"] if one.get("inhibited_by") else []
    title = f"{severity.upper()} {one['rule']}" + (f" ({', '.join(notes)})" if notes else "")
    lines: list[Line] = [_with_right([(f"{style.mark(severity)} {title}", severity)], f"{now} ", style)]
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


def _said(what: str, text: str, style: Style) -> Iterator[Line]:
    for number, part in enumerate(wrap(escape(text), style.width - 8)):
        yield [(f"  {what if number == 0 else '':<4}", "dim"), (part, "")]


def _with_right(line: Line, right: str, style: Style) -> Line:
    used = sum(cells(text) for text, _ in line)
    gap = style.width - used - cells(right)
    return [*line, (" " * max(gap, 1), ""), (right, "dim")] if gap > 0 else line


def cropped(line: Line, width: int, style: Style) -> Line:
    """A line that is not longer than the screen."""
    found: Line = []
    for text, state in line:
        used = cells(text)
        if used > width:
            return [*found, (fit(text, width, style), state)] if width > 0 else found
        found.append((text, state))
        width -= used
    return found
