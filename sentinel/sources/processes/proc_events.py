"""The kernel's process events: each program that is started, and how each process ended (drivers/connector/cn_proc.c).

From Linux 6.6 on every user may listen; before that it takes CAP_NET_ADMIN. In a container (a pid or user namespace of its own)
the kernel never answers; if that shares the host's network, it gets what the kernel sends to listeners on the host: their events,
without end, and the answers to them. A filter in the kernel lets two of the seven kinds of event through, those of whole
processes only, so that forks and threads wake nobody.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

from sentinel.sources.base import NotHere

#: include/uapi/linux/netlink.h, connector.h and cn_proc.h
_NETLINK_CONNECTOR = 11
_CN_IDX_PROC = 1
_NLMSG_DONE = 3
_LISTEN = 1
_EXEC = 0x00000002
_EXIT = 0x80000000
#: struct nlmsghdr and struct cn_msg, then struct proc_event: kind, CPU, time, and the event's own fields
_HEADERS = 36
_EVENT = struct.Struct("=IIQ")
_ACK = struct.Struct("=I")
_EXECED = struct.Struct("=ii")
_EXITED = struct.Struct("=iiII")
#: struct cn_msg.ack: in an answer that of the request and one more, in events 0 (seen with Linux 6.18, which renumbers seq)
_NUMBER = struct.Struct("=I")
_NUMBER_AT = 28
#: The answer to the subscription comes within microseconds, or never. For all that is received meanwhile: with one second for
#: each message, the daemon in a booted container hung for 11 to 36 s while another daemon listened on its host.
_ANSWER_SECONDS = 1.0
#: A burst of ends (a build on 64 cores) waits here while Python has no turn. Bytes.
_BUFFER = 1 << 20
#: Events that are read before anything else is looked at.
_MOST_AT_ONCE = 256
_SO_ATTACH_FILTER = 26
_BIG = 8192


@dataclass(frozen=True, slots=True)
class ProcessExeced:
    """A process became another program."""

    pid: int


@dataclass(frozen=True, slots=True)
class ProcessEnded:
    """A process ended. `code` is as wait(2) has it: the exit status in the upper byte, the signal in the lower seven bits."""

    pid: int
    code: int


class ProcEvents:
    """A subscription. Raises NotHere with the reason if the kernel does not give it to this process."""

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, _NETLINK_CONNECTOR)
        except OSError as error:
            raise NotHere(f"the kernel has no process events ({error.strerror})") from error
        try:
            self._subscribe()
        except PermissionError as error:
            self._socket.close()
            raise NotHere("the kernel's process events take CAP_NET_ADMIN before Linux 6.6") from error
        except OSError as error:
            self._socket.close()
            raise NotHere(
                f"the kernel gives no process events here ({error.strerror or 'no answer, as in a container'})"
            ) from error

    def _subscribe(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.bind((0, _CN_IDX_PROC))
        number = _NUMBER.unpack(os.urandom(_NUMBER.size))[0] >> 1
        body = struct.pack("=IIIIHHI", _CN_IDX_PROC, 1, 1, number, 4, 0, _LISTEN)
        self._socket.send(struct.pack("=IHHII", 16 + len(body), _NLMSG_DONE, 0, 0, 0) + body)
        until = time.monotonic() + _ANSWER_SECONDS
        while True:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            data, kind = self._receive()
            if kind == 0 and _NUMBER.unpack_from(data, _NUMBER_AT) == (number + 1,):
                (refused,) = _ACK.unpack_from(data, _HEADERS + _EVENT.size)
                if refused:
                    raise OSError(refused, os.strerror(refused))
                break
        self._attach()
        self._socket.setblocking(False)

    def _receive(self) -> tuple[bytes, int]:
        """One message and its kind; -1 for one that is not the kernel's."""
        data, (sender, _groups) = self._socket.recvfrom(_BIG)
        if sender != 0 or len(data) < _HEADERS + _EVENT.size + _EXECED.size:
            return data, -1
        kind, _cpu, _time = _EVENT.unpack_from(data, _HEADERS)
        return data, kind

    def _attach(self) -> None:
        """A classic BPF program: pass only EXEC and EXIT whose pid is its tgid. Loads are big-endian, the message is not."""

        def wanted(value: int) -> int:
            return socket.htonl(value)

        def step(code: int, yes: int, no: int, value: int) -> bytes:
            return struct.pack("=HBBI", code, yes, no, value)

        load, jump, copy, jump_x, give = 0x20, 0x15, 0x07, 0x1D, 0x06
        at = _HEADERS + _EVENT.size
        steps = [
            step(load, 0, 0, _HEADERS),
            step(jump, 1, 0, wanted(_EXEC)),
            step(jump, 0, 4, wanted(_EXIT)),
            step(load, 0, 0, at),
            step(copy, 0, 0, 0),
            step(load, 0, 0, at + 4),
            step(jump_x, 1, 0, 0),
            step(give, 0, 0, 0),
            step(give, 0, 0, 0xFFFFFFFF),
        ]
        program = ctypes.create_string_buffer(b"".join(steps))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(steps), ctypes.addressof(program)))

    def fileno(self) -> int:
        """For select(2)."""
        return self._socket.fileno()

    def read(self) -> Iterator[ProcessExeced | ProcessEnded]:
        """What happened since, each as soon as it is read: what it is about is gone after a millisecond.

        Nothing if nothing happened. Events that found no room are lost: /proc is listed once a second anyway.
        """
        for _ in range(_MOST_AT_ONCE):
            try:
                data, kind = self._receive()
            except OSError:
                # Nothing more; or ENOBUFS: the kernel had more to report than the buffer holds.
                return
            at = _HEADERS + _EVENT.size
            if kind == _EXEC:
                pid, tgid = _EXECED.unpack_from(data, at)
                if pid == tgid:
                    yield ProcessExeced(pid)
            elif kind == _EXIT and len(data) >= at + _EXITED.size:
                pid, tgid, code, _signal = _EXITED.unpack_from(data, at)
                if pid == tgid:
                    yield ProcessEnded(pid, code)

    def close(self) -> None:
        """End the subscription."""
        self._socket.close()


def fields_of_end(code: int) -> dict[str, str]:
    """An end in systemd's terms: ``code`` exited, killed or dumped, ``status`` 1/FAILURE or 4/ILL (systemd.exec(5))."""
    number = code & 0x7F
    if not number:
        status = code >> 8 & 0xFF
        return {"code": "exited", "status": f"{status}/FAILURE" if status == 1 else f"{status}/n/a"}
    try:
        name = signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        name = "n/a"
    return {"code": "dumped" if code & 0x80 else "killed", "status": f"{number}/{name}"}
