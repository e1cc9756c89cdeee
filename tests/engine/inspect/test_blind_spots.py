"""What cannot be judged, computed in parts: a machine with hundreds of servers gets it in several answers."""

from __future__ import annotations

from sentinel.engine.engine import Engine
from sentinel.engine.inspect.blind_spots import BlindSpots, blind_spots
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.entity import Entity, Unknown, Value
from sentinel.model.reading import Samples, ServerFound, ServerGone, Tick

_SERVERS = [f"127.0.0.1:{8080 + n}" for n in range(4)]


def _engine(ruleset: RuleSet) -> Engine:
    engine = Engine(ruleset)
    for number, name in enumerate(_SERVERS):
        values: dict[str, Value | Unknown] = {
            "server.log_readable": Unknown("its log is a terminal"),
            "server.port": 8080 + number,
        }
        engine.step(ServerFound(0.0, "process", Entity("server", name), 100 + number, 0.0, values))
    engine.step(Tick(1.0))
    return engine


def _steps(spots: BlindSpots, engine: Engine, at: float, count: int) -> None:
    work = spots.renew(engine, at)
    for _ in range(count):
        next(work)


def test_left_off_it_goes_on_where_it_was(ruleset: RuleSet) -> None:
    """No entity is computed a second time before each was once; what is not yet is counted."""
    engine, spots = _engine(ruleset), BlindSpots()

    _steps(spots, engine, 1.0, 3)
    assert (spots.left_out, {row["entity"] for row in spots.rows}) == (2, set(_SERVERS[:2]))
    _steps(spots, engine, 2.0, 2)

    assert spots.left_out == 0
    assert spots.rows == blind_spots(engine, 2.0)


def test_the_oldest_is_renewed_first(ruleset: RuleSet) -> None:
    """With time for one entity only each is renewed in its turn, and one that has ended is no longer there."""
    engine, spots = _engine(ruleset), BlindSpots()
    _steps(spots, engine, 1.0, 5)
    engine.step(Samples(2.0, "process", Entity("server", _SERVERS[0]), {"server.log_readable": True}))
    engine.step(ServerGone(2.0, "process", Entity("server", _SERVERS[3]), 103))

    _steps(spots, engine, 2.0, 2)

    assert spots.rows == blind_spots(engine, 2.0)


def test_other_rules_begin_again(ruleset: RuleSet) -> None:
    """What was computed with rules that are gone is not shown."""
    engine, spots = _engine(ruleset), BlindSpots()
    _steps(spots, engine, 1.0, 5)
    work = spots.renew(engine, 2.0)
    next(work)
    engine.use(RuleSet({}, ruleset.events), 2.0)

    assert list(work) == []
    _steps(spots, engine, 3.0, 1)
    assert (spots.rows, spots.left_out) == ([], 4)


def _with_log(ruleset: RuleSet, state: str) -> Engine:
    engine = Engine(ruleset)
    values: dict[str, Value | Unknown] = {
        "server.log_readable": True,
        "server.state": state,
        "server.ctx_requested": 65536,
        "server.gpu_layers_requested": 0,
        "server.gpu_layers_explicit": True,
    }
    engine.step(ServerFound(0.0, "process", Entity("server", _SERVERS[0]), 100, 0.0, values))
    engine.step(Tick(1.0))
    return engine


def test_nobody_is_advised_to_have_a_log_read_that_is_read(ruleset: RuleSet) -> None:
    """A server with --log-file that had not printed its slots yet was said to need --log-file."""
    spots = blind_spots(_with_log(ruleset, "ready"), 1.0)

    of_its_slots = [spot for spot in spots if "server.ctx_per_slot" in spot["missing"]]
    assert [(spot["reason"], spot["remedy"]) for spot in of_its_slots] == [("its log does not say so, as far as it was read", "")]
    assert not any("let sentinel read" in spot["remedy"] for spot in spots)


def test_what_a_server_prints_once_it_has_loaded_is_not_missed_before(ruleset: RuleSet) -> None:
    """Each start would show things that sentinel cannot see, and no longer a second later."""
    spots = blind_spots(_with_log(ruleset, "loading"), 1.0)

    assert not any("server.ctx_per_slot" in spot["missing"] for spot in spots)
