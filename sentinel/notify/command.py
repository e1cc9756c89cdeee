"""A command of the operator: never through a shell, the message as JSON on standard input, bounded in time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass

from sentinel.model.json_form import to_json
from sentinel.model.text import escape
from sentinel.notify.message import Message
from sentinel.notify.outcome import DELIVERED, Outcome
from sentinel.notify.secrets import Redactor
from sentinel.notify.template import default_body

#: EX_DATAERR of sysexits.h: what is in the message is the reason.
_BAD_DATA = 65
#: Of sysexits.h: a service is unavailable, a temporary failure, no permission, its configuration.
_FOR_CHANNEL = {69, 75, 77, 78}
#: What it gets of our environment: the rest may hold secrets, and where they are.
_PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME", "DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR")


@dataclass(frozen=True, slots=True)
class Command:
    """Exit status 0: delivered. Everything that it started is killed when its time is over."""

    argv: tuple[str, ...]
    seconds: float
    redact: Redactor

    def send(self, message: Message) -> Outcome:
        """Run it once."""
        try:
            return self._send(message)
        except OSError as error:
            # A file system without a place for temporary files, or a full one.
            return Outcome(
                "refused", f"what {escape(self.argv[0])} is given cannot be written to a temporary file: {error.strerror}"
            )

    def _send(self, message: Message) -> Outcome:
        environ = {name: os.environ[name] for name in _PASSED if name in os.environ}
        data = (to_json(default_body(message)) + "\n").encode()
        # A file: a process that it leaves behind may keep a pipe open for ever.
        with tempfile.TemporaryFile() as complaints, tempfile.TemporaryFile() as given:
            given.write(data)
            given.seek(0)
            try:
                process = subprocess.Popen(
                    self.argv,
                    stdin=given,
                    stdout=subprocess.DEVNULL,
                    stderr=complaints,
                    env=environ,
                    cwd="/",
                    start_new_session=True,
                )
            except OSError as error:
                return Outcome("refused", f"{escape(self.argv[0])} cannot be started: {error.strerror}")
            try:
                code = process.wait(self.seconds)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return Outcome("unsure", f"{escape(self.argv[0])} did not end within {self.seconds:g} s and was killed")
            complaints.seek(0)
            if code == 0:
                return DELIVERED
            why = self._failed(code, complaints.read(4096))
            return Outcome("refused", why, too_large=code == _BAD_DATA, answered=code not in _FOR_CHANNEL)

    def _failed(self, code: int, said: bytes) -> str:
        words = self.redact.quoted(said.decode("utf-8", "replace"))
        how = f"ended with {code}" if code > 0 else f"was killed by signal {-code}"
        return self.redact(f"{escape(self.argv[0])} {how}" + (f": {words}" if words else ""))
