"""Lines a second of the whole path: bytes of a file -> lines -> events -> facts -> every shipped rule -> transitions.

Two logs: the recorded runs one after the other, in which a server starts every 90 lines or so, and one server that started and
then serves: the requests of the same recordings, with other numbers and times each time. Starts are the dear part: every rule is
judged before a run is forgotten.
Beside it mtail with eight patterns on the same file in the same run, alternately, medians of user + system CPU time of the whole
process. sentinel reads the lines as news (judged one by one); mtail counts them. Nothing is excluded. How many times mtail's CPU
time it takes is told of the whole process and with start-up apart (measured on an empty file), which is much of a run of seconds.

    python bench/throughput.py --read FILE      the child process that is measured
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench.daemon import compiled  # noqa: E402
from bench.figure import Figure  # noqa: E402

ROOT = HERE.parent
#: Lines of the log; what is recorded is repeated.
LINES = 400_000
QUICK_LINES = 100_000
ROUNDS = 5
QUICK_ROUNDS = 1
GOAL = 2.0
_READY = re.compile(rb".*(?:listening on http|server is listening|all slots are idle).*\n")
_STOPS = re.compile(rb"stopping|cleaning up|Received|interrupt|terminat")
_STAMP = re.compile(rb"^(\d+)(?=\.\d\d\.\d{3}\.\d{3} )", re.MULTILINE)
_TASK = re.compile(rb"(?<=\btask )(\d+)")


@dataclass(frozen=True)
class Cost:
    """What a child process used, in seconds."""

    cpu: float
    wall: float
    output: str


def recorded() -> list[Path]:
    """Recorded logs of llama-server: the corpus where it is, else what the tests carry."""
    corpus = Path(os.environ.get("SENTINEL_CORPUS", ROOT.parent / "shared" / "corpus"))
    for folder in (corpus / "logs", ROOT / "tests" / "fixtures" / "logs"):
        if found := sorted(folder.glob("*.log")):
            return found
    return []


def text_of(log: Path) -> bytes:
    """A log. Bytes that are not UTF-8 are question marks: mtail 3.0.0-rc50 reads no further in a file after the first of them."""
    return log.read_bytes().decode("utf-8", "replace").replace("\ufffd", "?").encode()


def compose(target: Path, data: bytes, lines: int, first: bytes = b"") -> int:
    """Write `first`, then `data` until there are enough lines; how many there are."""
    often = -(-lines // data.count(b"\n"))
    with target.open("wb") as out:
        out.write(first)
        for _ in range(often):
            out.write(data)
    return first.count(b"\n") + data.count(b"\n") * often


def distinct(data: bytes, times: int) -> bytes:
    """The lines so many times: each time a minute later, of other tasks."""

    def more(by: int) -> bytes:
        later = _STAMP.sub(lambda found: b"%d" % (int(found[0]) + by), data)
        return _TASK.sub(lambda found: b"%d" % (int(found[0]) + 1000 * by), later)

    return b"".join(map(more, range(times)))


def serving(logs: Sequence[Path]) -> tuple[bytes, bytes]:
    """The start of a recorded run that served, and what all such runs printed from then on until they were stopped."""
    start, served = b"", b""
    for log in logs:
        ready = _READY.search(data := text_of(log))
        if ready is None or b"eval time" not in data[ready.end() :]:
            continue
        start = data[: ready.end()]
        served += b"".join(line for line in data[ready.end() :].splitlines(keepends=True) if not _STOPS.search(line))
    return start, served


def cost(command: Sequence[str], env: Mapping[str, str] | None = None, codes: Container[int] = (0,)) -> Cost:
    """Run a command to its end. Raises RuntimeError where it ends with another code."""
    with tempfile.TemporaryFile() as out:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL, env={**os.environ, **(env or {})})
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in codes:
            raise RuntimeError(f"{Path(command[0]).name} ended with {process.returncode}")
        out.seek(0)
        return Cost(used.ru_utime + used.ru_stime, wall, out.read().decode())


def run(*, quick: bool = False) -> list[Figure]:
    """Measure."""
    logs = recorded()
    if not logs:
        return [Figure("lines a second", "-", note="no recorded logs; set SENTINEL_CORPUS to a folder with logs/*.log")]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file, empty = Path(folder) / "server.log", Path(folder) / "empty.log"
        empty.touch()
        wanted, rounds = (QUICK_LINES, QUICK_ROUNDS) if quick else (LINES, ROUNDS)
        lines = compose(file, b"".join(map(text_of, logs)), wanted)
        figures = _measure("lines per CPU second, recorded runs", file, empty, lines, rounds)
        start, served = serving(logs)
        if not served:
            return figures
        served = distinct(served, -(-wanted // served.count(b"\n")))
        lines = compose(file, served, 1, start)
        return figures + _measure("lines per CPU second, one server serving", file, empty, lines, rounds)


def _measure(name: str, file: Path, empty: Path, lines: int, rounds: int) -> list[Figure]:
    mtail = shutil.which("mtail")
    ours: list[Cost] = []
    theirs: list[Cost] = []
    alone: list[Cost] = []
    for _ in range(rounds):
        ours.append(cost(_sentinel(file), compiled()))
        if mtail is not None:
            theirs.append(cost(mtail_of(mtail, file)))
            alone.append(cost(mtail_of(mtail, file), {"GOMAXPROCS": "1"}))
    start = median(cost(_sentinel(empty), compiled()).cpu for _ in range(rounds))
    seen = json.loads(ours[0].output)
    # A carriage return ends a line too, for sentinel.
    if seen["lines"] < lines:
        raise RuntimeError(f"sentinel read {seen['lines']} of {lines} lines")
    cpu, wall = median(c.cpu for c in ours), median(c.wall for c in ours)
    speed = lines / cpu
    what = f"{lines} lines, of which {seen['events'] / lines:.0%} are events; {cpu:.2f} s CPU, {wall:.2f} s wall, "
    what += f"of it start-up {start:.2f} s; {seen['transitions']} transitions"
    if mtail is None:
        hint = "mtail is not installed, so there is nothing to compare with: apt-get install mtail"
        return [Figure(name, _count(speed), ">= mtail's", None, f"{what}; {hint}")]
    their_cpu, their_wall = median(c.cpu for c in theirs), median(c.wall for c in theirs)
    their_start = median(cost(mtail_of(mtail, empty)).cpu for _ in range(rounds))
    met = cpu <= their_cpu
    if not met:
        what += "; missed: each event is parsed, kept and judged in Python"
    counted = re.search(r"^requests_done\S* (\d+)", theirs[0].output, re.MULTILINE)
    if counted is None or int(counted.group(1)) == 0:
        raise RuntimeError("mtail counted nothing; is bench/llama.mtail what it read?")
    note = f"eight patterns, {counted.group(1)} requests counted; {their_cpu:.2f} s CPU, {their_wall:.2f} s wall, "
    note += f"of it start-up {their_start:.2f} s"
    alone_cpu = median(c.cpu for c in alone)
    return [
        Figure(name, _count(speed), f">= {_count(lines / their_cpu)} (goal {GOAL:g} x mtail)", met, what),
        Figure("  times mtail's CPU time, with start-up", f"{cpu / their_cpu:.1f}", note=f"Python {python()}"),
        Figure("  times mtail's CPU time, start-up apart", f"{(cpu - start) / (their_cpu - their_start):.1f}"),
        Figure("  mtail, as installed", _count(lines / their_cpu), note=note),
        Figure("  mtail, held to one thread", _count(lines / alone_cpu), note="GOMAXPROCS=1: no hand-over between threads"),
    ]


def python() -> str:
    """Which Python this is, and how it was built: without profile-guided optimisation it is a sixth slower."""
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    return f"{platform.python_version()}, built {'with' if optimised else 'without'} profile-guided optimisation"


def _sentinel(file: Path) -> list[str]:
    return [sys.executable, str(HERE / "throughput.py"), "--read", str(file)]


def mtail_of(mtail: str, file: Path) -> list[str]:
    logs = ["--log_dir", str(file.parent), "--address", "127.0.0.1", "--port", "0"]
    return [
        mtail,
        "--one_shot",
        "--one_shot_format",
        "prometheus",
        "--progs",
        str(HERE / "llama.mtail"),
        "--logs",
        str(file),
        *logs,
    ]


def _count(number: float) -> str:
    return f"{number:,.0f}".replace(",", " ")


def read(path: Path) -> dict[str, int]:
    """Read a file to its end as the daemon reads what is being written."""
    from sentinel.engine.engine import Engine
    from sentinel.model.entity import Entity
    from sentinel.rulefiles.files import RuleFiles
    from sentinel.sources.logs.file import LogFile
    from sentinel.sources.logs.log_place import Position
    from sentinel.sources.logs.tail import digest

    # As a daemon loads them first, without those that it keeps decoded.
    loaded = RuleFiles().load()
    if loaded.ruleset is None:
        raise SystemExit("\n".join(str(problem) for problem in loaded.problems))
    engine = Engine(loaded.ruleset)
    status = path.stat()
    # A position that was saved before the first line: everything in the file is news.
    start = Position(str(path), status.st_dev, status.st_ino, 0, 1, digest(b""))
    log = LogFile(path, Entity("server", "bench"), start=start)
    transitions = 0
    at = 1_700_000_000.0
    while found := log.poll(at):
        for lines in found:
            transitions += len(engine.step(lines))
        at += 1.0
    log.close()
    return {"lines": engine.intake.lines_read, "events": engine.intake.events_seen, "transitions": transitions}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        print(json.dumps(read(Path(sys.argv[2]))))
    else:
        from bench.figure import table

        print(table(run(quick="--quick" in sys.argv)))
