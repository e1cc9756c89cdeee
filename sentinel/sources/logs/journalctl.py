"""The journal, through `journalctl --follow -o json`: records as they arrive, and their messages as batches of lines.

journalctl is on every systemd machine, can read its journal format and needs no library of a matching version.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sentinel.engine.log.lines import LineSplitter
from sentinel.model.entity import Entity
from sentinel.model.input_limits import MOST_LINE_BYTES, MOST_RECORD_BYTES
from sentinel.model.reading import LogLines
from sentinel.sources.base import SourceFault

_CHUNK = 1 << 18
#: systemd writes the kind of container there (systemd's CONTAINER_INTERFACE)
_CONTAINER = Path("/run/systemd/container")
#: Seconds of records in one batch, because all lines of a batch carry the time of its last record.
_SPAN = 1.0
#: journalctl finds the last record of a journal of many gigabytes within a second.
_ANSWER_SECONDS = 15.0

#: What journalctl prints to stderr before it waits forever for messages it may not see (src/shared/journal-util.c).
_NOT_ALL = "not seeing messages from other users"
_NOT_ANY = "No journal files were opened due to insufficient permissions"
_NO_FILES = "No journal files were found"

_FIELDS = (
    "MESSAGE,MESSAGE_ID,_PID,_UID,_SYSTEMD_UNIT,_SYSTEMD_USER_UNIT,_TRANSPORT,_BOOT_ID,"
    "UNIT,USER_UNIT,UNIT_RESULT,SYSLOG_FACILITY,_KERNEL_DEVICE"
)


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """One entry. `at` is its wall clock time, `text` the message, at most MOST_LINE_BYTES; `fields` those that are text."""

    cursor: str
    at: float
    text: bytes
    pid: int
    fields: Mapping[str, str] = field(default_factory=dict)


def parse_record(line: bytes) -> JournalRecord | None:
    """One line of `journalctl -o json`; None for anything that is not a record.

    A value is a string, a list of bytes where it is not printable UTF-8, a list of values where the field is repeated, or null
    where it is too large (journalctl(1), -o json).
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    cursor, stamp = record.get("__CURSOR"), record.get("__REALTIME_TIMESTAMP")
    if not isinstance(cursor, str) or not isinstance(stamp, str) or not stamp.isdecimal() or len(stamp) > 20:
        return None
    fields = {name: text for name, value in record.items() if isinstance(text := _first(value), str)}
    pid = fields.get("_PID", "")
    return JournalRecord(
        cursor=cursor,
        at=int(stamp) / 1e6,
        text=_bytes(record.get("MESSAGE"))[:MOST_LINE_BYTES],
        pid=int(pid) if pid.isdecimal() and len(pid) < 10 else 0,
        fields=fields,
    )


def _first(value: object) -> object:
    return value[0] if isinstance(value, list) and value else value


def _bytes(value: object) -> bytes:
    if isinstance(value, list) and value and not isinstance(value[0], int):
        value = value[0]
    if isinstance(value, list):
        return bytes(value) if all(isinstance(byte, int) and 0 <= byte <= 255 for byte in value) else b""
    return value.encode("utf-8", "replace") if isinstance(value, str) else b""


class Journal:
    """A running `journalctl --follow`: records as they arrive, and the cursor to resume at.

    `cursor` belongs to the last record the consumer has finished with; the caller sets it.
    """

    def __init__(
        self, matches: Sequence[str], *, first: Sequence[str], cursor: str | None, program: str, container: Path = _CONTAINER
    ) -> None:
        self.cursor = cursor
        #: lines of journalctl that were not records
        self.malformed = 0
        self._matches = tuple(matches)
        self._first = tuple(first)
        self._program = program
        self._container = container
        #: of the journal, in a container; empty: the one that journalctl takes
        self._boot = ""

    def argv(self) -> list[str]:
        """The command. Without `--all` journalctl prints null for every field over 4096 bytes."""
        where = ["--no-tail", f"--after-cursor={self.cursor}"] if self.cursor else list(self._first)
        common = ["-o", "json", "--follow", "--no-pager", "--all", f"--output-fields={_FIELDS}"]
        boot = [f"--boot={self._boot}"] if self._boot else []
        return [self._program, *common, *boot, *where, *self._matches]

    async def _learn_boot(self) -> None:
        """In a container: the boot that the journal's newest entry names.

        `--follow` shows one boot alone, and takes its id from /proc. nspawn, LXC and Proxmox give the container an id of its own
        by a mount there, which a unit with ProtectKernelTunables= does not see: it sees the host's, which the journal knows not.
        """
        if not self._container.exists() or self._boot:
            return
        words = [self._program, "-q", "-o", "json", "--no-pager", "-n", "1", "--output-fields=_BOOT_ID"]
        process = await self._start(words)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                async for records in self._records(process.stdout):
                    self._boot = records[-1].fields.get("_BOOT_ID", "")
        except TimeoutError:
            return
        finally:
            await _end(process)

    async def holds_any(self, *, of_this_boot: bool = False) -> bool:
        """Whether the journal has a matching record now. Raises SourceFault, also where it would not show those of others.

        `journalctl --follow` on a journal without files waits silently, just as on a quiet one.
        """
        boot: list[str] = []
        if of_this_boot:
            await self._learn_boot()
            boot = [f"--boot={self._boot}" if self._boot else "--boot"]
        process = await self._start([self._program, "-o", "json", "--no-pager", "-n", "1", *boot, *self._matches])
        complaint = asyncio.create_task(_complaint(process))
        found = False
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                async for _ in self._records(process.stdout):
                    found = True
                if not found and await process.wait() not in (0, 1):
                    raise await self._why(process, await complaint, resumed=False)
                said = await complaint
        except TimeoutError as error:
            why = f"{self._program} gave no answer within {_ANSWER_SECONDS:g} s; look at `journalctl --verify`, it is asked again"
            raise SourceFault(why) from error
        finally:
            complaint.cancel()
            await _end(process)
        if said in (_NOT_ALL, _NOT_ANY, _NO_FILES):
            raise await self._why(process, said, resumed=False)
        return found

    async def follow(self) -> AsyncGenerator[list[JournalRecord]]:
        """Records, as many at a time as there are. Raises SourceFault when journalctl is missing or exits."""
        await self._learn_boot()
        process = await self._start(self.argv())
        resumed = self.cursor is not None
        complaint = asyncio.create_task(_complaint(process))
        try:
            async for records in self._records(process.stdout):
                resumed = False
                yield records
            raise await self._why(process, await complaint, resumed=resumed)
        finally:
            complaint.cancel()
            await _end(process)

    async def _start(self, argv: Sequence[str]) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**os.environ, "LC_ALL": "C"},
                limit=_CHUNK,
            )
        except FileNotFoundError as error:
            raise SourceFault(
                f"there is no {self._program} to read the journal with",
                "install systemd, or let llama-server log to a file with --log-file",
            ) from error
        except OSError as error:
            raise SourceFault(f"cannot start {self._program}: {error.strerror}; the journal is not read") from error

    async def _records(self, stream: asyncio.StreamReader | None) -> AsyncIterator[list[JournalRecord]]:
        if stream is None:
            return
        rest = b""
        skipping = False
        while data := await stream.read(_CHUNK):
            *lines, rest = (rest + data).split(b"\n")
            if skipping and lines:
                del lines[0]
                skipping = False
            records = []
            for line in lines:
                record = parse_record(line)
                if record is None:
                    self.malformed += 1
                else:
                    records.append(record)
            if len(rest) > MOST_RECORD_BYTES or skipping:
                self.malformed += not skipping
                skipping, rest = True, b""
            if records:
                yield records

    async def _why(self, process: asyncio.subprocess.Process, said: str, *, resumed: bool) -> SourceFault:
        code = await process.wait()
        if resumed and "cursor" in said:
            # A cursor from before the journal was replaced would fail forever.
            self.cursor = None
            return SourceFault(
                f"the journal no longer knows the place where reading stopped ({said}); it is read from this boot on"
            )
        if _NOT_ANY in said or _NOT_ALL in said:
            return SourceFault(f"cannot read the journal ({said})", "add sentinel's user to the group systemd-journal")
        if _NO_FILES in said:
            remedy = "start systemd-journald, or let llama-server log to a file with --log-file"
            return SourceFault(f"there is no journal ({said})", remedy)
        return SourceFault(f"{self._program} ended with status {code}: {said or 'it said nothing'}; it is started again")


async def _complaint(process: asyncio.subprocess.Process) -> str:
    """The last line of journalctl's stderr; drains it, so that journalctl never blocks on the pipe.

    If it may read nothing, or only its own user's messages, it prints that and then waits forever: it is terminated.
    """
    said = b""
    while process.stderr is not None and (data := await process.stderr.read(4096)):
        said = (said + data)[-2000:]
        if blind := next((text for text in (_NOT_ALL, _NOT_ANY, _NO_FILES) if text.encode() in said), None):
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            return blind
    return said.rstrip().rpartition(b"\n")[2].decode("utf-8", "replace")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), timeout=2)
    except TimeoutError:
        process.kill()
        await process.wait()


class Batcher:
    """Groups messages of one kind that are close in time into LogLines, and numbers them."""

    def __init__(self, source: str, entity: Entity) -> None:
        self._source = source
        self._entity = entity
        self._line = 1
        self._splitter = LineSplitter(MOST_LINE_BYTES)
        self._parts: list[bytes] = []
        self._key: tuple[str, bool] = ("", False)
        self._began = self._at = 0.0

    def add(self, kind: str, text: bytes, at: float, *, backlog: bool) -> LogLines | None:
        """Add one message. Returns the previous batch if the message cannot join it."""
        done = None
        if self._parts and ((kind, backlog) != self._key or not 0 <= at - self._began <= _SPAN):
            done = self.take()
        if not self._parts:
            self._key, self._began = (kind, backlog), at
        self._parts.append(self._splitter.feed(text + b"\n"))
        self._at = at
        return done

    def take(self) -> LogLines | None:
        """The batch so far; starts a new one. None when it is empty."""
        if not self._parts:
            return None
        data = b"".join(self._parts)
        first, self._line = self._line, self._line + data.count(b"\n")
        self._parts = []
        kind, backlog = self._key
        return LogLines(self._at, self._source, self._entity, data, kind, first, backlog)
