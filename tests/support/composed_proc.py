"""A composed /proc, /sys and /dev that processes can be put into."""

from __future__ import annotations

import os
from pathlib import Path

from sentinel.sources.fs import Roots

BIN = "/opt/llama.cpp/llama-server"
LIBRARIES = "7f00-7f01 r-xp 00000000 08:01 5 /opt/llama.cpp/libllama.so.0\n"
STATUS = """Name:\tx
Uid:\t0\t0\t0\t0
Gid:\t0\t0\t0\t0
Groups:\t0
VmLck:\t       4 kB
VmRSS:\t    3000 kB
RssAnon:\t    1000 kB
RssFile:\t    1900 kB
RssShmem:\t     100 kB
VmSwap:\t       8 kB
"""


class Machine:
    """A composed /proc, /sys and /dev that processes can be put into."""

    def __init__(self, root: Path) -> None:
        self.roots = Roots(root / "proc", root / "sys", root / "dev", root / "docker")
        for folder in (self.roots.proc, self.roots.dev, self.roots.docker):
            folder.mkdir()
        (self.roots.sys / "fs/cgroup").mkdir(parents=True)
        # process 1, of which nothing may be read
        (self.roots.proc / "1").mkdir()
        (self.roots.proc / "stat").write_text("cpu 1\nbtime 1700000000\n")

    def start(
        self, pid: int, *words: str, comm: str = "llama-server", exe: str = BIN, maps: str = LIBRARIES,
        cgroup: str = "/", fds: dict[int, str] | None = None, env: dict[str, str] | None = None,
        ticks: int = 500, parent: int = 1, state: str = "S",
    ) -> Path:  # fmt: skip
        process = self.roots.proc / str(pid)
        (process / "fd").mkdir(parents=True)
        (process / "fdinfo").mkdir()
        (process / "ns").mkdir()
        (process / "comm").write_text(comm + "\n")
        (process / "cmdline").write_bytes(b"\0".join(os.fsencode(word) for word in (exe, *words)) + b"\0")
        (process / "environ").write_bytes(b"\0".join(f"{k}={v}".encode() for k, v in (env or {}).items()))
        (process / "cgroup").write_text(f"0::{cgroup}\n")
        (process / "maps").write_text(maps)
        (process / "status").write_text(STATUS)
        (process / "oom_score_adj").write_text("0\n")
        (process / "limits").write_text("Max locked memory         8388608    8388608    bytes\n")
        (process / "exe").symlink_to(exe)
        (process / "cwd").symlink_to("/srv")
        for number, target in (fds or {1: "/dev/pts/0", 2: "/dev/pts/0"}).items():
            (process / "fd" / str(number)).symlink_to(target)
        self.stat(pid, comm, state, parent, ticks)
        return process

    def stat(self, pid: int, comm: str, state: str = "S", parent: int = 1, ticks: int = 500, cpu: int = 0) -> None:
        fields = [state, str(parent), *["0"] * 9, str(cpu), "0", *["0"] * 4, "7", "0", str(ticks)]
        (self.roots.proc / str(pid) / "stat").write_text(f"{pid} ({comm}) {' '.join(fields)} 0 0\n")

    def end(self, pid: int) -> None:
        (self.roots.proc / str(pid)).rename(self.roots.proc / f"gone{pid}")
