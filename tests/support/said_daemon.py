"""A daemon on a real socket that says what a test wants: the real server of the API, with other answers behind it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from sample_answers import why
from sample_pages import series

from sentinel.api.event_stream import Broadcaster
from sentinel.api.routes import Answer, ApiError, Request, Text
from sentinel.api.server import ApiServer
from sentinel.api.socket import Listener, listen

_T = TypeVar("_T")


class SaidDaemon:
    """It may end, and begin again at the same place. A test changes `status`."""

    def __init__(self, socket: Path, status: Mapping[str, Any]) -> None:
        self.socket = socket
        self.status = status
        self.transitions: list[Mapping[str, Any]] = []
        #: how often each path was asked for
        self.asked: dict[str, int] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._events = Broadcaster()
        self._server: ApiServer | None = None
        self._listener: Listener | None = None

    def begin(self) -> None:
        """Answer."""
        self._run(self._begin())

    def end(self) -> None:
        """Be gone; who follows the events is told by the end of the stream."""
        self._run(self._end())

    def close(self) -> None:
        """For good."""
        if self._server is not None:
            self.end()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def publish(self, transition: Mapping[str, Any], number: int = 1) -> None:
        """Say that an alert changed."""
        self._loop.call_soon_threadsafe(self._events.publish, "transition", transition, number)

    @property
    def streams(self) -> int:
        """How many follow the events."""
        return len(self._events)

    def _run(self, what: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(30)

    async def _begin(self) -> None:
        self._events = Broadcaster()
        queries = {
            ("GET", "/v1/status"): lambda request: self._said(request, "status", self.status),
            ("GET", "/v1/alerts"): lambda request: self._said(request, "alerts", {"alerts": self.status["alerts"]}),
            ("GET", "/v1/history"): lambda request: self._said(
                request, "history", {"transitions": self.transitions, "earlier": None}
            ),
            ("GET", "/v1/series"): self._series,
            ("GET", "/v1/why/{rule}"): self._why,
            ("GET", "/metrics"): lambda request: Text("sentinel_alerts 1\n"),
        }
        self._server = ApiServer(queries, self._events, on_bug=lambda error: None)
        self._listener = listen(self.socket)
        await self._server.start(self._listener.socket)

    async def _end(self) -> None:
        assert self._server is not None
        assert self._listener is not None
        await self._server.close()
        self._listener.close()
        self._server = None

    def _said(self, _request: Request, what: str, answer: Answer) -> Answer:
        self.asked[what] = self.asked.get(what, 0) + 1
        return answer

    def _why(self, request: Request) -> Answer:
        if request.params["rule"] != "cpu-fallback":
            raise ApiError(404, "there is no such rule")
        return why()

    def _series(self, request: Request) -> Answer:
        self.asked["series"] = self.asked.get("series", 0) + 1
        name = unquote(request.query.get("entity", ""), errors="surrogateescape")
        scopes = {one["name"]: "server" for one in self.status["servers"]} | {
            one["address"]: "gpu" for one in self.status["gpus"]
        }
        scopes["host"] = "host"
        if name and name not in scopes:
            raise ApiError(404, "there are no series of that")
        found = [series(scopes[one], one, 30) for one in ([name] if name else scopes)]
        wanted = request.query.get("signal")
        rows = [row for one in found for row in one["series"] if wanted in (None, row["signal"])]
        return {**found[0], "series": rows}
