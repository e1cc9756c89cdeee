"""Decodes what a request brings."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from sentinel.api.routes import ApiError
from sentinel.model.text import escape

T = TypeVar("T")


def decoded(body: bytes, kind: type[T], not_that: str, example: str) -> T:
    """The body of a request. Raises ApiError, which says `not_that`, why, and what to write instead."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ApiError(400, f"{not_that} ({escape(str(error)):.200}); write for example {example}") from error
