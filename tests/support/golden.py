"""Screens held against what was looked at: `tests/cli/golden`. SENTINEL_GOLDEN=write writes them; read the difference then."""

from __future__ import annotations

import os
import re

from places import TESTS

from sentinel.terminal.style import cells

_GOLDEN = TESTS / "cli" / "golden"
#: What is not folded: commands are there to be copied, and the place of a mistake in a file is for editors.
_WHOLE = re.compile(r" *(?:\$|do:) |sentinel: |\S+\.toml:")


def compare(name: str, text: str) -> None:
    """Hold it against its golden file, or write that."""
    file = _GOLDEN / f"{name}.txt"
    if os.environ.get("SENTINEL_GOLDEN") == "write":
        file.write_text(text, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == text, "read the difference; then SENTINEL_GOLDEN=write"


def fits(text: str, width: int) -> None:
    """No line is wider than the terminal, but for a command, or a word that is wider itself."""
    for line in text.splitlines():
        assert cells(line) <= width or _WHOLE.match(line) or len(line.split()) <= 2, line
