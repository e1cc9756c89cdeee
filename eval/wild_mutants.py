"""Logs as people paste them: cut, thinned, without times, from Windows, beside another server's. What is said of a part must not
contradict what the whole log shows.

make eval-wild runs all of them; tests/diagnose/test_wild_mutants.py a few.
python eval/wild_mutants.py NAME...       cases whose name begins so; --folder F for another folder
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figure import Figure, table
from eval.wild_case import WILD, Case, chosen, load
from sentinel.cli import diagnose
from sentinel.cli.parser import parser
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.rulefiles.files import load_paths, shipped

Lines = list[str]
_DATE = re.compile(
    r"^(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d [\w.-]+ |\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)? +)"
)
_STAMP = re.compile(r"^(?P<before>\S+\[\d+\]: |\S+ +\| )?\d{1,9}\.\d\d\.\d{3}\.\d{3} [A-Z] ")
_PATH = re.compile(r"(?<![\w:.])/(?:[\w.-]+/)+[\w.-]+")
_OTHER = (
    "build: 8100 (0123abcd) with GNU 13.3.0 for Linux x86_64",
    "main: loading model",
    "srv    load_model: loading model '/srv/models/other.gguf'",
    "main: model loaded",
    "main: server is listening on http://127.0.0.1:9099",
    "srv  update_slots: all slots are idle",
)


def _beside(lines: Lines) -> Lines:
    every = max(1, len(lines) // len(_OTHER))
    out, other = [], iter(_OTHER)
    for number, line in enumerate(lines):
        out.append(line)
        if number % every == 0 and (said := next(other, None)) is not None:
            out.append(f"other-1  | {said}")
    return out


MUTATIONS: dict[str, Callable[[Lines], Lines]] = {
    "head cut by a third": lambda lines: lines[len(lines) // 3 :],
    "head cut by two thirds": lambda lines: lines[2 * len(lines) // 3 :],
    "first line missing": lambda lines: lines[1:],
    "tail cut by half": lambda lines: lines[: len(lines) // 2],
    "tail cut by a quarter": lambda lines: lines[: 3 * len(lines) // 4],
    "last line missing": lambda lines: lines[:-1],
    "middle missing": lambda lines: lines[: len(lines) // 3] + lines[2 * len(lines) // 3 :],
    "odd lines": lambda lines: lines[::2],
    "even lines": lambda lines: lines[1::2],
    "last 20 lines": lambda lines: lines[-20:],
    "last 5 lines": lambda lines: lines[-5:],
    "without dates": lambda lines: [_DATE.sub("", line) for line in lines],
    "without stamps": lambda lines: [_STAMP.sub(lambda found: found["before"] or "", line) for line in lines],
    "Windows paths": lambda lines: [_PATH.sub(lambda path: "C:" + path[0].replace("/", "\\"), line) for line in lines],
    "beside another server": _beside,
    "without the command line": lambda lines: lines,
}
#: Of a part of a log less is known, and these say less: a crash without the line that names its cause, and the driver's word.
_LESS = frozenset({"server-crashed", "gpu-reset", "restart-loop"})
#: Commands of Linux, which a user of another system cannot run.
_LINUX = re.compile(r"\b(?:systemctl|journalctl|modprobe|namei|sysctl|chmod|rocminfo)\b")
#: What a server says while it serves.
_SERVES = re.compile(r"stop processing: n_past|stop processing: n_tokens|eval time =|processing task")


@dataclass(frozen=True, slots=True)
class Said:
    """An answer: warnings and criticals with cause and confidence, how starts ended, and its words."""

    loud: dict[str, tuple[str, str]]
    starts: frozenset[str]
    words: str


def ask(ruleset: RuleSet, case: Case, lines: Lines, *, argv: bool = True) -> Said:
    """What `diagnose` says of these lines in place of the case's log."""
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "server.log"
        log.write_text("\n".join(lines) + "\n", encoding="utf-8")
        words = ["diagnose", str(log), "--json"]
        line = case.folder / "argv.txt"
        command = line.read_text(encoding="utf-8").strip().replace("\n", " ") if line.exists() else ""
        if command and argv:
            words += ["--argv", command]
        if (case.folder / "kernel.log").exists():
            words += ["--kernel-log", str(case.folder / "kernel.log")]
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            diagnose.judge(ruleset, parser().parse_args(words))
    items = [json.loads(row) for row in out.getvalue().splitlines()]
    alerts = [item for item in items if item.get("state") == "firing" and item["severity"] in ("warning", "critical")]
    causes = {alert["rule"]: alert.get("cause") or {} for alert in alerts}
    fixes = " ".join(str(fix.get(key, "")) for alert in alerts for fix in alert["fixes"] for key in ("do", "command", "verify"))
    return Said(
        {rule: (cause.get("id", ""), cause.get("confidence", "")) for rule, cause in causes.items()},
        frozenset(start["came_to"] for start in items[-1].get("starts", ())),
        fixes,
    )


def contradictions(ruleset: RuleSet, case: Case, names: Sequence[str] = ()) -> Iterator[str]:
    """What is said of a mutant although the whole log shows otherwise, one sentence each."""
    lines = (case.folder / "server.log").read_text(encoding="utf-8", errors="replace").splitlines()
    whole = ask(ruleset, case, lines)
    related = set(whole.loud) | {other for rule in whole.loud for other in ruleset.rules[rule].rule.inhibits}
    related |= {rule for rule in ruleset.rules if set(ruleset.rules[rule].rule.inhibits) & set(whole.loud)}
    for name, change in MUTATIONS.items():
        part = change(lines)
        if (names and name not in names) or (part == lines and name != "without the command line"):
            continue
        said = ask(ruleset, case, part, argv=name != "without the command line")
        where = f"{case.name}, {name}"
        for rule, (cause, confidence) in said.loud.items():
            if case.healthy or (rule not in related and not (rule in _LESS and whole.loud)):
                yield f"{where}: {rule} ({cause}) fires, and of the whole log it does not"
            elif confidence == "high" and rule in whole.loud and whole.loud[rule][1] == "high" and cause != whole.loud[rule][0]:
                yield f"{where}: {rule} is for certain {cause}, and of the whole log {whole.loud[rule][0]}"
        serves = whole.starts <= {"crashed"} and any(_SERVES.search(line) for line in part)
        if serves and said.starts & {"failed", "ended"}:
            yield f"{where}: a server that serves did not start"
        if case.healthy and said.starts - {"loading"}:
            yield f"{where}: the start of a healthy server came to {', '.join(sorted(said.starts))}"
        windows = name == "Windows paths" and not (case.folder / "kernel.log").exists() and _is_windows(part)
        if windows and (command := _LINUX.search(said.words)) is not None:
            yield f"{where}: a user of Windows is told {command[0]}"


def _is_windows(lines: Lines) -> bool:
    text = "\n".join(lines)
    return "C:\\" in text and re.search(r"systemd|docker|podman|[Ll]inux|/dev/|/usr/| \| |\w\[\d+\]: ", text) is None


def figure(ruleset: RuleSet, cases: Sequence[Case]) -> tuple[Figure, list[str]]:
    """The number of contradictions, and each of them."""
    found = [sentence for case in cases for sentence in contradictions(ruleset, case)]
    return Figure("wild: mutants that contradict the whole log", str(len(found)), "0", not found), found


def main() -> int:
    """Judge every mutant; 1 where one contradicts its whole log."""
    options = argparse.ArgumentParser(description="Judge parts of the logs of public reports.")
    options.add_argument("names", metavar="NAME", nargs="*")
    options.add_argument("--folder", type=Path, default=WILD)
    arguments = options.parse_args()
    ruleset, problems = load_paths([shipped()])
    if ruleset is None:
        print("\n".join(str(problem) for problem in problems), file=sys.stderr)
        return 2
    result, found = figure(ruleset, chosen(load(arguments.folder), arguments.names))
    print("\n".join(found))
    print(table([result]))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
