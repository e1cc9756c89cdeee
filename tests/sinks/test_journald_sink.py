"""Journal entries on the wire: what a datagram socket receives, without a journal."""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sample_transitions import FIRING, resolved

from sentinel.model.alert import Fix, LineEvidence, Transition
from sentinel.model.wire import transition_to_dict
from sentinel.sinks import JournaldSink, SinkDown


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
    assert json.loads(once["SENTINEL_JSON"]) == transition_to_dict(FIRING)
    repeated = {"SENTINEL_FIX", "SENTINEL_COMMAND", "SENTINEL_EVIDENCE"}
    assert len([name for name, _ in fields if name not in repeated]) == len(set(once) - repeated)


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
    assert b"flapping: it came and went, no more is told until it was steady" in fields["MESSAGE"]
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


def test_a_journal_that_is_not_there_is_told(tmp_path: Path) -> None:
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
    with pytest.raises(SinkDown, match=f"nobody reads {path}"):
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
