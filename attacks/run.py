"""Attacks on the real daemon by a local user, one table as their result: memory, waits, what leaked, what was said.

make attacks                          every attack
python attacks/run.py --short         each in its short form
python attacks/run.py --only NAME     one of them, or several
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from attacks import files, floods, forgeries
from attacks.ground import why_not
from attacks.outcome import Attack, markdown, table
from faults.daemon import NotWell


class Row(Protocol):
    """One attack."""

    def __call__(self, *, short: bool) -> Attack: ...


#: By name, in the order of ../shared/reference/threats.md's numbers.
ATTACKS: dict[str, Row] = {
    "preflight-bait": files.preflight_bait,
    "sparse-log": files.sparse_log,
    "port-prefix": forgeries.port_prefix,
    "client-text": forgeries.client_text,
    "long-hosts": floods.long_hosts,
    "unknown-flags": floods.unknown_flags,
    "ports-in-a-log": floods.ports_in_a_log,
    "many-servers": floods.many_servers,
    "gguf-bomb": files.gguf_bomb,
    "private-log": files.private_log,
    "private-model": files.private_model,
    "fifo-model": files.fifo_model,
    "links-beside-a-log": files.links_beside_a_log,
    "endless-line": files.endless_line,
    "hanging-files": files.hanging_files,
    "descriptors": files.descriptors,
    "configured-port": files.configured_port,
    "silent-servers": files.silent_servers,
    "name-first": forgeries.name_first,
}
_ALONE = "ATTACKS_ALONE"


def attempt(name: str, *, short: bool, say: Callable[[str], None] = lambda _text: None) -> Attack:
    """Try one attack. What never came is a failure of its row and not the end of the campaign."""
    say(f"{name} ...")
    begin = time.monotonic()
    attack = ATTACKS[name]
    if reason := why_not():
        row = Attack(str(attack.__doc__).strip(), skipped=reason)
    else:
        try:
            row = attack(short=short)
        except NotWell as why:
            row = Attack(str(attack.__doc__).strip(), wrong=[str(why)])
        except (OSError, subprocess.SubprocessError) as error:
            row = Attack(str(attack.__doc__).strip(), skipped=f"could not be tried here: {error}")
    say(
        f"{name}: {row.verdict} in {time.monotonic() - begin:.0f} s {' '.join(row.figures)}{''.join(f'; {w}' for w in row.wrong)}"
    )
    return row


def _alone() -> None:
    """Go on in a process namespace of our own: no other server of the machine is there, and what is left is ended with us."""
    if os.environ.get(_ALONE) or os.geteuid() != 0 or shutil.which("unshare") is None:
        return
    os.environ[_ALONE] = "1"
    command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, *sys.argv]
    sys.exit(subprocess.run(command, check=False).returncode)


def main() -> int:
    """Try what was asked for; 1 where a limit was passed, something leaked, or was not said."""
    parser = argparse.ArgumentParser(description="Attacks on the real daemon.")
    parser.add_argument("--short", action="store_true", help="smaller numbers")
    parser.add_argument("--only", nargs="+", choices=sorted(ATTACKS), help="some of them")
    parser.add_argument("--markdown", type=Path, help="write the table to this page too")
    arguments = parser.parse_args()
    _alone()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    rows: list[tuple[str, Attack]] = []
    for name in ATTACKS:
        if arguments.only is None or name in arguments.only:
            rows.append((name, attempt(name, short=arguments.short, say=say)))
            if arguments.markdown:
                # After each: a campaign that is ended early has what it had.
                arguments.markdown.write_text(_page(rows), encoding="utf-8")
    print(table(rows))
    print(", ".join(f"{sum(row.verdict == v for _, row in rows)} {v}" for v in ("pass", "FAIL", "skipped")))
    return int(any(row.wrong for _, row in rows))


def _page(rows: list[tuple[str, Attack]]) -> str:
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return f"""# Attacks

What `make attacks` printed on {day} on {os.cpu_count()} processors (load {os.getloadavg()[0]:.1f} at the end). Each attack is
made by one local user on the real daemon, `python -m sentinel run`, a user of its own with the capabilities and the memory
limit of the shipped unit; a server of a third user is honest, and an alert of it falls due meanwhile. The command ends with 1
where the daemon's memory went above 100 MB, the API let somebody wait for more than a second, the honest alert came later than
after five seconds, or something leaked. `python attacks/run.py --only NAME` makes one of them.

{markdown(rows)}
"""


if __name__ == "__main__":
    sys.exit(main())
