"""Lines in which a log itself reports an error. Pure.

Only for an answer without a finding: "no failure is named" alone, beside an error in the log, would pass it over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import re2

from sentinel.diagnose.error_lines import NO_FAULT, WORDS, reports_error
from sentinel.diagnose.senders import Line
from sentinel.engine.log.envelope import Envelope, strip
from sentinel.engine.log.extractor import Extractor
from sentinel.model.alert import LineEvidence
from sentinel.model.input_limits import SPAN_LIMIT

#: Lines that are worth parsing: an error's level or word, or a refused request.
_SUSPECT = re2.compile(
    rb"\bE |\bERR|[Ee]rror|ERROR|[Ff]ailed|[Ee]xception|[Dd]enied|\b[45]\d\d\b| back to |[Ff]ailure|[Uu]nable to |(?i:"
    + WORDS.pattern.encode()
    + b")"
)
_ERROR = re.compile(r"\b(?:error|failed|exception|denied)\b|ERROR\b", re.IGNORECASE)
#: Said in words at any level: Ollama reports as INFO that a model goes to the CPU and that a driver's library did not start.
_IN_WORDS = re.compile(
    r"\bfall(?:ing|s)? back to (?:the )?CPU\b|\binit(?:ialization)? failure\b|^bootstrap failed |^unable to (?:load|initialize) ",
    re.IGNORECASE,
)
#: Ollama's own lines (a level without a stamp of llama-server) report a load or a search that failed as INFO or WARN.
_FAILED = re.compile(r"\b(?:failed|failure)\b", re.IGNORECASE)
#: Requests that the server answered with an error, in its own form and in Ollama's. 401 and 404 are a client's mistake.
_REFUSED = re.compile(
    r"(?:log_server_re?(?:quest|q)?\S*: +(?:done )?request: .* (?P<own>[45]\d\d)$|^\[GIN\] .* \| (?P<gin>[45]\d\d) \|"
    r"|\bstatus=(?P<old>[45]\d\d)\b)"
)
_CLIENTS_OWN = frozenset({"401", "404", "405"})
#: A request that is too large has a line of its own in the answer.
_TOO_LARGE = re.compile(r"exceeds? the available context size|is too large to process|larger than the (?:max )?context size")
#: Counted up to here: a log of days may consist of them.
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Complaints:
    """How many lines report an error, and the last of them; of a line that quotes a request only that it is there."""

    count: int = 0
    last: LineEvidence | None = None


NONE = Complaints()
QUOTES = "(a line that quotes a request or an answer)"


def complaints(
    logs: Iterable[tuple[str, Iterable[Line]]], *, too_large: int = 0, extractor: Extractor | None = None
) -> Complaints:
    """Find the lines of servers (not of the kernel or systemd) that report an error.

    `too_large`: requests refused for their size. They are reported elsewhere, and that many answers of status 400 belong to them.
    `extractor`: knows lines that speak of what is invalid, missing or not supported, and report no error.
    """
    count, last = 0, None
    for name, lines in logs:
        for line in lines:
            if line.kind != "llama-server" or _SUSPECT.search(line.text) is None:
                continue
            envelope = strip(line.text.decode("utf-8", "replace"))
            sure = _is_complaint(envelope.level, envelope.elapsed, envelope.message)
            if not (sure or _may_be(envelope, line.text, extractor)) or _TOO_LARGE.search(envelope.message):
                continue
            if too_large and envelope.message.endswith(" 400"):
                too_large -= 1
                continue
            count += 1
            text = QUOTES if envelope.private else envelope.message.strip()[:SPAN_LIMIT]
            last = LineEvidence(text, name, line.number)
            if count >= _MOST:
                return Complaints(count, last)
    return Complaints(count, last)


def _may_be(envelope: Envelope, line: bytes, extractor: Extractor | None) -> bool:
    """Whether a line without a level speaks of something wrong, and no pattern knows it."""
    if extractor is None or envelope.private or not reports_error(envelope, WORDS):
        return False
    return next(extractor.events(line), None) is None


def _is_complaint(level: str | None, elapsed: float | None, message: str) -> bool:
    refused = _REFUSED.search(message)
    if refused is not None:
        return next(filter(None, refused.groups())) not in _CLIENTS_OWN
    if NO_FAULT.search(message) is not None:
        return False
    if level != "D" and _IN_WORDS.search(message) is not None:
        return True
    if level in ("I", "W") and elapsed is None and _FAILED.search(message) is not None:
        return True
    if level is not None or elapsed is not None:
        return level == "E"
    return _ERROR.search(message) is not None
