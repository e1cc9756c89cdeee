"""Shared fixtures: the shipped rules, the recorded corpus, a diagnosis of files, and waiting for a condition without sleeping.

Property tests draw the same examples in each run, so that a commit is green or red whoever tests it; `make properties` draws
others each time, and what it finds is kept as an explicit example.
"""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest
from effort import examples
from hypothesis import settings
from live import wait_for
from places import REPO, TESTS
from shipped_rules import shipped_rules

from sentinel.diagnose.diagnosis import Diagnosis, diagnose
from sentinel.engine.engine import Engine
from sentinel.engine.log.extractor import Extractor
from sentinel.engine.log.lines import LineSplitter
from sentinel.engine.log.match import Match
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.llama.command_line import decode
from sentinel.model.event import EventDef
from sentinel.rulefiles.load import load_events

LOGS = TESTS / "fixtures" / "logs"
Judge = Callable[..., Diagnosis]

# No deadline: beside other work an example of a microsecond took 0.36 s, and counted as found.
settings.register_profile("same", max_examples=examples(100), deadline=None, derandomize=True, database=None)
settings.register_profile("fresh", max_examples=examples(100), deadline=None, print_blob=True)
settings.load_profile("fresh" if "SENTINEL_EXAMPLES" in os.environ else "same")


#: Folders whose tests wait for programs and limits more than they compute.
_WAITING = ("e2e", "web")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that wait begin. Files go to workers in this order: short ones, which only compute, fill what is left at the end."""
    items.sort(key=lambda item: not item.path.is_relative_to(TESTS) or item.path.relative_to(TESTS).parts[0] not in _WAITING)


@pytest.fixture(scope="session", autouse=True)
def _no_configuration_of_the_developer(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Rules and settings that somebody has for a daemon of their own are no part of the tests."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("config"))
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    # Where Mesa would keep the shaders of a software GPU, 20 s of a core to compile: once for all workers and runs, not for each.
    shaders = Path(os.environ.get("CACHE", REPO / ".cache")).resolve() / "mesa"
    shaders.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("MESA_SHADER_CACHE_DIR", str(shaders))


@pytest.fixture(scope="session", autouse=True)
def _programs_can_be_interrupted() -> None:
    """A shell that starts the tests in the background has them, and all that they start, ignore SIGINT (POSIX)."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _psutil_reads_the_proc_of_the_machine() -> None:
    """Reading another proc sets psutil's path for the whole process, and the next test would find no process there."""
    psutil.PROCFS_PATH = "/proc"


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Root of the recorded corpus; tests that need it are skipped where it is absent."""
    root = Path(os.environ.get("SENTINEL_CORPUS", REPO.parent / "shared" / "corpus"))
    if not root.is_dir():
        pytest.skip(f"no recorded corpus at {root}; set SENTINEL_CORPUS to its folder")
    return root


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    """Wait until a condition holds; fails with `what` after `within` seconds, asked then if it says how things stand."""
    return partial(wait_for, pause=0.01)


@pytest.fixture(scope="session")
def ruleset() -> RuleSet:
    """The rules as shipped, loaded once."""
    return shipped_rules()


@pytest.fixture
def engine(ruleset: RuleSet) -> Engine:
    """A fresh engine with the shipped rules."""
    return Engine(ruleset)


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


def clean(path: Path) -> tuple[str, bytes]:
    """A file as clean lines, as the command reads it."""
    splitter = LineSplitter(65536)
    return path.name, splitter.feed(path.read_bytes()) + splitter.flush()


@pytest.fixture(scope="session")
def judge(ruleset: RuleSet) -> Judge:
    """Diagnose one log file, with the words of a command line and a kernel log where they are known."""

    def run(log: Path, argv: str | None = None, kernel: Path | None = None) -> Diagnosis:
        values = dict(decode(shlex.split(argv), {}).signals()) if argv is not None else {}
        return diagnose(ruleset, [clean(log)], [clean(kernel)] if kernel is not None else [], values)

    return run
