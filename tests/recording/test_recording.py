"""The form of a recording: what was written reads back, the first version too, and what is wrong is reported in one sentence."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from places import TESTS

from sentinel import recording
from sentinel.engine.engine import Engine
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.entity import HOST, Entity, Unknown
from sentinel.model.reading import Claim, ClaimedLines, Event, LogLines, Reading, Samples, ServerFound, ServerGone, Tick
from sentinel.recording import Recording, RecordingError
from sentinel.recording.archive import lines
from sentinel.recording.replay import replay
from sentinel.recording.state_types import FormError, check_state
from sentinel.rulefiles.digest import event_digests, rule_digests

FIXTURES = TESTS / "fixtures" / "recordings"
SERVER = Entity("server", "llama.service")
EVERY: list[Reading] = [
    Tick(1.5),
    Samples(2.0, "process", SERVER, {"server.user": Unknown("no permission"), "server.cpu_cores": 3.0, "server.pid": 7}),
    Samples(2.0, "host", HOST, {"host.kernel_log_readable": True, "host.gpu_names": "ä\u202e\x1b[31m"}),
    LogLines(3.0, "server.log", SERVER, b"\x00\xc3\xa4 eval\nb", first=7, backlog=True, elapsed_base=1e9),
    ClaimedLines(
        3.5,
        "server.log",
        SERVER,
        400,
        (Claim(3, "ready", 0, 1.25, None, None, {}, "x"), Claim(9, "y", 2, None, 1e9 + 0.1, 8080, {"a": True, "b": 0.1}, "")),
        first=12,
    ),
    Event(4.0, "unit_oom_killed", SERVER, {"unit": "llama.service", "n": 3, "share": 0.5, "flag": False}, "journal", "x", 3),
    ServerFound(5.0, "process", SERVER, 77, 4.9, {"server.port": 8080}),
    ServerGone(9.0, "process", SERVER, 77),
]


def written(readings: list[Reading]) -> list[bytes]:
    return list(recording.dump(readings))


def test_it_reads_back_what_was_written() -> None:
    found = Recording(written(EVERY))
    assert list(found) == EVERY
    assert found.complete
    assert found.readings == len(EVERY)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "line 1: the file is empty"),
        (b"{}\n", "line 1: this is no recording"),
        (b"[1]\n", "line 1: this is no recording"),
        (b"\xff\xfe\x00\n", "line 1: this is no recording"),
        (b"0.00.043.051 I cmn  common_param\n", "line 1: this is no recording"),
        (b'{"sentinel_recording": 3}\n', "line 1: a recording of version 3; this sentinel reads 1 and 2"),
        (b"[" * 200_000 + b"\n", "line 1: this is no recording"),
        (b'{"sentinel_recording": 2}\n' + b"[" * 200_000 + b"\n", "line 2: not a reading"),
        (b'{"sentinel_recording": 1}\n{"type": "Nothing", "at": 1}', "line 2: not a reading (Invalid value 'Nothing'"),
        (b'{"sentinel_recording": 2}\n{"type": "Tick"}\n', "line 2: not a reading (Object missing required field `at`)"),
        (b'{"sentinel_recording": 2}\n{"type": "Tick", "at": "soon"}\n', "line 2: not a reading (Expected `float`, got `str`"),
        (b'{"sentinel_recording": 2}\n{"type": "Tick", "at": 1e999}\n', "line 2: not a reading"),
        (b'{"sentinel_recording": 2}\n{"type": "Tick", "at": 1e300}\n', "line 2: not a reading"),
        (b'{"sentinel_recording": 2}\n{"type": "End", "readings": 4}\n', "line 2: 4 readings were written, 0 are here"),
        (
            b'{"sentinel_recording": 2}\n{"type": "Tick", "at": 1}\n{"type": "State", "key": "facts", "rows": []}\n',
            "line 3: a state stands at the beginning only",
        ),
        (
            b'{"sentinel_recording": 2}\n{"type": "State", "key": "version", "value": 1}\n{"type": "Tick", "at": 1}\n',
            "line 3: the state cannot be used: Object missing required field",
        ),
        (
            b'{"sentinel_recording": 2}\n{"type": "State", "key": "a", "value": 1}\n{"type": "State", "key": "a", "rows": []}\n',
            "line 3: a part of the state is there twice",
        ),
        (
            b'{"sentinel_recording": 2}\n{"type": "Samples", "at": 1, "source": "", "entity": ["server", "a"], '
            b'"values": {"server.pid": "\\u001b[2J"}}\n',
            "line 2: server.pid is int, not '\\x1b[2J'",
        ),
        (
            b'{"sentinel_recording": 2}\n{"type": "Samples", "at": 1, "source": "", "entity": ["moon", "a"], "values": {}}\n',
            "line 2",
        ),
    ],
)
def test_what_is_wrong_is_reported_with_its_line(text: bytes, says: str) -> None:
    with pytest.raises(RecordingError) as caught:
        list(Recording(io.BytesIO(text)))
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_every_part_of_a_state_is_checked_before_an_engine_takes_it(ruleset: RuleSet) -> None:
    """A part that no type names would reach the engine as the file has it."""
    state = Engine(ruleset).snapshot()
    assert check_state(state) == 0
    for part in state:
        with pytest.raises(FormError):
            check_state({**state, part: "x"})


def test_a_signal_that_no_longer_exists_is_passed_over() -> None:
    old = '{"type": "Samples", "at": 1, "source": "", "entity": ["server", "a"], "values": {"server.of_old": 1, "server.pid": 3}}'
    (found,) = Recording([b'{"sentinel_recording": 1}\n', old.encode() + b"\n"])
    assert found == Samples(1.0, "", Entity("server", "a"), {"server.pid": 3})


def test_more_servers_than_any_machine_has_are_refused_before_they_cost_memory() -> None:
    def many() -> list[bytes]:
        rows = [Samples(1.0, "", Entity("server", str(number)), {}) for number in range(2_001)]
        return written(list(rows))

    with pytest.raises(RecordingError, match="line 2002: more than 2000 servers and GPUs"):
        list(Recording(many()))


def test_a_name_longer_than_any_is_refused() -> None:
    rows: list[Reading] = [Samples(1.0, "", Entity("server", "x" * 100_000), {})]
    with pytest.raises(RecordingError, match="line 2: a name of more than 510 characters"):
        list(Recording(written(rows)))


def test_a_recording_that_costs_too_much_is_refused_with_the_line_it_came_to(ruleset: RuleSet) -> None:
    """Many servers with an open question, and ticks over ten thousand years: 13 kB packed."""
    rows: list[Reading] = [ServerFound(1.0, "process", Entity("server", str(n)), n, 1.0, {}) for n in range(100)]
    rows += [Tick(2.0 + 3e7 * n) for n in range(10_000)]
    asked = iter(range(10**9))

    def late() -> str:
        return "not replayed within 60 s" if next(asked) >= 150 else ""

    with pytest.raises(RecordingError, match="line 152: not replayed within 60 s"):
        replay(Recording(written(rows)), ruleset, late)


def test_a_line_that_never_ends_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    # 200 MB of one line in 200 kB
    with gzip.open(path, "wb", 9) as stream:
        stream.write(b'{"sentinel_recording": 2}\n{"type": "Tick", "at": 1, "x": "')
        for _ in range(200):
            stream.write(b"x" * (1 << 20))
    assert path.stat().st_size < 300_000
    with pytest.raises(RecordingError, match="line 2: longer than 8 MiB"):
        list(Recording(lines(str(path))))


def test_packed_data_that_is_damaged_is_reported(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(b"".join(written(EVERY))))
    packed[len(packed) // 2] ^= 0xFF
    (tmp_path / "x").write_bytes(packed)
    with pytest.raises(RecordingError, match=r"^line "):
        list(Recording(lines(str(tmp_path / "x"))))


@pytest.mark.parametrize("packed", [False, True])
def test_wherever_a_file_is_cut_what_is_there_is_read_and_known_to_be_cut(tmp_path: Path, packed: bool, ruleset: RuleSet) -> None:
    whole = b"".join(written(EVERY))
    data = gzip.compress(whole) if packed else whole
    path = tmp_path / "cut"
    read = set()
    for size in range(60 if not packed else 30, len(data) - 10, 7):
        path.write_bytes(data[:size])
        try:
            found = Recording(lines(str(path)))
        except RecordingError as error:
            assert str(error).startswith("line 1")
            continue
        assert list(found) == EVERY[: found.readings]
        assert not found.complete
        read.add(found.readings)
    if not packed:
        assert read == set(range(len(EVERY) + 1))


@settings(max_examples=examples(300), deadline=None)
@given(data=st.data())
def test_no_mutation_gives_a_traceback(data: st.DataObject, ruleset: RuleSet) -> None:
    """Bytes of a real recording, with its state, are changed: it replays or is refused with a sentence."""
    engine = Engine(ruleset)
    for reading in EVERY[:6]:
        engine.step(reading)
    head = [recording.header("0", {}, {}), *recording.state(engine.snapshot())]
    rows = [*head, *(recording.row(r) for r in EVERY)]
    number = data.draw(st.integers(0, len(rows) - 1))
    line = bytearray(rows[number])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(line) - 1))
        line[place : place + data.draw(st.integers(0, 4))] = data.draw(
            st.sampled_from([b"", b"null", b"1e9", b'"', b"[]", b"{}", b"-", b"true", b"\xff", b"9" * 40, b","])
        )
        if not line:
            line += b"\n"
    rows[number] = bytes(line)
    try:
        replay(Recording(rows), ruleset)
    except RecordingError as error:
        assert str(error).startswith("line ")


def test_a_recording_of_the_first_version_still_replays(ruleset: RuleSet) -> None:
    """Recorded with the first form: the real llama-server b10434 with -ngl 99 on a machine without a GPU."""
    found = replay(Recording(lines(str(FIXTURES / "v1-cpu-fallback.jsonl"))), ruleset)
    told = [(t.rule, t.previous, t.state, t.reason) for t in found.transitions if t.rule == "cpu-fallback"]
    assert told[:2] == [
        ("cpu-fallback", "inactive", "pending", "condition-met"),
        ("cpu-fallback", "pending", "firing", "hold-elapsed"),
    ]
    fired = next(t for t in found.transitions if t.state == "firing")
    assert fired.cause is not None
    assert fired.cause.id == "no-gpu-in-machine"
    assert found.complete
    assert found.changed is None


def test_the_digest_of_a_rule_knows_what_it_says_and_not_where_it_is(ruleset: RuleSet) -> None:
    assert len(set(rule_digests(ruleset).values())) == len(ruleset.rules)
    assert len(set(event_digests(ruleset).values())) == len(ruleset.events)
    text = json.dumps(rule_digests(ruleset))
    assert sys.prefix not in text
