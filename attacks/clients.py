"""What several users do together at the API's socket, each with all that one may have."""

from __future__ import annotations

import json
import subprocess
import sys
import time

from attacks.ground import HONEST, Ground, ground
from attacks.outcome import Attack
from faults.daemon import REPO, wait_for

#: Users without a name, of one group with the honest one: 40 are more than there are places for connections.
_MANY = 40
_FIRST = 61810


def _crowd(here: Ground, users: int, how: str) -> None:
    """So many users do that, a process each; all have begun when this returns."""
    # In the unit's place this is the group of the socket.
    here.daemon.socket.chmod(0o666)
    program = here.file("crowd.py", (REPO / "attacks" / "crowd.py").read_bytes())
    begun = []
    for number in range(users):
        command = ("/usr/bin/python3", str(program), how, str(here.daemon.socket))
        begun.append(here.run(*command, user=_FIRST + number, stdout=subprocess.PIPE))
    for one in begun:
        assert one.stdout is not None
        one.stdout.readline()
    here.ask_as(HONEST)


def _answered(here: Ground) -> None:
    asker = here.asker
    here.row.notes.append(f"another user asked {asker.asked} times, {asker.refused} of them in vain")
    here.row.expect(asker.asked, "nothing was asked")
    here.row.expect(not asker.refused, f"{asker.refused} of {asker.asked} questions of another user had no answer: {asker.why}")


def half_open(*, short: bool) -> Attack:
    """Users who begin requests and never end them."""
    users = 8 if short else _MANY
    with ground(f"{users} users with 16 connections each, in which a request is begun and never ended; they come again") as here:
        _crowd(here, users, "begins")
        here.endure(3)
        _answered(here)
        here.row.said = here.said("clients")
    return here.row


def readers(*, short: bool) -> Attack:
    """Users who ask for the largest answers and do not read them."""
    users = 4 if short else 16
    with ground(
        f"{users} users with 16 connections each, who ask for all signals of 60 servers and never read; they come again"
    ) as here:
        for number in range(60):
            here.server("--port", str(18100 + number), "--alias", "a" * 4000)
        wait_for(lambda: len((here.daemon.get("/v1/status") or {}).get("servers", [])) > 50, "the servers are found")
        _crowd(here, users, "hoards")
        here.endure(3)
        _answered(here)
        here.row.notes.append(f"/v1/signals: {len(json.dumps(here.daemon.get('/v1/signals'))) / 1e6:.1f} MB")
    return here.row


def askers(*, short: bool) -> Attack:
    """Users who ask without a pause."""
    users = 4 if short else 8
    with ground(f"{users} users with 4 connections each, who ask for all signals again and again and read the answers") as here:
        _crowd(here, users, "asks")
        here.endure(3)
        _answered(here)
    return here.row


def followers(*, short: bool) -> Attack:
    """Users who follow the events with all the streams that they may have."""
    users = 8 if short else 31
    with ground(f"{users} users with 16 event streams each, who never read and come again") as here:
        _crowd(here, users, "follows")
        command = [sys.executable, "-m", "attacks.follower", str(here.daemon.socket), str(HONEST)]
        follower = here.run(*command, user=0, cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        time.sleep(3)
        here.endure(1)
        out, _ = follower.communicate(timeout=20)
        heard = out.decode().splitlines()
        here.row.expect("transition fault-1 firing" in heard, f"who follows the events did not hear of the alert: {heard[-3:]}")
        here.row.notes.append(f"another user's stream began {sum('hello' in one for one in heard)} times and brought the alert")
        _answered(here)
    return here.row
