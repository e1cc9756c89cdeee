"""Which log is followed for which server, and when it is believed to be readable."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from sentinel.daemon.clock import Clock
from sentinel.daemon.config import Config, ServerConfig
from sentinel.daemon.file_reads import FileReads
from sentinel.daemon.inbox import Inbox
from sentinel.daemon.log_followers import Logs
from sentinel.daemon.supervisor import Supervisor
from sentinel.daemon.threads import Workers
from sentinel.files.reader import Reader
from sentinel.files.rights import Ids, Rights
from sentinel.llama.command_line import decode
from sentinel.model.cuts import Cuts
from sentinel.model.entity import Entity
from sentinel.model.input_limits import MOST_LINE_BYTES
from sentinel.model.reading import LogLines, Samples
from sentinel.sources.logs.file import LogFile
from sentinel.sources.logs.watch import Wakes
from sentinel.sources.processes.cgroup import Membership
from sentinel.sources.processes.log_source import LogSource
from sentinel.sources.processes.server_process import ServerProcess
from sentinel.sources.processes.unit_files import ServerUnits

CONTAINER = (("CONTAINER_ID_FULL", "ab" * 32),)


def server(match: tuple[tuple[str, str], ...]) -> ServerProcess:
    return ServerProcess(
        pid=10,
        ticks=1,
        start_time=900.0,
        entity=Entity("server", "llama"),
        requested=decode([], {}),
        member=Membership("", "", unified=True),
        log=LogSource("journal", "journal", match=match),
        model=None,
        parent=1,
    )


class Followed:
    """The logs of a server, with a journalctl of our own in front on PATH."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, entries: Sequence[str], reads: FileReads | None = None
    ) -> None:
        self.asked = folder / "asked"
        records = [
            json.dumps(
                {
                    "__CURSOR": f"c{n}",
                    "__REALTIME_TIMESTAMP": "1000000000",
                    "MESSAGE": text,
                    "_PID": "10",
                    "_SYSTEMD_UNIT": "llama.service",
                }
            )
            for n, text in enumerate(entries)
        ]
        (folder / "records").write_text("".join(f"{line}\n" for line in records))
        script = folder / "journalctl"
        script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {self.asked}\ncat {folder}/records\nexec sleep 100\n')
        script.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")
        self.now = 1000.0
        clock = Clock(wall=lambda: self.now, since_boot=lambda: self.now)
        self.inbox = Inbox(100)
        self.wakes = Wakes()
        self.cuts = Cuts()
        executor = ThreadPoolExecutor(4)
        supervisor = Supervisor(self.inbox, clock, executor)
        config = Config(None, folder, folder / "socket")
        self.logs = Logs(config, self.inbox, supervisor, clock, self.wakes, reads or FileReads(executor), self.cuts)

    async def lines(self) -> LogLines:
        """The first lines that come."""
        while True:
            for item in await asyncio.wait_for(self.inbox.take(), 20):
                if item.taken is not None:
                    item.taken()
                if isinstance(item.reading, LogLines):
                    return item.reading

    async def told(self, process: ServerProcess) -> object:
        """What one more look at the servers says of the log; None for nothing."""
        self.logs.update([process])
        self.inbox.offer(Samples(0.0, "end", process.entity, {}))
        said = [item.reading.values for item in await self.inbox.take() if isinstance(item.reading, Samples)]
        return next((values["server.log_readable"] for values in said if values), None)


@pytest.mark.parametrize(
    ("match", "arguments"),
    [
        (CONTAINER, [f"CONTAINER_ID_FULL={'ab' * 32}"]),
        ((("_PID", "10"),), ["_PID=10"]),
        ((("_SYSTEMD_UNIT", "llama.service"),), ["--unit=llama.service"]),
    ],
)
def test_a_journal_is_followed_by_what_names_the_server_and_readable_once_it_gives_an_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, match: tuple[tuple[str, str], ...], arguments: list[str]
) -> None:
    async def story() -> None:
        followed = Followed(tmp_path, monkeypatch, ["srv  load_model: loading model"])
        process = server(match)
        assert await followed.told(process) is None
        lines = await followed.lines()
        assert lines.data == b"srv  load_model: loading model\n"
        assert lines.entity == process.entity
        assert await followed.told(process) is True
        assert followed.logs.reads(process)
        assert followed.asked.read_text().split("\n")[-1 - len(arguments) : -1] == arguments
        await followed.logs.close()

    asyncio.run(story())


def test_a_journal_without_an_entry_of_the_server_is_a_blind_spot_but_not_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        followed = Followed(tmp_path, monkeypatch, [])
        process = server(CONTAINER)
        assert await followed.told(process) is None
        assert followed.logs.reads(process)
        followed.now += 30
        assert await followed.told(process) is False
        assert not followed.logs.reads(process)
        await followed.logs.close()

    asyncio.run(story())


def test_a_user_gets_so_many_journals_and_another_still_gets_his(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a process: one user's servers must not use up those that the service may have."""

    def of(user: int, number: int) -> ServerProcess:
        return replace(
            server((("_PID", f"{user}{number}"),)),
            pid=number,
            entity=Entity("server", f"{user}-{number}"),
            reader=Reader(tmp_path / "proc", Rights(user, frozenset())),
        )

    async def story() -> None:
        followed = Followed(tmp_path, monkeypatch, [])
        followed.logs.update([*(of(1001, n) for n in range(40)), of(1002, 0)])
        streams = [key for key in followed.logs._followers if key.startswith("journal:")]
        assert len(streams) == 17
        assert "journal:_PID=10020" in streams
        told = [item.reading for item in await followed.inbox.take()]
        samples = [reading for reading in told if isinstance(reading, Samples)]
        whys = {one.entity.name: one.values["server.log_where"] for one in samples if "server.log_where" in one.values}
        assert len(whys) == 24
        assert "16 other journals of the same user are read, and no more" in str(whys["1001-39"])
        await followed.logs.close()

    asyncio.run(story())


def logging_to(path: Path, name: str) -> ServerProcess:
    return replace(
        server(()), pid=os.getpid(), entity=Entity("server", name), log=LogSource("file", f"--log-file {path}", str(path))
    )


async def until(followed: Followed, wanted: Callable[[object], bool]) -> object:
    """The first reading that is wanted."""
    while True:
        for item in await asyncio.wait_for(followed.inbox.take(), 20):
            if item.taken is not None:
                item.taken()
            if wanted(item.reading):
                return item.reading


@pytest.mark.parametrize("bad", ["x" * 300 + "/y.log", "a\0b.log", "\ud800.log"])
def test_a_log_that_no_file_can_be_is_a_blind_spot_and_the_next_log_is_still_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    async def story() -> None:
        followed = Followed(tmp_path, monkeypatch, [])
        followed.wakes.start()
        first, second = logging_to(tmp_path / bad, "first"), logging_to(tmp_path / "good.log", "second")
        (tmp_path / "good.log").write_text("one\n")
        followed.logs.update([first])
        told = await until(followed, lambda reading: isinstance(reading, Samples))
        assert isinstance(told, Samples)
        assert told.values["server.log_readable"] is False
        assert not followed.logs.reads(first)
        followed.logs.update([first, second])
        lines = await until(followed, lambda reading: isinstance(reading, LogLines))
        assert isinstance(lines, LogLines)
        assert lines.data == b"one\n"
        assert followed.logs.reads(second)
        await followed.logs.close()
        followed.wakes.stop()

    asyncio.run(story())


def test_a_follower_that_dies_of_a_bug_is_reported_and_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        followed = Followed(tmp_path, monkeypatch, [])
        monkeypatch.setattr("sentinel.daemon.supervisor._LONGEST_PAUSE", 0.0)
        process = logging_to(tmp_path / "s.log", "s")
        (tmp_path / "s.log").write_text("one\n")
        polls: list[float] = []
        poll = LogFile.poll

        def broken(file: LogFile, at: float) -> Sequence[LogLines]:
            polls.append(at)
            if len(polls) < 3:
                raise KeyError("no such thing")
            return poll(file, at)

        monkeypatch.setattr(LogFile, "poll", broken)
        followed.logs.update([process])
        told = await until(followed, lambda reading: isinstance(reading, Samples))
        assert isinstance(told, Samples)
        assert told.values["server.log_readable"] is False
        assert "KeyError" in str(told.values["server.log_where"])
        assert not followed.logs.reads(process)
        assert isinstance(await until(followed, lambda reading: isinstance(reading, LogLines)), LogLines)
        assert followed.logs.reads(process)
        await followed.logs.close()

    asyncio.run(story())


def test_a_log_on_a_file_system_that_hangs_stalls_itself_alone_and_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        followed = Followed(tmp_path, monkeypatch, [], FileReads(Workers(), patience=0.05))
        all_ids = Ids(((0, 1 << 32),))
        answers, poll = threading.Event(), LogFile.poll

        def slow(file: LogFile, at: float) -> Sequence[LogLines]:
            if "hung" in file.name:
                answers.wait()
            return poll(file, at)

        monkeypatch.setattr(LogFile, "poll", slow)
        # More of them than may hang at a time: the others wait for those, and nobody else does.
        hung = [replace(logging_to(tmp_path / f"hung-{n}.log", f"hung-{n}"), pid=1) for n in range(12)]
        monkeypatch.setattr(
            Reader, "of", lambda _, pid: Reader(Path("/proc/1"), Rights(7 if pid == 1 else 8, frozenset(), all_ids, all_ids))
        )
        followed.logs.update(hung)
        well = logging_to(tmp_path / "well.log", "well")
        (tmp_path / "well.log").write_text("one\n")
        (tmp_path / "hung-3.log").write_text("late\n")
        blind: set[str] = set()

        def one_more(reading: object) -> bool:
            if isinstance(reading, Samples) and reading.values["server.log_readable"] is False:
                blind.add(reading.entity.name)
            return len(blind) == len(hung)

        await until(followed, one_more)
        followed.logs.update([*hung, well])
        lines = await until(followed, lambda reading: isinstance(reading, LogLines))
        assert isinstance(lines, LogLines)
        assert lines.data == b"one\n"
        assert not any(followed.logs.reads(one) for one in hung)
        answers.set()
        late = await until(followed, lambda reading: isinstance(reading, LogLines))
        assert isinstance(late, LogLines)
        assert late.data == b"late\n"
        await followed.logs.close()

    asyncio.run(story())


def test_a_log_that_never_ends_a_line_leaves_the_loop_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        followed = Followed(tmp_path, monkeypatch, [])
        endless = tmp_path / "endless.log"
        endless.write_text("one\n")
        followed.logs.update([logging_to(endless, "endless")])
        await until(followed, lambda reading: isinstance(reading, LogLines))
        os.truncate(endless, 200 << 30)
        other = tmp_path / "other.log"
        other.write_text("two\n")
        followed.logs.update([logging_to(endless, "endless"), logging_to(other, "other")])
        lines = await until(followed, lambda reading: isinstance(reading, LogLines))
        assert isinstance(lines, LogLines)
        assert lines.data == b"two\n"
        with endless.open("ab") as log:
            log.write(b"behind the hole\n")
        behind = await until(followed, lambda reading: isinstance(reading, LogLines))
        assert isinstance(behind, LogLines)
        assert behind.data == b"behind the hole\n"
        await followed.logs.close()

    asyncio.run(asyncio.wait_for(story(), 30))


def test_what_is_cut_of_a_log_is_counted_for_its_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        followed = Followed(tmp_path, monkeypatch, [])
        log = tmp_path / "long.log"
        log.write_text(f"{'x' * (MOST_LINE_BYTES + 1)}\n" * 2 + "one\n")
        followed.logs.update([logging_to(log, "long")])
        await until(followed, lambda reading: isinstance(reading, LogLines) and b"one" in reading.data)
        assert followed.cuts.all() == [("long", f"lines of its log beyond {MOST_LINE_BYTES} bytes each", 2)]
        await followed.logs.close()

    asyncio.run(asyncio.wait_for(story(), 30))


def test_more_logs_than_descriptors_are_all_read_and_few_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        followed = Followed(tmp_path, monkeypatch, [])
        for module in ("log_followers", "log_reading"):
            monkeypatch.setattr(f"sentinel.daemon.{module}.most_logs", lambda: 3)
        monkeypatch.setattr("sentinel.daemon.log_reading._RECHECK", 0.01)
        logs = [tmp_path / f"{number}.log" for number in range(20)]
        for log in logs:
            log.write_text(f"{log.name} one\n")
        followed.logs.update([logging_to(log, log.name) for log in logs])
        seen: list[bytes] = []

        def all_of(count: int) -> Callable[[object], bool]:
            def wanted(reading: object) -> bool:
                if isinstance(reading, LogLines):
                    seen.append(reading.data)
                return len(seen) == count

            return wanted

        await until(followed, all_of(20))
        for log in logs:
            with log.open("a") as file:
                file.write(f"{log.name} two\n")
        await until(followed, all_of(40))
        assert sorted(seen) == sorted(f"{log.name} {n}\n".encode() for log in logs for n in ("one", "two"))
        held = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if Path(f"/proc/self/fd/{fd}").exists()]
        assert sum(name in {str(log) for log in logs} for name in held) <= 3 + 4
        await followed.logs.close()

    asyncio.run(asyncio.wait_for(story(), 60))


def test_the_configured_log_is_read_once_for_the_server_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process that claims the port is somebody else, however often both are seen."""

    async def story() -> None:
        followed = Followed(tmp_path, monkeypatch, [])
        log, other = tmp_path / "server.log", tmp_path / "other.log"
        log.write_text("one\n")
        other.write_text("other\n")
        config = Config(None, tmp_path, tmp_path / "socket", servers=(ServerConfig("big", port=8080, log=log),))
        monkeypatch.setattr(followed.logs, "_config", config)
        followed.logs.begin()
        mine = replace(logging_to(log, "big"), values={"server.port": 8080})
        second = replace(logging_to(other, "127.0.0.1:8080"), values={"server.port": 8080})
        seen: list[tuple[str, bytes]] = []

        def both(reading: object) -> bool:
            if isinstance(reading, LogLines):
                seen.append((reading.entity.name, reading.data))
            return len(seen) == 2

        def both_and_one(reading: object) -> bool:
            both(reading)
            return len(seen) == 3

        for _ in range(5):
            followed.logs.update([second, mine])
            await asyncio.sleep(0)
        await until(followed, both)
        with log.open("a") as file:
            file.write("two\n")
        followed.logs.update([second, mine])
        await until(followed, both_and_one)
        assert sorted(seen) == [("127.0.0.1:8080", b"other\n"), ("big", b"one\n"), ("big", b"two\n")]
        await followed.logs.close()

    asyncio.run(asyncio.wait_for(story(), 30))


def test_a_log_of_two_servers_is_nobodys_and_of_whoever_is_left_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """llama-swap in a container: "a slot has 32768 tokens, 4096 were asked for", from the lines of the other server."""

    async def story() -> None:
        followed = Followed(tmp_path, monkeypatch, [])
        log = tmp_path / "both.log"
        log.write_text("of one\n")
        one, two = logging_to(log, "one"), logging_to(log, "two")
        seen: list[tuple[str, bytes]] = []
        told: dict[str, tuple[object, str]] = {}

        def note(reading: object) -> bool:
            if isinstance(reading, LogLines):
                seen.append((reading.entity.name, reading.data))
            if isinstance(reading, Samples) and "server.log_readable" in reading.values:
                told[reading.entity.name] = reading.values["server.log_readable"], str(reading.values["server.log_where"])
            return False

        def lines(count: int) -> Callable[[object], bool]:
            return lambda reading: note(reading) or len(seen) == count

        followed.logs.update([one])
        await until(followed, lines(1))
        followed.logs.update([one, two])
        assert not followed.logs.reads(one)
        assert not followed.logs.reads(two)
        await until(followed, lambda reading: note(reading) or (told.get("two", (None, ""))[0], told["one"][0]) == (False, False))
        assert "two writes there as well, and no line says whose it is" in told["one"][1]
        with log.open("a") as file:
            file.write("of either\n")
        await asyncio.sleep(0)
        key = f"file:{log}"
        while followed.logs.positions.get(key, {}).get("offset") != log.stat().st_size:
            await asyncio.sleep(0.02)
        followed.logs.update([two])
        with log.open("a") as file:
            file.write("of two\n")
        await until(followed, lines(2))
        assert seen == [("one", b"of one\n"), ("two", b"of two\n")]
        assert told["two"][0] is True
        await followed.logs.close()

    asyncio.run(asyncio.wait_for(story(), 30))


def test_a_log_of_starts_after_each_other_under_one_name_is_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`while true; do llama-server ...; done`: two starts within one scan were taken for two servers that write one log."""

    async def story() -> None:
        followed = Followed(tmp_path, monkeypatch, [])
        log = tmp_path / "server.log"
        log.write_text("of the first\n")
        first = logging_to(log, "127.0.0.1:8080")
        second = replace(first, ticks=2, start_time=first.start_time + 0.3)
        readable: list[object] = []

        def read(reading: object) -> bool:
            if isinstance(reading, Samples):
                readable.append(reading.values.get("server.log_readable"))
            return isinstance(reading, LogLines)

        followed.logs.update([first, second])
        followed.logs.update([])
        lines = await until(followed, read)
        assert isinstance(lines, LogLines)
        assert (lines.entity, lines.data) == (first.entity, b"of the first\n")
        assert False not in readable
        await followed.logs.close()

    asyncio.run(asyncio.wait_for(story(), 30))


def test_lines_of_a_new_writer_are_not_the_last_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two starts after each other into one file: the second's lines wake the follower before its process is found."""

    async def story() -> None:
        followed = Followed(tmp_path, monkeypatch, [])
        wakes = followed.wakes
        wakes.start()
        log = tmp_path / "server.log"
        log.write_text("of one\n")
        seen: list[tuple[str, bytes]] = []

        def lines(count: int) -> Callable[[object], bool]:
            def wanted(reading: object) -> bool:
                if isinstance(reading, LogLines):
                    seen.append((reading.entity.name, reading.data))
                return len(seen) == count

            return wanted

        followed.logs.update([logging_to(log, "one")])
        await until(followed, lines(1))
        followed.logs.update([])
        await asyncio.sleep(0.1)
        with log.open("a") as file:
            file.write("of two\n")
        await asyncio.sleep(0.1)
        followed.logs.update([logging_to(log, "two")])
        await until(followed, lines(2))
        assert seen == [("one", b"of one\n"), ("two", b"of two\n")]
        await followed.logs.close()
        wakes.stop()

    asyncio.run(asyncio.wait_for(story(), 30))


def test_lines_are_as_old_as_the_end_of_the_read_that_found_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read may wait for a processor while a start begins, prints and ends: its lines were taken for older than itself."""
    log = tmp_path / "server.log"
    log.write_text("first\n")
    poll = LogFile.poll

    async def story() -> None:
        followed = Followed(tmp_path, monkeypatch, [])

        def slowly(file: LogFile, at: float) -> Sequence[LogLines]:
            found = poll(file, at)
            followed.now += 3.0
            return found

        monkeypatch.setattr(LogFile, "poll", slowly)
        followed.logs.update([replace(server(()), log=LogSource("file", "log", str(log)))])
        assert (await followed.lines()).backlog
        with log.open("a") as stream:
            stream.write("second\n")
        begun = followed.now
        lines = await followed.lines()
        assert (lines.data, lines.backlog) == (b"second\n", False)
        assert lines.at >= begun + 3.0
        await followed.logs.close()

    asyncio.run(story())


class Unit(ServerUnits):
    """The machine has one."""

    def names(self) -> tuple[str, ...]:
        return ("llama.service",)


@pytest.mark.parametrize("runs", [False, True])
def test_the_journal_of_a_unit_is_followed_from_now_on_before_anybody_sees_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: bool
) -> None:
    """How a start of 0.1 s ended, and that there was no program, stands there and nowhere else; else it is read whole."""
    member = Membership("/system.slice/llama.service", "llama.service", unified=True)

    async def story() -> None:
        followed = Followed(tmp_path, monkeypatch, ["error: invalid argument: --x"])
        followed.logs.units = Unit(())
        running = [replace(server((("_SYSTEMD_UNIT", "llama.service"),)), member=member)] if runs else []
        followed.logs.update(running)
        lines = await followed.lines()
        assert lines.entity == Entity("server", "llama" if runs else "llama.service")
        asked = followed.asked.read_text().splitlines()
        assert ("--since=@990" in asked) is not runs
        assert asked.count("--unit=llama.service") == 1
        await followed.logs.close()

    asyncio.run(story())


def test_a_units_journal_is_silent_while_its_server_has_another_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--log-file prints to the terminal as well: each line would count twice, and a log that cannot be read as one that is."""
    member = Membership("/system.slice/llama.service", "llama.service", unified=True)

    async def story() -> None:
        followed = Followed(tmp_path, monkeypatch, ["srv  load_model: loading model"])
        followed.logs.units = Unit(())
        followed.logs.update([])
        inside = replace(logging_to(tmp_path / "no/such.log", "llama.service"), member=member)
        followed.logs.update([inside])
        while not followed.logs._followers["journal:llama.service"].heard:
            await asyncio.sleep(0)
        followed.inbox.offer(Samples(0.0, "end", inside.entity, {}))
        told = [item.reading for item in await followed.inbox.take()]
        assert not [one for one in told if isinstance(one, LogLines)]
        assert "journal of" not in str([one.values.get("server.log_where") for one in told if isinstance(one, Samples)])
        await followed.logs.close()

    asyncio.run(asyncio.wait_for(story(), 30))


def test_a_users_unit_named_as_the_machines_leaves_the_machines_journal_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One key for both made the journal nobody's: whoever starts a unit of that name would blind sentinel to the machine's."""
    machines = replace(
        server((("_SYSTEMD_UNIT", "llama.service"),)),
        member=Membership("/system.slice/llama.service", "llama.service", unified=True),
    )
    path = "/user.slice/user-4321.slice/user@4321.service/app.slice/llama.service"
    users = replace(
        server((("_SYSTEMD_USER_UNIT", "llama.service"),)),
        pid=11,
        entity=Entity("server", "llama.service@user"),
        member=Membership(path, "llama.service", unified=True),
        reader=Reader(tmp_path / "proc", Rights(4321, frozenset())),
    )

    async def story() -> None:
        followed = Followed(tmp_path, monkeypatch, ["srv  load_model: loading model"])
        followed.logs.update([machines, users])
        found: set[str] = set()

        def both(reading: object) -> bool:
            if isinstance(reading, LogLines):
                found.add(reading.entity.name)
            return found == {"llama", "llama.service@user"}

        await until(followed, both)
        assert followed.logs.reads(machines)
        await followed.logs.close()

    asyncio.run(asyncio.wait_for(story(), 30))
