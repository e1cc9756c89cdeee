"""Where the program stands among the words of a command line. No more is imported than that: `diagnose` asks it of each log."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from sentinel.sources.processes.identify import is_server_name

#: a variable set before a program
ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)\Z", re.DOTALL)


def find_program(words: Sequence[str]) -> int | None:
    """Index of the program: the first word that is named like a server."""
    return next((at for at, word in enumerate(words) if is_server_name(os.path.basename(word))), None)  # noqa: PTH119


def split(words: Sequence[str]) -> tuple[int | None, dict[str, str]]:
    """Index of the program, else of the first flag or the first word that is not an assignment; and the assignments before it."""
    first = next((at for at, word in enumerate(words) if word != "env" and ASSIGNMENT.match(word) is None), None)
    at = None if first is None or words[first].startswith("-") else find_program(words)
    matches = (ASSIGNMENT.match(word) for word in words[: first if at is None else at])
    return first if at is None else at, {match[1]: match[2] for match in matches if match is not None}
