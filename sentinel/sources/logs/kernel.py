"""The kernel's log: /dev/kmsg if it may be read, else the journal's copy of it.

The device of a record (its DEVICE= line) is appended to the text as `` [pci:0000:03:00.0]``: it is the only reliable name of the
GPU, because many drivers do not print one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sentinel.model.entity import HOST
from sentinel.model.reading import LogLines
from sentinel.sources.base import NotHere, Put, SourceFault
from sentinel.sources.logs.journalctl import Batcher, Journal

#: One read is one record, of at most 8 KiB (CONSOLE_EXT_LOG_MAX, kernel/printk/internal.h); a smaller buffer gives EINVAL.
_RECORD = 8192
#: Records read before other tasks get their turn; the ring of a busy machine holds some ten thousand.
_BATCH = 500
_HEAD = re.compile(rb"(\d{1,10}),(\d{1,20}),(\d{1,20}),[^;]*;([^\n]*)")
_ESCAPE = re.compile(rb"\\x([0-9a-fA-F]{2})")


@dataclass(frozen=True, slots=True)
class KernelRecord:
    """One record of /dev/kmsg. `prio` is the level 0-7, `usec` the time since boot on the monotonic clock, `text` as the kernel
    printed it. `device` is like ``+pci:0000:03:00.0`` (Documentation/ABI/testing/dev-kmsg); `kernel` is False for user space.
    """

    prio: int
    kernel: bool
    seq: int
    usec: int
    text: bytes
    subsystem: str
    device: str


@dataclass(frozen=True, slots=True)
class KernelPosition:
    """How far the kernel's log has been read: number of the last record in this boot (-1: none), or the journal's cursor."""

    boot_id: str = ""
    seq: int = -1
    cursor: str = ""


def parse_kmsg(record: bytes) -> KernelRecord | None:
    """A record as one read of /dev/kmsg returns it; None for anything else.

    ``prio,seq,usec,flags;text``, then lines `` KEY=value``. prio is facility * 8 + level. Bytes that are not printable are
    escaped as ``\\xNN``, in the text and in the values.
    """
    head, _, rest = record.partition(b"\n")
    if (match := _HEAD.fullmatch(head)) is None:
        return None
    values = {}
    for line in rest.split(b"\n"):
        key, equals, value = line.partition(b"=")
        if equals and key.startswith(b" "):
            values[key[1:]] = _unescape(value).decode("utf-8", "replace")
    prio = int(match[1])
    return KernelRecord(
        prio=prio & 7,
        kernel=prio >> 3 == 0,
        seq=int(match[2]),
        usec=int(match[3]),
        text=_unescape(match[4]),
        subsystem=values.get(b"SUBSYSTEM", ""),
        device=values.get(b"DEVICE", ""),
    )


def _unescape(text: bytes) -> bytes:
    return _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), text) if b"\\x" in text else text


def named(text: bytes, device: str) -> bytes:
    """The text with the device appended to each line. Block and network devices, which are only numbers, are left out."""
    if not device.startswith("+"):
        return text
    suffix = b" [" + device[1:].encode("utf-8", "replace") + b"]"
    return b"\n".join(line + suffix for line in text.split(b"\n"))


class KmsgSource:
    """Streaming source over /dev/kmsg. Begins with the next record, or after `start` if that is of this boot.

    With `backlog` the ring's current content comes first: an OOM kill a second before the daemon started matters.
    """

    def __init__(
        self,
        *,
        start: KernelPosition | None = None,
        backlog: bool = False,
        path: Path = Path("/dev/kmsg"),
        boot_id: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        name: str = "kmsg",
    ) -> None:
        self.name = name
        #: an open /dev/kmsg delivers every later record
        self.proven = True
        #: records that were overwritten before they could be read
        self.lost = 0
        self._path = path
        self._boot_id = _boot_id() if boot_id is None else boot_id
        self._backlog = backlog
        self._monotonic = monotonic
        known = start is not None and start.boot_id == self._boot_id and self._boot_id != ""
        self._seq = start.seq if start is not None and known else -1

    def position(self) -> KernelPosition:
        """After the last record that was put."""
        return KernelPosition(boot_id=self._boot_id, seq=self._seq)

    async def run(self, put: Put, now: Callable[[], float]) -> None:
        """Put LogLines of kind kernel until cancelled. Raises SourceFault if it may not be read, NotHere if it does not exist."""
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NotHere(f"there is no {self._path} (in a container it belongs to the host)") from error
        except PermissionError as error:
            raise SourceFault(
                f"cannot read {self._path}: permission denied",
                "the kernel's log needs CAP_SYSLOG (AmbientCapabilities=CAP_SYSLOG in the unit), or sysctl "
                "kernel.dmesg_restrict=0 and read access to the device",
            ) from error
        except OSError as error:
            raise SourceFault(f"cannot open {self._path}: {error.strerror}; the kernel's log is not read") from error
        try:
            await self._follow(fd, put, now)
        finally:
            os.close(fd)

    async def _follow(self, fd: int, put: Put, now: Callable[[], float]) -> None:
        started = self._monotonic() * 1e6
        resuming = self._seq >= 0
        # With a saved position the ring is read from its start: records up to the position are skipped by number.
        os.lseek(fd, 0, os.SEEK_SET if resuming or self._backlog else os.SEEK_END)
        batcher = Batcher(self.name, HOST)
        while True:
            for _ in range(_BATCH):
                record = self._next(fd)
                if record is None:
                    break
                if record.seq <= self._seq:
                    continue
                # Suspend stops the monotonic clock but not the wall clock, so the boot time is computed for each record.
                at = min(now(), now() - self._monotonic() + record.usec / 1e6)
                if record.kernel:
                    old = not resuming and record.usec < started
                    done = batcher.add("kernel", named(record.text, record.device), at, backlog=old)
                    if done is not None:
                        await put(done)
                self._seq = record.seq
            else:
                await self._put(put, batcher.take())
                await asyncio.sleep(0)
                continue
            await self._put(put, batcher.take())
            await _readable(fd)

    async def _put(self, put: Put, lines: LogLines | None) -> None:
        if lines is not None:
            await put(lines)

    def _next(self, fd: int) -> KernelRecord | None:
        """The next record; None if there is none yet."""
        while True:
            try:
                data = os.read(fd, _RECORD)
            except BlockingIOError:
                return None
            except BrokenPipeError:
                # The record was overwritten before we read it; the next read returns the oldest one.
                continue
            except OSError as error:
                raise SourceFault(f"cannot read {self._path}: {error.strerror}; the kernel's log is not read") from error
            if not data:
                raise SourceFault(f"{self._path} has ended, so it is no kernel log; the kernel's log is not read")
            record = parse_kmsg(data)
            if record is not None:
                if 0 <= self._seq < record.seq:
                    self.lost += record.seq - self._seq - 1
                return record


async def _readable(fd: int) -> None:
    """Wait until the file is readable. The reader is removed again: epoll would keep firing while we put."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)


class KernelJournal:
    """Streaming source: the kernel's messages from the journal, for when /dev/kmsg may not be read."""

    def __init__(
        self,
        *,
        start: KernelPosition | None = None,
        backlog: bool = False,
        boot_id: str | None = None,
        name: str = "kernel-journal",
        program: str = "journalctl",
    ) -> None:
        self.name = name
        #: the journal has kernel records of this boot, so later ones will appear too; silence alone does not prove that
        self.proven = False
        self._boot_id = _boot_id() if boot_id is None else boot_id
        cursor = start.cursor if start is not None and start.boot_id == self._boot_id else ""
        first = ["-n", "1000" if backlog else "0"]
        boot = [f"_BOOT_ID={self._boot_id.replace('-', '')}"] if self._boot_id else []
        self._journal = Journal(["_TRANSPORT=kernel", *boot], first=first, cursor=cursor or None, program=program)

    def position(self) -> KernelPosition:
        """After the last record that was put."""
        return KernelPosition(boot_id=self._boot_id, cursor=self._journal.cursor or "")

    async def run(self, put: Put, now: Callable[[], float]) -> None:
        """Put LogLines of kind kernel until cancelled. Raises SourceFault, also if the journal has no kernel messages: the
        kernel always logs something, so such a journal does not receive it (in a container, without files, ReadKMsg=no).
        """
        self.proven = False
        if not await self._journal.holds_any():
            raise SourceFault(
                "the journal has no message of the kernel since the boot, so it would not get an OOM kill either",
                "let sentinel read /dev/kmsg (CAP_SYSLOG), or look at `journalctl -k` and at ReadKMsg= in journald.conf",
            )
        self.proven = True
        fresh_until = now() if self._journal.cursor is None else 0.0
        batcher = Batcher(self.name, HOST)
        async with contextlib.aclosing(self._journal.follow()) as stream:
            async for records in stream:
                for record in records:
                    # Programs that write to /dev/kmsg have another facility than the kernel's 0.
                    if record.fields.get("SYSLOG_FACILITY", "0") != "0":
                        continue
                    text = named(record.text, record.fields.get("_KERNEL_DEVICE", ""))
                    if (done := batcher.add("kernel", text, record.at, backlog=record.at < fresh_until)) is not None:
                        await put(done)
                if (last := batcher.take()) is not None:
                    await put(last)
                self._journal.cursor = records[-1].cursor


def kernel_source(
    start: KernelPosition | None = None, *, backlog: bool = False, path: Path = Path("/dev/kmsg")
) -> KmsgSource | KernelJournal:
    """The better source that works here: /dev/kmsg, else the journal if it may not be read and there is one."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        if shutil.which("journalctl") is not None:
            return KernelJournal(start=start, backlog=backlog)
    return KmsgSource(start=start, backlog=backlog, path=path)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""
