"""`sentinel cure` of a user in a booted system: the user's own systemd, daemon and failing unit, and the shipped unit."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from boot import INSIDE, boot

from faults.lines import SLEEPS, write_rules

REPO = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.booted, pytest.mark.root, pytest.mark.long, pytest.mark.timeout(300)]


def test_a_unit_of_a_user_that_breaks_is_restarted_once_and_the_circle_is_stopped(tmp_path: Path) -> None:
    lab = tmp_path / "files" / INSIDE.relative_to("/")
    lab.mkdir(parents=True)
    for name in ("sentinel.service", "sentinel-cure.service"):
        shutil.copy(REPO / "systemd/user" / name, lab)
    write_rules(lab / "own-rules")
    (lab / "sleeps").write_bytes(SLEEPS)
    script = (REPO / "tests/e2e/cure_user_inside.sh").read_text(encoding="utf-8")

    outcome = boot(tmp_path, f"PREFIX={sys.prefix} BASE={sys.base_prefix}\n{script}", tmp_path / "files", seconds=180)

    assert outcome.code == 0, outcome.stdout + outcome.stderr + outcome.console
    # One by its user, one by us.
    assert outcome.text("starts").strip() == "2"
    history = json.loads(outcome.text("history"))["transitions"]
    about = [one["reason"] if one["state"] == "firing" else "over" for one in history if one["rule"] == "fault-1"]
    assert about == ["condition-met", "restart", "over", "condition-met", "restart-limit"]
    status = dict(line.split(":", 1) for line in outcome.text("process").splitlines())
    assert set(status["Uid"].split()) == {outcome.text("uid").strip()}
    assert status["NoNewPrivs"].strip() == "1"
