"""The answer of `sentinel diagnose` for people: the verdict first, then each finding, then what would settle the rest."""

from __future__ import annotations

from collections.abc import Iterator

from sentinel.cli.output import style
from sentinel.diagnose.answer import AlertInRun, earlier, findings, settling, verdict
from sentinel.diagnose.diagnosis import Diagnosis
from sentinel.model.alert import LineEvidence
from sentinel.model.json_form import transition_to_dict
from sentinel.model.text import counted, escape
from sentinel.terminal.alert import MOST_LINES, render_finding
from sentinel.terminal.style import BOLD, DIM, Style, wrap

#: Failed starts shown one by one; a service in a restart loop has thousands.
_MOST_STARTS = 3
#: Rules that report themselves how a load ended.
_KILLS = frozenset({"load-oom", "server-crashed", "restart-loop"})


def show(found: Diagnosis, *, files: bool, kernel: bool) -> None:
    """Print the answer."""
    look = style()
    said = findings(found)
    if not said and files and found.events == 0 and not found.starts:
        _say(f"nothing can be said: {_unknown_lines(found.lines)}", look, state="unknown")
        return
    # An advisory alone is the verdict as well: it is not said twice.
    same = bool(said) and verdict(found).startswith(said[0].alert.summary) and not said[0].earlier
    _say(verdict(found), look, state=_state(found, said))
    for number, one in enumerate(said):
        print()
        if one.earlier:
            _say(f"Run {one.run} of {one.runs} of {one.alert.entity.name}:", look)
        elif one.over:
            _say("Over when the log ended:", look)
        print(render_finding(transition_to_dict(one.alert), look, summary=number > 0 or not same), end="")
    rows = [*_last_words(found), *_starts(found, _quoted(said), kernel=kernel), *_refusals(found)]
    if rows:
        print()
    for row in rows:
        _say(row, look)
    if found.unknown:
        print()
        # Evaluations cut the answer here: what follows states no finding.
        print(look.paint("What the files cannot tell:", DIM))
        for remedy, rules, more in settling(found.unknown):
            comma = "," if "," in remedy else ""
            row = f"{remedy}{comma} would settle {', '.join(rules)}{f' and {more} more' if more else ''}"
            print("\n".join(look.paint(line, DIM) for line in wrap(escape(row), look.prose, "  ", "    ")))


def _unknown_lines(lines: int) -> str:
    where = "While the server runs, `sentinel status` says where its log goes."
    if lines == 0:
        return f"the log is empty. {where}"
    what = "its only line is not one" if lines == 1 else f"none of the {lines} lines is one"
    return f"{what} that sentinel knows from a llama-server. Is it the server's whole log? {where}"


def _say(text: str, look: Style, state: str = "") -> None:
    """A sentence, wrapped; the verdict with its mark and colour."""
    indent = " " * (len(text) - len(text.lstrip(" ")))
    lines = wrap(escape(text[len(indent) :]), look.prose, indent or ("  " if state else ""), "" if state or indent else "    ")
    for number, line in enumerate(lines):
        if state and number == 0:
            print(f"{look.by_state(look.mark(state), state)} {look.paint(line.strip(), BOLD)}")
        else:
            print(look.paint(line, BOLD) if state else line)


def _state(found: Diagnosis, said: list[AlertInRun]) -> str:
    """How bad the verdict is."""
    now = [one.alert.severity for one in said if not one.earlier]
    if now and now[0] != "info":
        return now[0]
    if any(start.last for start in found.starts):
        return "fails"
    return "info" if now else "unknown" if found.complaints.last is not None else "ok"


def _last_words(found: Diagnosis) -> Iterator[str]:
    """The last error before an end that no rule explains."""
    if (word := found.last_words) is not None and word not in [start.line for start in found.starts]:
        yield f"the last error that the log reports before that: {word.source}:{word.n}: {word.line}"


def _refusals(found: Diagnosis) -> Iterator[str]:
    """Requests that did not fit, if too few for an alert: the client got the error, but a reader of the log may wonder."""
    if any(t.rule == "context-collapse" for t in found.transitions if t.state == "firing"):
        return
    for times, last in found.refused:
        were = "1 request was" if times == 1 else f"{times} requests were"
        where = escape(f"{last.source}:{last.n}: {last.line}")
        yield f"for information: {were} refused because of the size, and the client got the error: {where}"


def _quoted(said: list[AlertInRun]) -> set[tuple[str, int]]:
    """The lines that the findings above show."""
    lines = ([piece for piece in one.alert.evidence if isinstance(piece, LineEvidence)][:MOST_LINES] for one in said)
    return {(line.source, line.n) for some in lines for line in some}


def _starts(found: Diagnosis, quoted: set[tuple[str, int]], *, kernel: bool) -> Iterator[str]:
    """Failed starts, in the server's own words. They are reported even if no rule names the cause."""
    told = {t.rule for t in found.transitions if t.state == "firing" and t.severity != "info"}
    for start in found.starts[-_MOST_STARTS:]:
        if start.kind in ("ended", "loading", "died") and told & _KILLS:
            continue
        line = start.line
        shown = (
            f" (line {line.n}, above)" if (line.source, line.n) in quoted else f": {line.source}:{line.n}: {line.line.strip()}"
        )
        yield f"{earlier(start)}{shown}"
        if start.kind in ("failed", "crashed", "ended", "died") and not told:
            yield "    No rule names the cause: the lines before this one may."
        elif start.kind == "loading" and start.last:
            yield (
                "    The kernel's log that was given names no kill of it."
                if kernel
                else "    It may still be loading, or was killed: journalctl -k -b > FILE, then --kernel-log FILE, shows which."
            )
    if len(found.starts) > _MOST_STARTS:
        yield f"and {counted(len(found.starts) - _MOST_STARTS, 'earlier start')} that came to no better end"
