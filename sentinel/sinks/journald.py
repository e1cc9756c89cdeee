"""Alerts as entries of the systemd journal, in its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL).

The datagram is built by hand because sd_journal_sendv(3), and with it every binding, returns success if the journal's socket
does not exist (systemd 252; verified with cysystemd 2.0.5, which returned 0): an alert would be lost silently.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from sentinel.files.machine import host_name
from sentinel.model.alert import Fix, Transition
from sentinel.model.json_form import evidence_line, message, to_json, transition_to_dict
from sentinel.model.text import escape
from sentinel.sinks.base import SinkDown
from sentinel.terminal.systemd_units import is_unit

SOCKET = Path("/run/systemd/journal/socket")

#: syslog(3) levels. A resolved alert is 5 (notice) whatever its severity was.
PRIORITY = {"critical": 2, "warning": 4, "info": 6}
PRIORITY_RESOLVED = 5

# journald refuses a whole entry with more than 1024 fields (ENTRY_FIELD_COUNT_MAX, journald-native.c), so lists are cut.
_MOST_REPEATS = 64

# The catalog replaces @FIELD@ by one value of the field, and by the field's name if name and value exceed 4096 bytes
# (REPLACE_VAR_MAX, sd-journal.c) or the field is missing. So repeated fields are also sent as one multi-line text, cut to fit.
_MOST_TEXT_BYTES = 4000

# journald drops a service's entries above its limit (RateLimitBurst=, by default 10,000 entries in 30 s for each rank of
# priorities), without an error for the sender. Two of our windows may fall into one of its; the rest is for our own log.
PACE_ENTRIES = 4000
PACE_SECONDS = 30.0

# journald's queue may hold only ten datagrams (net.unix.max_dgram_qlen), so a burst fills it even if journald is healthy:
# without a timeout, 300 pending alerts were sent 11 at a time, with a pause after each batch.
_PATIENCE_MICROSECONDS = 100_000

#: Searching the journal by field uses an index; this limits the delay of the start by a slow disk.
_ASKING_SECONDS = 5.0

_MESSAGE_ID = re.compile(r"[0-9a-f]{32}")
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def fields(transition: Transition, key: str = "") -> Iterator[tuple[str, str]]:
    """The entry's fields in order; SENTINEL_FIX, SENTINEL_COMMAND and SENTINEL_EVIDENCE repeat.

    `journalctl -u SERVER` shows the unit's own entries, and of others only those that user id 0 sent with OBJECT_SYSTEMD_UNIT
    (which journald derives from OBJECT_PID, only for root). From another user both are ordinary fields, found by
    `journal_query`. `journalctl --user -u SERVER` searches USER_UNIT in entries of the same user. Read SENTINEL_JSON with
    ``journalctl --all``: without it ``-o json`` shows null for values above 4096 bytes.
    """
    yield "MESSAGE", message(transition)
    if _MESSAGE_ID.fullmatch(transition.message_id):
        yield "MESSAGE_ID", transition.message_id
    resolved = transition.state != "firing"
    yield "PRIORITY", str(PRIORITY_RESOLVED if resolved else PRIORITY[transition.severity])
    yield "SYSLOG_IDENTIFIER", "sentinel"
    yield "SENTINEL_RULE", transition.rule
    yield "SENTINEL_STATE", transition.state
    yield "SENTINEL_SEVERITY", transition.severity
    if transition.flapping:
        yield "SENTINEL_FLAPPING", "yes"
    if transition.cause is not None:
        yield "SENTINEL_CAUSE", transition.cause.id
        yield "SENTINEL_CAUSE_TEXT", _cut(transition.cause.text.split("\n"))
    else:
        yield "SENTINEL_CAUSE_TEXT", "not known"
    yield "SENTINEL_ENTITY", str(transition.entity)
    yield "SENTINEL_FINGERPRINT", transition.fingerprint
    if key:
        yield "SENTINEL_TRANSITION", key
    for fix in transition.fixes[:_MOST_REPEATS]:
        yield "SENTINEL_FIX", fix.do
        if fix.command:
            yield "SENTINEL_COMMAND", fix.command
    for piece in transition.evidence[:_MOST_REPEATS]:
        yield "SENTINEL_EVIDENCE", evidence_line(piece)
    yield "SENTINEL_FIX_TEXT", _cut(_fix_lines(transition.fixes)) or "nothing is known to help"
    yield "SENTINEL_EVIDENCE_TEXT", _cut(f"- {evidence_line(piece)}" for piece in transition.evidence) or "none"
    yield "SENTINEL_JSON", to_json(transition_to_dict(transition, host_name()))
    if transition.documentation:
        yield "DOCUMENTATION", transition.documentation
    if transition.pid > 0:
        yield "OBJECT_PID", str(transition.pid)
    if is_unit(transition.entity.name):
        yield "OBJECT_SYSTEMD_UNIT", transition.entity.name
        yield "USER_UNIT", transition.entity.name


def _fix_lines(fixes: Iterable[Fix]) -> Iterator[str]:
    for number, fix in enumerate(fixes, start=1):
        yield f"{number}. {escape(fix.do)}"
        # A truncated command is useless, so it is sent whole or not at all.
        yield from (f"   $ {line}" for line in fix.command.splitlines())
        if fix.risk:
            yield f"   risk: {escape(fix.risk)}"


def _cut(lines: Iterable[str]) -> str:
    """As many whole lines as the catalog can show."""
    kept: list[str] = []
    left = _MOST_TEXT_BYTES
    for line in lines:
        size = len(escape(line).encode()) + 1
        if size > left:
            return "\n".join([*kept, "(more in SENTINEL_JSON: journalctl -a -o verbose)"])
        left -= size
        kept.append(line)
    return "\n".join(kept)


def _journalctl(words: Sequence[str]) -> str:
    """The matching entries, as JSON. Several values of one field are alternatives (journalctl(1))."""
    command = ["journalctl", "--quiet", "--no-pager", "--output=json", "--output-fields=SENTINEL_TRANSITION", *words]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_ASKING_SECONDS, check=True)
    return done.stdout.decode("utf-8", "replace")


def encode(name: str, value: str) -> bytes:
    """Encode one field. A value with a newline uses the length-prefixed form, so that it cannot start another field.

    Other control characters are escaped: journalctl prints a value that contains one as ``[12B blob data]``.
    """
    data = "\n".join(escape(line) for line in value.split("\n")).encode()
    if b"\n" in data:
        return name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
    return name.encode() + b"=" + data + b"\n"


class JournaldSink:
    """Sends each transition as one datagram, or as one sealed memfd if it is too large for a datagram.

    The socket is created once, so that delivery needs no free file descriptor; the journal's address is resolved at each send,
    so that a restarted journald is found again.
    """

    name = "journald"

    def __init__(
        self,
        address: Path = SOCKET,
        pace: tuple[int, float] = (PACE_ENTRIES, PACE_SECONDS),
        clock: Callable[[], float] = time.monotonic,
        ask: Callable[[Sequence[str]], str] | None = None,
    ) -> None:
        self._address = str(address)
        # A substitute for journald, as in tests, has no files for journalctl to read.
        self._ask = ask or (_journalctl if address == SOCKET else None)
        #: the rate limit: entries per number of seconds
        self._pace = pace
        self._clock = clock
        self._window = float("-inf")
        self._sent = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        # The kernel's send timeout: an unconnected datagram socket polls as writable although the receiver's queue is full.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, _PATIENCE_MICROSECONDS))

    def deliver(self, transition: Transition, key: str = "") -> None:
        """Send one entry. Raises SinkDown if journald does not run, its queue is full for 0.1 s, or it would drop the entry."""
        self._keep_pace()
        entry = b"".join(encode(name, value) for name, value in fields(transition, key))
        try:
            try:
                self._socket.sendto(entry, self._address)
            except OSError as error:
                # Linux returns ENOBUFS for a datagram above the socket's buffer size, EMSGSIZE above the protocol's limit.
                if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                    raise
                self._send_memfd(entry)
        except OSError as error:
            raise SinkDown(self._explain(error)) from error
        self._sent += 1

    def delivered(self, keys: Collection[str], since: float | None) -> frozenset[str]:
        """Those of `keys` that are in the journal. None if it is unreadable: a duplicate is better than a lost alert."""
        if self._ask is None or not keys:
            return frozenset()
        words = [f"SENTINEL_TRANSITION={key}" for key in keys]
        try:
            said = self._ask([*([] if since is None else [f"--since=@{since:.0f}"]), *words])
        except (OSError, subprocess.SubprocessError):
            return frozenset()
        return frozenset(key for key in keys if f'"{key}"' in said)

    def _keep_pace(self) -> None:
        most, seconds = self._pace
        now = self._clock()
        if now - self._window >= seconds:
            self._window, self._sent = now, 0
        if self._sent >= most:
            left = self._window + seconds - now
            raise SinkDown(
                f"{most} alerts in {seconds:g} s: journald would drop more (RateLimitBurst=); the rest follows in {left:.0f} s"
            )

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _send_memfd(self, entry: bytes) -> None:
        memory = os.memfd_create("sentinel-journal-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with os.fdopen(memory, "wb") as file:
            file.write(entry)
            file.flush()
            # journald maps the file; from another user it accepts only a sealed one.
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", memory))
            self._socket.sendmsg([], [rights], 0, self._address)

    def _explain(self, error: OSError) -> str:
        where = self._address
        match error.errno:
            case errno.ENOENT:
                return f"no journal at {where}: systemd-journald is not running here; alerts wait until it is"
            case errno.ECONNREFUSED:
                return f"no process reads {where}: start systemd-journald (systemctl start systemd-journald.socket)"
            case errno.EAGAIN:
                return f"journald does not read {where} at the moment; alerts wait until it does"
            case errno.EACCES | errno.EPERM:
                return f"may not write to {where}: give this user access to the journal's socket"
            case _:
                return f"cannot send to {where}: {error.strerror or error}"
