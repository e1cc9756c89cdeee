"""What sentinel sees of a real GPU, against the vendor's tool: one command of at most eight minutes, for a GPU of any vendor.

make gpu-check

Starts the wheel's llama-server (Vulkan) on the system's driver and one daemon: the GPUs as the PCI bus has them, their memory as
the vendor's tool has it, memory of the process within 5 % of the tool's or the driver's count, no alert about a model that is on
the GPU, and a hidden device that is named. Where llama-server lists no device, the true reason must be named instead, and Mesa's
software GPU (llvmpipe) where it is forced upon it.
"""

from __future__ import annotations

import contextlib
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
_VENDORS = {"0x1002": "AMD", "0x10de": "NVIDIA", "0x8086": "Intel"}
#: Characters of a cause in the table.
_SHOWN = 160


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
    """Releases differ: a list or one under `gpu_data`; memory of a process as one figure, or by place."""
    found = Tool("amd-smi")
    metric = json.loads(_said("amd-smi", "metric", "--mem-usage", "--json"))
    for gpu in metric["gpu_data"] if isinstance(metric, Mapping) else metric:
        about = gpu["mem_usage"]
        found.totals.append(_bytes(about["total_vram"]))
        found.used.append(_bytes(about["used_vram"]))
    process = json.loads(_said("amd-smi", "process", "--json"))
    for gpu in process["process_data"] if isinstance(process, Mapping) else process:
        for one in gpu.get("process_list", []):
            info = one.get("process_info", {})
            if isinstance(info, Mapping) and "pid" in info:
                held = info["memory_usage"]["vram_mem"] if "memory_usage" in info else info["mem_usage"]
                found.of_process[int(info["pid"])] = found.of_process.get(int(info["pid"]), 0) + _bytes(held)
    return found


def _bytes(amount: Mapping[str, Any]) -> int:
    return int(amount["value"]) * {"B": 1, "KB": 1024, "MB": _MIB, "GB": 1024 * _MIB}[str(amount["unit"])]


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


def on_the_bus() -> list[str]:
    """Vendors of the display devices of AMD, NVIDIA and Intel, as the PCI bus has them."""
    found = []
    for device in Path("/sys/bus/pci/devices").glob("*"):
        with contextlib.suppress(OSError):
            vendor = _VENDORS.get((device / "vendor").read_text().strip())
            if vendor and (device / "class").read_text().startswith("0x03"):
                found.append(vendor)
    return sorted(found)


def held_by(pid: int) -> int | None:
    """Video memory of a process by the driver's own count of each client (Documentation/gpu/drm-usage-stats.rst)."""
    clients: dict[str, int] = {}
    for path in Path(f"/proc/{pid}/fdinfo").glob("*"):
        with contextlib.suppress(OSError):
            text = path.read_text()
            client = re.search(r"^drm-client-id:\s*(\d+)", text, re.MULTILINE)
            bytes_ = re.findall(r"^drm-(?:total|memory)-vram\d*:\s*(\d+)( KiB| MiB)?", text, re.MULTILINE)
            if client and bytes_:
                clients[client[1]] = max(int(number) * {" KiB": 1024, " MiB": _MIB}.get(unit, 1) for number, unit in bytes_)
    return sum(clients.values()) if clients else None


def checks(folder: Path) -> Iterator[Check]:
    """All rows, in order."""
    listed, there = devices(), on_the_bus()
    tools = tool()
    with ExitStack() as stack:
        (folder / "daemon").mkdir()
        sentinel = Sentinel(folder / "daemon").start()
        stack.callback(sentinel.end)
        gpus = until(20.0 if there else 5.0, lambda: sentinel.ask("status")["gpus"]) or []
        yield Check("GPUs", str(len(gpus)), f"{len(there)} on the PCI bus {', '.join(there)}".rstrip(), len(gpus) == len(there))
        theirs, mine = sorted(tools.totals), sorted(int(gpu.get("vram_total_bytes") or 0) for gpu in gpus)
        alike = len(mine) == len(theirs) and all(map(near, mine, theirs))
        sizes, listed_sizes = ", ".join(map(size, mine)) or "-", ", ".join(map(size, theirs)) or "-"
        against = f"{listed_sizes} ({tools.name})" if tools.name else "no tool of a vendor"
        yield Check("memory of the GPUs", sizes, against, alike if tools.name else None)
        yield Check("devices of llama-server", f"{len(gpus)} GPUs", ", ".join(listed) or "none without a variable", None)
        if listed:
            yield from _offload(folder, sentinel, tools)
            yield from _named(folder, sentinel, "a hidden device", {"GGML_DISABLE_VULKAN": "1"}, "GGML_DISABLE_VULKAN")
            return
        # What Vulkan does not list of a GPU that is there has a reason, and it is no hidden one.
        reason = "no Vulkan driver works" if there else "no GPU is there"
        cause = r"Vulkan|driver|render|/dev/dri" if there else "has no GPU"
        yield from _named(folder, sentinel, f"a fallback: {reason}", {}, cause)
        # Mesa's software driver is taken where the variable names it, whatever else is there.
        yield from _named(folder, sentinel, "a software GPU", {"GGML_VK_VISIBLE_DEVICES": "0"}, "llvmpipe")


def _offload(folder: Path, sentinel: Sentinel, tools: Tool) -> Iterator[Check]:
    with real_server.server(*_flags(), log=folder / "gpu.log") as running:
        real_server.request(f"{running.url}/completion", json.dumps({"prompt": "Once", "n_predict": 8}).encode())
        pid = running.process.pid
        alerts = until(_QUIET, lambda: _alerts(sentinel, pid))
        said = "quiet" if not alerts else str([a["summary"] for a in alerts])
        yield Check("a model on the GPU", said, "is healthy", not alerts)
        server = sentinel.server(pid) or {}
        held, told = server.get("gpu_memory_bytes"), tool().of_process.get(pid)
        by = tools.name
        if told is None:
            told, by = held_by(pid), "the driver's count"
        mine = size(held) if isinstance(held, int | float) else "unknown"
        theirs = f"{size(told)} ({by})" if told is not None else f"neither {tools.name or 'a tool'} nor the driver counts it"
        comparable = isinstance(held, int | float) and told is not None
        yield Check("memory of the process", mine, theirs, near(float(held or 0), float(told or 0)) if comparable else None)


def _named(folder: Path, sentinel: Sentinel, name: str, environ: Mapping[str, str], wanted: str) -> Iterator[Check]:
    """A server that computes on the CPU, and whether the cause says so."""
    with real_server.server(*_flags(), log=folder / f"{name}.log", env=environ) as running:
        pid = running.process.pid
        found = until(_NAMED, lambda: [one for one in _alerts(sentinel, pid) if one["rule"] == "cpu-fallback"])
        cause = found[0]["cause"]["text"] if found else "nothing said"
        against = ", ".join(f"{variable}={value}" for variable, value in environ.items()) or "-ngl 99"
        said = re.search(wanted, cause)
        # The part of a long text that says it.
        begin = 0 if said is None or said.end() <= _SHOWN else cause.rfind(".", 0, said.start()) + 1
        yield Check(name, cause[begin:][:_SHOWN].strip(), against, said is not None)


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
    failed, began = False, time.monotonic()
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
    print(f"\n{os.uname().release}, {time.monotonic() - began:.0f} s")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
