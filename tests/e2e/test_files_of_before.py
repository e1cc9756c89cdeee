"""What sentinel 0.1.0 left on disk, every later one reads: a history, a recording, a configuration. The files never change."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path

import msgspec
import pytest

from sentinel.daemon.config import Config, Intervals, ServerConfig, load
from sentinel.engine.engine import Engine
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.history import History
from sentinel.model.entity import Entity
from sentinel.recording.archive import lines
from sentinel.recording.read import Recording
from sentinel.recording.replay import replay

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
SERVER, BESIDE = Entity("server", "127.0.0.1:51027"), Entity("server", "second")
GPU = Entity("gpu", "0000:03:00.0")
#: the alerts that were open when the daemon was killed and the recording was made, and the silence of each
OPEN = {
    ("blind-spot", SERVER): "2",
    ("cpu-fallback", SERVER): "",
    ("context-collapse", BESIDE): "1",
    ("thermal-throttle", GPU): "",
}


@pytest.fixture
def history(tmp_path: Path) -> History:
    path = tmp_path / "history.sqlite"
    with sqlite3.connect(path) as made:
        made.executescript((FIXTURES / "history-every-table.sql").read_text(encoding="utf-8"))
    made.close()
    opened = History(path)
    assert (opened.message, opened.fault) == ("", "")
    return opened


def test_transitions_marks_and_usual_speeds_of_an_old_history_are_there(history: History) -> None:
    assert {(t.rule, t.entity): t.silenced or "" for t in history.transitions() if t.state == "firing"} == OPEN
    for transition in history.transitions():
        assert transition.summary
        assert transition.cause is not None
    assert list(history.undelivered("console")) == []
    assert (history.epoch, history.last_id) == ("04e9f694", 9)
    ((configuration, depth, at, answers),) = history.baselines()
    assert (configuration, depth, at) == ("40b8fd8f7e1a8801", 0, 1795929336.018706)
    assert len(msgspec.json.decode(answers)) == 6


def test_an_engine_goes_on_from_an_old_checkpoint(history: History, ruleset: RuleSet) -> None:
    state, silences = history.checkpoint("state"), history.checkpoint("silences")
    assert state is not None
    assert silences is not None
    saved = msgspec.json.decode(state)
    engine = Engine(ruleset)
    engine.load(saved["engine"])
    engine.silences.load(msgspec.json.decode(silences))
    engine.baselines.learned([[c, depth, at, msgspec.json.decode(a)] for c, depth, at, a in history.baselines()])

    firing = {(r.rule, r.entity): r.hush.by for r in engine.book.open() if r.state == "firing"}
    assert firing == OPEN
    for record in engine.book.open():
        standing = engine.standing(ruleset.rules[record.rule], record)
        assert standing.summary
        assert standing.evidence
    runs = {entity.name: (run.gone, run.exact) for entity, run in engine.state.runs.items()}
    assert runs["127.0.0.1:51027"] == (False, True)
    port = engine.state.facts.last(SERVER, "server.port")
    assert port is not None
    assert port.value == 51027
    made = [(s.id, s.rule, s.name, s.reason) for s in engine.silences.all()]
    assert made == [
        ("1", "context-collapse", "second", "asked for: a small context is enough"),
        ("2", "blind-spot", "", "maintenance"),
    ]
    assert saved["positions"].keys() == {f"file:/srv/llama/{name}.log" for name in ("first", "server", "second")}
    # A signal or an event that has another name by now is carried over under that, none is dropped.
    assert len(engine.state.facts.dump()) == len(saved["engine"]["facts"]) > 100
    assert len(engine.state.log.dump()) == len(saved["engine"]["events"]) > 10


def test_an_old_recording_replays_and_the_same_is_said(ruleset: RuleSet) -> None:
    found = replay(Recording(lines(str(FIXTURES / "recordings/v2-four-alerts.jsonl.gz"))), ruleset)
    assert found.complete
    fired = {(t.rule, t.entity): t.silenced or "" for t in found.transitions if t.state == "firing"}
    assert fired == OPEN
    causes = {t.rule: t.cause.id for t in found.transitions if t.state == "firing" and t.cause is not None}
    assert causes["cpu-fallback"] == "no-gpu-in-machine"


def test_an_old_configuration_sets_what_it_set() -> None:
    config = load(FIXTURES / "every-key.toml", {})
    assert config == Config(
        file=FIXTURES / "every-key.toml",
        state_dir=Path("/srv/sentinel/state"),
        socket=Path("/run/sentinel-of-a-test/sentinel.sock"),
        rules=(FIXTURES / "rules.d", Path("/etc/sentinel/more.toml")),
        servers=(
            ServerConfig("big", port=8081, log=Path("/var/log/big.log")),
            ServerConfig("small", unit="small.service", user_unit=True),
        ),
        discover=False,
        ask_servers=False,
        watch_slots=True,
        recorder=False,
        intervals=Intervals(process=1.0, host=2.0, gpu=0.5, rocm_smi=60.0),
        proc=FIXTURES / "proc",
        sys=FIXTURES / "sys",
        dev=FIXTURES / "kernel",
        journal_socket=Path("/run/another/socket"),
        sink="console",
    )
    defaults = Config(None, Path(), Path())
    same = [f.name for f in dataclasses.fields(Config) if getattr(config, f.name) == getattr(defaults, f.name)]
    # It sets every key of its time to something else than the default; this one came later.
    assert same == ["quality"]
