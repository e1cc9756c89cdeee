"""The flight recorder: what it keeps replays exactly, holds no prompt, stays within its bounds, and survives any disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from effort import examples
from flights import ASKED, CHILD, EPOCH, KILLED, NO_GPU, ON_CPU, ON_GPU, READY, START, UNIT, Run, fallback, text, unpacked
from hypothesis import given, settings
from hypothesis import strategies as st
from places import TESTS

from sentinel.engine.engine import Engine
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.entity import HOST, Entity
from sentinel.model.reading import Event, LogLines, Reading, Samples, ServerFound, ServerGone, Tick
from sentinel.recording import Recording
from sentinel.recording.archive import Archive, lines
from sentinel.recording.flight_recorder import AFTER
from sentinel.recording.replay import replay

LOGS = TESTS / "fixtures" / "logs"
RECORDED = sorted(LOGS.glob("*.log"))

BEGUN = b"0.05.100.000 I slot launch_slot_: id  %d | task %d | processing task, is_child = 0\n"
ENDED = (
    b"0.05.200.000 I slot print_timing: id  0 | task 7 |        eval time = 1184.74 ms /    40 tokens (   30.38 ms per token,"
    b"    32.92 tokens per second)\n"
    b"0.05.200.000 I slot      release: id  0 | task 7 | stop processing: n_tokens = 1143, truncated = 0\n"
)


@st.composite
def stories(draw: st.DrawFn) -> list[Reading]:
    """Anything that can happen to two servers, a GPU and the host, in any order, with pauses in which facts grow old."""
    at = EPOCH
    out: list[Reading] = []
    pids = {UNIT: 77, CHILD: 90}
    for _ in range(draw(st.integers(5, 60))):
        at += draw(st.sampled_from([0.0, 0.2, 1.0, 1.0, 3.0, 11.0, 45.0, 130.0, 700.0, 4000.0]))
        entity = draw(st.sampled_from([UNIT, UNIT, CHILD]))
        match draw(st.integers(0, 9)):
            case 0:
                pids[entity] += draw(st.integers(0, 1))
                values = {**ASKED, "server.port": 53079 if entity == CHILD else 18080}
                out.append(ServerFound(at, "process", entity, pids[entity], at - draw(st.sampled_from([0.0, 5.0])), values))
            case 1:
                out.append(ServerGone(at, "process", entity, pids[entity]))
            case 2:
                out.append(Samples(at, "process", entity, draw(st.sampled_from([ON_CPU, ON_GPU]))))
            case 3:
                out.append(Samples(at, "amdgpu", Entity("gpu", "0000:03:00.0"), {"gpu.power_watts": 210.0}))
                for slot in range(draw(st.integers(1, 2))):
                    out.append(LogLines(at, "server.log", entity, BEGUN % (slot, slot)))
                for _ in range(draw(st.integers(0, 12))):
                    out.append(LogLines(at, "server.log", entity, BEGUN % (0, 7) + ENDED))
            case 4:
                readable = draw(st.sampled_from([True, False]))
                out.append(Samples(at, "host", HOST, {**NO_GPU, "host.kernel_log_readable": readable}))
            case 5:
                data = draw(st.sampled_from([START, READY, START + READY, b"[53079] " + START + b"[53079] " + READY]))
                out.append(LogLines(at, "server.log", UNIT, data, first=draw(st.integers(1, 900)), elapsed_base=at - 2))
            case 6:
                recorded = draw(st.sampled_from(RECORDED)).read_bytes().replace(b"\r", b"").split(b"\n")
                begin = draw(st.integers(0, len(recorded) - 1))
                data = b"\n".join(recorded[begin : begin + draw(st.integers(1, 200))]).decode("utf-8", "replace").encode()
                out.append(LogLines(at, "server.log", entity, data, first=begin + 1, backlog=draw(st.booleans())))
            case 7:
                line = draw(
                    st.sampled_from([KILLED, b"amdgpu 0000:03:00.0: amdgpu: GPU reset begin!\n", b"amdgpu: ring gfx timeout\n"])
                )
                out.append(LogLines(at, "kmsg", HOST, line, kind="kernel"))
            case 8:
                out.append(Event(at, "unit_oom_killed", HOST, {"unit": UNIT.name}, "journal", "x", 3))
            case _:
                out += [Tick(at + second) for second in range(draw(st.integers(1, 30)))]
                at = out[-1].at
    return out


@settings(max_examples=examples(60), deadline=None)
@given(story=stories(), limit=st.sampled_from([14_000, 1 << 20]), stretch=st.sampled_from([3, 17, 20_000]))
def test_whatever_happens_the_ring_replays_what_was_reported_byte_for_byte(
    story: list[Reading], limit: int, stretch: int, ruleset: RuleSet, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run = Run(ruleset, tmp_path_factory.getbasetemp() / "rings", limit, stretch)
    run.feed(story)
    if run.recorder.fault:
        # a state larger than such a small ring is no recording, and says so
        assert limit < 1 << 20
        return
    rows = unpacked(run.recorder.content())
    found = replay(Recording(rows), ruleset)
    assert found.complete
    assert found.changed == ()
    assert found.readings == run.recorder.readings
    assert text(found.transitions) == text(run.last(found.readings))


@settings(max_examples=examples(60), deadline=None)
@given(story=stories())
def test_an_engine_that_resumes_from_a_snapshot_is_the_same_in_every_part(story: list[Reading], ruleset: RuleSet) -> None:
    """A part of the state that a snapshot forgets would make replays differ some day: this finds it on the day it is added."""
    engine = Engine(ruleset)
    for reading in story:
        engine.step(reading)
    again = Engine(ruleset)
    again.resume(engine.snapshot())
    assert parts(again) == parts(engine)


#: What is the same for all engines of one rule set, counts for people, and whom to call.
NO_STATE = {
    "ruleset", "lines_read", "events_seen", "starts_heard", "_updater", "_restless", "_wanted", "_event_defs", "_state",
    "_pipeline", "_book", "_inhibition", "_ruleset", "_worklist", "_evaluate",
    "costs", "_stopwatch", "_rests", "_stands", "_shrunk", "shrunk", "_mixed", "cuts", "_cuts", "_owner_of", "_touched",
}  # fmt: skip


def parts(thing: Any) -> Any:
    """Everything an object holds, all the way down, in a form that can be compared."""
    if isinstance(thing, dict):
        return {str(key): parts(value) for key, value in thing.items()}
    if isinstance(thing, str | int | float | bool | None):
        return thing
    if isinstance(thing, set | frozenset):
        return sorted(map(repr, thing))
    if isinstance(thing, Sequence) or hasattr(thing, "popleft"):
        return [parts(item) for item in thing]
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    held = {**{name: getattr(thing, name) for name in slots}, **getattr(thing, "__dict__", {})}
    if type(thing).__name__ == "Worklist":
        # A heap is the same whatever the order of its entries, and however often one is in it.
        held["_timers"] = set(held["_timers"])
    if type(thing).__name__ == "FactStore":
        # Every entity is among the facts; one of which nothing is unknown any more is no different from one of which nothing was.
        held["_unknown"] = {entity: whys for entity, whys in held["_unknown"].items() if whys}
    return {name: parts(value) for name, value in held.items() if name not in NO_STATE}


def test_the_ring_stays_within_its_bound_and_still_replays(ruleset: RuleSet, tmp_path: Path) -> None:
    run = Run(ruleset, tmp_path, 24_000, 1_000)
    for number in range(20):
        run.feed(fallback(number * 100.0, 90))
        # beyond the limit by what the packer gives at once, at most
        assert run.recorder.size < 24_000 + 20_000
    assert run.recorder.readings < len(run.told)
    found = replay(Recording(unpacked(run.recorder.content())), ruleset)
    assert text(found.transitions) == text(run.last(found.readings))


class TestPrompts:
    """A server at -v prints prompts and answers. None of that is in a recording, whatever form the log has."""

    SECRET = "correct horse battery staple"

    def test_no_line_that_no_event_claims_is_kept(self, ruleset: RuleSet, tmp_path: Path) -> None:
        run = Run(ruleset, tmp_path)
        said = [
            START.decode(),
            f'0.05.000.000 D srv  log_server_r: request:  {{"prompt": "{self.SECRET}"}}\n',
            f"0.05.000.000 D Parsing chat message: {self.SECRET}\n",
            f"0.05.000.000 I formatted_chat.prompt: {self.SECRET}\n{self.SECRET}\nI srv {self.SECRET}\n",
            f'{{"msg": "srv {self.SECRET}", "level": "info", "timestamp": 1795500000}}\n',
            f"[53079] 0.05.000.000 D got exception: {self.SECRET}\n",
            READY.decode(),
            f"2026-11-24T03:00:00+00:00 box llama[7]: {self.SECRET}\n",
        ]
        run.feed([LogLines(EPOCH, "server.log", UNIT, "".join(said).encode(), first=100), *fallback()])
        kept = b"".join(unpacked(run.recorder.content()))
        assert b"listening on http" in kept
        assert all(word.encode() not in kept for word in self.SECRET.split())

    def test_of_a_claimed_line_only_what_evidence_shows_is_kept(self, ruleset: RuleSet, tmp_path: Path) -> None:
        run = Run(ruleset, tmp_path)
        line = (
            "0.07.411.002 E srv  send_error: task id = 3, error: request (812 tokens) exceeds the available context size "
            f"(512 tokens), prompt: {self.SECRET}\n"
        )
        run.feed([LogLines(EPOCH, "server.log", UNIT, line.encode(), first=100)])
        kept = b"".join(unpacked(run.recorder.content()))
        assert b"812" in kept
        assert b"battery" not in kept

    def test_the_numbers_of_lines_stay_right(self, ruleset: RuleSet, tmp_path: Path) -> None:
        run = Run(ruleset, tmp_path)
        lost = (
            b"0.07.411.002 E srv  send_error: task id = 3, error: request (812 tokens) exceeds the available context size "
            b"(512 tokens), try increasing it\n"
        )
        run.feed([LogLines(EPOCH, "server.log", UNIT, START + b"a\nb\n" + lost + b"c\n" + lost, first=1000)])
        more: list[Reading] = [LogLines(EPOCH + 60, "server.log", UNIT, b"x\n" * 50 + lost, first=2000)]
        more += [Tick(EPOCH + 61 + second) for second in range(30)]
        told = [t for t in run.feed(more) if t.rule == "context-collapse" and t.state == "firing"]
        found = replay(Recording(unpacked(run.recorder.content())), ruleset)
        again = [t for t in found.transitions if t.rule == "context-collapse" and t.state == "firing"]
        assert text(again) == text(told)
        assert '"n": 2050}' in text(again)


class TestAroundAnAlert:
    def kept(self, folder: Path) -> list[Path]:
        return sorted(folder.glob("*.jsonl.gz"))

    def test_what_was_before_and_what_came_after_is_on_disk(self, ruleset: RuleSet, tmp_path: Path) -> None:
        run = Run(ruleset, tmp_path / "recordings")
        run.feed(fallback(0, 40))
        (part,) = (tmp_path / "recordings").glob("*.part")
        assert "-cpu-fallback" in part.name
        run.feed(Tick(EPOCH + 40 + second) for second in range(int(AFTER)))
        (path,) = self.kept(tmp_path / "recordings")
        assert path.stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "recordings").stat().st_mode & 0o777 == 0o700
        found = replay(Recording(lines(str(path))), ruleset)
        assert found.complete
        assert found.begin == EPOCH
        fired = next(t.at for t in found.transitions if t.rule == "cpu-fallback" and t.state == "firing")
        assert fired is not None
        assert found.end == fired + AFTER
        assert text(found.transitions) == text(t for one in run.told[: found.readings] for t in one)

    def test_a_daemon_that_ends_finishes_it(self, ruleset: RuleSet, tmp_path: Path) -> None:
        run = Run(ruleset, tmp_path)
        run.feed(fallback(0, 20))
        run.recorder.close()
        (path,) = self.kept(tmp_path)
        assert replay(Recording(lines(str(path))), ruleset).complete

    def test_what_a_killed_daemon_began_is_kept_by_the_next_one(self, ruleset: RuleSet, tmp_path: Path) -> None:
        run = Run(ruleset, tmp_path)
        run.feed(fallback(0, 40))
        assert not self.kept(tmp_path)
        Archive(tmp_path).adopt()
        (path,) = self.kept(tmp_path)
        found = replay(Recording(lines(str(path))), ruleset)
        assert not found.complete
        assert "cpu-fallback" in {t.rule for t in found.transitions if t.state == "firing"}

    def test_an_alert_that_flaps_is_recorded_once_an_hour(self, ruleset: RuleSet, tmp_path: Path) -> None:
        run = Run(ruleset, tmp_path)
        for number in range(8):
            at = number * 600.0
            run.feed(fallback(at, 30))
            run.feed([ServerGone(EPOCH + at + 31, "process", UNIT, 77)])
            run.feed(Tick(EPOCH + at + 32 + second) for second in range(100))
        fired = [t for one in run.told for t in one if t.rule == "cpu-fallback" and t.state == "firing"]
        assert len(fired) == 8
        assert len(self.kept(tmp_path)) == 2

    def test_the_oldest_go_when_there_are_too_many_or_they_are_too_large(self, tmp_path: Path) -> None:
        kept = Archive(tmp_path, files=3, size=2_500)
        for number in range(5):
            assert kept.begin(EPOCH + number, "load-oom")
            assert kept.write(b"x" * (100 if number < 4 else 2_350))
            kept.finish()
            assert len(kept.kept()) <= 3
        assert [k.name[9:15] for k in kept.kept()] == ["060003", "060004"]

    def test_two_in_one_second_do_not_overwrite_each_other(self, tmp_path: Path) -> None:
        kept = Archive(tmp_path)
        for _ in range(3):
            assert kept.begin(EPOCH, "load-oom")
            kept.finish()
        assert len(kept.kept()) == 3

    def test_strangers_files_are_neither_listed_nor_read_nor_removed(self, tmp_path: Path) -> None:
        kept = Archive(tmp_path / "r", files=1)
        (tmp_path / "r").mkdir()
        (tmp_path / "r" / "notes.txt").write_text("mine")
        (tmp_path / "secret").write_text("secret")
        for _ in range(3):
            kept.begin(EPOCH, "load-oom")
            kept.finish()
        assert kept.read("notes.txt") is None
        assert kept.read("../secret") is None
        assert (tmp_path / "r" / "notes.txt").exists()


class TestDiskTrouble:
    def test_a_full_disk_is_a_sentence_and_nothing_else(self, ruleset: RuleSet, tmp_path: Path) -> None:
        run = Run(ruleset, tmp_path)

        class Full:
            def write(self, _data: object) -> int:
                raise OSError(28, "No space left on device")

            def close(self) -> None:
                raise OSError(28, "No space left on device")

        opened = run.recorder.kept.begin

        def begin(at: float, rule: str) -> bool:
            done = opened(at, rule)
            run.recorder.kept._stream = Full()  # type: ignore[assignment]
            return done

        run.recorder.kept.begin = begin  # type: ignore[method-assign]
        run.feed(fallback(0, 90))
        assert run.recorder.kept.fault == f"recordings are not kept: {tmp_path}: No space left on device"
        assert list(tmp_path.iterdir()) == []
        found = replay(Recording(unpacked(run.recorder.content())), ruleset)
        assert text(found.transitions) == text(run.last(found.readings))

    def test_a_folder_that_cannot_be_made_is_a_sentence(self, ruleset: RuleSet, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        run = Run(ruleset, tmp_path / "file" / "recordings")
        run.feed(fallback(0, 20))
        assert "Not a directory" in run.recorder.kept.fault
        assert run.recorder.readings == len(run.told)

    def test_the_next_alert_tries_again(self, ruleset: RuleSet, tmp_path: Path) -> None:
        folder = tmp_path / "recordings"
        folder.write_text("in the way")
        run = Run(ruleset, folder)
        run.feed(fallback(0, 20))
        assert run.recorder.kept.fault
        folder.unlink()
        run.feed([ServerGone(EPOCH + 21, "process", UNIT, 77), *(Tick(EPOCH + second) for second in range(22, 200))])
        run.feed(fallback(200, 20))
        run.recorder.close()
        assert run.recorder.kept.fault == ""
        assert len(list(folder.iterdir())) == 1


def test_text_that_json_cannot_hold_costs_a_new_beginning_not_the_daemon(ruleset: RuleSet, tmp_path: Path) -> None:
    run = Run(ruleset, tmp_path)
    run.feed(fallback(0, 20))
    with contextlib.suppress(UnicodeEncodeError):
        run.feed([Event(EPOCH + 21, "unit_oom_killed", HOST, {"unit": os.fsdecode(b"\xff")}, "journal", "", 1)])
    assert "cannot be written" in run.recorder.fault
    assert run.recorder.readings == 0
    run.feed(Tick(EPOCH + 22 + second) for second in range(120))
    assert run.recorder.begin is None or run.recorder.begin >= EPOCH + 81
