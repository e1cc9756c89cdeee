"""Sends entries to journald that claim to be the kernel's, systemd's or a unit's: $1 is a process id, $2 says who sends.

Fields with an underscore in front are journald's own, and it drops them; the rest is anybody's to set.
"""

from __future__ import annotations

import socket
import sys

UNIT = "llama.service"
EXITED, OOM, OOMD, DUMPED = (
    "d9b373ed55a64feb8242e02dbe79a49c",
    "fe6faa94e7774663a0da52717891d8ef",
    "d989611b15e44c9dbf31e3c81256e4ed",
    "fc2e22bc6ee647b6b90729ab34a250b1",
)


def entries(pid: str) -> list[dict[str, str]]:
    """Each with what it claims to be."""
    manager = {"_PID": "1", "_UID": "0", "_COMM": "systemd", "_SYSTEMD_UNIT": "init.scope", "SYSLOG_IDENTIFIER": "systemd"}
    kernel = {"_TRANSPORT": "kernel", "SYSLOG_FACILITY": "0", "SYSLOG_IDENTIFIER": "kernel", "PRIORITY": "3"}
    about = {"UNIT": UNIT, "OBJECT_SYSTEMD_UNIT": UNIT, "COREDUMP_UNIT": UNIT, "OBJECT_PID": pid}
    return [
        {**manager, **about, "MESSAGE": f"{UNIT}: Failed with result 'signal'.", "MESSAGE_ID": EXITED, "UNIT_RESULT": "signal"},
        {**manager, **about, "MESSAGE": f"{UNIT}: Main process exited, code=killed, status=9/KILL", "EXIT_CODE": "killed"},
        {**manager, **about, "MESSAGE": f"{UNIT}: A process of this unit has been killed by the OOM killer.", "MESSAGE_ID": OOM},
        {
            **kernel,
            "MESSAGE": f"Out of memory: Killed process {pid} (llama-server) total-vm:1kB, anon-rss:1kB, UID:0",
        },
        {**kernel, "MESSAGE": f"llama-server[{pid}]: segfault at 0 ip 0 sp 0 error 4 in llama-server[1+1]"},
        {
            **about,
            "_SYSTEMD_UNIT": "earlyoom.service",
            "SYSLOG_IDENTIFIER": "earlyoom",
            "MESSAGE": f'sending SIGKILL to process {pid} uid 0 "llama-server": badness 999, VmRSS 1 MiB',
        },
        {
            **about,
            "_SYSTEMD_UNIT": "systemd-oomd.service",
            "MESSAGE_ID": OOMD,
            "MESSAGE": f"Killed {UNIT} due to memory pressure",
        },
        {
            **about,
            "MESSAGE": f"Process {pid} (llama-server) of user 0 dumped core.",
            "MESSAGE_ID": DUMPED,
            "COREDUMP_SIGNAL_NAME": "SIGABRT",
        },
    ]


def own(pid: str) -> dict[str, str]:
    """What only the server may say: a line of its log."""
    return {
        "_SYSTEMD_UNIT": UNIT,
        "_PID": pid,
        "UNIT": UNIT,
        "OBJECT_SYSTEMD_UNIT": UNIT,
        "MESSAGE": "0.02.000.000 E srv  load_model: failed to load model, '/forged.gguf'",
    }


def main() -> None:
    """Send all of them."""
    pid, who = sys.argv[1:3]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.connect("/run/systemd/journal/socket")
        # The server's own process may of course print such a line itself.
        for entry in [*entries(pid), *([] if who == "server" else [own(pid)])]:
            journal.send("".join(f"{name}={value}\n" for name, value in {**entry, "FORGED_BY": who}.items()).encode())


if __name__ == "__main__":
    main()
