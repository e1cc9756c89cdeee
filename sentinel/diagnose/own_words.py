"""What a log itself says of an end, quoted in the cause where no rule knows why. Pure.

On reports that were never seen before a cause of low confidence is the rule: then the program's own error sentence says more
than any guess, and stands beside the verdict, not ten lines below it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import replace

from sentinel.diagnose.complaints import QUOTES, complaints
from sentinel.diagnose.error_lines import ECHO, FATAL
from sentinel.diagnose.failed_starts import Start
from sentinel.diagnose.senders import Line
from sentinel.engine.log.extractor import Extractor
from sentinel.model.alert import LineEvidence, Transition

#: Rules about an end.
_ENDS = frozenset({"server-crashed", "start-failed"})
#: The cause whose summary says only that no reason is known.
_NO_REASON = "gives-no-reason"
#: Lines before an end that are searched for what the log says of it.
_NEAR = 200


def in_its_own_words(
    transition: Transition,
    *,
    starts: Sequence[Start],
    logs: Sequence[tuple[str, Sequence[Line]]],
    extractor: Extractor | None = None,
) -> Transition:
    """The transition; a cause of low confidence with the error that its server's log reports before the end."""
    cause = transition.cause
    if transition.state != "firing" or cause is None or cause.confidence != "low" or transition.rule not in _ENDS:
        return transition
    names = {name for name, _ in logs}
    shown = [e for e in transition.evidence if isinstance(e, LineEvidence) and e.source in names]
    end = max(shown, key=lambda e: e.n, default=None)
    failed = next((s.line for s in reversed(starts) if s.kind == "failed" and s.who == transition.entity.name), None)
    word = None
    if transition.rule == "start-failed" and failed is not None and not ECHO.search(failed.line):
        word = failed
    elif end is not None:
        word = _last_before(end, logs, {e.n for e in shown if e.source == end.source}, extractor)
    if word is None or (word.source, word.n) in {(e.source, e.n) for e in shown} or word.line in cause.text:
        return transition
    text = f"{cause.text}. Its log reports before that, in its own words: '{word.line}' ({word.source}:{word.n})"
    transition = replace(transition, cause=replace(cause, text=text))
    if cause.id != _NO_REASON:
        return transition
    who = transition.entity.name
    return replace(transition, summary=f"{who} did not start, with an error that sentinel does not know: '{word.line}'")


def _last_before(
    end: LineEvidence, logs: Iterable[tuple[str, Sequence[Line]]], shown: Set[int], extractor: Extractor | None
) -> LineEvidence | None:
    """The last error of the same server shortly before that line, without what repeats another or quotes a request."""
    for name, lines in logs:
        if name != end.source:
            continue
        near = [line for line in lines if end.n - _NEAR <= line.number <= end.n]
        if near and near[-1].kind == "llama-server":
            near = [line for line in near if line.voice == near[-1].voice]
        left = [line for line in near[:-1] if line.number not in shown and not _said_elsewhere(line.text)]
        # A line that says in so many words that it is an error comes before one that may be.
        found = complaints([(name, left)]).last or complaints([(name, left)], extractor=extractor).last
        return None if found is None or found.line == QUOTES else found
    return None


def _said_elsewhere(line: bytes) -> bool:
    text = line.decode("utf-8", "replace")
    return ECHO.search(text) is not None or FATAL.search(text) is not None
