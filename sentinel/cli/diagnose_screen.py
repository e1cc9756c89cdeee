"""The answer of `sentinel diagnose` for people: the verdict first, then each finding, then what would settle the rest."""

from __future__ import annotations

from sentinel.cli.output import style
from sentinel.diagnose.answer import AlertInRun, findings, no_server, settling, state, verdict
from sentinel.diagnose.diagnosis import Diagnosis
from sentinel.diagnose.remarks import remarks
from sentinel.model.alert import LineEvidence
from sentinel.model.json_form import transition_to_dict
from sentinel.model.text import escape
from sentinel.terminal.alert import MOST_LINES, render_finding
from sentinel.terminal.style import BOLD, DIM, Style, wrap


def show(found: Diagnosis, *, files: bool, kernel: bool, verbose: bool = False) -> None:
    """Print the answer: of each finding the first fix, or all with `verbose`."""
    look = style()
    said = findings(found)
    if unread := no_server(found, files=files):
        _say(unread, look, state="unknown")
        return
    # An advisory alone is the verdict as well: it is not said twice.
    same = bool(said) and verdict(found).startswith(said[0].alert.summary) and not said[0].earlier
    _say(verdict(found), look, state=state(found, said))
    for number, one in enumerate(said):
        if number or not same:
            print()
        if one.earlier:
            _say(f"Run {one.run} of {one.runs} of {one.alert.entity.name}:", look)
        elif one.over:
            _say("Over when the log ended:", look)
        print(render_finding(transition_to_dict(one.alert), look, summary=number > 0 or not same, verbose=verbose), end="")
    rows = [*remarks(found, _quoted(said), kernel=kernel)]
    if rows:
        print()
    for row in rows:
        _say(row, look)
    if found.unknown:
        print()
        # Evaluations cut the answer here: what follows states no finding.
        print(look.paint("What the files do not show:", DIM))
        settles = settling(found.unknown)
        # Beside a finding the rest is of little use, and would push the finding off the screen.
        shown = settles if verbose or not said else settles[:1]
        for remedy, rules, more in shown:
            comma = "," if "," in remedy else ""
            row = f"{remedy}{comma} would settle {', '.join(rules)}{f' and {more} more' if more else ''}"
            print("\n".join(look.paint(line, DIM) for line in wrap(escape(row), look.prose, "  ", "    ")))
        if len(settles) > len(shown):
            print(look.paint(f"  (and {len(settles) - len(shown)} more: --verbose)", DIM))


def _say(text: str, look: Style, state: str = "") -> None:
    """A sentence, wrapped; the verdict with its mark and colour."""
    indent = " " * (len(text) - len(text.lstrip(" ")))
    lines = wrap(escape(text[len(indent) :]), look.prose, indent or ("  " if state else ""), "" if state or indent else "    ")
    for number, line in enumerate(lines):
        if state and number == 0:
            print(f"{look.by_state(look.mark(state), state)} {look.paint(line.strip(), BOLD)}")
        else:
            print(look.paint(line, BOLD) if state else line)


def _quoted(said: list[AlertInRun]) -> set[tuple[str, int]]:
    """The lines that the findings above show."""
    lines = ([piece for piece in one.alert.evidence if isinstance(piece, LineEvidence)][:MOST_LINES] for one in said)
    return {(line.source, line.n) for some in lines for line in some}
