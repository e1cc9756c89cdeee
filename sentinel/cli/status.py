"""`sentinel status`: one screen."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sentinel.cli import nagios
from sentinel.cli.main import UNKNOWN
from sentinel.cli.output import NoAnswer, ask, complain, emit, exit_code, marks, say, show_silences, shown, shown_size, style
from sentinel.model.text import escape
from sentinel.sinks.render import wrap

_WORST_FIRST = {"failed": 0, "starting": 1, "absent": 2, "up": 3}


def main(arguments: argparse.Namespace) -> int:
    """Print the screen; the exit code is that of the worst open alert that is not silenced."""
    try:
        answer = ask(arguments, "/v1/status")
    except NoAnswer as error:
        if arguments.nagios:
            # Nagios reads standard output alone.
            print(nagios.sentence(UNKNOWN, str(error)))
            return UNKNOWN
        return complain(error)
    code = exit_code(a["severity"] for a in answer["alerts"] if not a.get("silenced"))
    if arguments.json:
        emit(answer)
    elif arguments.nagios:
        print(nagios.line(answer, code))
    else:
        for line in _screen(answer, style().width):
            say(line)
    return code


def _screen(answer: Mapping[str, Any], width: int) -> Iterator[str]:
    yield from _wrapped(f"sentinel {answer['version']}, {len(answer['rules'])} rules, since {answer['since']}", width)
    yield ""
    running = [s for s in answer["servers"] if s["running"]]
    ended = [s for s in answer["servers"] if not s["running"]]
    yield f"Servers ({len(running)} running)"
    for server in running:
        for line in _server(server):
            yield from _wrapped(line, width)
    for server in ended:
        if server["process_seen"]:
            yield from _wrapped(f"  {server['name']}: not running (last state: {shown(server['state'])})", width)
        else:
            # Known only from a configured log: whether it runs is unknown.
            said = f"; its log says: {shown(server['state'])}" if server["state"] is not None else ""
            yield from _wrapped(f"  {server['name']}: no process known{said} (log {shown(server['log_where'])})", width)
    if not answer["servers"]:
        yield from _wrapped("  no llama-server runs here; sentinel finds one within a second of its start", width)
    yield ""
    if answer["gpus"]:
        yield "GPUs"
        for gpu in answer["gpus"]:
            yield from _wrapped(
                f"  {gpu['address']} {shown(gpu.get('name'))}: {shown_size(gpu.get('vram_used_bytes'))} of "
                f"{shown_size(gpu.get('vram_total_bytes'))} VRAM, busy {shown(gpu.get('busy_percent'))} %, "
                f"{shown(gpu.get('power_watts'))} W, {shown(gpu.get('temp_edge_celsius'))} C",
                width,
            )
    else:
        count = answer["host"].get("gpu_count")
        yield "GPUs: " + ("none in this machine" if count == 0 else "none that can be read")
    host = answer["host"]
    yield f"Host: {shown_size(host.get('mem_available_bytes'))} of {shown_size(host.get('mem_total_bytes'))} memory available"
    yield ""
    yield f"Alerts ({len(answer['alerts'])} open)"
    for alert in answer["alerts"]:
        yield from _wrapped(f"  {alert['severity'].upper()}  {alert['rule']}: {alert['summary']}{marks(alert)}", width)
        for effect in alert["effects"]:
            if not effect["notified"]:
                yield from _wrapped(f"      inhibits {effect['rule']} of {effect['entity']}", width)
    if answer["alerts"]:
        yield from _wrapped("  `sentinel alerts` shows cause, evidence and fixes; `sentinel why RULE` each check", width)
    if answer["silences"]:
        yield ""
        yield f"Silences ({len(answer['silences'])})"
        for line in show_silences(answer["silences"]):
            yield from _wrapped(line, width)
    if overrides := answer.get("overrides"):
        yield ""
        yield f"Overrides ({len(overrides)})"
        for one in overrides:
            yield from _wrapped(f"  {_override(one)}", width)
    if answer["blind_spots"]:
        yield ""
        yield "Cannot be judged"
        yield from _blind_spots(answer["blind_spots"], width)
    troubled = [s for s in answer["sources"] if s["health"] in ("failed", "starting")]
    if troubled:
        yield ""
        yield "Sources that do not work"
        for source in sorted(troubled, key=lambda s: _WORST_FIRST[s["health"]]):
            yield from _wrapped(f"  {source['name']}: {source['health']}: {source['why'] or 'no answer yet'}", width)
    if cut := answer.get("cut"):
        yield ""
        yield "Cut or refused"
        for one in cut:
            yield from _wrapped(f"  {one['whose']}: {one['what']} ({one['count']})", width)
    faults = [s for s in answer["sinks"] if s["fault"]]
    for sink in faults:
        yield from _wrapped(f"Alerts wait for {sink['name']} ({sink['waiting']}): {sink['fault']}", width)
    if answer["recorder"].get("fault"):
        yield from _wrapped(f"Flight recorder: {answer['recorder']['fault']}", width)
    if answer["state"]["fault"]:
        yield from _wrapped(f"State is not saved to disk: {answer['state']['fault']}", width)


def _override(one: Mapping[str, Any]) -> str:
    does = f"{', '.join(one['fields'])} replaced" if one["enabled"] else "switched off"
    changed = f"; CHANGED by an upgrade under it: {', '.join(one['changed'])}" if one["changed"] else ""
    return f"{one['rule']}: {does} by {one['file']}{changed}"


#: Lines of blind spots per server: the rest is in `sentinel why` and --json.
_MOST_SPOTS = 4


def _blind_spots(spots: Iterable[Mapping[str, Any]], width: int) -> Iterator[str]:
    """Blind spots by server, those that block most rules first; the remedy before what is missing."""
    by_entity: dict[str, list[Mapping[str, Any]]] = {}
    for spot in spots:
        by_entity.setdefault(spot["entity"], []).append(spot)
    for entity, mine in by_entity.items():
        yield f"  {entity}"
        mine.sort(key=lambda spot: -len(spot["rules"]))
        for spot in mine[:_MOST_SPOTS]:
            yield from _wrapped(f"    {spot['remedy'] or spot['reason']} (for {', '.join(spot['rules'])})", width)
        if len(mine) > _MOST_SPOTS:
            yield f"    and {len(mine) - _MOST_SPOTS} more"
    yield from _wrapped("  `sentinel why RULE` shows what is unknown, and why", width)


def _server(server: Mapping[str, Any]) -> Iterator[str]:
    if server["is_router"]:
        yield f"  {server['name']}: router, {shown(server['state'])}, pid {shown(server['pid'])}, user {shown(server['user'])}"
        yield "    it owns no model: its children do, and are servers of their own here"
        yield f"    log      {shown(server['log_where'])}"
        return
    called = f" ({server['called']})" if server.get("called") else ""
    yield f"  {server['name']}{called}: {shown(server['state'])}, pid {shown(server['pid'])}, user {shown(server['user'])}"
    yield f"    model    {shown(server['model_path'])} ({shown_size(server['model_bytes'])})"
    if server.get("preflight") is not None:
        why = f": {shown(server['preflight_why'])}" if server.get("preflight_why") else ""
        yield f"    fits?    {shown(server['preflight'])} when it started{why}"
    layers = server["gpu_layers_asked"]
    asked = "? GPU layers asked for" if layers is None else f"-ngl {layers}"
    yield f"    GPU      {asked}, holds {shown_size(server['gpu_memory_bytes'])} of GPU memory"
    context = server["ctx_requested"]
    wanted = "?" if context is None else str(context) if context else "the model's own"
    yield f"    context  {wanted} asked for, {shown(server['slots'])} slots of {shown(server['ctx_per_slot'])}"
    speed = f"{server['generation_tps']:.1f} tokens/s, " if server["generation_tps"] is not None else ""
    yield (
        f"    now      {speed}{shown(server['cpu_cores'])} cores, {shown_size(server['rss_bytes'])} resident, "
        f"{shown_size(server['locked_bytes'])} locked"
    )
    yield f"    log      {shown(server['log_where'])}"


def _wrapped(text: str, width: int) -> list[str]:
    """The lines of a row, with a hanging indent of four columns."""
    plain = escape(text.lstrip(" "))
    return wrap(plain, max(width, 40), " " * (len(text) - len(text.lstrip(" "))), "    ")
