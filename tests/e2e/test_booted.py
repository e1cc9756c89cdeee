"""In a booted system: what a person finds in the real journal, and that journald may come and go."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import h11
import pytest
from boot import INSIDE, Outcome, boot, with_lxc
from sample_transitions import FIRING

from sentinel.model.json_form import message, transition_to_dict

pytestmark = [pytest.mark.booted, pytest.mark.root]

UNIT = """
set -e
sed s,@PREFIX@,/opt/sentinel, sentinel.service > /etc/systemd/system/sentinel.service
cp sentinel.sysusers.conf /usr/lib/sysusers.d/sentinel.conf
systemd-sysusers /usr/lib/sysusers.d/sentinel.conf
useradd --create-home watched
useradd --groups sentinel member
useradd stranger
echo "a line" > /tmp/server.log
install -o watched -m 600 /tmp/server.log /home/watched/server.log
chmod 700 /home/watched
systemd-run -q --unit=watched --uid=watched --setenv=LLAMA_ARG_CTX_SIZE=4096 \\
    sh -c "echo hello from the server; exec sleep infinity"
for _ in $(seq 100); do
    [ "$(readlink /proc/$(systemctl show -P MainPID watched)/exe)" = /usr/bin/sleep ] && break
    sleep 0.05
done
journalctl --sync
systemctl show -P MainPID watched > watched.pid
systemctl daemon-reload
systemctl start sentinel || { systemctl status sentinel --no-pager -l; journalctl -u sentinel --no-pager; exit 1; }
ask() { curl -sS -w "%{http_code}" --unix-socket /run/sentinel/sentinel.sock "http://localhost$@" 2>&1; }
ask /v1/status > $OUT/root
runuser -u member -- curl -sS --unix-socket /run/sentinel/sentinel.sock http://localhost/v1/status > $OUT/member
runuser -u member -- curl -sS -X POST --unix-socket /run/sentinel/sentinel.sock http://localhost/v1/reload > $OUT/member_post
runuser -u stranger -- curl -sS --unix-socket /run/sentinel/sentinel.sock http://localhost/v1/status > $OUT/stranger 2>&1 || true
curl -sS -X POST --unix-socket /run/sentinel/sentinel.sock http://localhost/v1/reload > $OUT/root_post
systemctl show -P StatusText,ActiveState sentinel > $OUT/state
stat -c "%a %U %G" /run/sentinel/sentinel.sock /var/lib/sentinel /var/lib/sentinel/history.db > $OUT/modes
journalctl --sync
journalctl -q -o cat SENTINEL_RULE=cpu-fallback > $OUT/journal
id -u sentinel > $OUT/uid
systemctl stop sentinel
systemctl show -P Result sentinel > $OUT/result
test ! -e /run/sentinel/sentinel.sock
mkdir /etc/systemd/system/sentinel.service.d
cat > /etc/systemd/system/sentinel.service.d/before.conf <<END
[Service]
Type=oneshot
Restart=no
WorkingDirectory=$PWD
StandardOutput=truncate:$OUT/before
ExecStart=
ExecStart=/usr/bin/python3 -c "import os; from sentinel.sources.look import at_once; at_once(); print(os.sched_getscheduler(0))"
# In place of the limit, which not every container may raise (CAP_SYS_RESOURCE); either is enough for the kernel.
CapabilityBoundingSet=CAP_SYS_NICE
AmbientCapabilities=CAP_SYS_NICE
END
systemctl daemon-reload
systemctl start sentinel
systemctl show -P LimitRTPRIO,LimitRTTIME,RestrictRealtime sentinel > $OUT/before.limits
"""

REPO = Path(__file__).resolve().parents[2]


def _with_package(files: Path) -> Path:
    """The package and the tests' own programs, for the machine's Python: model, history and sinks need nothing installed."""
    lab = files / INSIDE.relative_to("/")
    lab.mkdir(parents=True)
    shutil.copytree(REPO / "sentinel", lab / "sentinel", ignore=shutil.ignore_patterns("__pycache__"))
    for source in ("tests/support/sample_transitions.py", "tests/e2e/journal_inside.py"):
        shutil.copy(REPO / source, lab)
    return files


def _entries(outcome: Outcome, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in outcome.text(name).splitlines()]


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One boot for all claims about the journal."""
    work = tmp_path_factory.mktemp("journal")
    script = """
set -e
systemd-run --quiet --unit=llama-server sleep infinity
/usr/bin/python3 journal_inside.py send $OUT
journalctl --sync
journalctl -o json --all SYSLOG_IDENTIFIER=sentinel > $OUT/all.json
journalctl -o short --no-hostname SYSLOG_IDENTIFIER=sentinel > $OUT/short.txt
journalctl -o cat -u llama-server > $OUT/of_unit.txt
limited="systemd-run -q --wait -p LogRateLimitIntervalSec=1s -p LogRateLimitBurst=20 -p WorkingDirectory=$PWD"
$limited /usr/bin/python3 journal_inside.py flood $OUT paced 60 20
$limited /usr/bin/python3 journal_inside.py flood $OUT unpaced 1000 100000
journalctl --sync
journalctl -q -o json SENTINEL_RULE=paced > $OUT/paced.json
journalctl -q -o json SENTINEL_RULE=unpaced > $OUT/unpaced.json
/usr/bin/python3 journal_inside.py outage $OUT
journalctl --sync
journalctl -o json SENTINEL_RULE=outage > $OUT/after_outage.json
"""
    outcome = boot(work, script, _with_package(work / "files"))
    assert outcome.code == 0, outcome.stderr + outcome.console
    return outcome


def test_an_alert_reads_back_with_every_field(journal: Outcome) -> None:
    """journalctl gives back each field of the contract, and the repeated ones as lists."""
    entry = _entries(journal, "all.json")[0]

    assert entry["MESSAGE"] == message(FIRING)
    assert entry["MESSAGE_ID"] == FIRING.message_id
    assert (entry["PRIORITY"], entry["SENTINEL_SEVERITY"], entry["SENTINEL_STATE"]) == ("2", "critical", "firing")
    assert entry["SENTINEL_RULE"] == "cpu-fallback"
    assert entry["SENTINEL_CAUSE"] == "backend-init-failed"
    assert entry["SENTINEL_ENTITY"] == "server:llama-server.service"
    assert entry["SENTINEL_FINGERPRINT"] == FIRING.fingerprint
    assert sorted(entry["SENTINEL_FIX"]) == sorted(fix.do for fix in FIRING.fixes)
    assert sorted(entry["SENTINEL_COMMAND"]) == sorted(fix.command for fix in FIRING.fixes)
    assert len(entry["SENTINEL_EVIDENCE"]) == len(FIRING.evidence)
    assert entry["DOCUMENTATION"] == FIRING.documentation
    assert json.loads(entry["SENTINEL_JSON"]) == transition_to_dict(FIRING, entry["_HOSTNAME"])


def test_the_alert_is_shown_with_the_unit_it_is_about(journal: Outcome) -> None:
    """OBJECT_PID lets journald attach the unit of the server, so that `journalctl -u` shows the alert."""
    entry = _entries(journal, "all.json")[0]

    assert entry["OBJECT_SYSTEMD_UNIT"] == "llama-server.service"
    assert message(FIRING) in journal.text("of_unit.txt")


def test_a_newline_in_a_value_cannot_forge_a_field(journal: Outcome) -> None:
    """Text from a log stays inside its field."""
    entry = next(entry for entry in _entries(journal, "all.json") if entry["SENTINEL_RULE"] == "forging")

    assert "SENTINEL_FORGED" not in entry
    assert entry["PRIORITY"] == "2"
    assert entry["DOCUMENTATION"].splitlines()[1] == "SENTINEL_FORGED=yes"


def test_an_entry_larger_than_a_datagram_arrives(journal: Outcome) -> None:
    """300 kB go through a sealed memory file."""
    entry = next(entry for entry in _entries(journal, "all.json") if entry["SENTINEL_RULE"] == "huge")

    assert entry["SENTINEL_EVIDENCE"] == "server.log:1: " + "x" * 300_000


def test_at_the_sinks_pace_journald_drops_nothing(journal: Outcome) -> None:
    """journald cuts what a unit says beyond its limit and tells the sender nothing: without a pace most alerts would be lost."""
    paced = [entry["MESSAGE"] for entry in _entries(journal, "paced.json")]

    assert [text.split("number ")[1].split(";")[0] for text in paced] == [str(number) for number in range(60)]
    assert len(_entries(journal, "unpaced.json")) < 1000


def test_alerts_reported_while_journald_is_away_arrive_in_order(journal: Outcome) -> None:
    """None is lost, none is repeated, and the status can say why they wait."""
    told = json.loads(journal.text("outage.json"))
    delivered = [json.loads(line)["MESSAGE"] for line in journal.text("after_outage.json").splitlines()]

    assert told["during"]["waiting"] > 0
    assert "no journal at /run/systemd/journal/socket" in told["during"]["without a socket"]["journald"]
    assert told["after"] == {"down": {}, "waiting": 0, "next": None}
    assert [text.split("number ")[1].split(";")[0] for text in delivered] == [str(number) for number in range(300)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The shipped unit with a program that tries its sandbox."""
    work = tmp_path_factory.mktemp("service")
    files = _with_package(work / "files")
    lab = files / INSIDE.relative_to("/")
    shutil.copy(REPO / "tests/e2e/unit_inside.py", lab)
    for name in ("sentinel.service", "sentinel.sysusers.conf"):
        shutil.copy(REPO / "systemd" / name, lab)
    shutil.copytree(Path(h11.__file__).parent, lab / "h11")
    program = files / "opt/sentinel/bin/sentinel"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\nexec /usr/bin/python3 {INSIDE}/unit_inside.py\n", encoding="utf-8")
    program.chmod(0o755)
    outcome = boot(work, UNIT, files)
    assert outcome.code == 0, outcome.stdout + outcome.stderr + outcome.console
    return outcome


def test_the_sandbox_shows_what_sentinel_watches(service: Outcome) -> None:
    """Processes, logs, the journal, devices and its own state."""
    found = json.loads(service.text("member"))["found"]

    assert found["environ of another user"] is True
    assert found["open files of another user"] == "socket"
    assert found["libraries of another user"] is True
    assert found["program of another user"] == "/usr/bin/sleep"
    assert (found["log of another user"], found["log in /tmp"]) == ("a line\n", "a line\n")
    assert found["sysfs"] is True
    assert (found["loopback"], found["udev"], found["history"]) == ("connected", "listening", "written")
    assert found["journal"] == "hello from the server"
    assert found["watchdog"] == 15.0
    assert found["user"] == int(service.text("uid")) != 0
    assert service.text("journal").strip() == message(FIRING)


def test_the_sandbox_lets_sentinel_change_nothing(service: Outcome) -> None:
    """Not a file, not a process, not itself."""
    found = json.loads(service.text("member"))["found"]
    forbidden = ("write /etc", "write /tmp", "write a home", "kill another user", "become root", "raw socket", "packet socket")

    assert {name: str(found[name]).split()[0] for name in forbidden} == {
        "write /etc": "OSError",
        "write /tmp": "OSError",
        "write a home": "OSError",
        "kill another user": "PermissionError",
        "become root": "PermissionError",
        "raw socket": "PermissionError",
        "packet socket": "OSError",
    }


def test_the_sandbox_lets_the_program_that_looks_at_starts_come_before_all_others(service: Outcome) -> None:
    """@resources, which it has not, holds the system call; and what it may be given is limited."""
    if with_lxc():
        pytest.skip("a container of LXC has a cpu group of its own, without real-time budget where the kernel counts that")
    policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK

    assert service.text("before").strip() == str(policy)
    assert sorted(service.text("before.limits").split()) == ["1", "1000000", "no"]


def test_the_socket_is_for_the_group_and_changes_for_root(service: Outcome) -> None:
    """A member may read and not change; a stranger may not even connect."""
    assert service.text("root").endswith("200")
    assert json.loads(service.text("member_post"))["error"]["code"] == 403
    assert json.loads(service.text("root_post"))["reloaded"] is True
    assert "api_version" not in service.text("stranger")
    assert service.text("modes").split("\n")[:3] == [
        "660 sentinel sentinel",
        "700 sentinel sentinel",
        "600 sentinel sentinel",
    ]


def test_the_service_starts_and_stops_as_systemd_expects(service: Outcome) -> None:
    """Ready when it says so, and a stop is a success that leaves no socket."""
    assert "active" in service.text("state").split()
    assert service.text("result").strip() == "success"
