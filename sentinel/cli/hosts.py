"""`sentinel status --host a,b,c`: a row for each machine, asked side by side over SSH. What they answer is a stranger's."""

from __future__ import annotations

import json
import os
import re
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from sentinel.cli.main import UNKNOWN
from sentinel.cli.output import emit, exit_code, style, warn, working
from sentinel.model.alert import SEVERITY_RANK
from sentinel.model.text import counted, escape
from sentinel.terminal.names import about
from sentinel.terminal.style import BOLD
from sentinel.terminal.table import table

#: [user@]name, or a name of ssh_config(5); never an option of ssh.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@%\[\]-]{0,254}")
_MOST_HOSTS = 100
#: For one host: to connect, and in all. Seconds.
_CONNECT, _SECONDS = 5, 20.0
#: From the end of the answer to that of ssh. Seconds.
_ENDING = 2.0
#: The status of 1,500 servers is 3 MB.
_MOST_BYTES = 8 << 20
_AT_ONCE = 20
#: Read at a time; and what is kept of standard error, of which the last line is shown.
_PIECE, _MOST_SAID = 64 << 10, 4096


class _NoAnswer(Exception):
    """Why there is none, in words."""


class HostAnswer(NamedTuple):
    """What a host answered, or why it did not."""

    host: str
    status: Mapping[str, Any] | None
    why: str


def main(wanted: str, *, json_too: bool) -> int:
    """Print the table; the exit code is that of the worst alert of all, or 3 if none is worse than a host that did not answer."""
    hosts = list(dict.fromkeys(name for name in re.split(r"[,\s]+", wanted) if name))
    bad = [name for name in hosts if not _NAME.fullmatch(name)]
    if bad or not hosts or len(hosts) > _MOST_HOSTS:
        said = f"'{escape(bad[0]):.60}' is no name of a host" if bad else f"{len(hosts)} are named, 1 to {_MOST_HOSTS} may be"
        warn(f"--host: {said}; write for example --host gpu-1,me@gpu-2")
        return 2
    with working(f"asks {counted(len(hosts), 'host')}"), ThreadPoolExecutor(min(_AT_ONCE, len(hosts))) as pool:
        answers = list(pool.map(_ask, hosts))
    if json_too:
        emit({"hosts": [{"host": one.host, "status": one.status, "why": one.why} for one in answers]})
    else:
        print("\n".join(_screen(answers)))
    worst = exit_code(alert["severity"] for one in answers for alert in _loud(one))
    return worst or (UNKNOWN if any(one.status is None for one in answers) else 0)


def _ask(host: str) -> HostAnswer:
    command = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT}", "-T", "--", host, "sentinel status --json"]
    try:
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as ssh:
            try:
                out, said = _read(ssh)
                _end(ssh)
            except _NoAnswer as why:
                ssh.kill()
                return HostAnswer(host, None, str(why))
    except OSError as error:
        return HostAnswer(host, None, f"ssh cannot be started: {error.strerror}")
    try:
        status = json.loads(out)
        if not isinstance(status, dict) or not isinstance(status["servers"], list) or not isinstance(status["alerts"], list):
            raise KeyError("servers")
        for alert in status["alerts"]:
            if alert["severity"] not in SEVERITY_RANK or not isinstance(alert["summary"], str):
                raise KeyError("severity")
            about(alert)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        last = said.decode(errors="replace").strip().splitlines()
        return HostAnswer(
            host, None, escape(last[-1])[:200] if last else f"ssh ended with {ssh.returncode}, and without a status"
        )
    return HostAnswer(host, status, "")


def _read(ssh: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """What it printed until its standard output ended, and the last of what it said beside it. Raises _NoAnswer.

    Not `communicate`: it keeps whatever a host sends until its time is over, and waits for the end of standard error as well,
    which a connection that ssh keeps for later (ControlPersist) holds open.
    """
    assert ssh.stdout is not None
    assert ssh.stderr is not None
    until = time.monotonic() + _SECONDS
    out, said = bytearray(), bytearray()
    with selectors.DefaultSelector() as waiting:
        for stream, kept in ((ssh.stdout, out), (ssh.stderr, said)):
            waiting.register(stream, selectors.EVENT_READ, kept)
        while (left := until - time.monotonic()) > 0:
            # The answer's end comes last: what was said before it is read first.
            ready = sorted(waiting.select(left), key=lambda one: one[0].fileobj is ssh.stdout)
            for key, _ in ready:
                piece = os.read(key.fd, _PIECE)
                key.data.extend(piece)
                if piece:
                    del said[:-_MOST_SAID]
                elif key.fileobj is ssh.stdout:
                    return bytes(out), bytes(said)
                else:
                    waiting.unregister(key.fileobj)
            if len(out) > _MOST_BYTES:
                raise _NoAnswer(f"its answer is larger than {_MOST_BYTES >> 20} MiB")
    raise _NoAnswer(f"no answer within {_SECONDS:g} s")


def _end(ssh: subprocess.Popen[bytes]) -> None:
    """It has printed everything; a command may close its output and go on."""
    try:
        ssh.wait(_ENDING)
    except subprocess.TimeoutExpired:
        ssh.kill()


def _loud(one: HostAnswer) -> list[Mapping[str, Any]]:
    """Open alerts that are not silenced, the worst first."""
    found = [alert for alert in (one.status or {}).get("alerts", ()) if not alert.get("silenced")]
    return sorted(found, key=lambda alert: SEVERITY_RANK[alert["severity"]])


def _screen(answers: Sequence[HostAnswer]) -> list[str]:
    look = style()
    head = ("HOST", "STATE", "SERVERS", "ALERTS", "WORST")
    rows, states = [head], [""]
    for one in answers:
        loud = _loud(one)
        if one.status is None:
            state, worst, servers, alerts = "unknown", one.why, "", ""
        else:
            state = loud[0]["severity"] if loud else "ok"
            worst = about(loud[0]) if loud else ""
            running = sum(bool(isinstance(server, dict) and server.get("running")) for server in one.status["servers"])
            servers, alerts = str(running), str(len(loud) or "")
        rows.append((escape(one.host), state, servers, alerts, worst))
        states.append(state)

    def paint(row: int, column: int, text: str) -> str:
        if row == 0:
            return look.paint(text, BOLD)
        return look.by_state(text, states[row]) if column == 1 else text

    return list(table(rows, look, flexible=(4, 0), right=(2, 3), paint=paint, folded=True))
