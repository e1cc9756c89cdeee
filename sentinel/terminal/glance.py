"""What is said of a server at a glance, on every screen that shows many: its verdict, its place, its fullest context. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sentinel.model.alert import SEVERITY_RANK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def verdict(server: Mapping[str, Any], alerts: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """What is to be said of a server in one or two words, and the state that colours it."""
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
    return min((SEVERITY_RANK.get(a["severity"], 3) for a in of_server(server, alerts)), default=3)


def counts(alerts: Sequence[Mapping[str, Any]]) -> list[tuple[int, str]]:
    """How many alerts of each severity are open, the worst first; of none nothing."""
    return [(n, s) for s in SEVERITY_RANK if (n := sum(a["severity"] == s for a in alerts))]


def fullest(server: Mapping[str, Any]) -> float | None:
    """The share of the fullest context of its slots."""
    limit = server.get("ctx_per_slot")
    filled = [server["slot_fill"]] if isinstance(server.get("slot_fill"), float) else []
    return max(filled + [one["tokens"] / limit for one in server.get("contexts") or () if limit], default=None)


def short_size(value: Any) -> str:
    """A size in at most five characters: 812M, 3.1G, 118G."""
    if not isinstance(value, int | float) or value < 0:
        return ""
    mebibytes = value / (1 << 20)
    if mebibytes < 1000:
        return f"{mebibytes:.0f}M"
    return f"{mebibytes / 1024:.{1 if mebibytes < 102_400 else 0}f}G"


def used_memory(host: Mapping[str, Any]) -> tuple[Any, Any]:
    """Used and total memory of the host; None where it is not known."""
    total, free = host.get("mem_total_bytes"), host.get("mem_available_bytes")
    return (None if total is None or free is None else total - free), total


#: What else is shown of a GPU, with its unit.
GPU_MORE = (("busy_percent", "%"), ("power_watts", "W"), ("temp_edge_celsius", "C"))
