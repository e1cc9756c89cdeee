"""The lines about the server that is chosen: its load or speeds, its contexts, its memory. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sentinel.cli.status_details import answers
from sentinel.cli.top.pieces import Piece, Pieces, bar, series_of
from sentinel.cli.top.poll import Snapshot
from sentinel.model.text import counted, duration, escape, size
from sentinel.terminal import names
from sentinel.terminal.glance import short_size
from sentinel.terminal.sparkline import sparkline
from sentinel.terminal.style import Style, fit

_MOST_SLOTS = 8
_LABEL = 9
_BAR = 16


def detail(server: Mapping[str, Any], shot: Snapshot, style: Style) -> list[Pieces]:
    """The lines about the server that is chosen."""
    named = [names.label(server["name"], server.get("called"))]
    named += [f"pid {server['pid']}"] if server.get("pid") else []
    named += [f"user {escape(str(server['user']))}"] if server.get("user") else []
    lines: list[Pieces] = [[(fit(f" {style.dot.join(named)}", style.width, style), "bold")]]
    lines.append(_load(server, shot, style) if server.get("state") == "loading" else _speeds(server, shot, style))
    lines += _contexts(server, style)
    lines.append(_gpu(server, style))
    lines.append(_memory(server, style))
    if said := answers(server):
        bad = {"shifted": "warning", "broken": "critical"}.get(str(server.get("quality_verdict")), "")
        lines.append([_label("answers"), (fit(said, style.width - _LABEL - 2, style), bad)])
    return lines


def _load(server: Mapping[str, Any], shot: Snapshot, style: Style) -> Pieces:
    share = server.get("load_share")
    if share is None:
        return [_label("loading"), ("how far is not known", "dim")]
    left = shot.seconds_left.get(server["name"])
    of = f" of {size(server['model_bytes'])}" if server.get("model_bytes") else ""
    time_left = f"{style.dot}{duration(left)} left" if left is not None else ""
    # Whether it will work shows in its colour only at the memory: a full bar is what one waits for.
    filled = [(text, "loading" if state not in ("dim", "") else state) for text, state in bar(share, _BAR, style)]
    return [_label("loading"), *filled, (f" {share:.0%}{of}{time_left}", "")]


def _speeds(server: Mapping[str, Any], shot: Snapshot, style: Style) -> Pieces:
    line: Pieces = [_label("speed")]
    for what, key in (("", "generation_tps"), ("prompt ", "prompt_tps")):
        values = series_of(shot, server, f"server.{key}")
        now = server.get(key)
        last = next((v for v in reversed(values) if v is not None), None) if now is None else now
        shown = "no answer yet" if last is None else f"{last:.1f} tok/s"
        # The label, two texts, and what stands between them.
        width = min((style.width - _LABEL - 41) // 2, len(values) or 1)
        line.append((f"{what}{fit(shown, 14, style)} ", "" if last is not None else "dim"))
        line.append((sparkline(values, width, plain=not style.unicode) + "  ", "info"))
    return line


def _contexts(server: Mapping[str, Any], style: Style) -> list[Pieces]:
    limit, slots = server.get("ctx_per_slot"), server.get("slots")
    known = server.get("contexts") or []
    if not limit:
        return [[_label("context"), ("not known yet", "dim")]]
    many = f"{counted(slots, 'slot')} of {limit}" if slots else f"slots of {limit}"
    if not known:
        return [[_label("context"), (f"{many} tokens, no request yet", "dim")]]
    lines: list[Pieces] = []
    line: Pieces = [_label("context")]
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


def _gpu(server: Mapping[str, Any], style: Style) -> Pieces:
    held, total = server.get("gpu_memory_bytes"), server.get("gpu_vram_total_bytes")
    asked = server.get("gpu_layers_asked")
    wanted = f"{style.dot}-ngl {escape(str(asked))}" if asked is not None else ""
    if not isinstance(held, int | float):
        return [_label("GPU"), (f"what it holds is not known{wanted}", "dim")]
    if not total:
        return [_label("GPU"), (f"holds {size(held)}{wanted}", "")]
    return [_label("GPU"), *bar(held / total, _BAR, style), (f" {size(held)} of {size(total)}{wanted}", "")]


def _memory(server: Mapping[str, Any], style: Style) -> Pieces:
    held, left, need = server.get("firm_bytes"), server.get("memory_left_bytes"), server.get("need_bytes")
    if not isinstance(held, int) or not isinstance(left, int) or held + left <= 0:
        return [_label("memory"), (f"{short_size(server.get('rss_bytes')) or '?'} resident; its limit is not known", "dim")]
    limit = held + left
    where = f" of {escape(str(server['memory_left_where']))}" if server.get("memory_left_where") else ""
    line: Pieces = [_label("memory")]
    if not isinstance(need, int) or need <= held:
        return [*line, *bar(held / limit, _BAR, style), (f" {size(held)} of {size(limit)}{where}", "")]
    fits = need <= limit
    line += bar(held / limit, _BAR, style, need / limit)
    forecast = f"{style.dot}needs {size(need)}" + ("" if fits else ": too much")
    return [*line, (f" {size(held)} of {size(limit)}", ""), (forecast, "" if fits else "critical"), (where, "dim")]


def _label(text: str) -> Piece:
    return f" {text:<{_LABEL}}", "dim"
