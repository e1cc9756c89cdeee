"""What people look at over time: packed, made coarser, written, read again after a kill; bounded whatever comes."""

from __future__ import annotations

import math
import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from effort import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sentinel.engine.inspect.plotted import PLOTTED, PlottedRow
from sentinel.history import series_file
from sentinel.history.series import Series
from sentinel.history.series_file import MIGRATIONS, SeriesReader
from sentinel.history.series_points import Point, decode, encode, joined, pack, point, unpack
from sentinel.history.series_query import grid, points
from sentinel.model.entity import HOST, Entity

#: The beginning of a window and of an hour.
T0 = 1_796_000_400
SERVER = Entity("server", "llama.service")
SPEED = PLOTTED["server"].index("server.generation_tps")
codes = st.integers(0, 0xFFFF)


@pytest.fixture(autouse=True, scope="module")
def unsynced() -> Iterator[None]:
    """A kill needs no sync, and a busy disk takes a tenth of a second for each; one test asks for them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(series_file, "sync_wal", lambda path: None)
        yield


def row(value: float | None, entity: Entity = SERVER, owner: str = "ada") -> PlottedRow:
    values: list[float | None] = [None] * len(PLOTTED[entity.scope])
    values[SPEED if entity.scope == "server" else 0] = value
    return entity, owner, tuple(values)


def record(series: Series, begin: int, values: Iterable[float | None], entity: Entity = SERVER) -> None:
    for n, value in enumerate(values):
        series.take(begin + n + 0.2, [] if value is None else [row(value, entity)])


def read(series: Series, seconds: int, count: int, entity: Entity = SERVER) -> tuple[int, int, list[Point]]:
    """Beginning, step and points of the one signal that is recorded here."""
    asked = grid(seconds, count, series.last)
    reader = SeriesReader(series.path) if series.path is not None and series.path.exists() else None
    found = [one for one in points(asked, entity, "", series.recent.get(entity), series.last, reader) if one is not None]
    if reader is not None:
        reader.close()
    return asked.begin, asked.step, found[0][1] if found else []


# --- values and points ---


@given(st.floats(min_value=2**-15, max_value=2**48))
@settings(max_examples=examples(300))
def test_a_value_comes_back_within_a_thousandth(value: float) -> None:
    back = decode(encode(value))
    assert back is not None
    assert abs(back - value) <= value * 0.001


@given(st.floats(allow_nan=True, allow_infinity=True))
@settings(max_examples=examples(300))
def test_no_number_is_refused_and_what_is_none_is_a_gap(value: float) -> None:
    code = encode(value)
    assert 0 <= code <= 0xFFFF
    assert (code == 0) is (not 0 <= value < math.inf)


@given(st.floats(0, 1e15), st.floats(0, 1e15))
@settings(max_examples=examples(300))
def test_codes_are_in_the_order_of_their_values(one: float, other: float) -> None:
    if one <= other:
        assert encode(one) <= encode(other)


@pytest.mark.parametrize("whole", [0, 1, 3, 7, 64, 100, 512, 999])
def test_small_whole_numbers_come_back_whole(whole: int) -> None:
    assert decode(encode(float(whole))) == whole


@given(st.lists(codes, max_size=60))
@settings(max_examples=examples(300))
def test_a_point_has_the_least_the_mean_and_the_largest_of_what_there_was(found: list[int]) -> None:
    there = [code for code in found if code]
    least, mean, most = point(found)
    if not there:
        assert (least, mean, most) == (0, 0, 0)
        return
    assert (least, most) == (min(there), max(there))
    assert least <= mean <= most
    true = sum(decode(code) or 0.0 for code in there) / len(there)
    shown = decode(mean)
    assert shown is not None
    assert abs(shown - true) <= max(true * 0.002, 2**-15)


@given(st.lists(st.lists(codes, min_size=10, max_size=10), min_size=1, max_size=6))
@settings(max_examples=examples(200))
def test_least_and_largest_are_the_same_by_whatever_steps_a_point_is_made(groups: list[list[int]]) -> None:
    whole = point([code for group in groups for code in group])
    steps = joined([point(group) for group in groups])
    assert (steps[0], steps[2]) == (whole[0], whole[2])
    assert steps[0] <= steps[1] <= steps[2]


@given(st.binary(max_size=400))
@settings(max_examples=examples(200))
def test_a_damaged_blob_is_refused_or_bounded(blob: bytes) -> None:
    try:
        found = unpack(blob, 100)
    except ValueError:
        return
    assert len(found) <= 100


def test_a_blob_that_would_grow_is_cut() -> None:
    from array import array

    assert len(unpack(pack(array("H", bytes(2 << 20))), 100)) <= 100


# --- recording ---


def model(recorded: dict[int, float], begin: int, step: int, count: int) -> list[Point]:
    return [point([encode(recorded.get(t)) for t in range(begin + n * step, begin + (n + 1) * step)]) for n in range(count)]


@st.composite
def stories(draw: st.DrawFn) -> list[tuple[int, float | None]]:
    """Seconds in order with values, gaps and restarts of the recording machine's service between them."""
    at = T0 + draw(st.integers(0, 1200))
    story: list[tuple[int, float | None]] = []
    for _ in range(draw(st.integers(1, 8))):
        at += draw(st.sampled_from([1, 4, 7, 11, 61, 599, 600, 601, 3000]))
        value = draw(st.floats(0.1, 1e6))
        for _ in range(draw(st.sampled_from([1, 5, 10, 59, 60, 700]))):
            story.append((at, value))
            value *= 1.01
            at += 1
    return story


@given(stories(), st.sets(st.integers(0, 7)), st.sampled_from([(600, 60), (600, 600), (3600, 400), (7200, 110), (90_000, 1500)]))
@example([(T0 + 1, 1.0), (T0 + 3, 1.0), (T0 + 5, 1.0), (T0 + 67, 6.0)], set(), (7200, 110))
@settings(max_examples=examples(25), deadline=None)
def test_what_is_read_is_what_was_recorded_however_often_it_was_restarted(
    tmp_path_factory: pytest.TempPathFactory, story: list[tuple[int, float | None]], restarts: set[int], asked: tuple[int, int]
) -> None:
    path = tmp_path_factory.mktemp("series") / "series.sqlite"
    series = Series(path)
    recorded: dict[int, float] = {}
    pause = {len(story) * n // 8 for n in restarts}
    for n, (at, value) in enumerate(story):
        if n in pause:
            series.close()
            series = Series(path)
            series.restore()
        series.take(at + 0.5, [row(value)])
        if value is not None:
            recorded[at] = value
    begin, step, found = read(series, *asked)
    expected = model(recorded, begin, step, len(found))
    for n, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert (one[0], one[2]) == (other[0], other[2]), f"point {n} of {step} s from {begin}"
        assert one[0] <= one[1] <= one[2]
        if all(t in recorded for t in range(begin + n * step, begin + (n + 1) * step)):
            # Where seconds are missing it is the mean of the parts' means, each as long as the others.
            assert decode(one[1]) == pytest.approx(decode(other[1]), rel=0.005), f"point {n} of {step} s from {begin}"
    series.close()


def test_a_tick_that_came_late_leaves_no_gap_and_a_long_silence_does() -> None:
    series = Series(None)
    for second in (0, 1, 3, 4, 9):
        series.take(T0 + second + 0.9, [row(5.0, HOST, ""), row(7.0)])
    _, _, found = read(series, 10, 10, HOST)
    # A speed that was reported once counts once.
    assert [bool(one[1]) for one in read(series, 10, 10)[2]] == [True, True, False, True, True, False, False, False, False, True]
    assert [bool(one[1]) for one in found] == [True, True, True, True, True, False, False, False, False, True]


def test_ten_minutes_later_nothing_of_before_is_taken_for_now() -> None:
    series = Series(None)
    record(series, T0, [7.0] * 300)
    record(series, T0 + 650, [9.0] * 5)
    _, _, found = read(series, 600, 600)
    assert {decode(one[2]) for one in found if one[2]} == {7.0, 9.0}
    assert sum(decode(one[2]) == 7.0 for one in found) == 300 - 55


def test_a_clock_that_is_set_back_replaces_what_comes_again(tmp_path: Path) -> None:
    series = Series(tmp_path / "series.sqlite")
    record(series, T0, [7.0] * 1300)
    record(series, T0 + 650, [9.0] * 700)
    begin, _, found = read(series, 1400, 140)
    shown = {begin + 10 * n: decode(one[1]) for n, one in enumerate(found)}
    assert all(shown[T0 + t] == 7.0 for t in range(10, 640, 10))
    assert all(shown[T0 + t] == 9.0 for t in range(660, 1340, 10))
    series.close()


def test_a_clock_that_is_years_ahead_for_a_minute_deletes_nothing(tmp_path: Path) -> None:
    series = Series(tmp_path / "series.sqlite")
    record(series, T0, [7.0] * 1250)
    record(series, T0 + 10**8, [8.0] * 70)
    record(series, T0 + 1330, [9.0] * 30)
    begin, _, found = read(series, 1300, 130)
    assert [decode(one[1]) for one in found[:100]] == [7.0] * 100
    assert begin == T0 + 60
    series.close()


@pytest.mark.parametrize("second", [1, 9, 10, 11, 59, 600, 601, 1199, 1201, 1999])
def test_a_kill_loses_ten_seconds_at_most(tmp_path: Path, second: int) -> None:
    """Without a close: what is on disk is what a killed process leaves."""
    path = tmp_path / "series.sqlite"
    record(Series(path), T0, [5.0] * second)
    again = Series(path)
    again.restore()
    kept = again.last - T0 + 1 if again.last else 0
    assert second - 10 <= kept <= second
    record(again, T0 + second, [5.0] * 700)
    _, _, found = read(again, 3000, 300)
    assert sum(bool(one[1]) for one in found) >= (second + 700) // 10 - 1
    again.close()


def test_a_kill_in_the_midst_of_a_write_leaves_a_file_that_opens(tmp_path: Path) -> None:
    """Killed at moments that chance picks, among them the middle of a transaction."""
    code = """
        import sys
        from pathlib import Path
        from sentinel.history.series import Series
        from sentinel.model.entity import Entity
        series = Series(Path(sys.argv[1])); series.restore()
        at = max(series.last + 1, 1796000400)
        while True:
            series.take(at + 0.5, [(Entity("server", "s"), "ada", (5.0,) * 8)])
            at += 1
            if at % 100 == 0: print(series.last, series.fault, flush=True)
    """
    path, chance = tmp_path / "series.sqlite", random.Random(4)
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(chance.randrange(1, 12))]
        os.kill(process.pid, signal.SIGKILL)
        lines += process.stdout.read().splitlines()
        process.wait()
        series = Series(path)
        series.restore()
        assert (series.fault, series.message) == ("", "")
        said = int([line for line in lines if line.strip()][-1].split()[0])
        assert series.last >= said - 10
        _, _, found = read(series, 1800, 180, Entity("server", "s"))
        begin = series.last - 1700
        assert begin < 1_796_000_400 or sum(bool(one[1]) for one in found) >= 170
        series.close()


# --- the disk ---


def test_every_write_is_synced_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(series_file, "sync_wal", synced.append)
    series = Series(tmp_path / "series.sqlite")
    record(series, T0, [5.0] * 31)
    assert synced == [tmp_path / "series.sqlite"] * 3


def test_a_disk_that_takes_nothing_costs_no_memory_and_is_caught_up_with(tmp_path: Path) -> None:
    path = tmp_path / "no" / "series.sqlite"
    (tmp_path / "no").write_text("a file where the folder should be")
    series = Series(path)
    record(series, T0, [5.0] * 4000)
    assert "is not a folder" in series.fault
    assert len(series._waiting.batches) <= 60
    assert len(series._waiting.windows) <= 3
    assert len(read(series, 600, 60)[2]) == 60
    (tmp_path / "no").unlink()
    record(series, T0 + 4000, [5.0] * 20)
    assert series.fault == ""
    _, _, found = read(series, 1800, 180)
    assert all(one[1] for one in found)
    series.close()


def test_a_write_that_hangs_stops_nothing(tmp_path: Path) -> None:
    hanging: Future[str] = Future()
    calls: list[object] = []

    def submit(call: object) -> Future[str]:
        calls.append(call)
        return hanging

    series = Series(tmp_path / "series.sqlite", submit)
    record(series, T0, [5.0] * 2000)
    assert len(calls) == 1
    assert len(series._waiting.batches) <= 60
    hanging.set_result("the disk is gone")
    record(series, T0 + 2000, [5.0])
    assert series.fault == "the disk is gone"


def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "series.sqlite"
    path.write_bytes(b"no database" * 1000)
    series = Series(path)
    series.restore()
    assert "a new series begins" in series.message
    record(series, T0, [5.0] * 30)
    assert series.fault == ""
    series.close()


def test_damaged_rows_hide_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "series.sqlite"
    series = Series(path)
    record(series, T0, [5.0] * 2000)
    series.close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE recent SET data = x'ff00ff' WHERE id % 3 = 0")
        db.execute("UPDATE blocks SET data = x'00' WHERE at = ?", (T0,))
        db.execute("UPDATE entities SET scope = 'other' WHERE name = 'host'")
    db.close()
    again = Series(path)
    again.restore()
    assert again.last > T0 + 1900
    _, _, found = read(again, 1900, 190)
    assert sum(bool(one[1]) for one in found) > 120
    again.close()


@pytest.mark.parametrize("steps", range(len(MIGRATIONS) + 1))
def test_every_schema_there_was_is_brought_up_to_date(tmp_path: Path, steps: int) -> None:
    path = tmp_path / "series.sqlite"
    with sqlite3.connect(path) as made:
        for step in MIGRATIONS[:steps]:
            made.executescript(step)
        made.execute(f"PRAGMA user_version={steps}")
    made.close()
    series = Series(path)
    series.restore()
    assert (series.message, series.fault) == ("", "")
    series.close()


def test_the_order_of_stored_signals_is_that_of_the_files() -> None:
    """Appended, never reordered: earlier files would be read wrongly."""
    assert PLOTTED["server"][:8] == (
        "server.load_share", "server.generation_tps", "server.prompt_tps", "server.slots_busy", "server.slot_fill",
        "server.rss_bytes", "server.gpu_memory_bytes", "server.memory_left_bytes",
    )  # fmt: skip
    assert PLOTTED["gpu"][:5] == (
        "gpu.vram_used_bytes", "gpu.gtt_used_bytes", "gpu.busy_percent", "gpu.power_watts", "gpu.temp_edge_celsius",
    )  # fmt: skip
    assert PLOTTED["host"][:2] == ("host.mem_available_bytes", "host.swap_free_bytes")


def test_nobody_may_read_the_file(tmp_path: Path) -> None:
    series = Series(tmp_path / "series.sqlite")
    record(series, T0, [5.0] * 30)
    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}
    series.close()


# --- strangers ---


def test_a_stranger_with_many_servers_leaves_room_for_the_others() -> None:
    series = Series(None)
    for n in range(200):
        series.take(T0 + n, [row(1.0, Entity("server", f"x{m}"), "mallory") for m in range(n + 1)])
    assert sum(one.scope == "server" for one in series.recent) == 50
    for n in range(20):
        series.take(T0 + 300 + n, [row(1.0, Entity("server", f"mine{m}"), "ada") for m in range(n + 1)] + [row(1.0, HOST, "")])
    mine = [one for one in series.recent if one.name.startswith("mine")]
    assert len(mine) == 20
    assert len([one for one in series.recent if one.scope == "server"]) <= 64
    assert HOST in series.recent


def test_a_file_that_is_full_takes_from_who_has_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series_file, "MOST_BYTES", 150_000)
    chance = random.Random(1)
    series = Series(tmp_path / "series.sqlite")
    for n in range(0, 40_000, 9):
        noise: tuple[float | None, ...] = tuple(chance.random() * 1e9 for _ in range(8))
        rows: list[PlottedRow] = [(Entity("server", f"x{n // 900}"), "mallory", noise)]
        series.take(T0 + n, [*rows, row(5.0 if n < 3000 else None)] if n < 3000 else rows)
    series.close()
    assert (tmp_path / "series.sqlite").stat().st_size < 250_000
    reader = SeriesReader(tmp_path / "series.sqlite")
    found = {entity for step in (10, 60) for entity in reader.entities(step, T0, T0 + 50_000)}
    assert SERVER in found
    assert len(list(reader.blocks(SERVER, 10, T0, T0 + 3600))) == 5
    assert len(found) < 40
    reader.close()


def test_servers_of_another_time_are_not_among_those_of_an_hour(tmp_path: Path) -> None:
    """Where each load is a server of its own, a question about all of an hour must not be refused for those of a month."""
    series = Series(tmp_path / "series.sqlite")
    for n in range(0, 14_400, 5):
        series.take(T0 + n, [row(5.0, Entity("server", f"s{n // 1200}"))])
    series.close()
    reader = SeriesReader(tmp_path / "series.sqlite")
    names = [int(entity.name[1:]) for entity in reader.entities(10, T0 + 7200, T0 + 10_800)]
    assert sorted(names) == [6, 7, 8]
    assert len(reader.entities(60, T0, T0 + 14_400)) == 12
    reader.close()


def test_ended_servers_leave_the_memory() -> None:
    series = Series(None)
    for n in range(0, 7200):
        series.take(T0 + n, [row(1.0, Entity("server", f"s{n // 60}"), "ada")])
    assert len(series.recent) <= 20
