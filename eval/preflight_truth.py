"""What the real llama-server prints about its memory: started for real with -lv 4, ended once it is loaded."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "demo")]

from real_server import binary, environment, free_port  # noqa: E402

#: Longest wait for a start, seconds.
_PATIENCE = 60.0
_BUFFER = re.compile(r"(?P<place>\S+) +(?P<kind>model|KV|RS|output|compute) buffer size = +(?P<mib>[\d.]+) MiB")
_KINDS = {"model": "weights", "KV": "kv", "RS": "recurrent", "output": "output", "compute": "compute"}
_LOADED = re.compile(r"model loaded|listening on http")
#: the last of the buffers is there; --fit comes so far once before, without memory
_RESERVED = re.compile(r"reserve took")


@dataclass
class Truth:
    """Bytes by place and kind. `mapped` is the part of the host's weights that is the file itself; `log` all that was said."""

    found: dict[tuple[str, str], float] = field(default_factory=dict)
    mapped: float = 0.0
    log: str = ""
    failed: str = ""


def start(model: Path, flags: Sequence[str], *, cards: int) -> Truth:
    """Start, read, end. The software Vulkan device is shown so many times, as Vulkan0, Vulkan1."""
    extra = {"GGML_VK_VISIBLE_DEVICES": ",".join("0" * cards)} if cards else {}
    with tempfile.TemporaryDirectory(prefix="preflight-") as folder:
        path = Path(folder) / "log"
        command = [str(binary()), "-m", str(model), "--port", str(free_port()), "--no-warmup", "-lv", "4", *flags]
        with path.open("wb") as stream:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, env={**environment(), **extra}
            )
        deadline = time.monotonic() + _PATIENCE
        done = _RESERVED if "--fit off" in " ".join(flags) else _LOADED
        while process.poll() is None and time.monotonic() < deadline and not done.search(path.read_text(errors="replace")):
            time.sleep(0.05)
        code = process.poll()
        if code is None:
            process.kill()
            process.wait()
        log = path.read_text(errors="replace")
    return read(log, f"ended with {code}" if code is not None else "")


def read(log: str, failed: str = "") -> Truth:
    """Sums of the last load in a log (--fit loads once before, without memory)."""
    at = log.rfind("load_tensors: loading model tensors")
    truth = Truth(log=log, failed=failed)
    for line in log[max(at, 0) :].splitlines():
        match = _BUFFER.search(line)
        if match is None:
            continue
        name, size = match["place"], float(match["mib"]) * (1 << 20)
        place = "host" if name.startswith("CPU") or name.endswith("_Host") else name
        key = (place, _KINDS[match["kind"]])
        truth.found[key] = truth.found.get(key, 0.0) + size
        if name == "CPU_Mapped":
            truth.mapped += size
    return truth
