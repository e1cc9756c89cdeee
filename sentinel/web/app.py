"""Which path has which answer. Answers are made on threads: the daemon is asked there, and pages are written."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from sentinel.api import client
from sentinel.api.places import ClientPlace, Places
from sentinel.api.routes import API_VERSION
from sentinel.api.turns import Turns
from sentinel.diagnose.share import Redactor
from sentinel.model.fault import Fault
from sentinel.model.input_limits import MOST_QUERY_FIELDS
from sentinel.model.json_form import to_json
from sentinel.model.text import escape
from sentinel.report.page import asset, uplot
from sentinel.report.summary import summary
from sentinel.web.answers import Answers, Refused
from sentinel.web.gate import Refusal
from sentinel.web.page import render
from sentinel.web.relay import Relay
from sentinel.web.reports import Reports
from sentinel.web.view import SPANS, Views

#: Event streams at a time: each is a thread here, and a stream of the daemon's, which has sixteen for a user. One user may have
#: all until another comes.
MOST_STREAMS = 12
#: Questions of one user that wait; as many as there are connections. Those of connections that are gone wait on.
_MOST_WAITING = 128
#: What is passed on as the daemon has it, with what kind of text it is.
PASSED_ON = {
    "/metrics": "text/plain; version=0.0.4; charset=utf-8",
    **dict.fromkeys(("/v1/status", "/v1/alerts", "/v1/history", "/v1/series"), "application/json"),
}
_MOST_OF_A_NAME = 4200
_HERE = Path(__file__).parent


class Site:
    """The answers."""

    def __init__(self, answers: Answers, host: str) -> None:
        self._answers = answers
        self._views = Views(answers, host)
        self._reports = Reports(answers, host)
        self._relays: set[Relay] = set()
        self._streams = Places(MOST_STREAMS, MOST_STREAMS, 0)
        #: who asks much waits behind who asks little, and the threads stay free for what needs no turn
        self._turns = Turns()
        self._waiting: Counter[int] = Counter()
        #: seconds that each kind of answer took the last time
        self._took: dict[str, float] = {}
        self._redactor = Redactor([])

    def app(self) -> Starlette:
        """The application, without what stands before it (gate.py)."""
        routes = [
            Route("/", self._in_turn(self._page)),
            Route("/report", self._in_turn(self._report)),
            Route("/live.css", _file(style, "text/css; charset=utf-8")),
            Route("/live.js", _file(script, "text/javascript; charset=utf-8")),
            Route("/v1/summary", self._in_turn(self._summary)),
            Route("/v1/events", self._events),
            *(Route(path, self._in_turn(self._passed_on)) for path in PASSED_ON),
        ]
        app = Starlette(routes=routes, exception_handlers=dict.fromkeys((Refusal, HTTPException, Fault), _refused))
        app.router.redirect_slashes = False
        return app

    def _in_turn(self, made: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
        """One at a time, and next is who will have had least of the time; made on a thread."""

        async def answer(request: Request) -> Response:
            place, path = _place(request), request.scope["path"]
            if self._waiting[place.whose] >= _MOST_WAITING:
                raise Refusal(503, f"{_MOST_WAITING} questions of yours wait already")
            self._waiting[place.whose] += 1
            try:
                async with self._turns.of(place.user, self._took.get(path, 0.0)):
                    if place.is_over:
                        return Response(status_code=503)
                    begin = time.monotonic()
                    try:
                        return await run_in_threadpool(made, request)
                    finally:
                        self._took[path] = time.monotonic() - begin
            finally:
                self._waiting[place.whose] -= 1
                if not self._waiting[place.whose]:
                    del self._waiting[place.whose]

        return answer

    def _page(self, request: Request) -> Response:
        asked = _fields(request, ("of", "since"))
        body = render(self._views.view(_span(asked), asked.get("of", "")[:_MOST_OF_A_NAME])).encode("utf-8", "replace")
        return _kept(request, body, "text/html; charset=utf-8")

    def _report(self, request: Request) -> Response:
        span = _span(_fields(request, ("since",)), "24h")
        body, policy = self._reports.page(SPANS[span])
        return Response(body, media_type="text/html", headers={"content-security-policy": policy, "x-frame-options": "DENY"})

    def _summary(self, request: Request) -> Response:
        _fields(request, ())
        status, fault = self._views.status_or_fault()
        said = summary(status, fault, self._views.host)
        clean = {key: self._redactor.keys(value) if isinstance(value, str) else value for key, value in said.items()}
        return _json({"api_version": API_VERSION, **clean})

    def _passed_on(self, request: Request) -> Response:
        path, query = request.scope["path"], request.scope["query_string"].decode("ascii")
        body = self._answers.body(f"{path}?{query}" if query else path)
        return Response(body, headers={"content-type": PASSED_ON[path]})

    async def _events(self, request: Request) -> Response:
        if request.method == "HEAD":
            return Response(headers={"content-type": "text/event-stream"})
        _fields(request, ())
        mine, begun = _place(request), -time.monotonic()
        # A stream waits for nobody: whoever has most of them gives up the one that began last.
        place = ClientPlace(mine.user, waits_since=lambda: begun, end=mine.end)
        if not self._streams.take(place):
            raise Refusal(503, f"{len(self._streams)} pages follow the events, and no more may")
        relay = Relay(client.Stream(self._answers.sockets, request.headers.get("last-event-id", "")))
        self._relays.add(relay)

        def ended() -> None:
            relay.close()
            self._relays.discard(relay)
            self._streams.leave(place)

        try:
            first = await relay.begin()
        except BaseException:
            ended()
            raise
        return _Stream(relay, first, ended)

    def close(self) -> None:
        """End the streams: the program stops."""
        for relay in self._relays:
            relay.close()


class _Stream(StreamingResponse):
    """Ends what it reads when it ends, also where the client left before the first word."""

    def __init__(self, relay: Relay, first: bytes, ended: Callable[[], None]) -> None:
        super().__init__(relay.frames(first), media_type="text/event-stream")
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()


def _place(request: Request) -> ClientPlace:
    place: ClientPlace = request.scope["state"]["place"]
    return place


def _fields(request: Request, known: tuple[str, ...]) -> dict[str, str]:
    try:
        pairs = parse_qsl(request.scope["query_string"].decode("ascii"), keep_blank_values=True, max_num_fields=MOST_QUERY_FIELDS)
    except ValueError as error:
        raise Refusal(400, f"the query string cannot be read ({error})") from error
    asked = dict(pairs)
    for name in asked:
        if name not in known:
            there = f"it has {', '.join(known)}" if known else "it has none"
            raise Refusal(400, f"{request.scope['path']} has no field '{escape(name):.60}'; {there}")
    return asked


def _span(asked: dict[str, str], default: str = "1h") -> str:
    span = asked.get("since", default)
    if span not in SPANS:
        raise Refusal(400, f"since is '{escape(span):.60}'; write {', '.join(SPANS)}")
    return span


def _kept(request: Request, body: bytes, kind: str) -> Response:
    """An answer that is sent once and then only named, as long as it stays the same."""
    headers = {"etag": f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"', "cache-control": "private, no-cache"}
    if headers["etag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(body, headers={**headers, "content-type": kind})


def _json(value: dict[str, Any], code: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    return Response(f"{to_json(value)}\n".encode(), code, {**dict(headers), "content-type": "application/json"})


def _file(content: Callable[[], str], kind: str) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        return _kept(request, content().encode(), kind)

    return answer


@cache
def style() -> str:
    """Of the report, and what the live page has beside it."""
    return "\n".join((asset("vendor/uPlot.min.css"), asset("assets/page.css"), _own("live.css")))


@cache
def script() -> str:
    """The plots of the report, and what keeps the page live."""
    return f"{uplot()}\n{asset('assets/page.js')}\n{_own('live.js')}"


def _own(name: str) -> str:
    return (_HERE / "assets" / name).read_text(encoding="utf-8")


async def _refused(_request: Request, error: Exception) -> Response:
    """Of the gate's form, whoever refuses: the path, the daemon, or that there is none."""
    match error:
        case Refused():
            return _json(error.answer or {"error": {"code": error.code, "message": str(error)}}, error.code)
        case Refusal():
            return _json({"error": {"code": error.code, "message": error.message}}, error.code, error.headers)
        case HTTPException(status_code=404):
            return _json({"error": {"code": 404, "message": "there is no such path; / is the page"}}, 404)
        case HTTPException():
            return _json({"error": {"code": error.status_code, "message": error.detail}}, error.status_code)
    return _json({"error": {"code": 502, "message": str(error)}}, 502)
