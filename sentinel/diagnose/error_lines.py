"""Lines that say why a start failed or how a program died, in the words of whoever said it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

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
    echo: LineEvidence | None = None
    for index in range(begin, min(end, begin + 5000)):
        envelope = strip(lines[index].decode("utf-8", "replace"))
        if envelope.port != port or not _is_error(envelope, levels_only=levels_only):
            continue
        line = LineEvidence(envelope.message.strip()[:SPAN_LIMIT], name, numbers[index])
        if not ECHO.search(line.line):
            return line
        if echo is None and _WITH_REASON.search(line.line):
            echo = line
    return echo


def _is_error(envelope: Envelope, *, levels_only: bool) -> bool:
    if envelope.private or not envelope.message.strip():
        return False
    if envelope.level is not None or envelope.elapsed is not None:
        return envelope.level == "E"
    return not levels_only and _ERROR.search(envelope.message) is not None
