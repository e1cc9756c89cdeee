"""`sentinel cure` in a booted system: a real unit that breaks at each start, real polkit, the shipped units."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from boot import INSIDE, Outcome, boot

from faults.lines import SLEEPS, write_rules

REPO = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.booted, pytest.mark.root, pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One boot for all claims."""
    if not Path("/usr/lib/polkit-1/polkitd").exists():
        pytest.skip("needs polkit (Debian: polkitd)")
    work = tmp_path_factory.mktemp("cure")
    lab = work / "files" / INSIDE.relative_to("/")
    lab.mkdir(parents=True)
    for name in ("sentinel.service", "sentinel-cure.service", "sentinel.sysusers.conf"):
        shutil.copy(REPO / "systemd" / name, lab)
    write_rules(lab / "own-rules")
    (lab / "sleeps").write_bytes(SLEEPS)
    script = (REPO / "tests/e2e/cure_inside.sh").read_text(encoding="utf-8")
    outcome = boot(work, f"PREFIX={sys.prefix} BASE={sys.base_prefix}\n{script}", work / "files", seconds=180)
    assert outcome.code == 0, outcome.stdout + outcome.stderr + outcome.console
    return outcome


def test_it_says_what_it_would_do_and_does_nothing(machine: Outcome) -> None:
    assert "restart llama.service for fault-1: at most 1 an hour, 10 min apart" in machine.text("check")
    assert "restarts llama.service for fault-1 of llama.service" in machine.text("dry")
    assert machine.text("starts.dry").strip() == "1"


def test_without_the_polkit_rule_nothing_is_restarted_and_it_is_reported(machine: Outcome) -> None:
    assert machine.text("starts.refused").strip() == "1"
    assert "llama.service is not restarted for fault-1 of llama.service: Failed to restart llama.service" in machine.text(
        "journal"
    )


def test_the_polkit_rule_allows_one_verb_for_one_unit_to_one_user(machine: Outcome) -> None:
    for attempt in ("stop", "other", "nobody"):
        assert "done" not in machine.text(attempt), attempt
        assert "uthentication" in machine.text(attempt) or "denied" in machine.text(attempt), attempt


def test_a_broken_unit_is_restarted_once_and_the_circle_is_stopped(machine: Outcome) -> None:
    """Its first start, one by root, one by us; the third alert finds the limit."""
    assert machine.text("starts.after").strip() == "3"
    history = json.loads(machine.text("history"))["transitions"]
    about = [(one["state"], one["reason"]) for one in history if one["rule"] == "fault-1"]
    assert about == [
        ("firing", "condition-met"),
        ("firing", "restart"),
        ("firing", "restart-failed"),
        ("resolved", "server-gone"),
        ("firing", "condition-met"),
        ("firing", "restart"),
        ("resolved", "server-gone"),
        # the fifth notification
        ("firing", "flapping"),
        ("firing", "restart-limit"),
    ]


def test_its_user_may_nothing_else(machine: Outcome) -> None:
    status = dict(line.split(":", 1) for line in machine.text("process").splitlines())
    assert set(status["Uid"].split()) == {machine.text("uid").strip()}
    assert int(status["CapEff"], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"
    assert json.loads(machine.text("reload"))["error"]["code"] == 403
