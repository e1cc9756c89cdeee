"""Event definitions as shipped, compiled once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sentinel.model.pattern import EventDef
from sentinel.parsing.extract import Extractor, Match
from sentinel.parsing.lines import LineSplitter
from sentinel.rules.load import load_events

REPO = Path(__file__).resolve().parent.parent.parent
LOGS = REPO / "tests" / "fixtures" / "logs"


@pytest.fixture(scope="session")
def definitions() -> dict[str, EventDef]:
    """Every shipped event by name; the files have no problem."""
    files = {path.name: path.read_bytes() for path in sorted((REPO / "rules" / "events").glob("*.toml"))}
    events, problems = load_events(files)
    assert problems == []
    return events


@pytest.fixture(scope="session")
def extractors(definitions: dict[str, EventDef]) -> dict[str, Extractor]:
    """One extractor for each source."""
    sources = {event.source for event in definitions.values()}
    return {source: Extractor([e for e in definitions.values() if e.source == source]) for source in sources}


@pytest.fixture(scope="session")
def read(extractors: dict[str, Extractor]) -> Callable[..., list[Match]]:
    """What the daemon does with the raw bytes of a log, without the daemon: `read(data, source="llama-server")`."""

    def matches(data: bytes, source: str = "llama-server") -> list[Match]:
        splitter = LineSplitter()
        lines = splitter.feed(data)
        return list(extractors[source].events(lines + splitter.flush()))

    return matches


@pytest.fixture(scope="session")
def logs() -> Path:
    """Logs that the project carries."""
    return LOGS


@pytest.fixture(scope="session")
def logs_blob() -> bytes:
    """All carried logs one after the other, as lines."""
    splitter = LineSplitter()
    return b"".join(splitter.feed(path.read_bytes()) for path in sorted(LOGS.glob("*.log")))
