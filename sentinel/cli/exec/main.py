"""`sentinel exec`: the verb."""

from __future__ import annotations

import argparse
import os
import re
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sentinel.cli.exec.child import Child, end_as
from sentinel.cli.exec.kept_log import LIMIT, KeptLog, usual_place
from sentinel.llama.secret_words import without_keys
from sentinel.model.input_limits import MOST_ARGV_BYTES

#: Names the log to a daemon that finds the server in /proc (sources/processes/log_location.py, EXEC_LOG).
_LOG_VARIABLE = "SENTINEL_LOG"
#: A daemon that does not answer must not keep a supervisor from starting the server again for long: how the server ended is
#: known from nowhere else on some machines, and a busy one answers after seconds.
_REPORT_SECONDS, _END_SECONDS = 1.0, 5.0
_SECRET = re.compile("KEY|TOKEN|SECRET")


def main(arguments: argparse.Namespace) -> int:
    """Run the command and end as it ends: this returns only where it could not be started (126 or 127, as a shell's)."""
    command: list[str] = arguments.command
    if not command:
        _warn("name the command behind --: sentinel exec -- llama-server -m model.gguf")
        return 2
    log = (
        None
        if _goes_to_journal() and not arguments.log
        else KeptLog(
            Path(arguments.log).absolute() if arguments.log else usual_place(command, os.environ), arguments.log_size or LIMIT
        )
    )
    if log is not None and log.fault:
        _warn(log.fault)
    environ = dict(os.environ)
    if log is not None and not log.fault:
        environ[_LOG_VARIABLE] = str(log.path)
    begun = time.time()
    try:
        child = Child(command, environ, None if log is None else log.write)
    except OSError as error:
        _warn(f"cannot start {command[0]}: {_why(command[0], environ, error)}")
        if log is not None:
            log.write(f"sentinel: cannot start {command[0]}: {error.strerror}\n".encode(errors="replace"))
        code = 127 if isinstance(error, FileNotFoundError) else 126
        never_ran = _start(command, environ, log, 0, begun) | {"code": code << 8, "why": error.strerror}
        _report(arguments, never_ran, _END_SECONDS)
        return code
    start = _start(command, environ, log, child.pid, begun)
    threading.Thread(target=_report, args=(arguments, start), daemon=True).start()
    status = child.run()
    if log is not None:
        log.close()
    _report(arguments, start | {"code": status}, _END_SECONDS)
    return end_as(status)


def _why(program: str, environ: Mapping[str, str], error: OSError) -> str:
    """Why it could not be started, where `No such file or directory` would lead astray."""
    if not isinstance(error, FileNotFoundError):
        return str(error.strerror)
    if "/" not in program:
        # Where PATH was not set, these are /bin and /usr/bin.
        return f"it is in no folder of PATH ({environ['PATH']}); write its whole path"
    if Path(program).exists():
        return "the file is there, and what is to run it is not: its interpreter (#!), or the loader of another system"
    return str(error.strerror)


def _start(command: list[str], environ: Mapping[str, str], log: KeptLog | None, pid: int, begun: float) -> dict[str, Any]:
    """What the daemon gets of a start: no variables but llama-server's own, which name settings and no keys."""
    own = {name: value for name, value in environ.items() if name.startswith("LLAMA_ARG_") and not _SECRET.search(name)}
    words = command if sum(map(len, command)) < MOST_ARGV_BYTES else command[:1]
    return {
        "pid": pid,
        "at": begun,
        "argv": without_keys(words, ""),
        "cwd": os.getcwd(),  # noqa: PTH109 - Path.cwd is the same and raises the same
        "environ": own,
        "log": "" if log is None or log.fault else str(log.path),
    }


def _report(arguments: argparse.Namespace, start: Mapping[str, Any], seconds: float = _REPORT_SECONDS) -> None:
    """Report it to the daemon, if one runs."""
    from sentinel.api import client

    sockets = [Path(arguments.socket)] if arguments.socket else None
    try:
        client.report("/v1/starts", start, sockets, seconds)
    except client.DaemonUnreachable:
        return


def _goes_to_journal() -> bool:
    """Standard error is systemd's socket to the journal, which keeps it already (systemd.exec(5), $JOURNAL_STREAM)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return (str(status.st_dev), str(status.st_ino)) == (device, inode)


def _warn(text: str) -> None:
    print(f"sentinel: {text}", file=sys.stderr, flush=True)
