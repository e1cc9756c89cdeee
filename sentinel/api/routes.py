"""Maps requests to queries: routes like ``/v1/why/{rule}``, with path parts decoded and the query string parsed. Pure."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from sentinel.model.input_limits import MOST_NUMBER, MOST_QUERY_FIELDS
from sentinel.model.problem import did_you_mean
from sentinel.model.text import escape

API_VERSION = 1
#: Where `sentinel cure` reports.
RESTARTS = "/v1/restarts"
_WHOLE = re.compile("[0-9]+")
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")


class ApiError(Exception):
    """An error answer: an HTTP status code, one sentence for the user, and additional keys in `more`.

    A 405 lists the allowed methods.
    """

    def __init__(self, code: int, message: str, allow: Sequence[str] = (), more: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.allow = tuple(allow)
        self.more = more or {}


@dataclass(frozen=True, slots=True)
class Request:
    """The input of a query: path parts by their name in the route, fields of the query string, the body, and the peer's ids."""

    params: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    uid: int = -1
    pid: int = 0


@dataclass(frozen=True, slots=True)
class Text:
    """An answer that is not JSON, for example Prometheus text, with its `content_type`."""

    body: str
    content_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Blob:
    """A binary answer, in chunks."""

    pieces: Sequence[bytes]
    content_type: str = "application/octet-stream"


#: The types of query-string fields.
FieldKind = Literal["text", "number", "whole", "flag"]


@dataclass(frozen=True, slots=True)
class QueryField:
    """A field of the query string. Numbers are from `least` to `most`."""

    name: str
    kind: FieldKind
    help: str
    least: float = 0.0
    most: float = 1e12


@dataclass(frozen=True, slots=True)
class Route:
    """A path with its input and output; the description of the API is generated from the routes.

    `call` is the method that serves it; its docstring is the description. `answer` is the JSON's type, by its name in
    api/schema.py (the daemon does not import the types, which take 0.7 MB), or the content type of another answer. `parts`
    describe the ``{names}`` in the path.
    """

    method: str
    path: str
    call: str
    answer: str
    parts: Mapping[str, str] = field(default_factory=dict)
    fields: tuple[QueryField, ...] = ()
    body: type | None = None
    #: its status codes in addition to those of every path
    refuses: tuple[int, ...] = ()


Answer = Mapping[str, Any] | Text | Blob
#: Raises ApiError for an error answer. Runs on the daemon's event loop, so it must not block.
Query = Callable[[Request], Answer | Awaitable[Answer]]


def bound(routes: Iterable[Route], owner: object) -> dict[tuple[str, str], Query]:
    """The queries of an object, by method and path; each refuses query-string fields that its route does not define."""
    return {(route.method, route.path): _checked(route, getattr(owner, route.call)) for route in routes}


def _checked(route: Route, query: Query) -> Query:
    known = {one.name: one for one in route.fields}

    def ask(request: Request) -> Answer | Awaitable[Answer]:
        for name, value in request.query.items():
            if name not in known:
                there = f"it has {', '.join(known)}" if known else "it has none"
                raise ApiError(400, f"{route.path} has no field '{escape(name):.60}'{did_you_mean(name[:60], known)}; {there}")
            _check(known[name], value)
        return query(request)

    return ask


def _check(one: QueryField, value: str) -> None:
    shown = f"'{escape(value):.60}'"
    match one.kind:
        case "text":
            return
        case "flag":
            if value not in ("0", "1", "true", "false"):
                raise ApiError(400, f"{one.name} is {shown}; write 1 or 0")
        case "number" | "whole":
            number = _number(value, whole=one.kind == "whole")
            if number is None or not one.least <= number <= one.most:
                kind = "a whole number" if one.kind == "whole" else "a number"
                raise ApiError(400, f"{one.name} is {shown}; write {kind} from {one.least:.0f} to {one.most:.0f}")


def _number(text: str, *, whole: bool) -> float | None:
    """Parse a number in JSON's syntax: Python's functions also accept underscores, blanks, non-ASCII digits, nan and inf."""
    if len(text) > MOST_NUMBER or not (_WHOLE if whole else _DECIMAL).fullmatch(text):
        return None
    # As a float the number after the largest would be the largest.
    return int(text) if whole else float(text)


def split_target(target: bytes) -> tuple[str, dict[str, str]]:
    """The path as sent and the decoded query string. Raises ApiError 400 if the target is not a path."""
    try:
        parts = urlsplit(target.decode("ascii"))
        fields = dict(parse_qsl(parts.query, keep_blank_values=True, max_num_fields=MOST_QUERY_FIELDS, errors="strict"))
    except ValueError as error:
        raise ApiError(400, f"the request target is no valid path ({error})") from error
    if not parts.path.startswith("/"):
        raise ApiError(400, "the request target must be a path that begins with /, for example /v1/status")
    return parts.path, fields


def match(route: str, path: str) -> dict[str, str] | None:
    """The values of the route's ``{names}``, or None if the path does not match. A value may contain an encoded slash."""
    wanted, given = route.split("/"), path.split("/")
    if len(wanted) != len(given):
        return None
    params: dict[str, str] = {}
    for pattern, part in zip(wanted, given, strict=True):
        if pattern.startswith("{") and part:
            params[pattern[1:-1]] = unquote(part, errors="surrogateescape")
        elif pattern != part:
            return None
    return params


def find(queries: Mapping[tuple[str, str], Query], method: str, path: str) -> tuple[Query, dict[str, str]]:
    """The query for a request. Raises ApiError 404 for an unknown path, 405 for a method that the path does not allow."""
    allowed = []
    for (wanted, route), query in queries.items():
        params = match(route, path)
        if params is None:
            continue
        if wanted == method:
            return query, params
        allowed.append(wanted)
    if allowed:
        takes = sorted(allowed)
        raise ApiError(405, f"{path} takes {' and '.join(takes)}, not {method}", [*takes, *(["HEAD"] if "GET" in takes else [])])
    raise ApiError(404, f"no such path: {path}; see {' '.join(sorted({route for _, route in queries}))}")
