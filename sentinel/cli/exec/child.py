"""Runs one program as if nobody stood between it and its caller: descriptors, terminal, signals, stops, exit status.

The program stays in the process group and session of its caller, so what the terminal sends (Ctrl-C, Ctrl-Z, a hang-up) reaches
it by itself; only a signal that somebody sent to this very process is passed on. Standard input is the caller's own; output
and errors are copied: through a pseudo-terminal where they are one, so that the program colours and buffers as it would.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import select
import signal
import struct
import sys
import termios
import tty
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_CHUNK = 1 << 16
#: struct signalfd_siginfo: number, errno, code and more; 128 bytes
_SIGINFO = struct.Struct("=Iii116x")
#: si_code of a signal that the kernel itself sent: from the terminal, to the whole foreground group (sigaction(2))
_SI_KERNEL = 0x80
_PASSED_ON = frozenset(
    {
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGCONT,
        signal.SIGWINCH,
        signal.SIGTSTP,
    }
)
_TAKEN = _PASSED_ON | {signal.SIGCHLD}


@dataclass
class _Channel:
    """Output of the program on its way: `source` is our end, `target` the caller's descriptor."""

    source: int
    inner: int
    targets: tuple[int, ...]
    terminal: bool

    @property
    def target(self) -> int:
        """Where its bytes go."""
        return self.targets[-1]


class Child:
    """One run. `keep` gets all bytes of its output, after the caller has them."""

    def __init__(self, command: Sequence[str], environ: dict[str, str], keep: Callable[[bytes], None] | None) -> None:
        """Start it. Raises OSError if the program cannot be started; `keep` None: its output is the caller's own."""
        self._keep = keep
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._channels: list[_Channel] = [] if keep is None else _channels()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _TAKEN)
        self._signals = self._signalfd()
        self.pid = self._start(command, environ, before)
        for inner in {channel.inner for channel in self._channels}:
            os.close(inner)

    def _signalfd(self) -> int:
        mask = ctypes.create_string_buffer(128)
        self._libc.sigemptyset(mask)
        for number in _TAKEN:
            self._libc.sigaddset(mask, int(number))
        fd: int = self._libc.signalfd(-1, mask, os.O_CLOEXEC | os.O_NONBLOCK)
        if fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return fd

    def _start(self, command: Sequence[str], environ: dict[str, str], before: set[int | signal.Signals]) -> int:
        failure, report = os.pipe2(os.O_CLOEXEC)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become(command, environ, before, report, parent)
        os.close(report)
        failed = os.read(failure, 8)
        os.close(failure)
        if failed:
            os.waitpid(pid, 0)
            raise OSError(int(failed), os.strerror(int(failed)), command[0])
        return pid

    def _become(
        self, command: Sequence[str], environ: dict[str, str], before: set[int | signal.Signals], report: int, parent: int
    ) -> NoReturn:
        """In the child: the program's descriptors, its signals as the caller had them, and then the program itself."""
        try:
            # Whoever kills this wrapper with SIGKILL must not leave a server that nobody watches.
            self._libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)
            for channel in self._channels:
                for target in channel.targets:
                    os.dup2(channel.inner, target)
            # What Python ignores on its own behalf would stay ignored in the program (signal(7), execve(2)).
            for number in (signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.execvpe(command[0], list(command), environ)  # noqa: S606 - no shell is meant
        except OSError as error:
            os.write(report, str(error.errno or 1).encode())
        except BaseException:
            # Whatever it is: a copy of the caller must not go on after it.
            os.write(report, b"1")
        os._exit(127)

    def run(self) -> int:
        """Copy until it has ended; its status as wait(2) has it."""
        open_channels = {channel.source: channel for channel in self._channels}
        status: int | None = None
        while status is None:
            ready, _, _ = select.select([self._signals, *open_channels], [], [])
            for source in ready:
                if source == self._signals:
                    status = self._of_signals(status)
                elif not self._copy(open_channels[source]):
                    os.close(source)
                    del open_channels[source]
        while open_channels and (ready := select.select([*open_channels], [], [], 0)[0]):
            # What it printed last; a process that it left behind may keep the pipe open for ever.
            for source in ready:
                if not self._copy(open_channels[source]):
                    del open_channels[source]
        return status

    def _copy(self, channel: _Channel) -> bool:
        """Pass on what there is; False at the end."""
        try:
            data = os.read(channel.source, _CHUNK)
        except OSError:
            # EIO: the last process with the pseudo-terminal has closed it.
            return False
        if not data:
            return False
        rest = data
        while rest:
            try:
                rest = rest[os.write(channel.target, rest) :]
            except BlockingIOError:
                select.select([], [channel.target], [])
            except OSError:
                # The caller's reader is gone: the program learns of it at its next write.
                return False
        if self._keep is not None:
            self._keep(data)
        return True

    def _of_signals(self, status: int | None) -> int | None:
        while True:
            try:
                data = os.read(self._signals, _SIGINFO.size)
            except BlockingIOError:
                return status
            number, _error, code = _SIGINFO.unpack(data)
            if number == signal.SIGCHLD:
                status = self._look_at_child() if status is None else status
            else:
                self._pass_on(signal.Signals(number), code)

    def _pass_on(self, number: signal.Signals, code: int) -> None:
        if number == signal.SIGWINCH:
            _resize(self._channels)
        elif code == _SI_KERNEL:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def _look_at_child(self) -> int | None:
        """Its status if it has ended. Where the terminal stopped it, so are we: the shell sees a stopped job and continues both.

        Not for SIGSTOP: whoever stops the server alone continues it alone, and would leave us behind, stopped, with a full pipe.
        """
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
            if pid == 0:
                return None
            if not os.WIFSTOPPED(status):
                return status
            if os.WSTOPSIG(status) == signal.SIGSTOP:
                continue
            os.kill(os.getpid(), signal.SIGSTOP)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGCONT)


def _channels() -> list[_Channel]:
    """One for standard output and one for error; one for both where they lead to the same place: lines keep their order."""
    known = {fd: _identity(fd) for fd in (1, 2)}
    together = known[1] == known[2]
    groups = [(1, 2)] if together else [(1,), (2,)]
    return [_channel(targets) for targets in groups if known[targets[-1]] is not None]


def _identity(fd: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _channel(targets: tuple[int, ...]) -> _Channel:
    if not os.isatty(targets[-1]):
        source, inner = os.pipe2(os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            # A burst of lines must not wait for us: 1 MiB in place of 64 KiB.
            fcntl.fcntl(source, fcntl.F_SETPIPE_SZ, 1 << 20)
        return _Channel(source, inner, targets, False)
    source, inner = os.openpty()
    os.set_inheritable(source, False)
    os.set_inheritable(inner, False)
    # The real terminal translates line ends.
    tty.setraw(inner)
    channel = _Channel(source, inner, targets, True)
    _resize([channel])
    return channel


def _resize(channels: Sequence[_Channel]) -> None:
    for channel in channels:
        if channel.terminal:
            with contextlib.suppress(OSError):
                size = fcntl.ioctl(channel.target, termios.TIOCGWINSZ, b"\0" * 8)
                fcntl.ioctl(channel.source, termios.TIOCSWINSZ, size)


def end_as(status: int) -> NoReturn:
    """End as the program did: with its exit status, or by the same signal, which the caller's shell shows as 128 + n."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        # The program has dumped its core; a second one, of Python, would only be in the way.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os.kill(os.getpid(), number)
        os._exit(128 + number)
    os._exit(os.waitstatus_to_exitcode(status))
