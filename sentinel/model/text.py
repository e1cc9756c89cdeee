"""Makes text from outside safe to show and to encode; counts in words."""

from __future__ import annotations

import re

# What a terminal may act upon or hide: C0, DEL and C1 controls, soft hyphen, Arabic letter mark, zero-width space, direction
# marks, line and paragraph separators, bidirectional overrides and isolates, invisible operators, byte order mark, interlinear
# marks, lone surrogates, tag characters. U+200C and U+200D stay: Persian, Indic scripts and emoji are spelled with them.
_UNSAFE_CLASS = (
    "\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f"
)
#: what `escape` replaces
UNSAFE = re.compile(f"[{_UNSAFE_CLASS}]")
#: what UTF-8 cannot encode
SURROGATE = re.compile("[\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escape(text: str) -> str:
    r"""Show control characters, terminal sequences and bidirectional overrides as ``\n``, ``\x1b``, ``\u202e``.

    Printable text of any script stays as it is, and so does a backslash: the result is for reading, not for decoding. A byte
    that was not UTF-8 (kept as a lone surrogate) is shown as that byte.
    """
    return UNSAFE.sub(escaped, text)


def escaped(match: re.Match[str]) -> str:
    """One character as the escape that shows it."""
    char = match.group()
    code = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def clean(text: str) -> str:
    """Text that can be encoded as UTF-8: bytes a process chose that are no UTF-8 (surrogate escapes), and halves of surrogate
    pairs, become U+FFFD."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def counted(number: int, what: str) -> str:
    """``1 line``, ``3 lines``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
