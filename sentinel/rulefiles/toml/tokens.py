"""The tokens of TOML as patterns, and what is wrong with one that is none."""

from __future__ import annotations

import re

BLANK = re.compile(r"[ \t]*")
GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
REST_OF_LINE = re.compile(r"[^\n]*\n?")
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
BARE_VALUE = re.compile(r"[^\s,#\]}]+(?: \d\d:[^\s,#\]}]+)?")
QUOTED_KEY = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'")
STRINGS = (
    ('"""', re.compile(r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}', re.DOTALL)),
    ("'''", re.compile(r"'''(?:[^']|'(?!''))*'{3,5}", re.DOTALL)),
    ('"', re.compile(r'"(?:[^"\\\n]|\\.)*"')),
    ("'", re.compile(r"'[^'\n]*'")),
)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))")
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}
#: Bare keys and names only: a quoted one, or a number in brackets, may be a value.
STARTS_STATEMENT = re.compile(r"[ \t]*(?:[A-Za-z0-9_.-]+[ \t]*=[^=]|\[{1,2}[A-Za-z][\w. -]*\]{1,2}[ \t\r]*(?:#.*)?(?:\n|\Z))")


def unquoted(key: str) -> str:
    """A key without its quotes, its escapes resolved."""
    if key[0] == "'":
        return key[1:-1]
    if key[0] != '"':
        return key

    def character(match: re.Match[str]) -> str:
        code = match[1] or match[2]
        if code:
            number = int(code, 16)
            return chr(number) if number < 0x110000 else ""
        return _ESCAPED.get(match[3], match[3])

    return _ESCAPE.sub(character, key[1:-1])


def bad_escape(text: str) -> str:
    """The first escape of a text that TOML does not know; empty for none."""
    for match in _ESCAPE.finditer(text):
        if match[3] is not None and match[3] not in 'btnfr"\\':
            return match[0]
    return ""


def hint(value: str) -> str:
    """The probable meaning of a value written without quotes; empty if it may be a value."""
    lower = value.lower()
    if value in ("true", "false") or lower.lstrip("+-") in ("inf", "nan"):
        return ""
    if lower in ("true", "false", "yes", "no", "on", "off", "none", "null"):
        return f"is {value}; TOML knows true and false" + (
            ", and a value that is not known goes into unknown = [...]" * (lower[0] == "n" and lower != "no")
        )
    if value[0].isalpha() or value[0] == "_":
        return f'is a text without quotes; write "{value}"'
    return ""
