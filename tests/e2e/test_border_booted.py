"""On a booted system: the watchdog, forged entries of the journal, two daemons, a runtime folder in a stranger's hands.

All on one boot (border_inside.sh), with the shipped unit; only its watchdog is shorter.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from boot import INSIDE, Outcome, boot

REPO = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.booted, pytest.mark.root, pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One boot for all claims."""
    work = tmp_path_factory.mktemp("border")
    lab = work / "files" / INSIDE.relative_to("/")
    lab.mkdir(parents=True)
    for name in (
        "tests/e2e/forge_inside.py",
        "tests/e2e/busy_inside.py",
        "systemd/sentinel.service",
        "systemd/sentinel.sysusers.conf",
    ):
        shutil.copy(REPO / name, lab)
    script = (REPO / "tests/e2e/border_inside.sh").read_text(encoding="utf-8")
    outcome = boot(work, f"PREFIX={sys.prefix} BASE={sys.base_prefix}\n{script}", work / "files", seconds=180)
    assert outcome.code == 0, outcome.stdout + outcome.stderr + outcome.console
    return outcome


def _entries(machine: Outcome, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in machine.text(name).splitlines()]


def _about(machine: Outcome, entity: str) -> list[tuple[str, str]]:
    rows = json.loads(machine.text("history.json"))["transitions"]
    # A container has no log of the kernel, which is said.
    return [(row["rule"], row["state"]) for row in rows if row["entity"]["name"] == entity and row["rule"] != "blind-spot"]


def test_entries_that_a_user_forged_are_nobodys_word(machine: Outcome) -> None:
    """A unit's failure, an OOM kill, a crash and a line of the log, claimed by a stranger and by the server: none counts."""
    forged = _entries(machine, "forged.json")
    assert {one["FORGED_BY"] for one in forged} == {"stranger", "server"}
    assert len(forged) == 17

    assert _about(machine, "llama.service") == []
    everything = json.loads(machine.text("history.json"))["transitions"]
    assert "llama-server[" not in str(everything)
    (server,) = [one for one in json.loads(machine.text("status.json"))["servers"] if one["name"] == "llama.service"]
    assert (server["state"], server["running"]) == ("sleeping", True)


def test_the_true_end_of_the_same_server_is_reported(machine: Outcome) -> None:
    """So that the silence above is not deafness."""
    told = [entry for entry in _entries(machine, "true.json") if entry["SENTINEL_SEVERITY"] == "critical"]

    assert [entry["SENTINEL_RULE"] for entry in told] == ["server-crashed"]


def test_a_daemon_that_hangs_is_restarted_and_goes_on(machine: Outcome) -> None:
    """systemd's watchdog kills it; the open alert is the same one, since the same moment, and is not delivered again."""
    said = machine.text("service.txt")
    assert "Watchdog timeout" in said
    before, after = (json.loads(machine.text(name))["alerts"] for name in ("before.json", "after.json"))

    assert [(one["rule"], one["entity"]["name"]) for one in before] == [("start-failed", "mine")]
    assert [(one["fingerprint"], one["since"]) for one in after] == [(one["fingerprint"], one["since"]) for one in before]
    told = [entry["SENTINEL_STATE"] for entry in _entries(machine, "mine.json")]
    assert told == ["firing"]


def test_a_second_daemon_on_the_same_state_is_refused(machine: Outcome) -> None:
    """With one sentence; the first goes on."""
    assert machine.text("second.code").strip() == "2"
    assert (
        machine.text("second.txt")
        .strip()
        .splitlines()[-1]
        .endswith(
            "not started: another sentinel has the state folder /var/lib/sentinel; stop it first, "
            "or give this one its own with state_dir"
        )
    )
    assert json.loads(machine.text("still.json"))["alerts"]


def test_a_socket_in_a_strangers_folder_is_refused(machine: Outcome) -> None:
    """Where he listens already and holds the lock: it is said, the alerts go on, and his socket is not touched."""
    assert machine.text("hijacked.state").strip() == "active"
    refused = "not listening on /run/shared/sentinel.sock: others than root and you may write /run/shared"
    assert refused in machine.text("hijacked.txt")
    assert machine.text("hijacked.owner").strip() == "stranger"


def test_the_units_own_folder_is_given_back(machine: Outcome) -> None:
    """systemd corrects the owner at the start."""
    assert machine.text("given_back").split() == ["sentinel", "sentinel"]
