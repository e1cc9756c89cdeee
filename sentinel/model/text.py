"""Makes text from outside safe to show and to encode; sizes, durations and counts as people read them."""

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
#: a duration as people write it: ``90s``, ``1.5h``
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h|d)$")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
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


def size(count: float) -> str:
    """Bytes in a fitting unit: ``512 MiB``, ``3.25 GiB``, ``24.0 GiB``."""
    if count >= 10 << 30:
        return f"{count / (1 << 30):.1f} GiB"
    return f"{count / (1 << 30):.2f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.0f} MiB"


def size_range(low: float, high: float) -> str:
    """An interval of bytes."""
    return size(low) if size(low) == size(high) else f"{size(low)} to {size(high)}"


def duration(seconds: float) -> str:
    """In a fitting unit: ``12 s``, ``5 min``, ``3.5 h``, ``2 days``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.0f} days"


def exact_duration(seconds: float) -> str:
    """As `parse_duration` reads it: ``90s``, ``5m``, ``2h``, in the largest unit that needs no fraction."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:g}{unit}"
    return f"{seconds:g}s" if seconds >= 1 or not seconds else f"{seconds * 1000:g}ms"


def parse_duration(raw: str) -> float | None:
    """Seconds; None if it is not a duration."""
    match = _DURATION.match(raw.strip())
    return float(match.group(1)) * _SECONDS[match.group(2)] if match else None
