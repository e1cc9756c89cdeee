"""Boots the machine's own files in a container: real systemd, journald, units and sandboxing, in one or two seconds.

The machine's root is the lower layer of an overlay whose upper layer is a tmpfs, so nothing that happens inside reaches the
machine. Mounts live in a mount namespace of their own: they go with the process, also when a test is killed.

Each machine has control groups and a network of its own, with nothing but the loopback interface: test modules boot theirs at the
same time, with units and ports of the same names and numbers.

The lower layer ends where another file system begins, and /tmp is a fresh one inside: the checkout and its interpreter, which may
be in either, are bound to their own places.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from places import REPO

#: Where files of `files` and the script are inside; /tmp is a fresh tmpfs there, /opt is not.
INSIDE = Path("/opt/lab")
_NUMBERS = itertools.count()
#: With the loopback interface alone they wait for two minutes, and what starts after network-online.target with them.
_WAITING = ("systemd-networkd-wait-online", "NetworkManager-wait-online", "ifupdown-wait-online")

_TARGET = """\
[Unit]
Requires=basic.target lab.service
After=basic.target
AllowIsolate=yes
"""

_SERVICE = f"""\
[Unit]
After=basic.target systemd-journald.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c '/bin/bash {INSIDE}/script; echo $? > {INSIDE}/out/code'
ExecStopPost=/bin/systemctl --no-block --force poweroff
StandardOutput=file:{INSIDE}/out/stdout
StandardError=file:{INSIDE}/out/stderr
TimeoutStartSec=infinity
"""

#: Put before every script: wait for a condition, for so many seconds.
_UNTIL_TRUE = """\
PATIENCE=30
until_true() {
    for _ in $(seq $((PATIENCE * 10))); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    echo "not within $PATIENCE s: $*" >&2
    return 1
}
"""

# $1: a folder of ours that receives the output; $2: what is copied over the root; $3: seconds; $4: a name; then more for nspawn.
_LAYERS = """
set -e
mkdir -p "$1/layers" "$1/root"
mount -t tmpfs tmpfs "$1/layers"
mkdir "$1/layers/upper" "$1/layers/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/layers/upper,workdir=$1/layers/work" "$1/root"
cp -a "$2/." "$1/root/"
rm -f "$1/root/etc/machine-id"
work=$1 seconds=$3 name=$4
shift 4
# own TREE HIERARCHY: a control group of its own there. Without one, nspawn puts each machine into the same `payload`: two at the
# same time shared the group of sentinel.service, and `systemctl kill` failed with EIO at processes of the other (id 0 there).
groups=
own() {
    [ -w "$1/cgroup.procs" ] || return 0
    above=$1$(sed -n "s/^[0-9]*:$2://p" /proc/self/cgroup)
    mkdir -p "$above/$name" 2> /dev/null && echo $$ > "$above/$name/cgroup.procs" || return 0
    groups="$groups $above"
}
own /sys/fs/cgroup ""
own /sys/fs/cgroup/unified ""
own /sys/fs/cgroup/systemd name=systemd
"""
_NSPAWN = """
timeout --kill-after=5 "$seconds" systemd-nspawn -q -D "$work/root" --machine="$name" --register=no --keep-unit --console=pipe \
    --private-network "$@" -b systemd.unit=lab.target systemd.show_status=no < /dev/null > "$work/console" 2>&1 || true
"""
#: Proxmox's containers are these, with LXC's own settings: without their /dev/ptmx systemd starts no unit with PrivateDevices=.
#: What is bound comes after the fresh /tmp, which it may be in.
_LXC = """
cat > "$work/config" <<END
lxc.include = /usr/share/lxc/config/common.conf
lxc.uts.name = lab
lxc.rootfs.path = dir:$work/root
lxc.net.0.type = empty
lxc.apparmor.profile = unconfined
lxc.mount.entry = tmpfs tmp tmpfs rw,mode=1777 0 0
END
for one in "$@"; do
    place=${one#--bind-ro=}
    echo "lxc.mount.entry = $place ${place#/} none rbind,ro,create=dir 0 0" >> "$work/config"
done
timeout --kill-after=5 "$seconds" lxc-start -F -n "$name" -P "$work" -f "$work/config" -- /lib/systemd/systemd \
    systemd.unit=lab.target systemd.show_status=no < /dev/null > "$work/console" 2>&1 || true
"""
_KEEP = """
for above in $groups; do
    echo $$ > "$above/cgroup.procs" && find "$above/$name" -depth -type d -exec rmdir {} + 2> /dev/null || true
done
cp -a "$work/root/opt/lab/out" "$work/out"
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the script left: its exit code (None: it did not come to its end), its output, files of its `$OUT` folder."""

    code: int | None
    stdout: str
    stderr: str
    out: Path
    console: str

    def text(self, name: str) -> str:
        """A file that the script wrote to /opt/lab/out."""
        return (self.out / name).read_text(encoding="utf-8")


def with_lxc() -> bool:
    """BOOT_WITH=lxc: what is booted is a container of LXC, not of systemd-nspawn."""
    return os.environ.get("BOOT_WITH") == "lxc"


def why_not() -> str:
    """The reason why nothing can be booted here, or an empty text."""
    if os.geteuid() != 0:
        return "needs root to boot a container"
    engine = "lxc-start" if with_lxc() else "systemd-nspawn"
    missing = [tool for tool in (engine, "unshare", "timeout") if shutil.which(tool) is None]
    if missing:
        return f"needs {', '.join(missing)} (Debian: {'lxc' if with_lxc() else 'systemd-container'})"
    probe = subprocess.run(
        ["unshare", "--mount", "sh", "-c", "mount -t tmpfs tmpfs /mnt"], capture_output=True, text=True, check=False
    )
    return "" if probe.returncode == 0 else f"may not mount here: {probe.stderr.strip()}"


def boot(work: Path, script: str, files: Path, seconds: float = 60.0) -> Outcome:
    """Run `script` (bash, as root; with `until_true`) inside a booted system in which `files` were copied over the root."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    units = files / "etc/systemd/system"
    lab = files / INSIDE.relative_to("/")
    units.mkdir(parents=True, exist_ok=True)
    (lab / "out").mkdir(parents=True, exist_ok=True)
    for name in _WAITING:
        (units / f"{name}.service").symlink_to("/dev/null")
    (units / "lab.target").write_text(_TARGET, encoding="utf-8")
    (units / "lab.service").write_text(_SERVICE, encoding="utf-8")
    (lab / "script").write_text(f"export OUT={INSIDE}/out\ncd {INSIDE}\n{_UNTIL_TRUE}{script}\n", encoding="utf-8")
    work.mkdir(parents=True, exist_ok=True)
    script = _LAYERS + (_LXC if with_lxc() else _NSPAWN) + _KEEP
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "boot"]
    command += [str(work), str(files), f"{seconds:g}", f"sentinel-test-{os.getpid()}-{next(_NUMBERS)}", *_bound()]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        said, _ = process.communicate(timeout=seconds + 30)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return _outcome(work, said)


def _bound() -> list[str]:
    """The checkout, its virtual environment and the Python of that, read-only, where they are outside as well."""
    places = {REPO, Path(sys.prefix), Path(sys.base_prefix)} - {Path("/usr"), Path("/usr/local")}
    whole = sorted(place for place in places if not places.intersection(place.parents))
    return ["--bind-ro=" + str(place).replace("\\", r"\\").replace(":", r"\:") for place in whole]


def _outcome(work: Path, said: str) -> Outcome:
    out = work / "out"

    def text(path: Path) -> str:
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    code = text(out / "code").strip()
    console = text(work / "console") + said
    return Outcome(int(code) if code else None, text(out / "stdout"), text(out / "stderr"), out, console)
