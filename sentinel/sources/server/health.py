"""Polls a llama-server whose log cannot be read: ready or loading (/health), and the context it serves (/props).

Only these two: /health answers without a key and without waking the server's loop, /props costs one answer per start. /metrics
is never requested, because a scrape resets gauges that the user may watch, and for /slots older builds log a line per request
(llama.cpp, tools/server). Only loopback addresses are polled: the command line of a process is untrusted and must not send
sentinel to another host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sentinel.model.entity import Unknown, Value
from sentinel.model.input_limits import MOST_ASKED_AT_A_TIME
from sentinel.model.reading import Reading, Samples
from sentinel.sources.fs import Roots
from sentinel.sources.processes.listening import ports, shares_network
from sentinel.sources.processes.server_process import ServerProcess
from sentinel.sources.server.http import TIMED_OUT, get_all

#: Seconds between requests: while it loads, and once it is ready.
_WHILE_LOADING, _WHEN_READY = 2.0, 30.0
#: One that lets the time limit pass is asked after twice the pause each time, up to this. Seconds.
_LONGEST = 60.0
_LOOPBACK = {
    "": "127.0.0.1",
    "localhost": "127.0.0.1",
    "127.0.0.1": "127.0.0.1",
    "0.0.0.0": "127.0.0.1",  # noqa: S104
    "::1": "::1",
    "::": "::1",
}


@dataclass(slots=True)
class _Asked:
    start: float
    at: float = float("-inf")
    ready: bool = False
    context: bool = False
    #: how often in a row it did not answer in time
    silent: int = 0

    def due(self) -> float:
        """When it is asked again."""
        pause = _WHEN_READY if self.ready else _WHILE_LOADING
        return self.at + max(pause, min(_WHILE_LOADING * 2.0 ** min(self.silent, 10), _LONGEST) if self.silent else 0.0)


class LlamaHttp:
    """Polled source: `servers` are those running now, `hidden` says whether a server's log is unreadable."""

    name = "llama_http"
    interval = 2.0
    blocking = True

    def __init__(
        self, servers: Callable[[], Sequence[ServerProcess]], hidden: Callable[[ServerProcess], bool], roots: Roots | None = None
    ) -> None:
        self._servers = servers
        self._roots = Roots() if roots is None else roots
        self._hidden = hidden
        self._asked: dict[int, _Asked] = {}

    def poll(self, at: float) -> Sequence[Reading]:
        """Query each server that is due. No answer proves nothing: it may listen elsewhere."""
        running = [s for s in self._servers() if self._hidden(s)]
        self._asked = {s.pid: self._asked.get(s.pid, _Asked(s.start_time)) for s in running}
        due = sorted((s for s in running if at >= self._asked[s.pid].due()), key=lambda s: self._asked[s.pid].at)
        asked = [(s, self._asked[s.pid], where) for s in due if (where := loopback(s, self._roots)) is not None]
        asked = asked[:MOST_ASKED_AT_A_TIME]
        found: dict[int, dict[str, Value | Unknown]] = {}
        answers = get_all([(*where, "/health") for _, _, where in asked])
        for (server, state, _), answer in zip(asked, answers, strict=True):
            state.at = at
            state.silent = state.silent + 1 if answer[0] == TIMED_OUT else 0
            said = state_of(answer)
            state.ready = said == "ready"
            if said:
                found[server.pid] = {"server.state": said}
        new = [one for one in asked if one[1].ready and not one[1].context]
        for (server, state, _), answer in zip(new, get_all([(*where, "/props") for _, _, where in new]), strict=True):
            state.context = True
            found[server.pid] |= context_of(answer)
        return [Samples(at, self.name, server.entity, found[server.pid]) for server, _, _ in asked if server.pid in found]


def loopback(server: ServerProcess, roots: Roots) -> tuple[str, int] | None:
    """The server's loopback address; None if it listens elsewhere, on a socket, or not yet.

    In a container the same address belongs to another network: a different server may answer there.
    """
    host = _LOOPBACK.get(str(server.values.get("server.host", "")))
    port = server.values.get("server.port")
    if host is None or not isinstance(port, int) or not 0 < port < 65536 or not shares_network(roots, server.pid):
        return None
    if "port" in server.requested.settings:
        return host, port
    # the default changes with the build (b11434 announces 9931)
    open_ports = ports(roots, server.pid)
    if open_ports is None or port in open_ports:
        return host, port
    return (host, min(open_ports)) if len(open_ports) == 1 else None


def state_of(answer: tuple[int, Any]) -> str:
    """``ready`` or ``loading``; empty if the answer is not llama-server's (README of tools/server, /health)."""
    status, body = answer
    if not isinstance(body, Mapping):
        return ""
    if status == 200 and body.get("status") == "ok":
        return "ready"
    error = body.get("error")
    if status == 503 and isinstance(error, Mapping) and error.get("message") == "Loading model":
        return "loading"
    return ""


def context_of(answer: tuple[int, Any]) -> dict[str, Value]:
    """Context of a slot and number of slots from /props; empty if a key is required or they are missing."""
    status, body = answer
    if status != 200 or not isinstance(body, Mapping):
        return {}
    values: dict[str, Value] = {}
    settings = body.get("default_generation_settings")
    context = settings.get("n_ctx") if isinstance(settings, Mapping) else None
    if isinstance(context, int) and not isinstance(context, bool) and 0 < context < 1 << 40:
        values["server.ctx_per_slot"] = context
    slots = body.get("total_slots")
    if isinstance(slots, int) and not isinstance(slots, bool) and 0 < slots < 1 << 20:
        values["server.slots"] = slots
    return values
