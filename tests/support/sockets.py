"""Sockets of a process as /proc shows them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sentinel.sources.fs import Roots


def kernel(folder: Path, listens: Sequence[int], namespace: str = "net:[1]") -> Roots:
    """Process 7 with a listening socket for each port, in a network namespace; ours is net:[1]."""
    for of, where in ((folder / "7", namespace), (folder / "self", "net:[1]")):
        (of / "ns").mkdir(parents=True)
        (of / "ns/net").symlink_to(where)
    (folder / "7/fd").mkdir()
    (folder / "7/net").mkdir()
    rows = ["  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"]
    for at, port in enumerate(listens):
        (folder / f"7/fd/{at}").symlink_to(f"socket:[{1000 + at}]")
        rows.append(
            f"   {at}: 0100007F:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 {1000 + at} 1 0 100"
        )
    # another process listens too, and this one is connected somewhere
    rows.append("   8: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 1 0 100")
    rows.append("   9: 0100007F:1F91 00000000:0001 01 00000000:00000000 00:00000000 00000000 0 0 1000 1 0 100")
    (folder / "7/net/tcp").write_text("\n".join(rows) + "\n", encoding="ascii")
    return Roots(proc=folder)
