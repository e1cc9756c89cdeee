"""The description of the API in OpenAPI 3.1, generated from the routes and the types of their answers.

`GET /v1/openapi.json` on the socket; `python -m sentinel.api.openapi FILE [--check]` writes docs/openapi.json. Its descriptions
are the docstrings of the methods that answer.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

import sentinel
from sentinel.api import ending_handlers, handlers, restart_handlers, series_handlers, silence_handlers, start_handlers
from sentinel.api.routes import API_VERSION, Query, QueryField, Request, Route, bound

_REF = "#/components/schemas/{name}"
_ABOUT = """\
HTTP/1.1 on a unix socket: /run/sentinel/sentinel.sock for the service, $XDG_RUNTIME_DIR/sentinel/sentinel.sock for a user's own \
daemon. Whoever may open the socket may read, and report a start of llama-server; only root and the daemon's own user may change \
anything, by the credentials of the peer. HEAD is answered wherever GET is. Requests \
of more than 64 KiB, or that take longer than 10 seconds, are refused."""
_EVENTS = """\
Server-sent events as they happen: `hello` once, then a `transition` with each change of an alert. With the header Last-Event-ID \
it goes on where the client was, also after a restart of the daemon; `gap`: something that followed is not kept any more."""
#: Error answers of any request. 405: another method; 408 and 413: too slow or too large.
_OF_ALL = {
    400: "The request, or a field of it, is wrong.",
    405: "The path does not take this method; the header Allow says which it takes.",
    408: "The request did not arrive in time.",
    413: "The body is too large.",
    431: "The head is too large.",
    503: "Too many clients, or there is none yet.",
}
_OF_SOME = {
    403: "For root and the daemon's own user.",
    404: "There is no such thing; the sentence names the nearest.",
    409: "There are as many as there may be, or what it names goes on.",
    422: "There are mistakes in the rules; the old ones stay active.",
    500: "It could not be read, or a bug.",
}


class Description:
    """Serves the description itself."""

    def openapi(self, _request: Request) -> Mapping[str, Any]:
        """This description, in OpenAPI 3.1."""
        return document()

    def routes(self) -> Mapping[tuple[str, str], Query]:
        """The route."""
        return bound(_OWN, self)


#: JSON whose form is described elsewhere.
_ANY = "application/json"
_OWN = (Route("GET", "/v1/openapi.json", "openapi", _ANY),)
#: Every route of the daemon, except the event stream, with the class that serves it.
ROUTES: tuple[tuple[Route, type], ...] = (
    *((route, handlers.Queries) for route in handlers.ROUTES),
    *((route, silence_handlers.Silencing) for route in silence_handlers.ROUTES),
    *((route, ending_handlers.Ending) for route in ending_handlers.ROUTES),
    *((route, start_handlers.Reporting) for route in start_handlers.ROUTES),
    *((route, restart_handlers.Restarting) for route in restart_handlers.ROUTES),
    *((route, series_handlers.Plotting) for route in series_handlers.ROUTES),
    *((route, Description) for route in _OWN),
)


def document() -> dict[str, Any]:
    """The description as plain data."""
    # Only this needs the types, so they are imported here: without a request they cost nothing.
    from sentinel.api import schema

    named = {route.answer for route, _ in ROUTES if "/" not in route.answer} | {"Refusal"}
    bodies = [route.body for route, _ in ROUTES if route.body is not None]
    types = [getattr(schema, name) for name in sorted(named)]
    _, schemas = msgspec.json.schema_components([*types, *bodies], ref_template=_REF)
    for name in named:
        # Every answer has it in addition to its own keys.
        schemas[name]["properties"] = {"api_version": {"const": API_VERSION}, **schemas[name]["properties"]}
        schemas[name]["required"] = ["api_version", *schemas[name].get("required", ())]
    schemas["AskedSilence"] |= silence_handlers.ONE_RULE_OR_ALL
    paths: dict[str, dict[str, Any]] = {}
    for route, owner in ROUTES:
        operation = _operation(route, getattr(owner, route.call).__doc__ or "")
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    paths["/v1/events"] = {"get": _events()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "sentinel", "version": sentinel.__version__, "description": _ABOUT, "license": {"name": "MIT"}},
        "servers": [{"url": "http://localhost", "description": "with the unix socket underneath"}],
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": dict(sorted(schemas.items())), "responses": _responses()},
    }


def _operation(route: Route, doc: str) -> dict[str, Any]:
    asked = [_part(name, text) for name, text in route.parts.items()] + [_field(one) for one in route.fields]
    content: dict[str, Any]
    if "/" in route.answer:
        content = {route.answer: {"schema": {"type": "object" if route.answer == _ANY else "string"}}}
    else:
        content = {"application/json": {"schema": {"$ref": _REF.format(name=route.answer)}}}
    operation: dict[str, Any] = {"operationId": f"{route.method.lower()}-{route.call}", "summary": _sentence(doc)}
    if asked:
        operation["parameters"] = asked
    if route.body is not None:
        ref = {"$ref": _REF.format(name=route.body.__name__)}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": ref}}}
    operation["responses"] = {"200": {"description": "Done.", "content": content}, **_refusals(route.refuses)}
    return operation


def _refusals(some: Iterable[int]) -> dict[str, Any]:
    return {str(code): {"$ref": f"#/components/responses/{code}"} for code in sorted({*_OF_ALL, *some})}


def _responses() -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": _REF.format(name="Refusal")}}}
    return {str(code): {"description": text, "content": content} for code, text in sorted({**_OF_ALL, **_OF_SOME}.items())}


def _part(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": text, "schema": {"type": "string", "minLength": 1}}


def _field(one: QueryField) -> dict[str, Any]:
    kinds: dict[str, dict[str, Any]] = {
        "text": {"type": "string"},
        "number": {"type": "number", "minimum": one.least, "maximum": one.most},
        "whole": {"type": "integer", "minimum": int(one.least), "maximum": int(one.most)},
        "flag": {"type": "string", "enum": ["0", "1", "true", "false"]},
    }
    return {"name": one.name, "in": "query", "required": False, "description": one.help, "schema": kinds[one.kind]}


def _events() -> dict[str, Any]:
    header = {
        "name": "Last-Event-ID",
        "in": "header",
        "required": False,
        "description": "the id of the last event that the client had",
        "schema": {"type": "string", "pattern": "^[0-9a-f]+-[0-9]+$"},
    }
    stream = {"text/event-stream": {"schema": {"type": "string"}}}
    return {
        "operationId": "get-events",
        "summary": _EVENTS,
        "parameters": [header],
        "responses": {"200": {"description": "Until either side ends it.", "content": stream}, **_refusals(())},
    }


def _sentence(doc: str) -> str:
    return " ".join(doc.split())


def main(argv: Sequence[str] | None = None) -> int:
    """Write the file, or with --check report whether it is stale."""
    options = argparse.ArgumentParser(prog="python -m sentinel.api.openapi", description="Makes the description of the API.")
    options.add_argument("file", type=Path)
    options.add_argument("--check", action="store_true", help="write nothing; fail when the file is stale")
    arguments = options.parse_args(argv)
    file: Path = arguments.file
    text = json.dumps(document(), indent=1) + "\n"
    if file.is_file() and file.read_text(encoding="utf-8") == text:
        return 0
    if arguments.check:
        sys.stdout.write(f"{file} is stale; make docs\n")
        return 1
    file.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{file}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
