"""The answer about a log: a one-sentence verdict, findings by severity, and what would resolve the rest. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sentinel.diagnose.diagnosis import Diagnosis
from sentinel.diagnose.failed_starts import Start
from sentinel.diagnose.gaps import REMEDIES
from sentinel.model.alert import SEVERITY_RANK, LineEvidence, Transition
from sentinel.model.entity import Unknown
from sentinel.model.json_form import is_news
from sentinel.model.text import counted, escape

_MOST_REMEDIES = 3
_MOST_NAMES = 4
#: What no log says, so that nobody takes a log without a failure for a server without one.
_BEYOND_A_LOG = "whether they are right, and as fast as they could be, no log shows"


@dataclass(frozen=True, slots=True)
class AlertInRun:
    """An alert, the run of its server in which it fired, the number of runs, and whether it was resolved when the log ended."""

    alert: Transition
    run: int
    runs: int
    over: bool

    @property
    def earlier(self) -> bool:
        """Whether a later run of the server followed and ended it."""
        return self.over and self.run < self.runs


def as_it_ended(found: Diagnosis) -> list[Transition]:
    """The transitions to report: an alert that is open when the logs end is reported once, as it is then."""
    out: list[Transition] = []
    standing = dict(found.standing)
    for transition in reversed(found.transitions):
        if not is_news(transition):
            continue
        end = standing.get(transition.fingerprint)
        if end is None:
            out.append(transition)
        elif transition.previous != "firing":
            # The start of the episode that is still open; earlier episodes are reported as they were.
            last_words = {key: getattr(end, key) for key in ("severity", "summary", "cause", "fixes", "evidence")}
            out.append(replace(transition, **last_words))
            del standing[transition.fingerprint]
    out.reverse()
    return out


def findings(found: Diagnosis) -> list[AlertInRun]:
    """What fired, each alert once: those of the last run first, then those that stand, then by severity."""
    last: dict[str, Transition] = {}
    for transition in as_it_ended(found):
        if transition.state == "firing":
            last[transition.fingerprint] = transition
    out = [
        AlertInRun(transition, found.run_of.get(key, 1), found.runs.get(transition.entity.name, 1), key not in found.standing)
        for key, transition in last.items()
    ]
    return sorted(out, key=lambda one: (one.earlier, one.runs - one.run, one.over, SEVERITY_RANK[one.alert.severity]))


def verdict(found: Diagnosis) -> str:
    """The verdict, in one sentence."""
    named = findings(found)
    loud = [one for one in named if one.alert.severity != "info"]
    last = next((start for start in reversed(found.starts) if start.last), None)
    if loud:
        first = loud[0]
        others = list(dict.fromkeys(one.alert.rule for one in loud[1:] if one.alert.rule != first.alert.rule))
        beside = f" (beside it: {', '.join(others)})" if others else ""
        if not first.earlier:
            return f"{first.alert.summary}{beside}{'; over when the log ended' if first.over else ''}"
        ended = "the last start went well" if last is None else _in_its_words(last)
        return f"{ended}; in run {first.run} of {first.runs}, {first.alert.summary}{beside}"
    if last is not None:
        return _in_its_words(last)
    if found.starts:
        return f"{earlier(found.starts[-1])}; the last start went well"
    reported = _reported(found)
    if named:
        return f"{named[0].alert.summary}; {reported}" if reported else named[0].alert.summary
    seen = f"{counted(found.events, 'event')} of llama-server recognised"
    if reported:
        return f"no rule names a failure in {counted(found.lines, 'line')} ({seen}), but {reported}"
    return f"no failure is named in {counted(found.lines, 'line')} ({seen}){_speeds(found)}"


def _speeds(found: Diagnosis) -> str:
    """How fast the answers came, for whoever knows what is slow on that machine, and what no log says of them."""
    known = [value for (_, signal), values in found.speeds.items() if signal == "server.generation_tps" for _, value in values]
    if not known:
        return ""
    low, high = f"{min(known):.3g}", f"{max(known):.3g}"
    return f"; answers came at {low if low == high else f'{low} to {high}'} tokens/s; {_BEYOND_A_LOG}"


def _reported(found: Diagnosis) -> str:
    """How many lines report an error that no rule names, with the last of them; empty for none."""
    last = found.complaints.last
    if last is None:
        return ""
    report = "1 line reports an error" if found.complaints.count == 1 else f"{found.complaints.count} lines report errors"
    return f"{report}, the last one {_where(last)}"


def _where(line: LineEvidence) -> str:
    return escape(f"{line.source}:{line.n}: {line.line.strip()}")


def _in_its_words(last: Start) -> str:
    """How the last start ended, with the line that says so; that a model is being loaded is no such line."""
    if last.unknown:
        return f"{ends(last)}, with an error that sentinel does not know: {_where(last.line)}"
    return ends(last) if last.kind == "loading" else f"{ends(last)}: {_where(last.line)}"


def no_server(found: Diagnosis, *, files: bool) -> str:
    """The verdict on what is no log of a llama-server; empty for one that is."""
    if not files or found.events or found.starts or findings(found):
        return ""
    where = "While the server runs, `sentinel status` says where its log goes."
    if found.lines == 0:
        return f"nothing can be said: the log is empty. {where}"
    what = "its only line is not one" if found.lines == 1 else f"none of the {found.lines} lines is one"
    said = f"nothing can be said: {what} that sentinel knows from a llama-server"
    if reported := _reported(found):
        said = f"{said}; {reported}"
    return f"{said}. Is it the server's whole log? {where}"


def state(found: Diagnosis, said: Sequence[AlertInRun]) -> str:
    """How bad the verdict is."""
    now = [one.alert.severity for one in said if not one.earlier]
    if now and now[0] != "info":
        return now[0]
    if any(start.last for start in found.starts):
        return "fails"
    return "info" if now else "unknown" if found.complaints.last is not None else "ok"


def ends(start: Start) -> str:
    """How a start ended."""
    who = start.who or "llama-server"
    far = f", at {start.percent} % of it at least" if start.percent else ""
    return {
        "failed": f"{who} did not start",
        "crashed": f"{who} served, then ended",
        "died": f"{who} ended; whether it had served is not in this part of its log",
        "ended": f"{who} ended while the model was loaded{far}",
        "loading": f"the log ends before the model is loaded{far}"
        if start.last and start.unknown
        else f"the log ends while the model loads{far}"
        if start.last
        else f"nothing more was printed while it loaded{far}, then it was started again",
    }[start.kind]


def earlier(start: Start) -> str:
    """The same for a start that was followed by others."""
    return ends(start) if start.last else f"an earlier start: {ends(start)}"


def settling(unknown: Mapping[str, Mapping[str, Unknown]]) -> list[tuple[str, list[str], int]]:
    """What would resolve most of the unknowns: an input, some rules that it would unblock, and how many more."""
    out = []
    for remedy in REMEDIES:
        rules = [rule for rule, missing in unknown.items() if any(gap.remedy == remedy for gap in missing.values())]
        if rules:
            out.append((remedy, rules[:_MOST_NAMES], max(0, len(rules) - _MOST_NAMES)))
    return out[:_MOST_REMEDIES]
