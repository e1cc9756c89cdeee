"""The local API: HTTP/1.1 and JSON on a unix socket. `client` is separate, so that a command imports no server."""

from __future__ import annotations

from sentinel.api.events import Broadcaster, Past
from sentinel.api.listen import SocketInUse, listen
from sentinel.api.routes import ApiError, Blob, Field, Query, Request, Route, Text, bound
from sentinel.api.server import ApiServer

__all__ = [
    "ApiError",
    "ApiServer",
    "Blob",
    "Broadcaster",
    "Field",
    "Past",
    "Query",
    "Request",
    "Route",
    "SocketInUse",
    "Text",
    "bound",
    "listen",
]
