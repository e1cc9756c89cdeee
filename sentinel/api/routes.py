"""Which query answers a request: routes like ``/v1/why/{rule}``, path parts decoded, query string parsed. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

API_VERSION = 1
#: More is a mistake or an attack; parse_qsl refuses it before it builds the list.
_MOST_QUERY_FIELDS = 32


class ApiError(Exception):
    """The answer is an error: an HTTP status code and one sentence for the person who asked."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Request:
    """What a query gets: parts of the path by their name in the route, fields of the query string, the body, who asks."""

    params: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    uid: int = -1


@dataclass(frozen=True, slots=True)
class Text:
    """An answer that is not JSON, for example Prometheus text. Its `content_type` says what it is."""

    body: str
    content_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Blob:
    """An answer of bytes, in pieces as they are kept."""

    pieces: Sequence[bytes]
    content_type: str = "application/octet-stream"


Answer = Mapping[str, Any] | Text | Blob
#: Raises ApiError for an answer that is an error. Runs on the daemon's loop: it must not block.
Query = Callable[[Request], Answer | Awaitable[Answer]]


def split_target(target: bytes) -> tuple[str, dict[str, str]]:
    """The path as sent and the decoded query string. Raises ApiError 400 for what is no path."""
    try:
        parts = urlsplit(target.decode("ascii"))
        fields = dict(parse_qsl(parts.query, keep_blank_values=True, max_num_fields=_MOST_QUERY_FIELDS, errors="strict"))
    except ValueError as error:
        raise ApiError(400, f"the request target is no valid path ({error})") from error
    if not parts.path.startswith("/"):
        raise ApiError(400, "the request target must be a path that begins with /, for example /v1/status")
    return parts.path, fields


def match(route: str, path: str) -> dict[str, str] | None:
    """The values of the route's ``{names}``, or None if the path is another one. A value may hold an encoded slash."""
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
    """The query for a request. Raises ApiError 404 for an unknown path, 405 for a method the path does not have."""
    allowed = []
    for (wanted, route), query in queries.items():
        params = match(route, path)
        if params is None:
            continue
        if wanted == method:
            return query, params
        allowed.append(wanted)
    if allowed:
        raise ApiError(405, f"{path} takes {' and '.join(sorted(allowed))}, not {method}")
    raise ApiError(404, f"no such path: {path}; see {' '.join(sorted({route for _, route in queries}))}")
