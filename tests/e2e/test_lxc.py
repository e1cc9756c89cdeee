"""In a container of LXC, as on Proxmox: it has a boot id of its own, which the journal has and the unit's sandbox hides."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from boot import INSIDE, boot
from places import REPO

pytestmark = [pytest.mark.long, pytest.mark.booted, pytest.mark.root, pytest.mark.real_server, pytest.mark.timeout(300)]

SCRIPT = """
set -e
sed s,@PREFIX@,/opt/sentinel, sentinel.service > /etc/systemd/system/sentinel.service
cp sentinel.sysusers.conf /usr/lib/sysusers.d/sentinel.conf
systemd-sysusers /usr/lib/sysusers.d/sentinel.conf 2> /dev/null
cat > /etc/systemd/system/llama.service
systemctl daemon-reload
systemctl start sentinel || { journalctl -u sentinel --no-pager; exit 1; }
systemctl start llama
told() { journalctl -q -o json --all SENTINEL_RULE=start-failed SENTINEL_STATE=firing | tee "$OUT/alerts" | grep -q .; }
for _ in $(seq 300); do told && break; sleep 0.1; done
cat /proc/sys/kernel/random/boot_id > "$OUT/boot_id"
"""

UNIT = """\
[Service]
Environment=LD_LIBRARY_PATH={libraries}
ExecStart={program} -m /opt/nope.gguf --port 18123
"""


def test_the_lines_of_a_unit_are_read_in_the_sandbox_of_the_service(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert models
    from real_server import binary, environment

    monkeypatch.setenv("BOOT_WITH", "lxc")
    lab = tmp_path / "files" / INSIDE.relative_to("/")
    lab.mkdir(parents=True)
    for name in ("sentinel.service", "sentinel.sysusers.conf"):
        shutil.copy(REPO / "systemd" / name, lab)
    program = tmp_path / "files/opt/sentinel/bin/sentinel"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\ncd {REPO}\nexec {sys.executable} -m sentinel "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    unit = UNIT.format(libraries=environment()["LD_LIBRARY_PATH"], program=binary())
    script = SCRIPT.replace("llama.service\n", f"llama.service <<'END'\n{unit}END\n", 1)
    outcome = boot(tmp_path / "boot", script, tmp_path / "files", seconds=120)

    assert outcome.code == 0, outcome.stdout + outcome.stderr + outcome.console
    (entry,) = [json.loads(line) for line in outcome.text("alerts").splitlines()]
    own, hosts = outcome.text("boot_id").strip(), Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert own != hosts
    assert entry["_BOOT_ID"] == own.replace("-", "")
    assert (entry["SENTINEL_ENTITY"], entry["SENTINEL_CAUSE"]) == ("server:llama.service", "file-missing")
    # word for word from the journal
    assert "failed to load model, '/opt/nope.gguf'" in str(entry["SENTINEL_EVIDENCE"])
