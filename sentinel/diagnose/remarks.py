"""What a log says beside the findings: failed starts in the server's words, requests that did not fit. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Set

from sentinel.diagnose.answer import earlier
from sentinel.diagnose.diagnosis import Diagnosis
from sentinel.diagnose.error_lines import ECHO
from sentinel.model.text import counted, escape

#: Failed starts shown one by one; a service in a restart loop has thousands.
_MOST_STARTS = 3
#: What to do about a message that nobody has written a rule for.
_NEXT = (
    "What helps as a rule: `sentinel preflight -- COMMAND`, which checks files, flags and memory without a start; the newest "
    "build; a search for the line's own words in llama.cpp's issues."
)
#: Rules that report themselves how a load ended.
_KILLS = frozenset({"load-oom", "server-crashed", "restart-loop"})


def remarks(found: Diagnosis, quoted: Set[tuple[str, int]] = frozenset(), *, kernel: bool) -> Iterator[str]:
    """Each in a sentence; what begins with spaces belongs to the one before. `quoted`: lines that stand above already."""
    yield from _starts(found, quoted, kernel=kernel)
    yield from _refusals(found)
    if found.complaints.last is not None:
        yield (
            "What would settle it: the lines around that error, from a server with more said (-lv 4); the newest build; a search "
            "for its own words in llama.cpp's issues."
        )
    if found.left_out:
        more = "1 more process" if found.left_out == 1 else f"{found.left_out} more processes"
        yield f"{more} of llama-server in the log are too many to be judged: give each server's lines in a file of their own"


def _refusals(found: Diagnosis) -> Iterator[str]:
    """Requests that did not fit, if too few for an alert: the client got the error, but a reader of the log may wonder."""
    if any(t.rule == "context-collapse" for t in found.transitions if t.state == "firing"):
        return
    for times, last in found.refused:
        were = "1 request was" if times == 1 else f"{times} requests were"
        where = escape(f"{last.source}:{last.n}: {last.line}")
        yield f"for information: {were} refused because of the size, and the client got the error: {where}"


def _starts(found: Diagnosis, quoted: Set[tuple[str, int]], *, kernel: bool) -> Iterator[str]:
    """Failed starts, in the server's own words. They are reported even if no rule names the cause."""
    fired = {t.rule for t in found.transitions if t.state == "firing" and t.severity != "info"}
    # Without a finding the line of the last start stands in the verdict.
    said = (
        quoted
        if fired
        else quoted | {(s.line.source, s.line.n) for s in found.starts if s.last and (s.unknown or s.kind != "loading")}
    )
    for start in found.starts[-_MOST_STARTS:]:
        if start.kind in ("ended", "loading", "died") and fired & _KILLS:
            continue
        line = start.line
        shown = f" (line {line.n}, above)" if (line.source, line.n) in said else f": {line.source}:{line.n}: {line.line.strip()}"
        yield f"{earlier(start)}{shown}"
        if start.unknown and start.kind == "loading" and start.last:
            if start.final is not None and start.final.n != line.n:
                yield f"    Its last line is {start.final.source}:{start.final.n}: {start.final.line}"
            yield f"    No rule names that error, and the log does not say how it went on. {_NEXT}"
        elif start.kind in ("failed", "crashed", "ended", "died") and not fired:
            yield f"    No rule names the cause: the lines before this one may. {_NEXT}"
        elif start.kind == "loading" and start.last:
            if start.final is not None:
                yield f"    Its last line is {start.final.source}:{start.final.n}: {start.final.line}"
                if ECHO.search(start.final.line):
                    yield "    That line gives the load up: it did not hang, and the lines before it may say why."
                    continue
            yield (
                "    The kernel's log that was given names no kill of it."
                if kernel
                else "    The log does not say how it went on. A kill stands in the kernel's log: journalctl -k -b > FILE, then "
                "--kernel-log FILE."
            )
            if not kernel and not fired:
                yield (
                    "    Where it never gets further, the load hangs: in the GPU's driver or firmware, which dmesg and one start "
                    "with -ngl 0 show, or on the disk that the model is read from."
                )
    if len(found.starts) > _MOST_STARTS:
        yield f"and {counted(len(found.starts) - _MOST_STARTS, 'earlier start')} that came to no better end"
