"""The sender of each line: a saved log may contain several servers, systemd and the kernel. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from sentinel.engine.log.envelope import strip

Sender = Literal["llama-server", "systemd", "kernel"]

#: Quote markers in front of a line: of a mail, of Markdown, a table's border.
_QUOTE = re.compile(rb"(?: {0,3}> ?)+(?=\S)|\| (?=\S)")
#: Words that must not be taken for "host ident:" (llama-server's own, and drivers').
_NOT_A_HOST = rb"(?!srv |slot |cmn |que |spec |amdgpu |NVRM)"
_SENDER = _NOT_A_HOST + rb"(?:(?P<host>[\w.-]+) )?(?P<ident>[^\s:\[\]|]{1,64})(?:\[(?P<pid>\d{1,10})\])?: ?(?P<rest>.*)$"
#: journalctl's short forms and syslog's, with months of any language (`févr. 12`, `7月 24`).
_SHORT = re.compile(
    rb"(?:<\d{1,3}>)?(?P<month>[A-Za-z\x80-\xff][^\s\d]{0,15}|\d{1,2}\xe6\x9c\x88) {1,2}(?P<day>\d{1,2}) "
    rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:\.(?P<part>\d{1,9}))? " + _SENDER
)
#: journalctl -o short-iso, short-full, with-unit; rsyslog's own form.
_ISO = re.compile(
    rb"(?:<\d{1,3}>)?(?:[A-Za-z\x80-\xff]{2,12}\.? )?(?P<moment>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
    rb"(?:Z|[+-]\d\d:?\d\d)?)(?: [A-Z]{3,5})? (?=[\w.-]+ [^\s:\[\]|]{1,64}(?:\[\d+\])?: )" + _SENDER
)
#: podman-compose puts the name in brackets.
_COMPOSE = re.compile(
    rb"(?:\x1b\[[\d;]{0,12}m)*(?:\[(?=[a-z0-9]))?(?P<ident>[A-Za-z0-9][\w.-]{0,63})\]? +(?:\x1b\[[\d;]{0,12}m)*\| ?"
)
#: docker compose's own messages about a service, without the bar.
_COMPOSE_END = re.compile(
    rb"(?:\x1b\[[\d;]{0,12}m)*(?P<ident>[A-Za-z0-9][\w.-]{0,63}) +(?:\x1b\[[\d;]{0,12}m)*exited with code \d+"
)
#: dmesg with seconds since boot or with a date in any language, /dev/kmsg, and only the kernel's name.
_KERNEL = re.compile(
    rb"(?:<\d{1,3}>)?\[ *\+?\d+\.\d+\] |(?:<\d{1,3}>)?\[[^\s\]\d]{2,12} [^\s\]]{2,12} +\d{1,2} \d\d:\d\d:\d\d \d{4}\] "
    rb"|\d+,\d+,\d+,[-+c][^;]*;|kernel: "
)
_LOCAL = re.compile(rb"\d{4}-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?")
#: Programs whose messages are about units and processes, not from a server.
_MANAGERS = frozenset({"systemd", "systemd-oomd", "systemd-coredump", "earlyoom", "systemd-logind", "init"})
_MONTHS = (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec")
_DAYS = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)


class Line(NamedTuple):
    """One line and its sender."""

    number: int
    kind: Sender
    #: program and process, a compose service, or a unit; empty if the line names none
    voice: str
    #: seconds since the epoch, if the line has a time zone
    epoch: float | None
    #: seconds since the start of the year, if it has none
    local: float | None
    text: bytes


def lines(data: bytes) -> Iterator[Line]:
    """Every line, without quote markers and without the prefix that names its sender."""
    number = 0
    begin = 0
    while begin < len(data):
        end = data.find(b"\n", begin)
        end = len(data) if end < 0 else end
        number += 1
        yield _line(number, data[begin:end])
        begin = end + 1


def _line(number: int, text: bytes) -> Line:
    first = text[:1]
    # A line of llama-server with its own stamp is by far the most frequent.
    if first.isdigit() and text[1:2] == b"." and text[4:5] == b".":
        return Line(number, "llama-server", "", None, None, text)
    if first in b"> |" and (quote := _QUOTE.match(text)) is not None:
        text = text[quote.end() :]
        first = text[:1]
    if first == b"{":
        return _exported(number, text)
    if _KERNEL.match(text) is not None:
        return Line(number, "kernel", "kernel", None, None, text)
    sent = _SHORT.match(text)
    epoch = local = None
    if sent is not None:
        local = _since_new_year(sent)
    else:
        sent = _ISO.match(text)
        if sent is not None:
            epoch, local = _moment(sent["moment"])
    if sent is None:
        compose = _COMPOSE.match(text)
        if compose is not None:
            inner = text[compose.end() :]
            return Line(number, "llama-server", compose["ident"].decode(), *_prefixed(inner), inner)
        ended = _COMPOSE_END.match(text)
        if ended is not None:
            return Line(number, "llama-server", ended["ident"].decode(), None, None, text)
        return Line(number, "llama-server", "", *_prefixed(text), text)
    ident = sent["ident"].decode("utf-8", "replace")
    rest = sent["rest"]
    kind: Sender = "llama-server"
    if ident == "kernel":
        kind = "kernel"
    elif ident in _MANAGERS:
        kind = "systemd"
    voice = f"{ident}[{sent['pid'].decode()}]" if sent["pid"] else ident
    return Line(number, kind, voice, epoch, local, rest)


def _prefixed(text: bytes) -> tuple[float | None, float | None]:
    """The time of a container's line, which names no sender."""
    if not text[:4].isdigit():
        return None, None
    found = re.match(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?", text)
    return (None, None) if found is None else _moment(found[0])


def _moment(text: bytes) -> tuple[float | None, float | None]:
    wall = strip(text.decode("ascii", "replace") + " x").wall
    if wall is not None:
        return wall, None
    found = _LOCAL.match(text)
    if found is None:
        return None, None
    month, day, hour, minute, second = (int(found[n]) for n in range(1, 6))
    return None, _seconds(month, day, hour, minute, second, found[6])


def _since_new_year(sent: re.Match[bytes]) -> float:
    word = sent["month"].lower()
    if word[:1].isdigit():
        month = int(re.match(rb"\d+", word)[0])  # type: ignore[index]
    else:
        # A month that is not English counts as January: excerpts lie within one month.
        month = next((n for n, name in enumerate(_MONTHS, 1) if word.startswith(name)), 1)
    return _seconds(month, int(sent["day"]), int(sent["hour"]), int(sent["minute"]), int(sent["second"]), sent["part"])


def _seconds(month: int, day: int, hour: int, minute: int, second: int, part: bytes | None) -> float:
    days = _DAYS[min(max(month, 1), 12) - 1] + day - 1
    return days * 86400.0 + hour * 3600 + minute * 60 + second + (float(b"0." + part) if part else 0.0)


def _exported(number: int, text: bytes) -> Line:
    """A record of journalctl -o json; any other JSON is a line of the server."""
    if b'"MESSAGE"' not in text:
        return Line(number, "llama-server", "", strip(text.decode("utf-8", "replace")).wall, None, text)
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        return Line(number, "llama-server", "", None, None, text)
    wall = strip(text.decode("utf-8", "replace")).wall
    ident = str(record.get("SYSLOG_IDENTIFIER") or record.get("_COMM") or "")
    if record.get("_TRANSPORT") == "kernel" or ident == "kernel":
        return Line(number, "kernel", "kernel", wall, None, text)
    if ident in _MANAGERS or record.get("_SYSTEMD_UNIT") == "init.scope":
        return Line(number, "systemd", str(record.get("UNIT") or ident), wall, None, text)
    return Line(number, "llama-server", str(record.get("_SYSTEMD_UNIT") or ident), wall, None, text)


def as_kernel(own: Iterable[Line]) -> Iterable[Line]:
    """The lines of a file given as the kernel log: those without a sender are the kernel's as well."""
    for line in own:
        yield line if line.kind != "llama-server" or line.voice else line._replace(kind="kernel")
