"""When the service manager hears ready and alive, and what one line says of how things stand."""

from __future__ import annotations

from dataclasses import replace

from sentinel.daemon.readiness import Readiness, headline
from sentinel.daemon.supervisor import SourceState
from sentinel.engine.engine import Engine
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.entity import Entity

STARTING, UP = SourceState("host", "starting"), SourceState("host", "up")


def told(interval: float | None) -> tuple[Readiness, list[tuple[str, ...]]]:
    said: list[tuple[str, ...]] = []
    return Readiness(interval, lambda *assignments: said.append(assignments)), said


def test_ready_is_reported_when_the_engine_took_a_tick_after_every_source_has_looked() -> None:
    """Not when they have looked, for the engine may not have judged that yet; and once."""
    readiness, said = told(None)

    readiness.looked([UP, STARTING])
    assert not readiness.took_tick(1.0, "0 servers")
    readiness.looked([UP, UP])
    assert said == []
    assert readiness.took_tick(2.0, "1 server")
    assert said == [("READY=1", "STATUS=1 server")]
    assert not readiness.took_tick(3.0, "1 server")
    assert len(said) == 1


def test_a_source_found_later_does_not_take_readiness_back() -> None:
    """A log that appears while the daemon runs is starting, too."""
    readiness, said = told(None)
    readiness.looked([UP])
    readiness.looked([UP, STARTING])

    assert readiness.took_tick(1.0, "x")
    assert said[0][0] == "READY=1"


def test_the_watchdog_is_fed_by_ticks_of_the_engine_at_its_interval() -> None:
    """Also before it is ready; an engine that takes no tick feeds nobody, whatever else happens."""
    readiness, said = told(15.0)

    for second in range(40):
        readiness.looked([STARTING])
        readiness.took_tick(float(second), "x")
    for _ in range(100):
        readiness.looked([STARTING])

    assert said == [("WATCHDOG=1",)] * 3


def test_the_status_is_reported_when_it_changes() -> None:
    """At once, and not with each sign of life."""
    readiness, said = told(15.0)
    readiness.looked([UP])
    for second, status in enumerate(["a", "a", "b", "b", "b"]):
        readiness.took_tick(float(second), status)

    assert said == [("READY=1", "WATCHDOG=1", "STATUS=a"), ("STATUS=b",)]


def test_the_headline_names_what_fires_and_what_cannot_be_read(ruleset: RuleSet) -> None:
    """Worst first, three of each, names from outside escaped and cut."""
    engine = Engine(ruleset)
    assert headline(engine, 0.0, [], []) == "0 servers; no alert"

    hostile = Entity("server", "a\nb" + "c" * 100)
    for rule, entity in [("blind-spot", hostile), ("mlock-denied", hostile), ("cpu-fallback", hostile), ("load-oom", hostile)]:
        record = engine.book.record(rule, entity)
        record.life = replace(record.life, state="firing")
        record.gate = replace(record.gate, open=True)
    engine.silences.add("load-oom", "", 0.0, 60.0, "known", "root")
    line = headline(engine, 1.0, ["kernel", "host", "udev", "nvml"], ["state is not saved to disk"])

    firing, silenced, unread, disk = line.split("; ")[1:]
    assert firing.startswith("firing: cpu-fallback (a\\nbccc")
    assert [part.split(" ")[0] for part in firing.removeprefix("firing: ").split(", ")] == [
        "cpu-fallback",
        "mlock-denied",
        "blind-spot",
    ]
    assert (silenced, unread, disk) == ("1 silenced", "cannot read: host, kernel, nvml and 1 more", "state is not saved to disk")
    assert "\n" not in line
    assert len(line) < 400
