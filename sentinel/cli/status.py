"""`sentinel status`: one screen."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sentinel.cli import nagios
from sentinel.cli.main import UNKNOWN
from sentinel.cli.output import NoAnswer, ask, complain, emit, exit_code, marks, say, show_silences, shown, shown_size, style
from sentinel.model.text import counted, escape
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
        for row in _screen(answer, style().width):
            say(row)
    return code


def _screen(answer: Mapping[str, Any], width: int) -> Iterator[str]:
    for line in _lines(answer):
        yield from _wrapped(line, width) or [""]


def _lines(answer: Mapping[str, Any]) -> Iterator[str]:
    yield f"sentinel {answer['version']}, {len(answer['rules'])} rules, since {answer['since']}"
    yield ""
    yield from _servers(answer["servers"])
    yield ""
    yield from _machine(answer["gpus"], answer["host"])
    yield ""
    yield from _alerts(answer["alerts"])
    if answer["silences"]:
        yield ""
        yield f"Silences ({len(answer['silences'])})"
        yield from show_silences(answer["silences"])
    if overrides := answer.get("overrides"):
        yield ""
        yield f"Overrides ({len(overrides)})"
        yield from (f"  {_override(one)}" for one in overrides)
    if answer["blind_spots"]:
        yield ""
        yield "Cannot be judged"
        yield from _blind_spots(answer["blind_spots"])
    if left_out := answer.get("blind_spots_left_out"):
        yield f"  of {counted(left_out, 'more server')} this was not worked out yet: ask again"
    yield from _faults(answer)


def _servers(servers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    running = [s for s in servers if s["running"]]
    yield f"Servers ({len(running)} running)"
    for server in running:
        yield from _server(server)
    for server in servers:
        if server["running"]:
            continue
        if server["process_seen"]:
            yield f"  {server['name']}: not running (last state: {shown(server['state'])})"
        else:
            # Known only from a configured log: whether it runs is unknown.
            said = f"; its log says: {shown(server['state'])}" if server["state"] is not None else ""
            yield f"  {server['name']}: no process known{said} (log {shown(server['log_where'])})"
    if not servers:
        yield "  no llama-server runs here; sentinel finds one within a second of its start"


def _machine(gpus: Sequence[Mapping[str, Any]], host: Mapping[str, Any]) -> Iterator[str]:
    yield "GPUs" if gpus else "GPUs: " + ("none in this machine" if host.get("gpu_count") == 0 else "none that can be read")
    for gpu in gpus:
        yield (
            f"  {gpu['address']} {shown(gpu.get('name'))}: {shown_size(gpu.get('vram_used_bytes'))} of "
            f"{shown_size(gpu.get('vram_total_bytes'))} VRAM, busy {shown(gpu.get('busy_percent'))} %, "
            f"{shown(gpu.get('power_watts'))} W, {shown(gpu.get('temp_edge_celsius'))} C"
        )
    yield f"Host: {shown_size(host.get('mem_available_bytes'))} of {shown_size(host.get('mem_total_bytes'))} memory available"


def _alerts(alerts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield f"Alerts ({len(alerts)} open)"
    for alert in alerts:
        yield f"  {alert['severity'].upper()}  {alert['rule']}: {alert['summary']}{marks(alert)}"
        yield from (
            f"      inhibits {effect['rule']} of {effect['entity']}" for effect in alert["effects"] if not effect["notified"]
        )
    if alerts:
        yield "  `sentinel alerts` shows cause, evidence and fixes; `sentinel why RULE` each check"


def _faults(answer: Mapping[str, Any]) -> Iterator[str]:
    """What of sentinel itself does not work."""
    troubled = [s for s in answer["sources"] if s["health"] in ("failed", "starting")]
    if troubled:
        yield ""
        yield "Sources that do not work"
        for source in sorted(troubled, key=lambda s: _WORST_FIRST[s["health"]]):
            yield f"  {source['name']}: {source['health']}: {source['why'] or 'no answer yet'}"
    if cut := answer.get("cut"):
        yield ""
        yield "Cut or refused"
        yield from (f"  {one['whose']}: {one['what']} ({one['count']})" for one in cut)
    for sink in answer["sinks"]:
        if sink["fault"]:
            yield f"Alerts wait for {sink['name']} ({sink['waiting']}): {sink['fault']}"
    if answer["recorder"].get("fault"):
        yield f"Flight recorder: {answer['recorder']['fault']}"
    if answer["state"]["fault"]:
        yield f"State is not saved to disk: {answer['state']['fault']}"


def _override(one: Mapping[str, Any]) -> str:
    does = f"{', '.join(one['fields'])} replaced" if one["enabled"] else "switched off"
    changed = f"; CHANGED by an upgrade under it: {', '.join(one['changed'])}" if one["changed"] else ""
    return f"{one['rule']}: {does} by {one['file']}{changed}"


#: Lines of blind spots per server: the rest is in `sentinel why` and --json.
_MOST_SPOTS = 4


def _blind_spots(spots: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Blind spots by server, those that block most rules first; the remedy before what is missing."""
    by_entity: dict[str, list[Mapping[str, Any]]] = {}
    for spot in spots:
        by_entity.setdefault(spot["entity"], []).append(spot)
    for entity, mine in by_entity.items():
        yield f"  {entity}"
        mine.sort(key=lambda spot: -len(spot["rules"]))
        for spot in mine[:_MOST_SPOTS]:
            yield f"    {spot['remedy'] or spot['reason']} (for {', '.join(spot['rules'])})"
        if len(mine) > _MOST_SPOTS:
            yield f"    and {len(mine) - _MOST_SPOTS} more"
    yield "  `sentinel why RULE` shows what is unknown, and why"


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
