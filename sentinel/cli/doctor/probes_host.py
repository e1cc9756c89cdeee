"""Probes of the host: kernel log, journal, memory and pressure, control groups, inotify, device events."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path

from sentinel.cli.doctor.capability import JOURNAL_GROUP, LISTEN_SECONDS, Capability, ProbeInput, first_words
from sentinel.daemon.systemd import is_booted
from sentinel.model.entity import Unknown, Value
from sentinel.model.reading import Samples
from sentinel.model.text import escape
from sentinel.sources.base import NotHere, SourceFault
from sentinel.sources.fs import read_number, read_text, reason
from sentinel.sources.gpu.hotplug import Udev
from sentinel.sources.host import Host
from sentinel.sources.logs.journalctl import Journal
from sentinel.sources.logs.kernel import KernelJournal, kernel_source
from sentinel.sources.logs.watch import Wakes
from sentinel.sources.processes import cgroup
from sentinel.sources.processes.proc_events import ProcEvents

_AT_ONCE = 0.2


def kernel_log(machine: ProbeInput) -> Sequence[Capability]:
    """/dev/kmsg, or the journal's copy of it."""
    source = kernel_source(backlog=True, path=machine.config.dev / "kmsg")
    where = "the journal's kernel messages" if isinstance(source, KernelJournal) else str(machine.config.dev / "kmsg")
    try:
        # What the kernel's ring holds comes at once.
        heard = first_words(source, machine.now, LISTEN_SECONDS if isinstance(source, KernelJournal) else _AT_ONCE)
    except NotHere as absent:
        return [Capability("kernel-log", "absent", str(absent), "let sentinel run on the host, not in the container")]
    except SourceFault as fault:
        why = f"{escape(fault.why)}: OOM kills and GPU resets would go unseen"
        return [Capability("kernel-log", "fails", why, JOURNAL_GROUP)]
    if not heard and isinstance(source, KernelJournal):
        # The log of a boot is never empty, and its old messages come first.
        return [Capability("kernel-log", "fails", f"{where}: not one came within {LISTEN_SECONDS:g} s", JOURNAL_GROUP)]
    return [Capability("kernel-log", "works", where + ("" if heard else ", silent so far"))]


def journald(machine: ProbeInput) -> Sequence[Capability]:
    """The socket that alerts are sent to. Connecting a datagram socket sends nothing."""
    path = machine.config.journal_socket
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as probe:
            probe.connect(str(path))
    except FileNotFoundError:
        return [Capability("journald", "absent", f"{path} is not there: alerts go to the terminal and to the history")]
    except OSError as error:
        why = f"{path} takes nothing ({error.strerror}): alerts wait until it does"
        return [Capability("journald", "fails", why, "sudo systemctl restart systemd-journald.socket systemd-journald")]
    return [Capability("journald", "works", f"alerts are sent to {path}")]


def journal(machine: ProbeInput) -> Sequence[Capability]:
    """Reading the system's journal with journalctl, for servers that run as units."""
    booted = is_booted(machine.roots.proc.parent)
    nothing = [Capability("journal", "absent", "systemd does not run this machine, so there is no journal to read")]
    root = machine.roots.proc.parent
    if not booted and not any((root / folder).is_dir() for folder in ("var/log/journal", "run/log/journal")):
        # journalctl would wait for a journal to begin.
        return nothing
    try:
        heard = asyncio.run(Journal([], first=(), cursor=None, program="journalctl").holds_any())
    except SourceFault as fault:
        if not booted:
            return nothing
        return [Capability("journal", "fails", escape(fault.why), JOURNAL_GROUP)]
    if not heard and not booted:
        return nothing
    return [Capability("journal", "works", "journalctl reads it" + ("" if heard else ", it is empty so far"))]


def host(machine: ProbeInput) -> Sequence[Capability]:
    """Memory and memory pressure."""
    values: dict[str, Value | Unknown] = {}
    for reading in Host(machine.roots).poll(machine.now):
        if isinstance(reading, Samples):
            values |= reading.values
    rows = []
    available, kills = values["host.mem_available_bytes"], values["host.oom_kills"]
    missing = [value.why for value in (available, kills) if isinstance(value, Unknown)]
    text = f"{machine.roots.proc}/meminfo and vmstat are read"
    rows.append(
        Capability("memory", "fails", "; ".join(missing), "mount /proc") if missing else Capability("memory", "works", text)
    )
    pressure = values["host.psi_memory_full_avg10"]
    if isinstance(pressure, Unknown):
        fix = "add psi=1 to the kernel's command line and boot"
        there = (machine.roots.proc / "pressure/memory").exists()
        rows.append(Capability("pressure", "fails" if there else "absent", pressure.why, fix))
    else:
        rows.append(Capability("pressure", "works", f"all tasks waited for memory {pressure} % of the last 10 s"))
    return rows


def cgroups(machine: ProbeInput) -> Sequence[Capability]:
    """The memory limit of a process, tried on this one."""
    path = machine.roots.proc / "self/cgroup"
    try:
        member = cgroup.parse(read_text(path))
    except OSError as error:
        return [Capability("cgroup", "fails", reason(path, error), "mount /proc")]
    found = cgroup.limits(machine.roots, member)
    limit = found["server.cgroup_limit_bytes"]
    version = "v2" if member.unified else "v1"
    if isinstance(limit, Unknown):
        base = machine.roots.sys / "fs/cgroup"
        fix = "" if not base.is_dir() else f"let your user read {base}"
        return [Capability("cgroup", "fails" if base.is_dir() else "absent", limit.why, fix)]
    return [Capability("cgroup", "works", f"memory limits are read ({version})")]


def inotify(machine: ProbeInput) -> Sequence[Capability]:
    """Wake-ups when a log grows, and the kernel's limits of inotify."""
    wakes = Wakes()
    try:
        wakes.start()
        wakes.watch_folder(Path("/"), lambda: None)
    except SourceFault as fault:
        return [Capability("inotify", "fails", fault.why, fault.remedy or "sysctl fs.inotify")]
    finally:
        wakes.stop()
    limit = read_number(machine.roots.proc / "sys/fs/inotify/max_user_watches")
    text = "" if isinstance(limit, Unknown) else f" ({limit} watches allowed, one is needed for each folder of logs)"
    return [Capability("inotify", "works", f"logs are read as they grow{text}")]


def starts(machine: ProbeInput) -> Sequence[Capability]:
    """Whether the kernel reports each start and each end of a program, so that one that lives 0.1 s is seen."""
    del machine
    try:
        ProcEvents().close()
    except NotHere as absent:
        why = f"{absent}: a start that dies within 10 ms, or whose program was never seen, is known by its log alone"
        return [Capability("starts", "absent", why, "sentinel exec -- llama-server ...; the service: docs/starts.md")]
    return [Capability("starts", "works", "the kernel reports each start and each end of a program, with its exit status")]


def udev(machine: ProbeInput) -> Sequence[Capability]:
    """Events of GPUs that come and go."""
    try:
        first_words(Udev(machine.roots), machine.now, LISTEN_SECONDS)
    except NotHere as absent:
        return [Capability("udev", "absent", str(absent), "sudo apt-get install libudev1")]
    except SourceFault as fault:
        return [Capability("udev", "fails", str(fault), "allow AF_NETLINK sockets where sentinel runs")]
    return [Capability("udev", "works", "GPUs that come and go are seen")]
