"""`sentinel service install` in a booted system: the wheel as pipx installs it, for the machine and for a user."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from boot import INSIDE, Outcome, boot, why_not

REPO = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.booted, pytest.mark.root, pytest.mark.long, pytest.mark.timeout(400)]
MACHINE, OWN = "/opt/pipx/venvs/llama-sentinel", "/home/joe/.local/share/pipx/venvs/llama-sentinel"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One boot for all claims."""
    if reason := why_not():
        pytest.skip(reason)
    pytest.importorskip("hatchling", reason="needs hatchling (pip install .[dev])")
    version = subprocess.run(
        ["/usr/bin/python3", "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True, check=False
    ).stdout.split()
    if version != [str(part) for part in sys.version_info[:2]]:
        pytest.skip("needs the same Python as /usr/bin/python3: its environment borrows the libraries of the tests")
    work = tmp_path_factory.mktemp("service")
    lab = work / "files" / INSIDE.relative_to("/")
    lab.mkdir(parents=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*command, "-w", str(lab), str(REPO)], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    script = (REPO / "tests/e2e/service_verb_inside.sh").read_text(encoding="utf-8")
    outcome = boot(work, f"PREFIX={sys.prefix} BASE={sys.base_prefix}\n{script}", work / "files", seconds=240)
    assert outcome.code == 0, outcome.stdout + outcome.stderr + outcome.console
    return outcome


def test_what_a_user_may_change_is_no_service_of_the_machine(machine: Outcome) -> None:
    said = machine.text("of-joe")
    assert "must not start what others than root may change: /home/joe" in said
    assert "sentinel service install --user" in said
    assert said.count("\n") == 1


def test_without_root_it_says_what_to_write(machine: Outcome) -> None:
    assert f"sudo {MACHINE}/bin/sentinel service install" in machine.text("no-root")


def test_it_says_what_it_would_do_and_then_does_that(machine: Outcome) -> None:
    dry, done = machine.text("dry"), machine.text("installed")
    assert dry.replace("would write", "write").replace("would run", "run") == done
    assert f"write  /etc/systemd/system/sentinel.service  (starts {MACHINE}/bin/sentinel run)" in done
    assert "run  systemctl daemon-reload" in done
    assert done.rpartition("next:")[2].splitlines()[1] == "  sudo systemctl enable --now sentinel"
    assert "write" not in machine.text("again")


def test_every_unit_runs_this_installation(machine: Outcome) -> None:
    user, _, args = machine.text("process").strip().partition(" ")
    assert (user, args.split()[-2:]) == ("sentinel", [f"{MACHINE}/bin/sentinel", "run"])
    assert machine.text("active").split() == ["active"] * 5, machine.text("journal")
    assert json.loads(machine.text("summary"))["state"] == "ok"
    assert "llama-server does not start: memory for a buffer was refused" in machine.text("catalog")


def test_it_takes_away_what_it_wrote_and_keeps_the_rest(machine: Outcome) -> None:
    assert machine.text("inactive").split() == ["inactive"] * 5
    assert machine.text("left") == ""
    assert machine.text("kept").split() == ["/etc/sentinel/notify.toml", "/var/lib/sentinel"]


def test_a_user_has_one_of_ones_own_without_root(machine: Outcome) -> None:
    assert machine.text("own").count("/home/joe/.config/systemd/user/sentinel") == 4
    user, _, args = machine.text("own-process").strip().partition(" ")
    assert (user, args.split()[-2:]) == ("joe", [f"{OWN}/bin/sentinel", "run"])
    assert machine.text("own-inactive").strip() == "inactive"
    assert ".service" not in machine.text("own-left")
