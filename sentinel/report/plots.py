"""Plots of a page, from the answers of `/v1/series`: which values stand together, in which unit, and what they show in words.

Pure. A plot has a scale that begins at zero, so that a small change does not look like a great one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from sentinel.report.contents import Line, Plot, Values
from sentinel.terminal.times import seconds_of

_Kind = Literal["bytes", "share", "number"]
#: Says when, in the machine's time.
TimeOf = Callable[[float], str]


class _Shape(NamedTuple):
    title: str
    kind: _Kind
    unit: str
    #: signal and how it is called
    lines: tuple[tuple[str, str], ...]
    #: what a value comes of, where it does not come all the time
    comes_of: str = ""
    #: shown only where it changes by more than this: a server that was loaded all the time has nothing to show of that
    changes: float = 0.0


_SHAPES: Mapping[str, tuple[_Shape, ...]] = {
    "server": (
        _Shape("Loading", "share", "%", (("server.load_share", "share of the model that is loaded"),), changes=0.1),
        _Shape("Memory", "bytes", "", (("server.rss_bytes", "resident memory"), ("server.gpu_memory_bytes", "GPU memory"))),
        # Apart: it is often a hundred times what the server takes.
        _Shape("Memory left", "bytes", "", (("server.memory_left_bytes", "host memory that it may still take"),)),
        _Shape("Speed of answers", "number", "tokens/s", (("server.generation_tps", "generation"),), "answers"),
        _Shape("Speed of prompts", "number", "tokens/s", (("server.prompt_tps", "prompt processing"),), "prompts"),
        _Shape("Context", "share", "%", (("server.slot_fill", "fullest slot"),)),
        _Shape("Answers", "number", "bits", (("server.quality_divergence", "divergence from what was learned"),)),
        _Shape("Slots at work", "number", "slots", (("server.slots_busy", "slots at work"),)),
    ),
    "gpu": (
        _Shape(
            "GPU memory",
            "bytes",
            "",
            (("gpu.vram_used_bytes", "video memory in use"), ("gpu.gtt_used_bytes", "host memory that it maps")),
        ),
        _Shape("GPU load", "number", "%", (("gpu.busy_percent", "load"),)),
        _Shape("GPU power", "number", "W", (("gpu.power_watts", "power"),)),
        _Shape("GPU temperature", "number", "°C", (("gpu.temp_edge_celsius", "temperature"),)),
    ),
    "host": (
        _Shape(
            "Host memory", "bytes", "", (("host.mem_available_bytes", "memory available"), ("host.swap_free_bytes", "swap free"))
        ),
    ),
}


def plots(scope: str, answer: Mapping[str, Any], clock: TimeOf, total_bytes: float | None = None) -> list[Plot]:
    """The plots of one entity; `total_bytes` is the memory that the host or the GPU has."""
    begin, step = seconds_of(answer["begin"]) or 0.0, float(answer["step"])
    by_signal = {one["signal"]: one for one in answer["series"] if one["entity"]["scope"] == scope}
    out = []
    for shape in _SHAPES[scope]:
        there = [(label, by_signal[signal]) for signal, label in shape.lines if signal in by_signal]
        found = [(label, one) for label, one in there if any(value is not None for value in one["mean"])]
        if not found:
            continue
        values = [value for _, one in found for value in one["mean"] if value is not None]
        if not shape.changes or max(values) - min(values) > shape.changes:
            out.append(_plot(shape, found, begin, step, clock, total_bytes if scope != "server" else None))
    return out


def _plot(
    shape: _Shape, found: Sequence[tuple[str, Mapping[str, Any]]], begin: float, step: float, clock: TimeOf, total: float | None
) -> Plot:
    factor, unit, top, top_words = 1.0, shape.unit, None, ""
    if shape.kind == "share":
        factor, top = 100.0, 100.0
    elif unit == "%":
        top = 100.0
    elif shape.kind == "bytes":
        largest = max(total or 0.0, *(_largest(one) for _, one in found))
        factor, unit = (1 / (1 << 30), "GiB") if largest >= 1 << 30 else (1 / (1 << 20), "MiB")
        if total:
            top, top_words = _rounded(total * factor), f"The scale ends at all there is, {_number(total * factor)} {unit}."
    lines = [_line(label, one, factor, unit, begin, step, clock, shape.comes_of) for label, one in found]
    return Plot(shape.title, unit, begin, step, lines, top, top_words)


def _largest(one: Mapping[str, Any]) -> float:
    return max((value for value in one.get("max", one["mean"]) if value is not None), default=0.0)


def _line(
    label: str, one: Mapping[str, Any], factor: float, unit: str, begin: float, step: float, clock: TimeOf, comes_of: str
) -> Line:
    mean = [_scaled(value, factor) for value in one["mean"]]
    # Of one second there is the value alone.
    least, most = ([_scaled(value, factor) for value in one[key]] if key in one else mean for key in ("min", "max"))
    return Line(label, least, mean, most, words(label, (least, mean, most), unit, begin, step, clock, comes_of))


def words(
    label: str,
    values: tuple[Values, Values, Values],
    unit: str,
    begin: float,
    step: float,
    clock: TimeOf,
    comes_of: str = "",
) -> str:
    """What a plot shows, for who does not see it: mean, least and largest value with their times, and the last one."""
    least, mean, most = ([value for value in column if value is not None] for column in values)
    low, high = min(least), max(most)
    last = next(n for n in range(len(values[1]) - 1, -1, -1) if values[1][n] is not None)
    newest = values[1][last]
    seen = len(mean) / len(values[1])
    if _number(low) == _number(high):
        said = f"{label}: {_number(low)} {unit} throughout"
    else:
        at = {"low": values[0].index(low), "high": values[2].index(high)}
        when = {key: clock(begin + n * step) for key, n in at.items()}
        said = (
            f"{label}: {_number(sum(mean) / len(mean))} {unit} on average, least {_number(low)} at {when['low']}, "
            f"most {_number(high)} at {when['high']}, last {_number(newest or 0.0)}"
        )
        if last < len(values[1]) - 1:
            said += f" at {clock(begin + last * step)}"
    share = f"{max(1, round(100 * seen))} % of the time"
    return f"{said}." if seen > 0.95 else f"{said}; {comes_of} in {share}." if comes_of else f"{said}; known for {share}."


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else _rounded(value * factor)


def _rounded(value: float) -> float:
    """Four digits: series are stored to 0.04 %."""
    return float(f"{value:.4g}")


def _number(value: float) -> str:
    """Three digits, as people read them."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def known(answer: Mapping[str, Any]) -> int:
    """How many values the best known of its signals has."""
    return max((sum(value is not None for value in one["mean"]) for one in answer["series"]), default=0)


def first_known(answers: Sequence[Mapping[str, Any]]) -> float | None:
    """When the first value of all these was recorded."""
    return min(_first_times(answers), default=None)


def _first_times(answers: Sequence[Mapping[str, Any]]) -> Iterator[float]:
    for answer in answers:
        begin = seconds_of(answer["begin"]) or 0.0
        for one in answer["series"]:
            n = next((n for n, value in enumerate(one["mean"]) if value is not None), None)
            if n is not None:
                yield begin + n * float(answer["step"])
