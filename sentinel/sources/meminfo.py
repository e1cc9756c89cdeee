"""Sizes that the kernel prints one a line, as ``MemTotal:  16303428 kB``: /proc/meminfo, /proc/PID/status."""

from __future__ import annotations

from collections.abc import Container

from sentinel.sources.fs import Roots, read_text


def meminfo(roots: Roots, wanted: Container[str]) -> dict[str, int]:
    """Bytes of the wanted lines of /proc/meminfo. Raises OSError."""
    return sizes(read_text(roots.proc / "meminfo"), wanted)


def sizes(text: str, wanted: Container[str]) -> dict[str, int]:
    """Bytes by key; the kernel writes kB and means 1024. A line that is missing or holds no number is left out."""
    found = {}
    for line in text.splitlines():
        key, _, rest = line.partition(":")
        if key in wanted and (words := rest.split(None, 1)) and words[0].isdigit():
            found[key] = int(words[0]) * 1024
    return found
