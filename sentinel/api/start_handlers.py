"""The route with which `sentinel exec` reports a start and its end. Everybody who may open the socket may report his own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

import msgspec

from sentinel.api.bodies import decoded
from sentinel.api.routes import Query, Request, Route, bound
from sentinel.model.input_limits import MOST_ARGV_BYTES, MOST_REPORTED_WORDS, MOST_TEXT

_EXAMPLE = '{"pid": 4711, "at": 1796000000.0, "argv": ["llama-server", "-m", "m.gguf"], "log": "/home/me/log", "code": 256}'


class ReportedStart(msgspec.Struct, forbid_unknown_fields=True):
    """A start, and with `code` its end."""

    pid: Annotated[int, msgspec.Meta(ge=0, le=1 << 22)]
    #: seconds since the epoch
    at: float
    argv: Annotated[
        list[Annotated[str, msgspec.Meta(max_length=MOST_ARGV_BYTES)]], msgspec.Meta(min_length=1, max_length=MOST_REPORTED_WORDS)
    ]
    environ: dict[str, str] = {}
    cwd: Annotated[str, msgspec.Meta(max_length=MOST_TEXT)] = "/"
    log: Annotated[str, msgspec.Meta(max_length=MOST_TEXT)] = ""
    #: as wait(2) has it; null: it has just begun
    code: Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)] | None = None
    why: Annotated[str, msgspec.Meta(max_length=MOST_TEXT)] = ""


ROUTES = (Route("POST", "/v1/starts", "report", "StartTaken", body=ReportedStart),)


class Reporting:
    """`take` gets what was reported, with process id and user id of the peer, and looks at it off the event loop."""

    def __init__(self, take: Callable[[ReportedStart, int, int], Awaitable[None]]) -> None:
        self._take = take

    def routes(self) -> Mapping[tuple[str, str], Query]:
        """The route."""
        return bound(ROUTES, self)

    async def report(self, request: Request) -> Mapping[str, Any]:
        """Report a start of llama-server, or how it ended; for `sentinel exec`."""
        reported = decoded(request.body, ReportedStart, "this is no start", _EXAMPLE)
        await self._take(reported, request.pid, request.uid)
        return {"taken": True}
