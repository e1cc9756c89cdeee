"""The shipped rule files read well: short lines, what a rule is before how it is computed, nothing shared for one alone."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from places import REPO

from sentinel.rulefiles.file_names import of_tests
from sentinel.rulefiles.library import is_library

_FILES = sorted((REPO / "rules").rglob("*.toml"))
_LONGEST = 160


def tables(*, tests: bool) -> dict[Path, dict[str, Any]]:
    return {path: tomllib.loads(path.read_text(encoding="utf-8")) for path in _FILES if of_tests(str(path)) is tests}


def test_no_line_is_longer_than_a_screen_is_wide() -> None:
    long = [
        f"{path.relative_to(REPO)}:{number}: {len(line)}"
        for path in _FILES
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1)
        if len(line) > _LONGEST
    ]
    assert long == []


def test_a_rule_says_what_it_detects_then_when_it_fires_then_why() -> None:
    order = ["alert", "check", "evidence", "cause", "value", "window", "event", "fix"]
    for path, table in tables(tests=False).items():
        if "id" in table:
            there = [key for key, said in table.items() if isinstance(said, dict) or key == "cause"]
            assert there == [key for key in order if key in there], path.name
            assert "test" not in table, f"{path.name}: its tests stand in {path.stem}.test.toml"


def test_whatever_is_shared_is_used_by_more_than_one() -> None:
    rules, tests = tables(tests=False), tables(tests=True)
    used = [
        row["use"] for table in rules.values() for cause in table.get("cause", ()) for row in cause.get("fix", ()) if "use" in row
    ]
    shared = {name for table in rules.values() if is_library(table) for name in table.get("fix", ())}
    assert {name for name in shared if used.count(name) < 2} == set()
    stands_on = [
        one.get("base", ()) for table in tests.values() for one in (*table.get("test", ()), *table.get("base", {}).values())
    ]
    on = [name for some in stands_on for name in ([some] if isinstance(some, str) else some)]
    bases = {name for table in tests.values() for name in table.get("base", ())}
    assert {name for name in bases if on.count(name) < 2} == set()
