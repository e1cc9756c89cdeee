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
