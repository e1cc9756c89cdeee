"""A checkpoint grows with what changed, and a broken part of it costs that part."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest

from bench import checkpoints
from sentinel.api.event_stream import Broadcaster
from sentinel.daemon.clock import Clock
from sentinel.daemon.consumer import Consumer
from sentinel.daemon.inbox import Inbox
from sentinel.daemon.log_followers import Logs
from sentinel.engine.engine import Engine
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.history import History
from sentinel.model.entity import Entity, Unknown, Value
from sentinel.model.reading import Samples, ServerFound, Tick
from sentinel.rulefiles.files import load_paths, shipped
from sentinel.sinks import Outbox

EPOCH = 1_795_500_000.0


@pytest.fixture(scope="module")
def ruleset() -> RuleSet:
    found, _ = load_paths([shipped()])
    assert found is not None
    return found


def machine(ruleset: RuleSet, servers: int) -> Engine:
    engine = Engine(ruleset)
    values: dict[str, Value | Unknown] = {"server.port": 8080, "server.is_router": False, "server.log_readable": True}
    for number in range(servers):
        engine.step(ServerFound(EPOCH, "process", Entity("server", f"s{number}"), 100 + number, EPOCH, values))
    return engine


def test_a_checkpoint_holds_what_changed_and_all_of_it_together(ruleset: RuleSet) -> None:
    engine = machine(ruleset, 20)
    parts = {entity: engine.dump_of(entity) for entity in engine.changed()}
    changed = Entity("server", "s7")
    engine.step(Samples(EPOCH + 5, "process_sample", changed, {"server.rss_bytes": 5}))
    assert engine.changed() == [changed]
    assert engine.changed() == []
    parts[changed] = engine.dump_of(changed)
    whole = engine.dump()
    for name in ("facts", "events", "runs", "alerts"):
        rows = [row for part in parts.values() if part is not None for row in part[name]]
        assert sorted(map(repr, rows)) == sorted(map(repr, whole[name]))


def test_what_is_known_of_no_more_is_dropped(ruleset: RuleSet) -> None:
    engine = machine(ruleset, 1)
    engine.changed()
    engine.state.remove(Entity("server", "s0"))
    engine.book.drop_entity(Entity("server", "s0"))
    assert engine.dump_of(Entity("server", "s0")) is None
    for second in range(3):
        engine.step(Tick(EPOCH + second))


def test_a_part_is_dropped_from_the_file(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    history.commit((), {"entity:a": b"1", "entity:b": b"2", "state": b"3"})
    assert history.checkpoints("entity:") == {"entity:a": b"1", "entity:b": b"2"}
    history.commit((), {"entity:a": None})
    assert history.checkpoints("entity:") == {"entity:b": b"2"}
    history.close()
    again = History(tmp_path / "history.sqlite")
    assert again.checkpoints("entity:") == {"entity:b": b"2"}
    again.close()


def test_many_servers_and_alerts_stay_inside_the_limit_of_the_unit() -> None:
    """1,500 servers with 21,000 open alerts, and 100 transitions; the time of it is a figure of `make bench`."""
    found = checkpoints.measure()
    assert found.written < found.known / 10
    assert found.seconds < 5.0
    assert found.peak < 128


def test_deep_json_is_refused_and_no_crash() -> None:
    """As the consumer decodes it."""
    with pytest.raises((RecursionError, msgspec.DecodeError)):
        msgspec.json.decode(b"[" * 100_000 + b"]" * 100_000)


BROKEN = {
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "no JSON": b"\xff\x00",
    "a list": b"[1, 2, 3]",
    "rows that are none": b'{"facts": 7, "events": {"a": 1}, "runs": [[1]], "alerts": [{"rule": "x"}]}',
    "a fact of another shape": b'{"facts": [["server", "x"]], "events": [], "runs": [], "alerts": []}',
    "numbers beyond all": b'{"facts": [], "events": [], "runs": [["server", "x", 1e999, 1, true, false, 0]], "alerts": []}',
}


def consumer(ruleset: RuleSet, history: History) -> Consumer:
    logs = SimpleNamespace(positions={}, cursors={}, in_midst=set(), restore=lambda positions, cursors: None)
    broadcaster = Broadcaster()
    return Consumer(ruleset, Inbox(), history, Outbox([], history), broadcaster, cast(Logs, logs), Clock(), lambda: None)


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_part_is_left_out_and_the_others_are_there(what: str, ruleset: RuleSet, tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    first = consumer(ruleset, history)
    first.engine.step(ServerFound(EPOCH, "process", Entity("server", "mine"), 7, EPOCH, {"server.port": 8080}))
    first.close()
    history.commit((), {"entity:server:theirs": BROKEN[what]})
    second = consumer(ruleset, history)
    second.restore()
    fact = second.engine.state.facts.last(Entity("server", "mine"), "server.port")
    assert fact is not None
    assert fact.value == 8080


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_state_begins_again(what: str, ruleset: RuleSet, tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    history.commit((), {"state": BROKEN[what], "silences": BROKEN[what]})
    one = consumer(ruleset, history)
    one.restore()
    assert list(one.engine.state.facts.entities()) == []
