"""What a GPU's driver and its tools do to whoever asks them: a hanging rocm-smi, sysfs that refuses, fails and vanishes."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from faults.daemon import REPO, Daemon, daemon, wait_for
from faults.lines import SLEEPS, WAKES, write_rules
from faults.outcome import Outcome

#: A whole /sys of one GPU, as the tests of the source have it.
_GPUS = REPO / "tests" / "fixtures" / "sys"
#: root without a single capability: it may read what is its own, as the service's user does.
_BARE = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
_SOMEBODY = 65534


def _script(folder: Path, text: str) -> None:
    script = folder / "rocm-smi"
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o755)


def _alert_in_between(row: Outcome, one: Daemon, log: Path, number: int) -> float:
    """An alert from the log while the fault lasts; returns how long it took."""
    with log.open("ab") as file:
        file.write(WAKES if number % 2 else SLEEPS)
    begin = time.monotonic()
    one.await_entry("fault-1", "resolved" if number % 2 else "firing", "mine", within=20, after=number // 2)
    return time.monotonic() - begin


def rocm_smi(*, short: bool) -> Outcome:
    """rocm-smi prints garbage, hangs, and is missing, then works."""
    row = Outcome("rocm-smi that prints garbage, then hangs, then is missing; alerts from the log all the while")
    with tempfile.TemporaryDirectory(prefix="faults-smi-") as name:
        folder = Path(name)
        tools, dev = folder / "bin", folder / "dev"
        for made in (tools, dev, folder / "sys"):
            made.mkdir()
        # ROCm's device without a GPU in sysfs: then rocm-smi is asked every 40 seconds and not each half hour.
        (dev / "kfd").touch()
        log = folder / "server.log"
        log.touch()
        _script(tools, "head -c 3000 /dev/urandom | od -An -c; echo '{{{'")
        env = {"PATH": f"{tools}:/usr/bin:/bin"}
        paths = {"dev": dev, "sys": folder / "sys"}
        with daemon(top=[write_rules(folder / "rules")], servers={"mine": log}, env=env, paths=paths) as one:
            one.start()
            wait_for(lambda: one.source("rocm_smi").get("health") == "failed", "garbage is reported", 30)
            row.said = str(one.source("rocm_smi")["why"])
            slowest = _alert_in_between(row, one, log, 0)
            if not short:
                _script(tools, "trap '' TERM; sleep 1000")
                wait_for(lambda: "no answer" in str(one.source("rocm_smi").get("why")), "the hang is reported", 90)
                row.said += "; " + str(one.source("rocm_smi")["why"])
                slowest = max(slowest, _alert_in_between(row, one, log, 1))
            (tools / "rocm-smi").unlink()
            wait_for(lambda: one.source("rocm_smi").get("health") == "absent", "its absence is reported", 90)
            row.well_after = slowest
            row.notes.append("well again: the slowest of the alerts delivered while rocm-smi was broken")
            row.expect(not one.traceback(), "a traceback in its log")
            row.expect(one.stop() == 0, "it did not end in order")
            row.lost = "nothing: each alert delivered in time"
    return row


def sysfs(*, short: bool) -> Outcome:
    """A GPU's files refuse (EACCES), fail (EIO), vanish and come back."""
    del short
    row = Outcome("a GPU in sysfs whose files give EACCES, then EIO, then vanish with the GPU, then come back")
    if os.geteuid() != 0:
        row.skipped = "needs root, to run the daemon as somebody who may not read"
        return row
    gpu = next((path.parent for path in sorted(_GPUS.rglob("mem_info_vram_used"))), None)
    if gpu is None:
        row.skipped = f"no GPU in {_GPUS}"
        return row
    root = gpu
    while root.name not in ("sys", "composed-host") and not (root / "class").is_dir():
        root = root.parent
    with tempfile.TemporaryDirectory(prefix="faults-sys-") as name:
        folder = Path(name)
        sys = folder / "sys"
        shutil.copytree(root, sys, symlinks=True)
        mine = sys / gpu.relative_to(root)
        log = folder / "server.log"
        log.touch()
        options = {"paths": {"sys": sys}, "wrap": _BARE, "rest": ["[intervals]", 'gpu = "0.5s"']}
        with daemon(top=[write_rules(folder / "rules")], servers={"mine": log}, **options) as one:
            one.start()
            address = wait_for_gpu(one)
            # The junction's temperature, which thermal-throttle reads.
            used = next(mine.glob("hwmon/hwmon*/temp2_input"))
            value = used.read_text()
            slowest, said = 0.0, []
            for number, what in enumerate(("EACCES", "EIO")):
                if what == "EACCES":
                    os.chown(used, _SOMEBODY, _SOMEBODY)
                    used.chmod(0o600)
                else:
                    # Reading the memory of oneself at address 0 fails with EIO (proc(5)).
                    used.unlink()
                    used.symlink_to("/proc/self/mem")
                wait_for(lambda: "temp_junction_celsius" not in _gpu(one, address), f"{what}: the value is unknown", 70)
                said.append(_why(one, address, "gpu.temp_junction_celsius"))
                slowest = max(slowest, _alert_in_between(row, one, log, number))
            used.unlink()
            used.write_text(value)
            begin = time.monotonic()
            wait_for(lambda: "temp_junction_celsius" in _gpu(one, address), "the value is known again", 30)
            row.well_after = time.monotonic() - begin
            shutil.move(sys, folder / "away")
            sys.mkdir()
            wait_for(lambda: one.source("amdgpu").get("health") in ("absent", "failed"), "that the GPU is gone is reported", 30)
            said.append(str(one.source("amdgpu")["why"]))
            slowest = max(slowest, _alert_in_between(row, one, log, 2))
            sys.rmdir()
            shutil.move(folder / "away", sys)
            wait_for(lambda: one.source("amdgpu").get("health") == "up", "the GPU is read again", 90)
            row.said = "; ".join(text for text in said if text)
            row.expect(all(said), f"not everything was said: {said}")
            row.lost = "nothing: values became unknown, never 0, and alerts went on"
            row.notes.append(f"the slowest alert while the GPU was broken took {slowest:.1f} s")
            row.expect(not one.traceback(), "a traceback in its log")
    return row


def wait_for_gpu(one: Daemon) -> str:
    """The address of the GPU that is seen."""
    wait_for(lambda: (one.get("/v1/status") or {}).get("gpus"), "the GPU is seen", 30)
    return str((one.get("/v1/status") or {})["gpus"][0]["address"])


def _gpu(one: Daemon, address: str) -> dict[str, object]:
    gpus = (one.get("/v1/status") or {}).get("gpus", [])
    return next((dict(gpu) for gpu in gpus if gpu["address"] == address), {})


def _why(one: Daemon, address: str, signal: str) -> str:
    """Why a value of the GPU is not known, in any rule that reads it."""
    for rule in (one.get("/v1/rules") or {}).get("rules", []):
        for subject in (one.get(f"/v1/why/{rule['id']}") or {}).get("subjects", []):
            reads = [read for check in subject["checks"] for read in check["reads"]] if subject["entity"] == address else []
            if why := next((read["missing"] for read in reads if read["name"] == signal and read.get("missing")), ""):
                return str(why)
    return ""
