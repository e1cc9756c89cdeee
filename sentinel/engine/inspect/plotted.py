"""The values that people look at over time: read once a second from the engine's state. Pure."""

from __future__ import annotations

from sentinel.engine.engine import Engine
from sentinel.engine.inspect.status import faded
from sentinel.model.entity import Entity, Scope

#: The signals of each scope, in the order in which they are stored. Appended, never reordered: the order is that of the files.
PLOTTED: dict[Scope, tuple[str, ...]] = {
    "server": (
        "server.load_share",
        "server.generation_tps",
        "server.prompt_tps",
        "server.slots_busy",
        "server.slot_fill",
        "server.rss_bytes",
        "server.gpu_memory_bytes",
        "server.memory_left_bytes",
        "server.quality_divergence",
    ),
    "gpu": ("gpu.vram_used_bytes", "gpu.gtt_used_bytes", "gpu.busy_percent", "gpu.power_watts", "gpu.temp_edge_celsius"),
    "host": ("host.mem_available_bytes", "host.swap_free_bytes"),
}
#: Speeds are what the log says of one answer: they count in the second that they were reported, not until the next answer.
REPORTED = frozenset({"server.generation_tps", "server.prompt_tps"})
#: A line that is read later than this is of another time: the daemon has just started. Seconds.
_NEWS = 5.0

#: The values of an entity in the order of PLOTTED, None where there is none, with whose it is.
PlottedRow = tuple[Entity, str, tuple[float | None, ...]]


def plotted(engine: Engine, at: float, before: float) -> list[PlottedRow]:
    """What is known at `at` of each entity that has any of it; `before` is the time of the last call, 0 at the first."""
    rows: list[PlottedRow] = []
    since = before or at - _NEWS
    for entity in engine.state.facts.entities():
        run = engine.state.runs.get(entity)
        if (run is not None and run.gone) or faded(engine, entity, at):
            continue
        values: list[float | None] = []
        for name in PLOTTED[entity.scope]:
            fact = engine.state.fact(entity, name, at)
            old = fact is None or (name in REPORTED and not since < fact.at <= at)
            value = None if fact is None or old else fact.value
            values.append(float(value) if isinstance(value, int | float) else None)
        if any(value is not None for value in values):
            rows.append((entity, _owner(engine, entity), tuple(values)))
    return rows


def _owner(engine: Engine, entity: Entity) -> str:
    """The user of a server; empty for the machine's own, and where that is not known."""
    if entity.scope != "server":
        return ""
    owner = engine.state.owner(entity)
    return "" if owner == entity.name else owner
