"""`sentinel why`: why a rule fires, does not fire, or cannot say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sentinel.cli.main import OK, UNKNOWN
from sentinel.cli.output import NoAnswer, ask, complain, emit, exit_code, local, say, shown, style
from sentinel.model.text import counted, duration, escape
from sentinel.terminal.alert import render_advice
from sentinel.terminal.names import label, without_name
from sentinel.terminal.style import BOLD, DIM, Style, wrap

if TYPE_CHECKING:
    import argparse

_WORD = {True: "true", False: "false", None: "unknown"}
_MOST_GAPS = 3
_MOST_NAMES = 4
_ORDER = {"firing": 0, "pending": 1}


def main(arguments: argparse.Namespace) -> int:
    """Print the checks; the exit code is the rule's: 0 quiet, 1 or 2 firing by severity, 3 unknown."""
    path = f"/v1/why/{quote(arguments.rule, safe='')}"
    if arguments.server:
        path += f"?server={quote(arguments.server, safe='')}"
    try:
        answer = ask(arguments, path)
    except NoAnswer as error:
        return complain(error)
    return show(answer, as_json=arguments.json, verbose=arguments.verbose)


def show(answer: Mapping[str, Any], *, as_json: bool, verbose: bool = True) -> int:
    """Print an explanation; the exit code is the rule's."""
    if as_json:
        emit(answer)
        return _code(answer)
    look = style()
    head = f"{answer['rule']}: {answer['title']}"
    print("\n".join(look.paint(line, BOLD) for line in wrap(escape(head), look.prose, "", "    ")))
    if answer["unhealthy"]:
        _say(f"the rule itself does not work: {answer['unhealthy']}", look, "  ")
    elif not answer["subjects"]:
        _say(f"nothing to judge: no {answer['scope']} is known", look, "  ")
    # What fires comes first, and whoever looks for it is not shown forty servers of which nothing is to be said.
    shown = sorted(answer["subjects"], key=lambda one: _ORDER.get(one["state"], len(_ORDER)))
    quiet = [one for one in shown if one["verdict"] == "no-match" and one["state"] not in _ORDER]
    folded = quiet if not verbose and len(shown) - len(quiet) and len(quiet) > 1 else []
    for subject in shown:
        if subject in folded:
            continue
        say()
        _subject(subject, look, severity=answer["severity"], verbose=verbose)
    if folded:
        names = [label(one["entity"], one.get("called")) for one in folded[:_MOST_NAMES]]
        more = f" and {len(folded) - len(names)} more" if len(folded) > len(names) else ""
        say()
        rows = wrap(escape(f"not firing on {len(folded)} others: {', '.join(names)}{more}"), look.prose, "  ")
        print("\n".join([f"{look.by_state(look.mark('ok'), 'ok')} {rows[0].strip()}", *rows[1:]]))
    if answer["subjects"] and not verbose:
        say()
        hint = wrap("Each check with the signals it reads: --verbose", look.prose)
        print("\n".join(look.paint(line, DIM) for line in hint))
    return _code(answer)


def _say(text: str, look: Style, indent: str, hanging: str = "    ") -> None:
    print("\n".join(wrap(escape(text), look.prose, indent, hanging)))


def _subject(subject: Mapping[str, Any], look: Style, *, severity: str, verbose: bool) -> None:
    alert = subject["alert"]
    state = {"match": "true", "no-match": "not firing", "unknown": "unknown"}[subject["verdict"]]
    colour = {"no-match": "ok", "unknown": "unknown"}.get(subject["verdict"], "pending")
    if subject["state"] == "firing":
        state, colour = "firing", alert["severity"] if alert is not None else severity
    elif subject["state"] == "pending":
        state, colour = "pending", "pending"
        if "fires_in" in subject:
            state += f": fires in {duration(subject['fires_in'])} if it stays true"
    name = label(subject["entity"], subject.get("called")) if subject["entity"] else "this host"
    since = f" since {local(subject['since'])}" if subject.get("since") and subject["state"] != "inactive" else ""
    first, *rest = wrap(escape(f"{state}{since}{_moment(subject)}"), max(look.prose - len(name) - 4, 20))
    if len(name) + len(first) + 4 > look.prose:
        rest, first = [first, *rest], ""
    # A server names itself, and may choose several lines of words.
    name, *longer = wrap(name, look.prose - 2)
    print(f"{look.by_state(look.mark(colour), colour)} {look.paint(name, BOLD)}  {look.by_state(first, colour)}".rstrip())
    for line in longer:
        print(f"  {look.paint(line, BOLD)}")
    for line in rest:
        print(f"    {line}")
    for line in _silent(subject["silent"]):
        _say(line, look, "  ")
    for line in _checks(subject) if verbose else _reasons(subject):
        _say(line, look, " " * (len(line) - len(line.lstrip(" "))))
    # Other rules' fixes refer the user here.
    if alert is not None:
        print(render_advice(alert, look, verbose=verbose), end="")


def _reasons(subject: Mapping[str, Any]) -> Iterator[str]:
    """What is true, or what is not, or what is missing: whichever decides."""
    if subject["verdict"] == "match":
        true = [check for check in subject["checks"] if check["value"] is True]
        said = [check["text"] for check in true if check.get("text")]
        if not said and subject["alert"] is not None:
            # Names of checks say little; the alert has a sentence.
            said = [without_name(subject["alert"])]
        yield from (f"  - {text}" for text in said or [check["check"].replace("_", " ") for check in true])
    elif subject["verdict"] == "no-match":
        false = [operand["expression"] for operand in subject["operands"] if operand["value"] is False]
        # A whole expression is for those who asked for it.
        names = [text.replace("_", " ") for text in false if len(text) <= 40]
        for value, those in (("true", [n[1:] for n in names if n[0] == "!"]), ("false", [n for n in names if n[0] != "!"])):
            if those:
                yield f"  because this is {value}: {', '.join(those)}"
    else:
        gaps = sorted(subject["gaps"], key=lambda gap: -len(gap["signals"]))
        for gap in gaps[:_MOST_GAPS]:
            more = gap["signals"][0] if len(gap["signals"]) == 1 else counted(len(gap["signals"]), "signal")
            yield f"  - {gap['remedy'] or gap['reason']} ({more} missing{': ' + gap['reason'] if gap['remedy'] else ''})"
        if len(gaps) > _MOST_GAPS:
            yield f"  (and {counted(len(gaps) - _MOST_GAPS, 'more reason')}: --verbose)"


def _checks(subject: Mapping[str, Any]) -> Iterator[str]:
    """Each check with what it read."""
    if len(subject["operands"]) > 1:
        yield "  all of these must be true:"
        for operand in subject["operands"]:
            yield f"      {_WORD[operand['value']]:<8} {operand['expression']}"
    for check in subject["checks"]:
        said = f"  ({check['text']})" if check.get("text") else ""
        yield f"  {check['check']:<20} {_WORD[check['value']]}{said}"
        for read in check["reads"]:
            origin = _origin(read)
            value = "unknown" if read["value"] is None else shown(read["value"])
            yield f"      {read['name']} = {value}" + (f"   ({origin})" if origin else "")


def _moment(subject: Mapping[str, Any]) -> str:
    """The moment of a log that is explained; empty for the present."""
    what = {"fired": "when it fired", "stopped": "before the server was asked to stop", "end": "when the log ends"}.get(
        subject.get("moment", "")
    )
    if what is None:
        return ""
    return f" ({what}, {local(subject['as_of'])})" if subject["as_of"] else f" ({what})"


def _origin(read: Mapping[str, Any]) -> str:
    """The age and source of a value, or why it is unknown and what would provide it."""
    parts = [f"{duration(read['age'])} old"] if "age" in read else []
    if "source" in read:
        parts.append(read["source"] if read.get("of") is not None or not parts else f"from {read['source']}")
    if "samples" in read:
        parts.append(counted(read["samples"], "sample"))
    if read.get("missing"):
        parts = [read["missing"]]
    return ", ".join(parts) + (f": {read['line']}" if read.get("line") else "")


def _silent(why: Mapping[str, Any]) -> Iterator[str]:
    """Why an alert does not notify, or not again."""
    if "inhibited_by" in why:
        cause = why["inhibited_by"]
        yield f"inhibited by {cause['rule']} of {cause['entity']} since {local(cause['since'])}"
    if "held_until" in why:
        yield f"held until {local(why['held_until'])}: rules that could inhibit it are evaluated first"
    if "silenced" in why:
        one = why["silenced"]
        reason = f": {one['reason']}" if one["reason"] else ""
        yield f"silenced until {local(one['until'])} by {one['author']}{reason} (`sentinel unsilence {one['id']}` ends it)"
    if "flapping_since" in why:
        yield f"flapping since {local(why['flapping_since'])}: silent until it is stable"
    if "clear_since" in why:
        yield f"cleared at {local(why['clear_since'])}; stays open for its keep_firing_for"
    if "cleared_at" in why:
        yield f"cleared at {local(why['cleared_at'])} ({why['cleared_why']})"


def _code(answer: Mapping[str, Any]) -> int:
    states = {s["state"] for s in answer["subjects"]}
    if "firing" in states:
        return exit_code(s["alert"]["severity"] for s in answer["subjects"] if s["state"] == "firing")
    if not answer["subjects"] or any(s["verdict"] == "unknown" for s in answer["subjects"]):
        return UNKNOWN
    return OK
