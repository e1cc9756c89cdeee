"""What `sentinel status --verbose` adds: every server's settings, and what sentinel cannot see."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sentinel.cli.output import local, shown, shown_size
from sentinel.model.text import escape
from sentinel.terminal.names import label

#: Lines of blind spots per server: the rest is in `sentinel why` and --json.
_MOST_SPOTS = 4
_MOST_RULES = 3


def details(server: Mapping[str, Any]) -> Iterator[str]:
    """What is known of a running server in addition to its row."""
    name = f"name     {server['name']}, process {shown(server['pid'])} of {shown(server['user'])}"
    yield name + (f", since {local(server['since'])}" if server.get("since") else "")
    if server["is_router"]:
        yield "router   it owns no model: its children do, and are servers of their own here"
    else:
        yield f"model    {shown(server['model_path'])} ({shown_size(server['model_bytes'])})"
        layers = server["gpu_layers_asked"]
        yield f"GPU      {'unknown' if layers is None else f'-ngl {layers}'} requested"
        wanted = server["ctx_requested"]
        yield f"context  {'unknown' if wanted is None else wanted or 'model default'} requested"
        yield f"process  {shown(server['cpu_cores'])} cores, {shown_size(server['locked_bytes'])} locked"
    if server.get("preflight") is not None:
        yield f"at start {shown(server['preflight'])}, by preflight"
    if said := answers(server):
        yield f"answers  {said}"
    yield f"log      {shown(server['log_where'])}"


def answers(server: Mapping[str, Any]) -> str:
    """What the daily check says of its answers, and when it was; why it has not been yet. Empty where it is off."""
    verdict, at, waits = (server.get(f"quality_{one}") for one in ("verdict", "checked_at", "waits"))
    if verdict is None or not at:
        return f"not checked yet: {escape(str(waits))}" if waits else ""
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(float(at)))
    bits, size = server.get("quality_divergence"), server.get("quality_size")
    said = {"same": "as they were learned", "learned": "learned"}.get(
        str(verdict), f"{size} shift" if size else escape(str(verdict))
    )
    return f"{said}{f', {bits:.3f} bits' if bits is not None else ''}, checked {local(made)}"


def override(one: Mapping[str, Any]) -> str:
    """What a file of the user's changes in a rule."""
    does = f"{', '.join(one['fields'])} replaced" if one["enabled"] else "switched off"
    changed = f"; CHANGED by an upgrade under it: {', '.join(one['changed'])}" if one["changed"] else ""
    return f"{one['rule']}: {does} by {one['file']}{changed}"


def blind_spots(spots: Iterable[Mapping[str, Any]], called: Mapping[str, Any]) -> Iterator[str]:
    """Blind spots by server, those that block most rules first; the remedy before what is missing."""
    by_entity: dict[str, list[Mapping[str, Any]]] = {}
    for spot in spots:
        by_entity.setdefault(spot["entity"], []).append(spot)
    for entity, mine in by_entity.items():
        yield f"  {label(entity, called.get(entity))}"
        mine.sort(key=lambda spot: -len(spot["rules"]))
        for spot in mine[:_MOST_SPOTS]:
            rules = spot["rules"]
            more = f" and {len(rules) - _MOST_RULES} more" if len(rules) > _MOST_RULES else ""
            yield f"    {spot['remedy'] or spot['reason']} (for {', '.join(rules[:_MOST_RULES])}{more})"
        if len(mine) > _MOST_SPOTS:
            yield f"    and {len(mine) - _MOST_SPOTS} more"
    yield "  `sentinel why RULE` shows what is unknown, and why"
