"""Lines that say why a start failed or how a program died, in the words of whoever said it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from sentinel.engine.log.envelope import Envelope, strip
from sentinel.model.alert import LineEvidence
from sentinel.model.input_limits import SPAN_LIMIT

#: Errors that only report an earlier failure.
ECHO = re.compile(
    r"failed to load|failed to create|exiting due to|cleaning up|error loading model(?:: |$)|failed to initialize the context"
    r"|unable to load model|stop: cancel task"
)
#: An echo that has the reason in it, where no line before it did.
_WITH_REASON = re.compile(r"error loading model: \S")
#: Words of an error, for builds that print no level.
_ERROR = re.compile(
    r"\b(?:error|failed|cannot|can't|unable|couldn't|could not|invalid|unsupported|unknown|missing)\b", re.IGNORECASE
)
#: The same where nothing else speaks of an error, for lines that no pattern knows.
WORDS = re.compile(
    r"\b(?:errors?|fail(?:ed|ure)?|cannot|can't|unable|couldn't|could not|did not|does not (?:match|divide|support)|invalid"
    r"|unsupported|unknown|missing|must|requires|malformed|mismatch(?:ed)?|inconsistent|incompatible|insufficient|unexpected(?:ly)?"
    r"|not (?:supported|implemented|available|enough|found|allowed|compatible|continuous)|no (?:such|valid|longer|backends|GGUF)"
    r"|exceed(?:s|ed)?|too (?:large|long|small|many|big)|out[ -]of|corrupt(?:ed)?|refused|denied|illegal|exception|bad"
    r"|abort(?:ed|ing)?|wrong|duplicate|encountered|built without|(?:larger|bigger) than"
    r"|null (?:buffer|tensor|pointer)|is (?:null|empty|coupled)|size overflow|attempted to|update client|a bigger"
    r"|works only|bailing out)\b"
    r"| = \d+ > |\bn_tokens == 0|\bret = -?[1-9]|, pos_min = -?\d+$",
    re.IGNORECASE,
)
#: What healthy servers print as an error: a fit that tries and goes on, a template's example that a build of ik_llama.cpp lacks,
#: a server that llama-swap asked to stop, a server of 2023 that waits, a picture that KoboldCpp makes smaller.
NO_FAULT = re.compile(
    r"is normal during memory fitting|^common_(?:fit_params|params_fit): |^Failed to infer a tool call example"
    r"|^all slots are idle and system prompt is empty|^Image requires resizing: original size "
    r"|\breturned error: signal: (?:terminated|interrupt|killed)$"
)
#: What builds without levels print as a warning: what is tried again, done otherwise or left out; and values of a model.
_MILD = re.compile(
    r"^(?:[Ww]arn(?:ing)?|WARNING): |\bfall(?:s|ing)? ?back to\b|\bretrying\b|\bignor(?:ing|ed)\b|, using |\b[Uu]sing \S+ instead"
    r"|\bdisabl(?:ing|ed)|\bforcing\b|\btruncating$|\bsetting (?:to|n_batch) |clearing the memory$"
    r"|\(use llama_encode\(\) instead\)|^Behavior may be"
    r"|^(?:print_info|llm_load_print_meta|llama_model_loader: - )|^Unable to detect VRAM"
)
#: Messages of a program's death: from the C++ runtime, a driver, ggml, the dynamic loader, a shell or Docker.
FATAL = re.compile(
    r"terminate called|^ *what\(\):|GGML_ASSERT|core dumped|Segmentation fault|^Aborted\b|Illegal instruction|Bus error"
    r"|No compatible code objects|[Mm]emory (?:access|critical) (?:fault|error)|(?:CUDA|ROCm|HIP|SYCL) error\b|ErrorDeviceLost"
    r"|error while loading shared libraries|version `GLIBC\S+' not found|symbol lookup error|(?:^|\s)Killed\s*$"
    r"|exited with code [1-9]\d*$|HSA_STATUS_ERROR|Exception caught at file:"
)
#: Of these, what can only be said of a program that does not run at all.
NEVER_RAN = re.compile(r"error while loading shared libraries|version `GLIBC\S+' not found|symbol lookup error")
FATAL_BYTES = re.compile(FATAL.pattern.encode())
#: Lines that are searched for an error.
_MOST_LINES = 5000


def last_number(lines: Sequence[bytes], numbers: Sequence[int], end: int) -> int:
    return next((numbers[index] for index in range(end - 1, -1, -1) if index < len(numbers) and lines[index].strip()), 0)


def last_line(
    name: str, lines: Sequence[bytes], numbers: Sequence[int], begin: int, end: int, port: int | None
) -> LineEvidence | None:
    """The last line of the server, of those from `begin`; none that quotes a request."""
    for index in range(end - 1, begin - 1, -1):
        envelope = strip(lines[index].decode("utf-8", "replace"))
        if envelope.port == port and not envelope.private and (message := envelope.message.strip()):
            return LineEvidence(message[:SPAN_LIMIT], name, numbers[index])
    return None


def first_error(
    name: str,
    lines: Sequence[bytes],
    numbers: Sequence[int],
    begin: int,
    end: int,
    port: int | None,
    *,
    levels_only: bool = False,
) -> LineEvidence | None:
    """The first line that reports an error; what repeats an earlier one only if it brings the reason along."""
    echo: LineEvidence | None = None
    places = range(begin, min(end, begin + _MOST_LINES))
    for _, line in _errors(name, lines, numbers, places, port, None if levels_only else _ERROR):
        if not ECHO.search(line.line):
            return line
        if echo is None and _WITH_REASON.search(line.line):
            echo = line
    return echo


def last_error(
    name: str,
    lines: Sequence[bytes],
    numbers: Sequence[int],
    begin: int,
    end: int,
    port: int | None,
    known: Callable[[bytes], bool],
) -> LineEvidence | None:
    """The last line that reports an error and that no pattern knows; what repeats an earlier failure, if there is no other."""
    echo: LineEvidence | None = None
    places = range(end - 1, max(begin, end - _MOST_LINES) - 1, -1)
    for index, line in _errors(name, lines, numbers, places, port, WORDS):
        if known(lines[index]):
            continue
        if not ECHO.search(line.line):
            return line
        echo = echo or line
    return echo


def _errors(
    name: str, lines: Sequence[bytes], numbers: Sequence[int], places: range, port: int | None, words: re.Pattern[str] | None
) -> Iterator[tuple[int, LineEvidence]]:
    for index in places:
        envelope = strip(lines[index].decode("utf-8", "replace"))
        if envelope.port == port and reports_error(envelope, words):
            yield index, LineEvidence(envelope.message.strip()[:SPAN_LIMIT], name, numbers[index])


def reports_error(envelope: Envelope, words: re.Pattern[str] | None) -> bool:
    """By its level, or by these words where the build prints no level."""
    if envelope.private or not envelope.message.strip() or NO_FAULT.search(envelope.message) is not None:
        return False
    if envelope.level is not None or envelope.elapsed is not None:
        return envelope.level == "E"
    return words is not None and words.search(envelope.message) is not None and _MILD.search(envelope.message) is None
