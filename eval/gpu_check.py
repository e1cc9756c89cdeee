"""What sentinel sees of a real GPU, against the vendor's tool: one command of at most eight minutes, for a GPU of any vendor.

make gpu-check

Starts the wheel's llama-server (Vulkan) on the system's driver and one daemon: the GPUs and their memory as the vendor's tool has
them, memory of the process within 5 %, no alert about a model that is on the GPU, and a hidden device that is named. On a machine
with a software GPU alone (Mesa's llvmpipe) that one is named instead, and what needs the tool of a vendor is left out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as Xml
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "demo"), str(HERE.parent / "tests" / "support")]

import real_server  # noqa: E402
from live import Sentinel  # noqa: E402

#: Seconds for the whole, for silence about a healthy server, and for the alert about the other one.
_ALL, _QUIET, _NAMED = 470, 25.0, 45.0
_APART = 0.05
_MIB = 1 << 20


@dataclass
class Tool:
    """What the vendor's tool says: bytes by GPU, and by process."""

    name: str = ""
    totals: list[int] = field(default_factory=list)
    used: list[int] = field(default_factory=list)
    of_process: dict[int, int] = field(default_factory=dict)


def tool() -> Tool:
    """nvidia-smi, amd-smi or rocm-smi, whichever answers first."""
    for program, read in (("nvidia-smi", _nvidia), ("amd-smi", _amd), ("rocm-smi", _rocm)):
        if shutil.which(program):
            try:
                if (found := read()).totals:
                    return found
            except (subprocess.SubprocessError, ValueError, KeyError, TypeError, Xml.ParseError, OSError):
                continue
    return Tool()


def _said(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, timeout=20, check=True).stdout


def _nvidia() -> Tool:
    found = Tool("nvidia-smi")
    for gpu in Xml.fromstring(_said("nvidia-smi", "-q", "-x")).iter("gpu"):
        found.totals.append(_mib(gpu.findtext("fb_memory_usage/total")))
        found.used.append(_mib(gpu.findtext("fb_memory_usage/used")))
        for process in gpu.iter("process_info"):
            pid, used = process.findtext("pid"), process.findtext("used_memory")
            if pid and used and used[:1].isdigit():
                found.of_process[int(pid)] = found.of_process.get(int(pid), 0) + _mib(used)
    return found


def _mib(text: str | None) -> int:
    return int(str(text).split()[0]) * _MIB


def _amd() -> Tool:
    found = Tool("amd-smi")
    for gpu in json.loads(_said("amd-smi", "metric", "--mem-usage", "--json")):
        about = gpu["mem_usage"]
        found.totals.append(int(about["total_vram"]["value"]) * _MIB)
        found.used.append(int(about["used_vram"]["value"]) * _MIB)
    for gpu in json.loads(_said("amd-smi", "process", "--json")):
        for one in gpu.get("process_list", []):
            info = one.get("process_info", {})
            if isinstance(info, Mapping) and "pid" in info:
                used = int(info["memory_usage"]["vram_mem"]["value"])
                found.of_process[int(info["pid"])] = found.of_process.get(int(info["pid"]), 0) + used
    return found


def _rocm() -> Tool:
    found = Tool("rocm-smi")
    for about in json.loads(_said("rocm-smi", "--showmeminfo", "vram", "--json")).values():
        found.totals.append(int(about["VRAM Total Memory (B)"]))
        found.used.append(int(about["VRAM Total Used Memory (B)"]))
    return found


@dataclass
class Check:
    """One row: what sentinel says, what is held against it, and whether they agree; None: cannot be told here."""

    name: str
    sentinel: str
    against: str
    agrees: bool | None


def near(mine: float, theirs: float) -> bool:
    return abs(mine - theirs) <= _APART * max(mine, theirs)


def size(number: float) -> str:
    return f"{number / _MIB:,.0f} MiB"


def devices() -> list[str]:
    """The devices that llama-server lists, as the system's driver shows them."""
    environ = real_server.environment()
    done = subprocess.run(
        [real_server.binary(), "--list-devices"], env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    return re.findall(r"^\s+(\w+\d+: .*)$", done.stdout + done.stderr, re.MULTILINE)


def until(seconds: float, condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + seconds
    while not (answer := condition()) and time.monotonic() < end:
        time.sleep(0.5)
    return answer


def checks(folder: Path) -> Iterator[Check]:
    """All rows, in order."""
    listed = devices()
    software = not listed
    extra = {"GGML_VK_VISIBLE_DEVICES": "0"} if software else {}
    tools = tool()
    with ExitStack() as stack:
        (folder / "daemon").mkdir()
        sentinel = Sentinel(folder / "daemon").start()
        stack.callback(sentinel.end)
        gpus = until(20.0, lambda: sentinel.ask("status")["gpus"]) or []
        theirs, mine = sorted(tools.totals), sorted(int(gpu.get("vram_total_bytes") or 0) for gpu in gpus)
        against = f"{len(theirs)} ({tools.name})" if tools.name else "no vendor's tool"
        yield Check("GPUs", str(len(gpus)), against, len(gpus) == len(theirs) if tools.name else None)
        alike = len(mine) == len(theirs) and all(map(near, mine, theirs))
        sizes, listed_sizes = ", ".join(map(size, mine)) or "-", ", ".join(map(size, theirs)) or "-"
        yield Check("memory of the GPUs", sizes, listed_sizes, alike if tools.name else None)
        yield from _offload(folder, sentinel, extra, tools, software)
        yield from _hidden(folder, sentinel)


def _offload(folder: Path, sentinel: Sentinel, extra: Mapping[str, str], tools: Tool, software: bool) -> Iterator[Check]:
    with real_server.server(*_flags(), log=folder / "gpu.log", env=extra) as running:
        real_server.request(f"{running.url}/completion", json.dumps({"prompt": "Once", "n_predict": 8}).encode())
        pid = running.process.pid
        alerts = until(_QUIET, lambda: _alerts(sentinel, pid))
        if software:
            named = any(one["rule"] == "cpu-fallback" and "llvmpipe" in json.dumps(one) for one in alerts or [])
            yield Check("a software GPU", "named" if named else f"{[a['rule'] for a in alerts or []]}", "llvmpipe", named)
            yield Check("memory of the process", "-", "a software GPU has none of its own", None)
            return
        yield Check(
            "a model on the GPU", "quiet" if not alerts else str([a["summary"] for a in alerts]), "is healthy", not alerts
        )
        server = sentinel.server(pid) or {}
        held, told = server.get("gpu_memory_bytes"), tool().of_process.get(pid)
        comparable = isinstance(held, int | float) and told is not None
        mine = size(held) if isinstance(held, int | float) else "unknown"
        theirs = size(told) if told is not None else f"{tools.name or 'no tool'} names no process"
        agrees = near(float(held or 0), float(told or 0)) if comparable else None
        yield Check("memory of the process", mine, theirs, agrees)


def _hidden(folder: Path, sentinel: Sentinel) -> Iterator[Check]:
    with real_server.server(*_flags(), log=folder / "hidden.log", env={"GGML_DISABLE_VULKAN": "1"}) as running:
        pid = running.process.pid
        found = until(_NAMED, lambda: [one for one in _alerts(sentinel, pid) if one["rule"] == "cpu-fallback"])
        cause = found[0]["cause"]["text"] if found else "nothing said"
        yield Check(
            "a hidden device", cause[:90], "GGML_DISABLE_VULKAN=1", bool(found) and "GGML_DISABLE_VULKAN" in json.dumps(found)
        )


def _flags() -> list[str]:
    return ["-m", str(real_server.model()), "-ngl", "99", "-c", "4096", "-lv", "4"]


def _late(*_: object) -> None:
    raise TimeoutError(f"not done within {_ALL} s: the rows that are missing were not tried")


def _alerts(sentinel: Sentinel, pid: int) -> list[dict[str, Any]]:
    """Open alerts of warning or worse about the server with this process."""
    server = sentinel.server(pid)
    name = server["name"] if server else ""
    return [one for one in sentinel.ask("alerts")["alerts"] if one["entity"]["name"] == name and one["severity"] != "info"]


def main() -> int:
    signal.signal(signal.SIGALRM, _late)
    signal.alarm(_ALL)
    failed = False
    print("| what | sentinel | held against | agrees |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        try:
            for one in checks(Path(folder)):
                word = "not here" if one.agrees is None else "yes" if one.agrees else "NO"
                failed = failed or one.agrees is False
                print(f"| {one.name} | {one.sentinel} | {one.against} | {word} |", flush=True)
        except (real_server.ServerDied, TimeoutError) as error:
            print(f"| it went no further | {str(error)[-300:]!r} | | NO |")
            failed = True
    print(f"\n{os.uname().release}, {', '.join(devices()) or 'no device of its own: a software GPU at most'}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
