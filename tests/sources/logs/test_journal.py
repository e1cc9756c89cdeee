"""Journal records become lines and events, batches keep order and time, trouble with journalctl is said in one sentence.

Where a running journalctl is needed a script takes its place that replays recorded records and notes how it was called; the real
one, against a real journald, is for the tests that boot a system.
"""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from places import TESTS
from streams import collect

from sentinel.model.entity import Entity
from sentinel.model.input_limits import MOST_LINE_BYTES
from sentinel.model.reading import Event, LogLines, Reading
from sentinel.sources.base import SourceFault
from sentinel.sources.logs.journal import JournalUnit
from sentinel.sources.logs.journalctl import Journal, parse_record

UNIT = "llama-server.service"
SERVER = Entity("server", UNIT)
RECORDED = TESTS / "fixtures" / "journal" / "unit.jsonl"
#: after all recorded entries, so that they are older than the start of the source
LATER = 2_000_000_000.0

Program = Callable[..., str]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """A stand-in for journalctl: prints `out`, says `err`, then waits as `--follow` does, or ends with `code`."""

    def make(out: bytes = b"", err: str = "", code: int | None = None) -> str:
        (tmp_path / "out").write_bytes(out)
        script = tmp_path / "journalctl"
        script.write_text(
            "#!/bin/sh\n"
            f'printf "%s\\n" "$@" > {shlex.quote(str(tmp_path / "argv"))}\n'
            f"cat {shlex.quote(str(tmp_path / 'out'))}\n"
            + (f"echo {shlex.quote(err)} >&2\n" if err else "")
            + ("exec sleep 60\n" if code is None else f"exit {code}\n")
        )
        script.chmod(0o755)
        return str(script)

    return make


def failed(found: list[Reading]) -> bool:
    return isinstance(found[-1], Event)


def record(n: int, message: object, at: float = 1000.0, **fields: str) -> bytes:
    values = {"__CURSOR": f"c{n}", "__REALTIME_TIMESTAMP": str(int(at * 1e6)), "_SYSTEMD_UNIT": UNIT, "_PID": "7"}
    return json.dumps({**values, "MESSAGE": message, **fields}).encode() + b"\n"


class TestRecords:
    def test_a_text_and_bytes_that_are_none(self) -> None:
        lines = RECORDED.read_bytes().splitlines()
        text, binary = parse_record(lines[1]), parse_record(lines[2])
        assert text is not None
        assert binary is not None
        assert (text.text, text.pid, text.fields["_TRANSPORT"]) == (b"0.00.001.000 I main: server is listening", 41, "stdout")
        assert text.at == pytest.approx(1795477214.48, abs=60 * 60 * 24)
        assert binary.text == b"bad \xff byte and \x1b[31mcolour"

    @pytest.mark.parametrize(
        ("message", "text"),
        [
            (None, b""),
            (7, b""),
            ([], b""),
            ([1, 999], b""),
            ([True, 65], b"\x01A"),
            (["first", "second"], b"first"),
            ([[104, 105], [106]], b"hi"),
            ("x" * (MOST_LINE_BYTES + 1), b"x" * MOST_LINE_BYTES),
        ],
    )
    def test_every_form_a_message_has(self, message: object, text: bytes) -> None:
        parsed = parse_record(record(1, message))
        assert parsed is not None
        assert parsed.text == text

    @pytest.mark.parametrize(
        "line",
        [
            b"",
            b"-- cursor: x",
            b"[]",
            b"{",
            b"[" * 100_000,
            b'{"MESSAGE": "x"}',
            b'{"__CURSOR": "c", "__REALTIME_TIMESTAMP": "soon"}',
            b'{"__CURSOR": "c", "__REALTIME_TIMESTAMP": "99999999999999999999999"}',
            b'{"__CURSOR": ["c"], "__REALTIME_TIMESTAMP": "1"}',
            b"\xff\xfe",
        ],
    )
    def test_what_is_no_record(self, line: bytes) -> None:
        assert parse_record(line) is None


class TestUnit:
    def test_a_recorded_life_of_a_unit(self, program: Program) -> None:
        source = JournalUnit(UNIT, SERVER, program=program(RECORDED.read_bytes()))
        found = collect(source, now=lambda: LATER, enough=failed)
        lines = [reading for reading in found if isinstance(reading, LogLines)]
        said = [(batch.kind, line.decode()) for batch in lines for line in batch.data.splitlines()]
        assert said == [
            ("systemd", "Started llama-server.service."),
            ("llama-server", "0.00.001.000 I main: server is listening"),
            ("llama-server", "bad \ufffd byte and \x1b[31mcolour"),
            ("llama-server", "xxxx"),
            ("llama-server", "two"),
            ("llama-server", "parts \t tab"),
            ("llama-server", "first"),
            ("llama-server", "second of one message"),
            ("llama-server", "huge yyyy"),
            ("llama-server", "the last words, no newline"),
            ("systemd", "llama-server.service: Main process exited, code=killed, status=9/KILL"),
            ("systemd", "llama-server.service: Failed with result 'signal'."),
        ]
        assert [batch.first for batch in lines] == [1, 2, 11]
        assert all(batch.backlog for batch in lines)

    def test_events_come_from_systemd_alone_after_its_line(self, program: Program) -> None:
        """The recorded program forged an OOM kill: MESSAGE_ID and UNIT are anybody's to set, _PID is not."""
        source = JournalUnit(UNIT, SERVER, program=program(RECORDED.read_bytes()))
        found = collect(source, now=lambda: LATER, enough=failed)
        (event,) = [reading for reading in found if isinstance(reading, Event)]
        assert (event.name, event.entity, dict(event.fields)) == ("unit_failed", SERVER, {"unit": UNIT, "result": "signal"})

    @pytest.mark.parametrize(
        ("message_id", "name"),
        [("fe6faa94e7774663a0da52717891d8ef", "unit_oom_killed"), ("d989611b15e44c9dbf31e3c81256e4ed", "oomd_killed")],
    )
    def test_kills_are_recognised_by_id_whatever_the_language(self, program: Program, message_id: str, name: str) -> None:
        out = record(1, "Prozess vom OOM-Killer beendet", _PID="1", _SYSTEMD_UNIT="init.scope", MESSAGE_ID=message_id)
        source = JournalUnit(UNIT, SERVER, program=program(out))
        event = collect(source, now=lambda: LATER, enough=failed)[-1]
        assert isinstance(event, Event)
        assert event.name == name
        assert event.at == 1000.0

    def test_the_cursor_is_the_last_record_that_was_put(self, program: Program) -> None:
        source = JournalUnit(UNIT, SERVER, program=program(record(1, "a") + record(2, "b")))
        assert source.cursor is None
        collect(source, now=lambda: LATER, enough=lambda found: True)
        assert source.cursor == "c2"

    def test_with_a_cursor_everything_since_is_news(self, program: Program, tmp_path: Path) -> None:
        source = JournalUnit(UNIT, SERVER, cursor="c1", program=program(record(2, "b")))
        (batch,) = collect(source, now=lambda: LATER, enough=lambda found: True)
        assert isinstance(batch, LogLines)
        assert not batch.backlog
        argv = (tmp_path / "argv").read_text().splitlines()
        assert {"--after-cursor=c1", "--no-tail", "--follow", "--all", f"--unit={UNIT}"} <= set(argv)
        assert "-b" not in argv

    def test_without_one_the_last_records_come_first(self, program: Program, tmp_path: Path) -> None:
        collect(JournalUnit(UNIT, SERVER, program=program(record(1, "a"))), enough=lambda found: True)
        argv = (tmp_path / "argv").read_text().splitlines()
        assert argv[argv.index("-n") + 1] == "1000"
        # -b asks for the boot id, and a sandbox (ProtectKernelTunables=) may show another than a container's journal has.
        assert "-b" not in argv

    def test_a_users_unit_is_distinguished_from_another_users(self, program: Program, tmp_path: Path) -> None:
        out = record(1, "x", _SYSTEMD_USER_UNIT=UNIT) + record(
            2, "Failed", _SYSTEMD_USER_UNIT="init.scope", USER_UNIT=UNIT, MESSAGE_ID="d9b373ed55a64feb8242e02dbe79a49c"
        )
        found = collect(JournalUnit(UNIT, SERVER, uid=1000, program=program(out)), now=lambda: LATER, enough=failed)
        assert [reading.kind for reading in found if isinstance(reading, LogLines)] == ["llama-server", "systemd"]
        argv = (tmp_path / "argv").read_text().splitlines()
        assert argv[-5:] == [f"_SYSTEMD_USER_UNIT={UNIT}", "_UID=1000", "+", f"USER_UNIT={UNIT}", "_UID=1000"]

    def test_lines_far_apart_in_time_are_batches_of_their_own(self, program: Program) -> None:
        out = record(1, "a", 1000.0) + record(2, "b", 1000.5) + record(3, "c", 1005.0)
        found = collect(JournalUnit(UNIT, SERVER, program=program(out)), now=lambda: LATER, enough=lambda found: len(found) == 2)
        assert [(batch.at, batch.data) for batch in found if isinstance(batch, LogLines)] == [
            (1000.5, b"a\nb\n"),
            (1005.0, b"c\n"),
        ]

    def test_rubbish_and_records_without_end_are_passed_over(self, program: Program) -> None:
        out = b"rubbish\n" + b'{"MESSAGE": "' + b"z" * 9_000_000 + b'"}\n' + record(3, "good")
        source = JournalUnit(UNIT, SERVER, program=program(out))
        (batch,) = collect(source, now=lambda: LATER, enough=lambda found: True)
        assert isinstance(batch, LogLines)
        assert batch.data == b"good\n"
        assert source.malformed == 2


class TestFaults:
    def fault(self, source: JournalUnit) -> str:
        with pytest.raises(SourceFault) as caught:
            collect(source, now=lambda: LATER, enough=lambda found: False)
        return str(caught.value)

    def test_no_journalctl(self) -> None:
        said = self.fault(JournalUnit(UNIT, SERVER, program="/nonexistent/journalctl"))
        assert said.startswith("there is no /nonexistent/journalctl")
        assert "--log-file" in said

    def test_it_ends(self, program: Program) -> None:
        said = self.fault(JournalUnit(UNIT, SERVER, program=program(err="Segmentation fault", code=139)))
        assert "status 139: Segmentation fault" in said

    @pytest.mark.parametrize("code", [1, None])
    @pytest.mark.parametrize(
        "err",
        [
            "No journal files were opened due to insufficient permissions.",
            "Hint: You are currently not seeing messages from other users and the system.",
        ],
    )
    def test_no_permission_even_where_journalctl_would_wait_for_ever(self, program: Program, err: str, code: int | None) -> None:
        said = self.fault(JournalUnit(UNIT, SERVER, program=program(err=err, code=code)))
        assert said.startswith("cannot read the journal")
        assert "group systemd-journal" in said

    def test_no_journald(self, program: Program) -> None:
        said = self.fault(JournalUnit(UNIT, SERVER, program=program(err="No journal files were found.")))
        assert "systemd-journald" in said

    def test_a_cursor_of_a_journal_that_is_gone_is_given_up(self, program: Program) -> None:
        err = "Failed to seek to cursor: Invalid argument"
        source = JournalUnit(UNIT, SERVER, cursor="old", program=program(err=err, code=1))
        assert "no longer knows the place" in self.fault(source)
        assert source.cursor is None


class TestBootOfAContainer:
    """`journalctl --follow` shows one boot alone; in a container /proc may name the host's."""

    def follows(self, tmp_path: Path, container: Path) -> list[str]:
        script = tmp_path / "journalctl"
        record = json.dumps({"__CURSOR": "c", "__REALTIME_TIMESTAMP": "1", "MESSAGE": "x", "_BOOT_ID": "ab" * 16})
        script.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$*\" >> {tmp_path}/asked\necho '{record}'\n")
        script.chmod(0o755)
        journal = Journal(["--unit=x"], first=["-n", "5"], cursor=None, program=str(script), container=container)

        async def once() -> None:
            async for _ in journal.follow():
                return

        asyncio.run(once())
        return (tmp_path / "asked").read_text().splitlines()

    def test_the_boot_of_the_newest_entry_is_followed(self, tmp_path: Path) -> None:
        (tmp_path / "container").write_text("systemd-nspawn\n")
        asked, follow = self.follows(tmp_path, tmp_path / "container")
        assert "--follow" not in asked
        assert f"--boot={'ab' * 16}" in follow

    def test_a_machine_of_its_own_is_not_asked(self, tmp_path: Path) -> None:
        (follow,) = self.follows(tmp_path, tmp_path / "none")
        assert "--boot" not in follow
