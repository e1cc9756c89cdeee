"""Journal entries on the wire: what a datagram socket receives, without a journal."""

from __future__ import annotations

import array
import json
import os
import socket
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sample_transitions import FIRING, resolved

from sentinel.files.machine import host_name
from sentinel.model.alert import Fix, LineEvidence, Transition
from sentinel.model.entity import Entity
from sentinel.model.json_form import transition_to_dict
from sentinel.sinks import JournaldSink, SinkDown
from sentinel.terminal.systemd_units import journal_query


def parse(entry: bytes) -> list[tuple[str, bytes]]:
    """The native protocol as journald reads it (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""
    fields = []
    while entry:
        line, _, entry = entry.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = struct.unpack("<Q", entry[:8])
            value, entry = entry[8 : 8 + size], entry[9 + size :]
        fields.append((name.decode(), value))
    return fields


class Journal:
    """A socket in journald's place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(5.0)

    def receive(self) -> list[tuple[str, bytes]]:
        data, ancillary, _, _ = self.socket.recvmsg(1 << 20, socket.CMSG_SPACE(4))
        for level, kind, payload in ancillary:
            assert (level, kind, data) == (socket.SOL_SOCKET, socket.SCM_RIGHTS, b"")
            with os.fdopen(array.array("i", payload)[0], "rb") as memory:
                memory.seek(0)
                data = memory.read()
                with pytest.raises(OSError):
                    os.truncate(memory.fileno(), 1)
        return parse(data)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "socket")
    yield journal
    journal.socket.close()


def entry(journal: Journal, transition: Transition) -> list[tuple[str, bytes]]:
    sink = JournaldSink(journal.path)
    sink.deliver(transition)
    sink.close()
    return journal.receive()


def test_an_alert_has_the_fields_of_the_contract(journal: Journal) -> None:
    """Each once, except fixes, commands and evidence, which repeat in order."""
    fields = entry(journal, FIRING)
    once = dict(fields)

    assert once["PRIORITY"] == b"2"
    assert once["SYSLOG_IDENTIFIER"] == b"sentinel"
    assert once["SENTINEL_ENTITY"] == b"server:llama-server.service"
    assert once["OBJECT_PID"] == b"4711"
    assert [value.decode() for name, value in fields if name == "SENTINEL_FIX"] == [fix.do for fix in FIRING.fixes]
    assert [value.decode() for name, value in fields if name == "SENTINEL_COMMAND"] == [fix.command for fix in FIRING.fixes]
    assert json.loads(once["SENTINEL_JSON"]) == transition_to_dict(FIRING, host_name())
    repeated = {"SENTINEL_FIX", "SENTINEL_COMMAND", "SENTINEL_EVIDENCE"}
    assert len([name for name, _ in fields if name not in repeated]) == len(set(once) - repeated)


def test_each_transition_has_a_key_of_its_own(journal: Journal) -> None:
    JournaldSink(journal.path).deliver(FIRING, "1a2b3c4d-17")
    assert dict(journal.receive())["SENTINEL_TRANSITION"] == b"1a2b3c4d-17"


def test_the_journal_is_asked_for_whole_keys(tmp_path: Path) -> None:
    asked: list[list[str]] = []

    def journalctl(words: Sequence[str]) -> str:
        asked.append(list(words))
        return '{"__CURSOR":"s=1","SENTINEL_TRANSITION":"ab-12"}\n'

    sink = JournaldSink(tmp_path / "socket", ask=journalctl)

    assert sink.delivered(["ab-1", "ab-12", "ab-2"], 1_760_000_000.4) == {"ab-12"}
    fields = [f"SENTINEL_TRANSITION={key}" for key in ("ab-1", "ab-12", "ab-2")]
    assert asked == [["--since=@1760000000", *fields]]


@pytest.mark.parametrize(
    "fault",
    [
        FileNotFoundError("journalctl"),
        subprocess.TimeoutExpired("journalctl", 5.0),
        subprocess.CalledProcessError(1, "journalctl"),
    ],
)
def test_a_journal_that_cannot_be_asked_has_had_nothing(tmp_path: Path, fault: Exception) -> None:
    def journalctl(words: Sequence[str]) -> str:
        raise fault

    assert JournaldSink(tmp_path / "socket", ask=journalctl).delivered(["ab-1"], None) == frozenset()


def test_what_stands_in_for_journald_is_not_asked_through_the_machines_journal(tmp_path: Path) -> None:
    assert JournaldSink(tmp_path / "socket").delivered(["ab-1"], None) == frozenset()


@pytest.mark.parametrize(
    ("transition", "priority"),
    [
        (FIRING, b"2"),
        (replace(FIRING, severity="warning"), b"4"),
        (replace(FIRING, severity="info"), b"6"),
        (resolved(), b"5"),
        (resolved(severity="info"), b"5"),
    ],
)
def test_priority_follows_severity_until_it_is_over(journal: Journal, transition: Transition, priority: bytes) -> None:
    """journalctl -p and every alerting rule on the journal go by it."""
    assert dict(entry(journal, transition))["PRIORITY"] == priority


def test_flapping_is_a_field_and_said_in_the_message(journal: Journal) -> None:
    JournaldSink(journal.path).deliver(replace(FIRING, flapping=True, reason="flapping"))
    fields = dict(journal.receive())
    assert fields["SENTINEL_FLAPPING"] == b"yes"
    assert b"flapping: no further notification until it is stable" in fields["MESSAGE"]
    JournaldSink(journal.path).deliver(FIRING)
    assert "SENTINEL_FLAPPING" not in dict(journal.receive())


def test_what_is_not_known_makes_no_field(journal: Journal) -> None:
    """No pid, no cause, no page and no valid message id: journald would store rubbish or refuse the id."""
    names = {name for name, _ in entry(journal, replace(FIRING, pid=0, cause=None, documentation="", message_id="no id"))}

    assert names.isdisjoint({"OBJECT_PID", "SENTINEL_CAUSE", "DOCUMENTATION", "MESSAGE_ID"})


def test_hostile_text_stays_text(journal: Journal) -> None:
    """Newlines cannot begin a field, terminal sequences and bytes that are no UTF-8 are shown, not sent."""
    hostile = "x\nPRIORITY=0\n\x1b[2J\x9b\u202e\udcff"
    fix = Fix(hostile, hostile)
    fields = entry(journal, replace(FIRING, summary=hostile, rule=hostile, fixes=(fix,), documentation=hostile))

    assert [value for name, value in fields if name == "PRIORITY"] == [b"2"]
    assert dict(fields)["SENTINEL_FIX"] == b"x\nPRIORITY=0\n\\x1b[2J\\x9b\\u202e\\xff"
    assert b"\n" not in dict(fields)["MESSAGE"]


def test_a_large_entry_goes_as_a_sealed_file(journal: Journal) -> None:
    """And is no longer changeable by us, which journald demands."""
    line = "x" * 1_000_000

    assert dict(entry(journal, replace(FIRING, evidence=(LineEvidence(line, "log", 1),))))["SENTINEL_EVIDENCE"].endswith(
        line.encode()
    )


def test_the_number_of_fields_is_bounded(journal: Journal) -> None:
    """journald drops an entry of more than 1024 fields as a whole."""
    many = replace(FIRING, fixes=FIRING.fixes * 2000, evidence=FIRING.evidence * 2000)

    assert len(entry(journal, many)) < 300


def test_a_journal_that_is_not_there_is_reported(tmp_path: Path) -> None:
    """No file, nobody behind the file, and a full queue each have a sentence; a restarted journald is found again."""
    path = tmp_path / "socket"
    sink = JournaldSink(path)
    with pytest.raises(SinkDown, match=f"no journal at {path}"):
        sink.deliver(FIRING)

    first = Journal(path)
    sink.deliver(FIRING)
    with pytest.raises(SinkDown, match=f"journald does not read {path}"):
        for _ in range(10_000):
            sink.deliver(FIRING)
    first.socket.close()
    with pytest.raises(SinkDown, match=f"no process reads {path}"):
        sink.deliver(FIRING)

    path.unlink()
    second = Journal(path)
    sink.deliver(FIRING)
    assert dict(second.receive())["SENTINEL_RULE"] == b"cpu-fallback"
    second.socket.close()
    sink.close()


def test_the_binding_of_systemd_reports_success_without_a_journal() -> None:
    """Why the datagram is written by hand: sd_journal_sendv loses an alert without a word."""
    binding = pytest.importorskip("cysystemd.journal", reason="needs cysystemd to show what it does")
    if Path("/run/systemd/journal/socket").exists():
        pytest.skip("a journal runs here")

    assert binding.send(message="lost", priority=binding.Priority.INFO) == 0


def test_what_the_catalog_shows_is_one_value_each_and_short_enough(journal: Journal) -> None:
    """journalctl puts one value of at most 4096 bytes into a catalog's text, and the field's bare name for others."""
    fixes = tuple(Fix(f"fix {number} " + "é" * 300, "true\nfalse", "a risk") for number in range(20))
    evidence = tuple(LineEvidence("x" * 200, "server.log", number) for number in range(100))
    plain = dict(entry(journal, FIRING))
    long = dict(entry(journal, replace(FIRING, fixes=fixes, evidence=evidence, cause=None)))

    assert plain["SENTINEL_FIX_TEXT"].decode().splitlines() == [
        "1. Give the service's user access to the GPU nodes and restart it",
        "   $ sudo usermod -aG render,video llama && sudo systemctl restart llama-server.service",
        "   risk: restarts the server",
        "2. Run it as a user that may\\nopen /dev/kfd",
        "   $ sudo systemctl edit llama-server.service",
    ]
    assert len(plain["SENTINEL_EVIDENCE_TEXT"].splitlines()) == len(FIRING.evidence)
    for name in ("SENTINEL_FIX_TEXT", "SENTINEL_EVIDENCE_TEXT"):
        assert len(f"{name}=".encode() + long[name]) <= 4096
        assert long[name].endswith(b"(more in SENTINEL_JSON: journalctl -a -o verbose)")
    assert long["SENTINEL_CAUSE_TEXT"] == b"not known"
    assert dict(entry(journal, replace(FIRING, fixes=(), evidence=())))["SENTINEL_EVIDENCE_TEXT"] == b"none"


def test_an_alert_carries_the_unit_that_it_is_about(journal: Journal) -> None:
    """By its name as systemd writes it, and for nothing that is no unit."""
    about = dict(entry(journal, FIRING))
    other = dict(entry(journal, replace(FIRING, entity=Entity("server", "127.0.0.1:8080"))))

    assert about["OBJECT_SYSTEMD_UNIT"] == about["USER_UNIT"] == b"llama-server.service"
    assert not {"OBJECT_SYSTEMD_UNIT", "USER_UNIT"} & other.keys()


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("llama.service", "journalctl -x _SYSTEMD_UNIT=llama.service + OBJECT_SYSTEMD_UNIT=llama.service"),
        (
            "llama@a\\x2db.service",
            "journalctl -x '_SYSTEMD_UNIT=llama@a\\x2db.service' + 'OBJECT_SYSTEMD_UNIT=llama@a\\x2db.service'",
        ),
        ("127.0.0.1:8080", ""),
        ("$(reboot).service", ""),
        ("", ""),
    ],
)
def test_the_query_is_safe_to_paste(name: str, query: str) -> None:
    """Quoted for the shell, and none where the name is no unit's."""
    assert journal_query(name) == query


def test_entries_keep_below_journalds_limit(journal: Journal) -> None:
    """What goes beyond it waits for the next window, with the reason; nothing was handed over then."""
    now = [100.0]
    sink = JournaldSink(journal.path, pace=(3, 30.0), clock=lambda: now[0])
    for _ in range(3):
        sink.deliver(FIRING)
        journal.receive()
        now[0] += 5.0
    with pytest.raises(SinkDown, match=r"3 alerts in 30 s.*the rest follows in 15 s"):
        sink.deliver(FIRING)
    journal.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        journal.receive()
    now[0] = 130.0
    sink.deliver(FIRING)
    sink.close()

    assert dict(journal.receive())["SENTINEL_RULE"] == b"cpu-fallback"
