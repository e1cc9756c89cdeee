"""HTML that is safe by construction: whatever is no `Html` is text, and is escaped. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sentinel.model.text import escape

#: Characters of a text from outside: the longest are command lines.
MOST_CHARS = 4200
#: Attributes that no browser runs, or fetches anything for. `style`, which the page's policy forbids, is none of them.
_ATTRIBUTES = frozenset(
    {
        "class", "id", "href", "role", "lang", "charset", "name", "content", "http-equiv", "scope", "open", "datetime",
        "aria-label", "aria-hidden", "data-plot", "type", "viewBox", "preserveAspectRatio", "x", "y", "width", "height", "title",
    }
)  # fmt: skip
#: Where a link may lead: within the page, and of a live one to itself and to a report.
_WITHIN = ("#", "?", "report?")
_VOID = frozenset({"meta", "rect"})
_SPECIAL = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord('"'): "&quot;", ord("'"): "&#39;"}


class Html(str):
    """Markup that is complete in itself."""

    __slots__ = ()


def text(value: object) -> Html:
    """Text from anywhere: control characters and bidirectional marks are shown as escapes, markup as its characters."""
    whole = str(value)
    shown = escape(whole[:MOST_CHARS])
    if len(whole) > MOST_CHARS:
        shown = f"{shown} … ({len(whole) - MOST_CHARS} characters more)"
    return Html(shown.translate(_SPECIAL))


def tag(name: str, /, *inside: object, **attributes: object) -> Html:
    """An element. `inside`: markup, text, and iterables of them; None is nothing. A name's `_` is a hyphen, `class_` is class."""
    words = [name]
    for given, value in attributes.items():
        attribute = given.removesuffix("_").replace("_", "-")
        if attribute not in _ATTRIBUTES or (attribute == "href" and not str(value).startswith(_WITHIN)):
            raise ValueError(f"{attribute}={value!r} has no place in the page")
        if value is not None and value is not False:
            words.append(attribute if value is True else f'{attribute}="{text(value)}"')
    opened = f"<{' '.join(words)}>"
    return Html(opened) if name in _VOID and not inside else Html(f"{opened}{join(inside)}</{name}>")


def join(parts: object) -> Html:
    """Markup, text, or an iterable of them, one after the other."""
    if parts is None:
        return Html()
    if isinstance(parts, Html):
        return parts
    if isinstance(parts, Iterable) and not isinstance(parts, str):
        return Html("".join(join(part) for part in parts))
    return text(parts)
