"""A checkpoint grows with what changed, and a broken part of it costs that part."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest
from places import REPO

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


#: 1,500 servers with 20,000 open alerts and 100 transitions, in a process of its own: its peak is what counts.
_MANY = """
import sys, time, tempfile, pathlib
import msgspec
from sentinel.engine.alerts.book import Notice
from sentinel.engine.alerts.lifecycle import Life
from sentinel.engine.engine import Engine
from sentinel.history import History
from sentinel.model.alert import Cause, Fix, LineEvidence
from sentinel.model.entity import Entity
from sentinel.model.reading import Samples, ServerFound
from sentinel.rulefiles.files import load_paths, shipped
ruleset, _ = load_paths([shipped()])
engine = Engine(ruleset)
values = {"server.port": 8080, "server.is_router": False, "server.user": "me", "server.model_path": "/models/" + "m" * 60}
rules = [r for r, c in ruleset.rules.items() if c.rule.scope == "server"][:14]
fixes = (Fix("Leave out a flag, or start it with fewer layers", "llama-server -ngl 20", "low", "look again"),) * 2
for number in range(1500):
    entity = Entity("server", f"s{number}")
    for name, value in values.items():
        engine.state.put(entity, name, value, 1.0, "process")
    for rule in rules:
        record = engine.book.record(rule, entity)
        record.life = Life(state="firing", since=1.0)
        record.notice = Notice("a summary of some words", Cause("c", "some words about the cause", "high"), fixes, ())
    engine._touched.add(entity)
history = History(pathlib.Path(tempfile.mkdtemp()) / "history.sqlite")
def checkpoint():
    parts = {f"entity:{e}": msgspec.json.encode(engine.dump_of(e)) for e in engine.changed()}
    history.commit((), parts)
    return sum(map(len, parts.values()))
whole = checkpoint()
begin = time.perf_counter()
written = 0
for n in range(100):
    engine._touched.add(Entity("server", f"s{n}"))
    written += checkpoint()
took = time.perf_counter() - begin
# Not ru_maxrss: that is inherited across exec from the process that started this one.
status = pathlib.Path("/proc/self/status").read_text().splitlines()
print(whole, written, round(took, 2), next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024)
"""


def test_many_servers_and_alerts_stay_inside_the_limit_of_the_unit() -> None:
    done = subprocess.run([sys.executable, "-c", _MANY], capture_output=True, text=True, cwd=REPO, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    whole, written, took, peak = map(float, done.stdout.split())
    print(f"{whole / 1e6:.1f} MB are known, 100 transitions wrote {written / 1e6:.2f} MB in {took} s, peak {peak:.0f} MB")
    assert written < whole / 10
    assert took < 2.0
    assert peak < 128


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
def test_a_broken_state_begins_anew(what: str, ruleset: RuleSet, tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    history.commit((), {"state": BROKEN[what], "silences": BROKEN[what]})
    one = consumer(ruleset, history)
    one.restore()
    assert list(one.engine.state.facts.entities()) == []
