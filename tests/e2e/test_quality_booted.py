"""On a booted system: the daily check of answers under the shipped unit, its sandbox as it is, with a real llama-server."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import gguf
import pytest
from boot import INSIDE, Outcome, boot, why_not

REPO = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.long, pytest.mark.booted, pytest.mark.root, pytest.mark.real_server, pytest.mark.timeout(900)]
#: Read by every Python that starts with this folder in PYTHONPATH, the daemon's child among them.
_FEWER = """
import sys
if "sentinel" in " ".join(sys.orig_argv):
    import sentinel.quality.prefixes as known
    every = known.prefixes
    known.prefixes = lambda: tuple(one for one in every() if one.category != "long")[::4]
"""


@pytest.fixture(scope="module")
def machine(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One boot for all claims."""
    if reason := why_not():
        pytest.skip(reason)
    if importlib.util.find_spec("libggml") is None:
        pytest.skip("needs the package libggml-python (pip install .[real])")
    from real_server import binary, cpu_library, free_port

    work = tmp_path_factory.mktemp("quality")
    files = work / "files"
    lab = files / INSIDE.relative_to("/")
    (lab / "fewer").mkdir(parents=True)
    (lab / "fewer/sitecustomize.py").write_text(_FEWER, encoding="ascii")
    for name in ("sentinel.service", "sentinel.sysusers.conf"):
        shutil.copy(REPO / "systemd" / name, lab)
    shutil.copytree(binary().parent, files / "opt/llama")
    shutil.copy(cpu_library(), files / "opt/llama/libggml-cpu.so.0")
    (files / "opt/llama" / binary().name).rename(files / "opt/llama/llama-server")
    (files / "opt/models").mkdir()
    for name in ("m", "other"):
        shutil.copy(models / "dense.gguf", files / f"opt/models/{name}.gguf")
    reader = gguf.GGUFReader(str(files / "opt/models/other.gguf"), "r+")
    (output,) = [tensor for tensor in reader.tensors if tensor.name == "output.weight"]
    output.data[...] = output.data * -20.0
    reader.data.flush()
    script = (REPO / "tests/e2e/quality_inside.sh").read_text(encoding="utf-8")
    given = f"PREFIX={sys.prefix} BASE={sys.base_prefix} PORT={free_port()}"
    outcome = boot(work, f"{given}\n{script}", files, seconds=780)
    assert outcome.code == 0, outcome.stdout + outcome.stderr + outcome.console
    return outcome


def test_the_sandbox_lets_the_check_ask_and_keep(machine: Outcome) -> None:
    """Learned in the unit's own state folder; nothing was refused on the way."""
    (server,) = json.loads(machine.text("learned.json"))["servers"]
    assert server["quality_verdict"] == "learned"
    reference = json.loads(machine.text("reference.json"))
    assert [len(one) for one in reference["passes"]] == [24, 24, 24]
    assert machine.text("restarts").strip() == "0"
    assert "Operation not permitted" not in machine.text("said")


def test_the_child_has_no_right_that_the_daemon_has(machine: Outcome) -> None:
    """It reads a stranger's answers: no capability, the daemon's filter of system calls, in the unit's own group of processes."""
    found = dict(line.split(":", 1) for line in machine.text("child").splitlines())
    assert int(found["CapEff"], 16) == int(found["CapAmb"], 16) == 0
    assert int(found["Uid"].split()[0]) != 0
    assert (found["Seccomp"].strip(), found["NoNewPrivs"].strip()) == ("2", "1")
    assert "sentinel.service" in machine.text("child.cgroup")
    # Of the unit's 128 MiB the daemon has less than half.
    assert int(found["VmHWM"].split()[0]) < 64 << 10


def test_other_weights_are_an_alert_there_too(machine: Outcome) -> None:
    """In the journal, with its cause."""
    entry = json.loads(machine.text("shift.json").splitlines()[0])
    assert entry["SENTINEL_CAUSE"] == "model-file-replaced"
    assert entry["SENTINEL_ENTITY"] == "server:llama.service"
