"""Attacks on the real daemon by a local user, one table as their result: memory, waits, what leaked, what was said.

make attacks                          every attack
python attacks/run.py --short         each in its short form
python attacks/run.py --only NAME     one of them, or several
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from attacks import answers, clients, files, floods, forgeries, page, sent
from attacks.ground import why_not
from attacks.outcome import Attack
from faults.campaign import Campaign, Trial

ATTACKS: dict[str, Trial[Attack]] = {
    "preflight-bait": files.preflight_bait,
    "sparse-log": files.sparse_log,
    "port-prefix": forgeries.port_prefix,
    "client-text": forgeries.client_text,
    "long-hosts": floods.long_hosts,
    "unknown-flags": floods.unknown_flags,
    "ports-in-a-log": floods.ports_in_a_log,
    "many-servers": floods.many_servers,
    "brief-servers": floods.brief_servers,
    "gguf-bomb": files.gguf_bomb,
    "private-log": files.private_log,
    "private-model": files.private_model,
    "borrowed-logger": files.borrowed_logger,
    "borrowed-rights": files.borrowed_rights,
    "fifo-model": files.fifo_model,
    "links-beside-a-log": files.links_beside_a_log,
    "endless-line": files.endless_line,
    "hanging-files": files.hanging_files,
    "descriptors": files.descriptors,
    "configured-port": files.configured_port,
    "silent-servers": files.silent_servers,
    "large-answers": answers.large_answers,
    "name-first": forgeries.name_first,
    "half-open": clients.half_open,
    "readers": clients.readers,
    "askers": clients.askers,
    "followers": clients.followers,
    "page": page.page,
    "recordings": sent.recordings,
    "logs": sent.logs,
}
CAMPAIGN = Campaign(
    "attack",
    ATTACKS,
    Attack,
    ("leaked",),
    ("peak memory", "API wait", "alert after"),
    """\
Each attack is made by one local user on the real daemon, `python -m sentinel run`, a user of its own with the capabilities and
the memory limit of the shipped unit; a server of a third user is honest, and an alert of it falls due meanwhile. The command ends
with 1 where the daemon's memory went above 100 MB, the API let somebody wait for more than a second, the honest alert came later
than after five seconds, or something leaked. The last two concern no daemon: the peak is the command's.""",
    why_not,
)
_ALONE = "ATTACKS_ALONE"


def _alone() -> None:
    """Go on in a process namespace of our own: no other server of the machine is there, and what is left is ended with us."""
    if os.environ.get(_ALONE) or os.geteuid() != 0 or shutil.which("unshare") is None:
        return
    os.environ[_ALONE] = "1"
    command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, *sys.argv]
    sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    sys.exit(CAMPAIGN.main(_alone))
