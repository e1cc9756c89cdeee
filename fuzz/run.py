"""Mutated rule files through `rules lint` and the engine, mutated log lines through the parser and every shipped rule.

    python fuzz/run.py [--rules N] [--lines N] [--seed N]

Ends with 1 if anything was found: a traceback, an input that took longer than its bound, a rule that a line made raise, memory
that grew, or a finding that is not one printable line.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import signal
import sys
import time
import tomllib
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parent))
from mutate import Mutator

from sentinel.engine.engine import Engine
from sentinel.engine.log.lines import LineSplitter
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.entity import HOST, Entity, Unknown, Value
from sentinel.model.problem import Problem
from sentinel.model.reading import LogLines, Samples, ServerFound, Tick
from sentinel.rulefiles.file_names import beside
from sentinel.rulefiles.files import load_paths, read, shipped
from sentinel.rulefiles.library import is_library
from sentinel.rulefiles.load import DERIVED, load, load_events, load_rules
from sentinel.rulefiles.testing.runner import run_case
from sentinel.rulefiles.toml.document import placed

REPO = Path(__file__).resolve().parent.parent
LOGS = (
    REPO / "tests/fixtures/logs",
    REPO / "tests/fixtures/kernel",
    REPO / "eval/recordings",
    REPO.parent / "shared/corpus/logs",
)
#: Seconds for one input; a mutant of the largest rule file takes a tenth of one, on a busy machine.
BOUND = 5.0
#: Bytes that one input may add to what the process holds, and all of a campaign together.
JUMP, GROWTH = 64 << 20, 96 << 20
#: Lines after which the engine is made anew, as a daemon that restarts.
_LINES_OF_ONE_ENGINE = 5000
_LONGEST_TEST = 120.0
_PAGE = 4096


class TooLong(Exception):
    """An input took longer than its bound."""


@dataclass
class Campaign:
    """What came of the inputs of one kind."""

    name: str
    tried: Counter[str] = field(default_factory=Counter)
    #: mutants that are good rule files, or lines that are events
    accepted: int = 0
    worst: float = 0.0
    worst_of: str = ""
    begun_with: int = 0
    grown: int = 0
    found: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def one(self, kind: str, data: bytes) -> Iterator[None]:
        """Run one input within its bounds; what goes wrong is noted, and the campaign goes on."""
        self.tried[kind] += 1
        before, begun = held(), time.perf_counter()
        try:
            with bounded(BOUND):
                yield
        except (KeyboardInterrupt, SystemExit):
            raise
        except TooLong:
            self.note(f"{kind}: {traceback.format_exc(limit=-12)}\n  input: {data[:600]!r}")
        except BaseException:
            # A panic of a library in Rust is no Exception.
            self.note(f"{kind}: {traceback.format_exc(limit=-6)}\n  input: {data[:600]!r}")
        took = time.perf_counter() - begun
        if took > self.worst:
            self.worst, self.worst_of = took, kind
        if held() - before > JUMP:
            self.note(f"{kind}: {(held() - before) >> 20} MiB more in memory\n  input: {data[:600]!r}")
        total = sum(self.tried.values())
        if total % 1000 == 0:
            print(f"{self.name}: {total} tried, worst {self.worst:.3f} s", file=sys.stderr, flush=True)
        if total == 200:
            # Libraries have filled their caches.
            self.begun_with = held()
        self.grown = held() - self.begun_with if self.begun_with else 0

    def note(self, what: str) -> None:
        """Something was found: told at once, for a campaign takes long."""
        self.found.append(what)
        print(f"\n{self.name}: {what}", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Hold the growth of the whole campaign against its bound."""
        if self.grown > GROWTH:
            self.note(f"{self.grown >> 20} MiB more in memory after {sum(self.tried.values())} inputs")


def held() -> int:
    """Resident memory of this process, bytes."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE


@contextlib.contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Raise TooLong in Python code; code of a library that does not return ends the process with a traceback."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TooLong(f"longer than {seconds:g} s")

    old = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(seconds * 12, exit=True)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, old)


def rule_files(count: int, seed: int) -> Campaign:
    """Mutants of the shipped rule and event files, each linted alone; the tests of one that is still good are run."""
    campaign = Campaign("rule files")
    mutator = Mutator(seed)
    rules, event_files, _ = read([shipped()])
    events = load_events(event_files)[0] | {made.name: made for made in DERIVED}
    whole, _ = load(rules, event_files)
    assert whole is not None
    texts = [(file, data.decode(), file in rules) for file, data in sorted({**rules, **event_files}.items())]
    for i in range(count):
        file, text, is_rule = texts[i % len(texts)]
        kind, data = mutator.rule_file(mutator.shorter(text))
        with campaign.one(kind, data):
            if is_rule:
                files = {**_company(file, rules), file: data}
                compiled, _, problems = load_rules(files, events)
                problems = placed(problems, files)
                for one in compiled:
                    campaign.accepted += 1
                    case = next((c for c in one.rule.tests if c.at <= _LONGEST_TEST), None)
                    if case is not None:
                        run_case(one, case, RuleSet.build([one], events.values(), whole.extractors))
            else:
                _, problems = load_events({file: data})
                problems = placed(problems, {file: data})
                campaign.accepted += not problems
            told(problems)
    campaign.end()
    return campaign


def _company(file: str, rules: dict[str, bytes]) -> dict[str, bytes]:
    """What a rule file stands among: what all rules share, and its tests, or the rule that they are of."""
    shared = {other: data for other, data in rules.items() if is_library(tomllib.loads(data.decode()))}
    other = beside(file)
    return shared | ({other: rules[other]} if other in rules else {})


def told(problems: list[Problem]) -> None:
    """Each finding is one printable line."""
    for problem in problems:
        line = str(problem)
        if not line.isprintable() or len(line) > 4000:
            raise AssertionError(f"not one printable line: {line[:200]!r}")


def recorded_lines() -> list[tuple[str, bytes]]:
    """Kind and text of the lines of every recorded log."""
    lines: dict[tuple[str, bytes], None] = {}
    for folder in LOGS:
        for file in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if file.is_file() and file.suffix in (".log", ".kmsg", ".txt", ".jsonl"):
                kind = "kernel" if file.suffix == ".kmsg" or "kernel" in str(file) else "llama-server"
                lines |= dict.fromkeys((kind, line) for line in file.read_bytes().split(b"\n")[:400] if line.strip())
    return list(lines)


def examples() -> list[tuple[str, bytes]]:
    """Kind and text of a line for each wording of each event."""
    _, event_files, _ = read([shipped()])
    return [(event.source, p.example.encode()) for event in load_events(event_files)[0].values() for p in event.patterns]


def log_lines(count: int, seed: int) -> Campaign:
    """Mutated lines through the splitter of lines into an engine with every shipped rule."""
    campaign = Campaign("log lines")
    mutator = Mutator(seed)
    ruleset, problems = load_paths([shipped()])
    assert ruleset is not None, problems
    corpora = (examples(), recorded_lines())
    server = Entity("server", "llama.service")
    engine = Engine(ruleset)
    for i in range(count):
        at = 1_000_000_000.0 + i / 10
        if i % _LINES_OF_ONE_ENGINE == 0:
            engine = Engine(ruleset)
            known: dict[str, Value | Unknown] = {"server.log_readable": True, "server.unit": "llama.service"}
            engine.step(ServerFound(at, "fuzz", server, 4242, at, known))
            engine.step(Samples(at, "fuzz", HOST, {"host.kernel_log_readable": True, "host.mem_total_bytes": 1 << 36}))
        lines = corpora[i % 2]
        kind, line = lines[i // 2 * 7919 % len(lines)]
        data = mutator.line(line, lines[(i * 104729 + 1) % len(lines)][1])
        with campaign.one(kind, data):
            splitter = LineSplitter(65536)
            clean = splitter.feed(data + b"\n") + splitter.flush()
            before = engine.intake.events_seen
            engine.step(LogLines(at, "fuzz.log", HOST if kind == "kernel" else server, clean, kind=kind, first=i))
            if i % 10 == 0:
                engine.step(Tick(at))
            campaign.accepted += engine.intake.events_seen > before
            if engine.unhealthy:
                raise AssertionError(f"a line made rules raise: {engine.unhealthy}")
    campaign.end()
    return campaign


def main() -> int:
    """Both campaigns, and a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", type=int, default=20_000, help="mutated rule files")
    parser.add_argument("--lines", type=int, default=50_000, help="mutated log lines")
    parser.add_argument("--seed", type=int, default=20261125)
    arguments = parser.parse_args()
    begun = time.perf_counter()
    campaigns = [rule_files(arguments.rules, arguments.seed), log_lines(arguments.lines, arguments.seed)]
    print(f"seed {arguments.seed}, {time.perf_counter() - begun:.0f} s, bound {BOUND:g} s an input")
    print(f"{'inputs':<12} {'number':>7} {'accepted':>9} {'worst':>9} {'of':<13} {'memory':>9} {'found':>6}")
    for one in campaigns:
        number, grown = sum(one.tried.values()), f"{one.grown / (1 << 20):+.1f} MiB"
        print(
            f"{one.name:<12} {number:>7} {one.accepted:>9} {one.worst:>7.3f} s {one.worst_of:<13} {grown:>9} {len(one.found):>6}"
        )
        print(f"{'':<12} " + ", ".join(f"{kind} {count}" for kind, count in sorted(one.tried.items())))
    return 1 if any(one.found for one in campaigns) else 0


if __name__ == "__main__":
    sys.exit(main())
