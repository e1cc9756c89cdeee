"""What one local user does to the page of `sentinel serve` on the loopback, which everybody on the machine may read."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

from attacks.ground import ATTACKER, HONEST, Ground, ground
from attacks.outcome import Attack
from faults.daemon import REPO, wait_for

#: The user of sentinel-web.service: no capability.
_WEB = 61804
_CONNECTIONS, _STREAMS = 128, 12
#: Seconds of a wait for the page, which asks every two seconds when it is open.
_MOST_WAIT = 3.0


def _serve(here: Ground) -> tuple[subprocess.Popen[bytes], int]:
    """The program, and the port that the kernel chose for it."""
    here.daemon.socket.chmod(0o666)
    said = here.top / "serve.said"
    # The place of the programs may be root's alone: with this right it reads them, as the daemon does.
    rights = [f"--{kind}-caps={may}dac_read_search" for kind, may in (("inh", "+"), ("ambient", "+"))]
    as_user = ("setpriv", f"--reuid={_WEB}", f"--regid={_WEB}", "--clear-groups", "--no-new-privs", *rights, "--")
    words = ("serve", "--socket", str(here.daemon.socket), "--listen", "127.0.0.1:0")
    with said.open("wb") as out:
        serving = here.run(*as_user, sys.executable, "-m", "sentinel", *words, user=0, cwd=REPO, stdout=out, stderr=out)
    found: list[int] = []

    def listens() -> bool:
        found.extend(
            int(port) for port in re.findall(r"answers at http://127\.0\.0\.1:(\d+)/", said.read_text("utf-8", "replace"))
        )
        return bool(found)

    wait_for(listens, "the page is served", 60)
    return serving, found[0]


def _crowd(here: Ground, how: str, port: int, most: int) -> None:
    program = here.file("crowd.py", (REPO / "attacks" / "crowd.py").read_bytes())
    begun = here.run("/usr/bin/python3", str(program), how, str(port), str(most), user=ATTACKER, stdout=subprocess.PIPE)
    assert begun.stdout is not None
    begun.stdout.readline()


def page(*, short: bool) -> Attack:
    """One user holds all connections and event streams of the page, and asks for its largest answers."""
    viewing = 16 if short else 64
    did = (
        f"one local user with {_CONNECTIONS} half-open connections to `sentinel serve` on the loopback, its {_STREAMS} event "
        f"streams, and {viewing} connections that ask for the report of a week again and again; all come again"
    )
    with ground(did) as here:
        serving, port = _serve(here)
        for how, most in (("follows", _STREAMS), ("begins", _CONNECTIONS), ("views", viewing)):
            _crowd(here, how, port, most)
        time.sleep(2)
        command = [sys.executable, "-m", "attacks.visitor", str(port), str(HONEST)]
        visitor = here.run(*command, user=0, cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert visitor.stdout is not None
        visitor.stdout.readline()
        here.endure(3 if short else 6)
        time.sleep(1)
        out, _ = visitor.communicate(timeout=60)
        longest, asked, refused, why, heard = json.loads(out)
        here.row.notes.append(f"another user looked {asked} times, {refused} of them in vain, and waited {longest:.2f} s at most")
        here.row.expect(asked and not refused, f"{refused} of {asked} looks of another user had no answer: {why}")
        here.row.expect(longest <= _MOST_WAIT, f"the page took {longest:.1f} s")
        here.row.expect("fault-1" in heard, f"the other user's event stream did not bring the alert, only {heard}")
        lines = Path(f"/proc/{serving.pid}/status").read_text(encoding="ascii").splitlines()
        peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024
        here.row.notes.append(f"sentinel serve: {peak} MB")
        here.row.expect(peak < 128, f"sentinel serve had {peak} MB")
    return here.row
