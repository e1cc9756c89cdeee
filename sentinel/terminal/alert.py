"""An alert for a terminal, from its JSON form: what happened, the cause, what to do, how it is known.

The console sink and every command that shows an alert use it. Text from outside is escaped; commands are never wrapped, so that
they can be copied; colour adds no information.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sentinel.model.restarts import RESTART_WORDS
from sentinel.model.text import duration, escape
from sentinel.terminal.names import about, of_alert
from sentinel.terminal.style import BOLD, CYAN, DIM, Style, fit, wrap
from sentinel.terminal.times import clock, seconds_of

#: More evidence would push the fix, which the reader wants, out of view.
_MOST_EVIDENCE = 5
#: of a saved log
MOST_LINES = 4
_LONGEST_LINE = 400
_LABEL_WIDTH = 12
_ROOMY = 80

#: Why an alert notifies again.
_WHY_NOW = {
    "cause-ended": "still firing after its cause ended",
    "silence-ended": "still firing after its silence ended",
    **RESTART_WORDS,
}


#: Why an alert is over; other reasons say it themselves.
_WHY_OVER = {
    "condition-cleared": "no longer true",
    "condition-ended": "over before it notified",
    "quiet-again": "it has not happened again",
    "server-gone": "the server has ended",
    "forgotten": "the server was forgotten",
    "rule-changed": "the rule was changed",
    "rule-removed": "the rule was removed",
}


def render(alert: Mapping[str, Any], style: Style, now: float | None = None, *, verbose: bool = False) -> str:
    """An alert as lines, ending in a newline: its first fix, or all with `verbose`. What is over or pending takes a line."""
    if alert["state"] in ("resolved", "pending"):
        return one_line(alert, style, now) + "\n"
    lines = [*_header(alert, style, now), *_cause(alert, style), *_fixes(alert, style, verbose=verbose)]
    return "\n".join([*lines, *_evidence(alert, style, verbose=verbose), *_more(alert, style, verbose=verbose)]) + "\n"


def render_finding(alert: Mapping[str, Any], style: Style, *, summary: bool = True, verbose: bool = False) -> str:
    """An alert from a saved log: cause, fixes, and the log lines. The summary is left out where it stands above."""
    lines = list(_header(alert, style, None)) if summary else [_facts(alert, style, None, "  ")]
    lines += [*_cause(alert, style), *_fixes(alert, style, verbose=verbose)]
    return "\n".join([*lines, *_printed(alert, style, verbose=verbose), *_rest(alert, style, verbose=verbose)]) + "\n"


def render_advice(alert: Mapping[str, Any], style: Style, *, verbose: bool) -> str:
    """Only the cause and the fixes, where the rest is already shown."""
    lines = [*_cause(alert, style), *_fixes(alert, style, verbose=verbose), *_rest(alert, style, verbose=verbose)]
    return "\n".join(lines) + "\n"


def one_line(alert: Mapping[str, Any], style: Style, now: float | None) -> str:
    """An alert in one line: when, what state, which rule, about what."""
    at = seconds_of(alert.get("at"))
    state = alert["state"] if alert["state"] != "firing" else alert["severity"]
    when = f"{clock(at, now, style.zone)} " if at is not None else ""
    head = f"{style.mark(state)} {state.upper():<9} {when}"
    since = seconds_of(alert.get("since"))
    if alert["state"] == "resolved":
        lasted = f" after {duration(at - since)}" if at is not None and since is not None and at - since >= 1 else ""
        said = f"{alert['rule']} of {of_alert(alert)}{lasted} ({_WHY_OVER.get(alert['reason'], alert['reason'])})"
    else:
        said = f"{alert['rule']}: {about(alert)}"
    lines = wrap(escape(said), max(style.prose - len(head), 20), "")
    first, rest = lines[0], [" " * len(head) + line for line in lines[1:]]
    return "\n".join([style.by_state(head.rstrip(), state) + " " * (len(head) - len(head.rstrip())) + first, *rest])


def _header(alert: Mapping[str, Any], style: Style, now: float | None) -> Iterator[str]:
    severity = alert["severity"]
    head = f"{style.mark(severity)} {severity.upper()}"
    indent = " " * (len(head) + 2)
    first, *more = wrap(about(alert), style.prose, indent)
    yield style.by_state(head, severity) + "  " + style.paint(first.strip(), BOLD)
    yield from (style.paint(line, BOLD) for line in more)
    yield _facts(alert, style, now, indent)


def _facts(alert: Mapping[str, Any], style: Style, now: float | None, indent: str) -> str:
    """Rule, true name, time and what is not as usual, dimmed."""
    name = alert["entity"]["name"]
    facts = [alert["rule"]]
    if alert["entity"]["scope"] != "host" and escape(name) not in of_alert(alert):
        facts.append(name)
    facts += marks(alert)
    since = seconds_of(alert.get("since") or alert.get("at"))
    if since is not None:
        ago = f" ({duration(max(now - since, 0.0))})" if now is not None else ""
        facts.append(f"since {clock(since, now, style.zone)}{ago}")
    lines = wrap(style.dot.join(escape(fact) for fact in facts), style.prose, indent)
    return "\n".join(style.paint(line, DIM) for line in lines)


def marks(alert: Mapping[str, Any]) -> list[str]:
    """What is not as usual about an open alert."""
    words = []
    if alert.get("flapping"):
        words.append("flapping: no further notification until it is stable")
    if alert.get("silenced"):
        words.append(f"silenced by #{alert['silenced']}")
    if alert.get("inhibited_by"):
        words.append(f"inhibited by {alert['inhibited_by']}")
    if alert["reason"] in _WHY_NOW:
        words.append(_WHY_NOW[alert["reason"]])
    return words


def _cause(alert: Mapping[str, Any], style: Style) -> Iterator[str]:
    cause = alert["cause"]
    if cause is None:
        return
    yield ""
    yield from _labelled("Cause", escape(cause["text"] + confidence(cause)), style)


def confidence(cause: Mapping[str, str]) -> str:
    """What stands behind a cause that is not certain."""
    return "" if cause["confidence"] == "high" else f" ({cause['confidence']} confidence)"


def _fixes(alert: Mapping[str, Any], style: Style, *, verbose: bool) -> Iterator[str]:
    fixes: Sequence[Mapping[str, str]] = alert["fixes"]
    shown = fixes if verbose else fixes[:1]
    for number, fix in enumerate(shown, 1):
        yield ""
        yield from _fix(fix, "Fix" if len(shown) == 1 else f"Fix {number}/{len(shown)}", style)


def _fix(fix: Mapping[str, str], label: str, style: Style) -> Iterator[str]:
    yield from _labelled(label, escape(fix["do"]), style, BOLD)
    pad = " " * _LABEL_WIDTH
    # One prompt for the whole command: a newline inside a quoted value must not look like the start of another command.
    for row, line in enumerate(fix["command"].split("\n") if fix["command"] else ()):
        yield f"{pad}{style.paint(' ' if row else '$', DIM)} {style.paint(escape(line), CYAN)}"
    if fix["risk"]:
        yield from wrap(f"risk: {escape(fix['risk'])}", style.prose, pad, "      ")
    if fix["verify"]:
        yield from wrap(f"then check: {escape(fix['verify'])}", style.prose, pad, "      ")


def sentences(alert: Mapping[str, Any]) -> list[str]:
    """The evidence as a rule says it; where it says nothing and no line shows it, the names of its true checks."""
    true = [piece for piece in alert["evidence"] if piece.get("value") is True]
    said = [piece["text"] for piece in true if piece.get("text")]
    if said or any("line" in piece for piece in alert["evidence"]):
        return said
    return [piece["check"].replace("_", " ") for piece in true]


def _evidence(alert: Mapping[str, Any], style: Style, *, verbose: bool) -> Iterator[str]:
    lines = [piece for piece in alert["evidence"] if "line" in piece]
    said = [*(_line(piece, style) for piece in lines), *map(escape, sentences(alert))]
    shown = said if verbose else said[:_MOST_EVIDENCE]
    if shown:
        yield ""
    for number, text in enumerate(shown):
        yield from _labelled("" if number else "Evidence", text, style)


def _printed(alert: Mapping[str, Any], style: Style, *, verbose: bool) -> Iterator[str]:
    """The lines of the log, each in a few rows at most unless `verbose`."""
    # What a line is about stands in its first hundred characters.
    most = 2 if style.prose >= _ROOMY else 3
    lines = [piece for piece in alert["evidence"] if "line" in piece][:MOST_LINES]
    if lines:
        yield ""
    for number, piece in enumerate(lines):
        rows = [*_labelled("" if number else "Log", _line(piece, style), style)]
        if len(rows) > most and not verbose:
            rows[most - 1 :] = [fit(f"{rows[most - 1]} {rows[most].strip()}", style.prose, style)]
        yield from rows


def _line(piece: Mapping[str, Any], style: Style) -> str:
    text = escape(f"{piece['source']}:{piece['n']}: {piece['line'].strip()}")
    return text if len(text) <= _LONGEST_LINE else text[:_LONGEST_LINE] + ("…" if style.unicode else "...")


def _more(alert: Mapping[str, Any], style: Style, *, verbose: bool) -> Iterator[str]:
    evidence = sum("line" in piece for piece in alert["evidence"]) + len(sentences(alert)) - _MOST_EVIDENCE
    rest = [*_rest(alert, style, (evidence, "piece of evidence", "pieces of evidence"), verbose=verbose)]
    yield from ("", *rest) if rest else ()


def _rest(alert: Mapping[str, Any], style: Style, *others: tuple[int, str, str], verbose: bool) -> Iterator[str]:
    """How many fixes and others are not shown without `verbose`."""
    if verbose:
        return
    counts = [(len(alert["fixes"]) - 1, "fix", "fixes"), *others]
    words = [f"{count} more {one if count == 1 else many}" for count, one, many in counts if count > 0]
    if words:
        yield style.paint(f"{' ' * _LABEL_WIDTH}({', '.join(words)}: --verbose)", DIM)


def _labelled(label: str, text: str, style: Style, code: str = "") -> Iterator[str]:
    first, *rest = wrap(text, style.prose, " " * _LABEL_WIDTH)
    yield style.paint(fit(f"  {label}", _LABEL_WIDTH, style), DIM) + style.paint(first.strip(), code)
    yield from (style.paint(line, code) for line in rest)
