"""Replaces names, paths, addresses and keys in a page. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from sentinel.diagnose.share import Redactor
from sentinel.report.contents import Page, Plot

#: Without a text from outside: a rule's id, the names of states.
_OWN = frozenset({"severity", "rule", "scope", "state", "zone"})


def redacted(page: Page, redactor: Redactor) -> Page:
    """The page for others, with the same stand-in for the same name everywhere."""
    # Twice: a name that a later text betrays (a user, by the path of his home) stands in earlier ones, too.
    _texts(page, redactor.text)
    return cast(Page, _texts(page, redactor.text))._replace(redacted=True)


def without_keys(page: Page, redactor: Redactor) -> Page:
    """The page for its owner: keys and tokens are not shown to him either, for pages are sent on."""
    return cast(Page, _texts(page, redactor.keys))


def _texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Plot) or value is None or isinstance(value, int | float):
        return value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        fields = {name: getattr(value, name) for name in value._fields}
        return type(value)(**{name: one if name in _OWN else _texts(one, change) for name, one in fields.items()})
    return [_texts(one, change) for one in value]
