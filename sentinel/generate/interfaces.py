"""What people and programs may ask: docs/commands.md from the command line, docs/api.md from the routes of the socket."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sentinel.api.openapi import document
from sentinel.generate.markdown import MADE, fence, page, prose, table
from sentinel.generate.verbs import EXIT, DescribedVerb, verbs

_SOCKET = "/run/sentinel/sentinel.sock"


def commands_page() -> str:
    """Every verb with its options, as the manual page has them."""
    lines = [MADE.format("sentinel/cli/verbs.py and the options beside it"), "", "# Commands", ""]
    lines += ["Every verb takes `--help`. [Using it](usage.md) shows them at work; `man sentinel` has the same as here.", ""]
    for verb in verbs():
        lines += [f"## sentinel {verb.name}", "", *_verb(verb), ""]
    lines += ["## Exit codes", "", *table(("code", "means"), EXIT)]
    return page(lines)


def _verb(verb: DescribedVerb) -> Iterator[str]:
    yield prose(verb.about)
    yield ""
    yield from fence(f"sentinel {verb.name} {verb.arguments}".rstrip(), "text")
    yield ""
    yield from table(("option", "is"), ((f"`{words}`", prose(about)) for words, about in verb.options))
    if verb.examples:
        wide = max(len(words) for words, _ in verb.examples)
        yield ""
        yield from fence("\n".join(f"sentinel {words:<{wide}}  # {about}" for words, about in verb.examples), "sh")


def api_page() -> str:
    """What the socket answers: each address with its parameters."""
    described = document()
    lines = [MADE.format("sentinel/api/"), "", "# HTTP API", "", prose(described["info"]["description"]), ""]
    lines += fence(f"curl --unix-socket {_SOCKET} http://localhost/v1/status", "sh")
    lines += [
        "",
        "The form of every answer, in OpenAPI 3.1: [openapi.json](openapi.json), or `GET /v1/openapi.json` of your daemon.",
        "",
    ]
    rows = [
        (f"`{method.upper()} {path}`", *_operation(about))
        for path, methods in described["paths"].items()
        for method, about in methods.items()
    ]
    return page([*lines, *table(("request", "answers", "takes"), rows)])


def _operation(about: Mapping[str, Any]) -> tuple[str, str]:
    taken = [f"`{one['name']}`: {prose(one['description'])}" for one in about.get("parameters", ())]
    if "requestBody" in about:
        taken.append("a JSON object")
    return prose(about["summary"]), "; ".join(taken)
