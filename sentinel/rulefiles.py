"""Where rule files are, and reading them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sentinel.model.problem import Problem
from sentinel.rules.load import load
from sentinel.rules.ruleset import RuleSet
from sentinel.rules.toml import MAX_FILE_BYTES

Files = dict[str, bytes]


def shipped() -> Path:
    """The rules that came with sentinel: beside the package in a checkout, inside it where it is installed."""
    package = Path(__file__).resolve().parent
    installed = package / "shipped"
    return installed if installed.is_dir() else package.parent / "rules"


def read(paths: Iterable[Path]) -> tuple[Files, Files, list[Problem]]:
    """Rule files and event files (those in a folder named `events`) below the paths, with what could not be read."""
    rules: Files = {}
    events: Files = {}
    problems: list[Problem] = []
    for path in paths:
        if not path.exists():
            problems.append(Problem(str(path), "", "is not there; give a rule file or a folder of rule files"))
            continue
        found = sorted(path.rglob("*.toml")) if path.is_dir() else [path]
        if not found:
            problems.append(Problem(str(path), "", "holds no *.toml file", "warning"))
        for file in found:
            try:
                with file.open("rb") as stream:
                    data = stream.read(MAX_FILE_BYTES + 1)
            except OSError as error:
                problems.append(Problem(str(file), "", f"cannot be read: {error.strerror}"))
                continue
            (events if file.parent.name == "events" else rules)[str(file)] = data
    return rules, events, problems


def load_paths(paths: Iterable[Path]) -> tuple[RuleSet | None, list[Problem]]:
    """The rule set of these files and folders; where they hold no event files, the shipped ones serve."""
    rules, events, problems = read(paths)
    if not events:
        _, events, more = read([shipped()])
        problems += more
    ruleset, found = load(rules, events)
    problems += found
    return (None if any(p.level == "error" for p in problems) else ruleset), problems
