"""A page about a machine, from what its daemon answered. Pure: the answers and the command lines are fetched by others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sentinel.model.text import duration, size
from sentinel.report.alerts import alerts, is_loud
from sentinel.report.clock import Clock
from sentinel.report.contents import Alert, Command, Fact, Page, Panel
from sentinel.report.plots import first_known, known, plots
from sentinel.report.verdict import verdict
from sentinel.terminal.names import label
from sentinel.terminal.times import seconds_of

#: Servers and GPUs with plots, those with alerts first; servers with a row and a command line.
MOST_PLOTTED, MOST_SERVERS = 16, 64
#: Of a plot; the daemon is asked for so many.
POINTS = 300
#: Where less than this part of the time is known, the page begins with the first of them.
_SPARSE = 0.5
#: Of a start that failed at once a value or two are known: that is nothing to plot.
_FEWEST = 3


@dataclass(frozen=True, slots=True)
class Collected:
    """The daemon's answers: `/v1/status`, `/v1/history`, and `/v1/series` of each server, GPU and host by its scope and name."""

    made: float
    begin: float
    offset: int
    zone: str
    #: empty where it is not to be named
    machine: str
    status: Mapping[str, Any]
    transitions: Sequence[Mapping[str, Any]]
    series: Mapping[tuple[str, str], Mapping[str, Any]]
    #: by name of the server
    commands: Mapping[str, str]
    redacted: bool = False
    notes: Sequence[str] = ()


def begin(collected: Collected) -> float:
    """When the page begins: as asked for, but later where nothing was seen before, so that what is there can be read."""
    known = [at for at in (first_known(list(collected.series.values())), *_fired(collected)) if at is not None]
    first = min(known, default=collected.begin)
    asked = collected.made - collected.begin
    if not known or collected.made - first > _SPARSE * asked:
        return collected.begin
    return max(collected.begin, first)


def _fired(collected: Collected) -> Iterator[float | None]:
    for one in collected.transitions:
        yield seconds_of(one.get("at"))
    for one in collected.status["alerts"]:
        since = seconds_of(one.get("since"))
        # An alert that is open for longer is shown from the beginning on.
        yield since if since is None or since > collected.begin else None


def page(collected: Collected) -> Page:
    """The page."""
    status = collected.status
    called = {server["name"]: server.get("called") for server in status["servers"]}
    current = [{**one, "called": one.get("called") or called.get(one["entity"]["name"])} for one in status["alerts"]]
    found, left_out = alerts(current, collected.transitions)
    since = begin(collected)
    clock = Clock(collected.offset, since, collected.made)
    about = f"the last {duration(collected.made - collected.begin)}"
    panels, unplotted = _panels(collected, found, called, clock)
    return Page(
        title=f"sentinel report of {collected.machine}" if collected.machine else "sentinel report",
        made=collected.made,
        offset=collected.offset,
        zone=collected.zone,
        begin=since,
        end=collected.made,
        about=about,
        verdict=verdict(status, found, about),
        alerts=found,
        first=[place for place, one in enumerate(found) if is_loud(one)],
        alerts_left_out=left_out,
        panels=panels,
        plots_missing=_missing(status, panels, unplotted, collected, since),
        facts=[*_facts(status, called, collected, clock)],
        commands=[Command(label(name, called.get(name)), line) for name, line in list(collected.commands.items())[:MOST_SERVERS]],
        redacted=collected.redacted,
        notes=collected.notes,
    )


def _panels(collected: Collected, found: Sequence[Alert], called: Mapping[str, Any], clock: Clock) -> tuple[list[Panel], int]:
    """Servers first, those with the worst alerts at the front; then GPUs and the host. And how many have no room."""
    gpus = {gpu["address"]: gpu for gpu in collected.status["gpus"]}
    worst: dict[str, int] = {}
    for number, one in enumerate(found):
        worst.setdefault(one.entity, number)
    order = {"server": 0, "gpu": 1, "host": 2}
    wanted = sorted(collected.series, key=lambda key: (order[key[0]], worst.get(key[1], len(found)), key[1]))
    panels: list[Panel] = []
    counts: dict[str, int] = {}
    left_out = 0
    for scope, name in wanted:
        total = _total(collected.status["host"] if scope == "host" else gpus.get(name, {}), scope)
        answer = collected.series[scope, name]
        drawn = plots(scope, answer, clock, total) if scope != "server" or known(answer) >= _FEWEST else []
        if not drawn:
            continue
        counts[scope] = counts.get(scope, 0) + 1
        if counts[scope] > MOST_PLOTTED:
            left_out += 1
            continue
        panels.append(Panel(_name(scope, name, called, gpus), name, scope, drawn))
    return panels, left_out


def _total(facts: Mapping[str, Any], scope: str) -> float | None:
    total = facts.get("mem_total_bytes" if scope == "host" else "vram_total_bytes")
    return float(total) if isinstance(total, int | float) and total > 0 else None


def _name(scope: str, name: str, called: Mapping[str, Any], gpus: Mapping[str, Mapping[str, Any]]) -> str:
    if scope == "host":
        return "Host"
    return label(name, called.get(name)) if scope == "server" else f"GPU {gpus.get(name, {}).get('name') or name}"


def _missing(status: Mapping[str, Any], panels: Sequence[Panel], unplotted: int, collected: Collected, since: float) -> str:
    fault = status.get("series", {}).get("fault")
    if fault:
        return f"Not all values of this time are stored: {fault}"
    if not panels:
        began = seconds_of(status.get("since"))
        ago = f": the daemon began {duration(max(collected.made - began, 0.0))} ago" if began is not None else ""
        return f"No values of memory, speed or load are stored for this time{ago}. Make the report again in a minute."
    if unplotted:
        return f"{unplotted} more servers or GPUs have no plots here; /v1/series has their values."
    if since > collected.begin:
        asked, shown = duration(collected.made - collected.begin), duration(collected.made - since)
        return f"Nothing is stored from before: of {asked} the last {shown} are shown."
    return ""


def _facts(status: Mapping[str, Any], called: Mapping[str, Any], collected: Collected, clock: Clock) -> Iterator[Fact]:
    host = status["host"]
    if collected.machine:
        yield Fact("host", collected.machine)
    if isinstance(host.get("mem_total_bytes"), int | float):
        yield Fact("memory", f"{size(host['mem_total_bytes'])}, {_size(host.get('mem_available_bytes'))} available now")
    for gpu in status["gpus"]:
        yield Fact(
            "GPU",
            f"{gpu.get('name') or gpu['address']}: {_size(gpu.get('vram_used_bytes'))} of {_size(gpu.get('vram_total_bytes'))}",
        )
    if not status["gpus"]:
        yield Fact("GPU", "none in this machine" if host.get("gpu_count") == 0 else "none that can be read")
    began = seconds_of(status.get("since"))
    yield Fact("sentinel", f"{status['version']}" + (f", running since {clock.exact(began)}" if began is not None else ""))
    servers = list(status["servers"])
    for server in servers[:MOST_SERVERS]:
        yield Fact(label(server["name"], called.get(server["name"])), "; ".join(about_server(server)))
    if len(servers) > MOST_SERVERS:
        yield Fact("", f"{len(servers) - MOST_SERVERS} more servers")


def about_server(server: Mapping[str, Any]) -> Iterator[str]:
    """What is known of a server, in short facts."""
    yield str(server["state"] or "state unknown") if server["running"] else "ended"
    if server.get("build") is not None:
        yield f"build {server['build']}"
    if server.get("model_path"):
        yield f"model {server['model_path']}"
    if server.get("ctx_per_slot") is not None:
        slots = server.get("slots")
        yield f"context {f'{slots} x ' if slots is not None else ''}{server['ctx_per_slot']}"
    if server.get("gpu_layers_asked") is not None:
        yield f"-ngl {server['gpu_layers_asked']}"
    if server.get("gpu_memory_bytes") is not None:
        yield f"{_size(server['gpu_memory_bytes'])} of GPU memory"
    if server.get("rss_bytes") is not None:
        yield f"{_size(server['rss_bytes'])} resident"
    if server.get("preflight") in ("fails", "tight"):
        yield f"preflight {server['preflight']}: {server.get('preflight_why') or ''}".rstrip(": ")


def _size(value: object) -> str:
    return size(value) if isinstance(value, int | float) and value >= 0 else "?"
