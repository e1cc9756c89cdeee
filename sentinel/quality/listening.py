"""Which process answers at a port of this machine, and those of its flags that act on what it computes."""

from __future__ import annotations

import os
import re

from sentinel.llama.tokenizer import flags
from sentinel.model.input_limits import MOST_ARGV_BYTES
from sentinel.quality.measurement import MOST_FLAGS
from sentinel.sources.fs import Roots, read_bytes
from sentinel.sources.processes.listening import holder, only_port, shares_network

#: With these the same file gives other numbers. No other flag is kept: it may hold a path, a name or a key.
_NAMES = """
-c --ctx-size -b --batch-size -ub --ubatch-size -t --threads -tb --threads-batch -np --parallel -ngl --gpu-layers --n-gpu-layers
-fa --flash-attn -ctk --cache-type-k -ctv --cache-type-v -sm --split-mode -ts --tensor-split -mg --main-gpu -nkvo --no-kv-offload
-kvo --kv-offload -kvu --kv-unified -ncmoe --n-cpu-moe -cmoe --cpu-moe -ot --override-tensor -nr --no-repack --swa-full
--rope-scaling --rope-scale --rope-freq-base --rope-freq-scale --yarn-orig-ctx --yarn-ext-factor --yarn-attn-factor
--yarn-beta-slow --yarn-beta-fast --override-kv -fit --fit -dev --device --context-shift --no-context-shift
"""
_ACTING = frozenset(_NAMES.split())
_PLAIN = re.compile(r"[\w.,:=+*\\|()\[\]-]{0,80}\Z", re.ASCII)


def pid_at(port: int, roots: Roots | None = None) -> int | None:
    """The process of our own network that listens there; None where that cannot be seen, as of another user's."""
    return holder(Roots() if roots is None else roots, port)


def port_of(pid: int, roots: Roots | None = None) -> int | None:
    """The only port that a process listens on."""
    roots = Roots() if roots is None else roots
    return only_port(roots, pid) if shares_network(roots, pid) else None


def acting_flags(pid: int, roots: Roots | None = None) -> tuple[str, ...]:
    """As ``--rope-freq-base 5000``, in order; none where the command line cannot be read."""
    roots = Roots() if roots is None else roots
    try:
        words = [os.fsdecode(word) for word in read_bytes(roots.proc / str(pid) / "cmdline", MOST_ARGV_BYTES).split(b"\0")[:-1]]
    except OSError:
        return ()
    found = [(flag, value) for flag, value in flags(words) if flag in _ACTING and _PLAIN.match(value or "")]
    return tuple(sorted(f"{flag} {value}" if value else flag for flag, value in found))[:MOST_FLAGS]
