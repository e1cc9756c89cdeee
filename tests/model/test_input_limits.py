"""One room for the limits of what enters from outside: who asks what a stranger may cost reads one file."""

from __future__ import annotations

import ast
import re

from places import REPO

#: Where things from outside enter, and where they are kept.
BORDER = ("files", "gguf", "sources", "engine", "recording", "api", "daemon", "history")
#: Limits of something else: what we write ourselves, what the kernel takes, what belongs to root's own files.
OWN = {
    "api/client.py:_MOST_LINES": "of the daemon's answers, in a person's program",
    "api/ending_handlers.py:_MOST_NAMES": "names in a sentence of ours",
    "api/handlers.py:_MOST_SPENT": "seconds",
    "api/silence_handlers.py:_MOST_NAMES": "names in a sentence of ours",
    "daemon/inbox.py:_MOST_AT_ONCE": "readings that one turn takes: pace, not size",
    "daemon/log_reports.py:_MOST_NAMED": "names in a sentence of ours",
    "daemon/malloc.py:_M_ARENA_MAX": "glibc's name",
    "engine/log/captures.py:_MOST": "the numbers that CEL and SQLite hold",
    "engine/log/match.py:_MAX_MEM": "memory of our own patterns",
    "engine/log/prefilter.py:_MOST": "repeats in our own patterns",
    "engine/rules/expression.py:MAX_SOURCE": "of root's own rules",
    "engine/rules/operations.py:MOST": "the numbers that CEL holds",
    "history/history.py:MOST_IN_MEMORY": "transitions of ours that wait for a disk",
    "history/series.py:_MOST_BATCHES": "what waits for a disk",
    "history/series.py:_MOST_WINDOWS": "what waits for a disk",
    "history/series_file.py:MOST_BYTES": "our own file",
    "history/series_file.py:MOST_CODES": "our own file",
    "history/series_points.py:_MOST_CODE": "our own file",
    "history/sqlite_file.py:_MOST_ASIDE": "our own files",
    "sources/look.py:MOST_BYTES": "of a file of the kernel, in a program of its own that imports nothing of ours",
    "sources/processes/proc_events.py:_MOST_AT_ONCE": "events that one turn takes: pace, not size",
    "sources/look.py:_MOST_AT_ONCE": "events that one turn takes: pace, not size",
    "sources/look.py:_MOST_ENDS": "the same program",
}


def test_no_other_room_sets_a_limit_for_what_enters() -> None:
    found = set()
    for room in BORDER:
        for path in (REPO / "sentinel" / room).rglob("*.py"):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                targets = node.targets if isinstance(node, ast.Assign) else []
                names = [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
                mine = [name for name in names if re.match(r"_?(?:M_\w+_)?(?:MOST|MAX|DEEPEST)(?:_|\Z)|_M_ARENA_MAX", name)]
                found |= {f"{path.relative_to(REPO / 'sentinel').as_posix()}:{name}" for name in mine}
    assert found == OWN.keys()
