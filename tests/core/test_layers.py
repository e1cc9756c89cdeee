"""Imports go down only, the pure part stays pure, and every source and sink is in its table."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import sentinel
from sentinel.sinks import SINKS
from sentinel.sources import SOURCES, WIRED

ROOT = Path(sentinel.__file__).parent

#: From the bottom up. A module may import modules of rows below its own, and of its own package.
ROWS: tuple[tuple[str, ...], ...] = (
    ("model",),
    ("parsing", "facts", "sizing"),
    ("alerts", "rules"),
    ("learning", "rebase", "agenda", "telling", "stamps"),
    ("engine", "recording"),
    ("trial", "views", "replay", "starts"),
    ("explain", "metrics"),
    # ---- purity line ----
    ("clock", "config", "rulefiles", "heap"),
    ("sources", "sinks", "api", "history", "systemd", "inbox", "workers", "recordings"),
    ("preflight",),
    ("diagnosis", "supervise", "docs", "journal_catalog", "flight", "exposition"),
    ("schedule", "reload", "upgrades", "logs", "silencing", "readiness", "listening", "firstload"),
    ("queries",),
    ("consumer", "openapi"),
    ("daemon",),
    ("cli",),
    ("__main__",),
)
PURE_ROWS = 7
#: What the pure part may never import: input and output, clocks, concurrency, logging.
IMPURE = {
    "asyncio", "socket", "subprocess", "threading", "time", "datetime", "logging", "structlog", "os", "shutil", "tempfile",
    "sqlite3", "psutil", "pyudev", "watchdog", "apscheduler", "h11", "random", "selectors", "signal", "multiprocessing",
}  # fmt: skip
#: Third-party code below the line, each fenced to its files.
FENCED = {
    "re2": {"parsing/extract.py", "sizing/overrides.py"},
    "cel": {"rules/condition.py"},
    "tomllib": {"rules/toml.py"},
    "msgspec": {"recording/form.py"},
}
#: datetime in these converts a number that is already there into text; nothing asks what time it is.
CONVERTS_TIME = {"model/wire.py", "parsing/envelope.py"}


def row_of(part: str) -> int:
    for number, row in enumerate(ROWS):
        if part in row:
            return number
    pytest.fail(f"sentinel.{part} is in no layer: add it to ROWS where it belongs")


def modules() -> Iterator[tuple[str, str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name == "__init__.py":
            continue
        yield name, name.split("/")[0].removesuffix(".py"), ast.parse(path.read_text())


def imports(tree: ast.Module) -> Iterator[str]:
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module == "sentinel":
                yield from (f"sentinel.{alias.name}" for alias in node.names)


def test_imports_go_down_only() -> None:
    wrong = []
    for name, part, tree in modules():
        for imported in imports(tree):
            parts = imported.split(".")
            if parts[0] != "sentinel" or len(parts) < 2 or parts[1] == part:
                continue
            if row_of(parts[1]) >= row_of(part):
                wrong.append(f"{name} imports {imported}")
    assert not wrong


def test_the_pure_part_knows_no_clock_and_no_io() -> None:
    wrong = []
    for name, part, tree in modules():
        if row_of(part) >= PURE_ROWS:
            continue
        for imported in imports(tree):
            head = imported.split(".")[0]
            if head in IMPURE and not (head == "datetime" and name in CONVERTS_TIME):
                wrong.append(f"{name} imports {imported}")
    assert not wrong


def test_third_party_code_below_the_line_is_fenced() -> None:
    seen: dict[str, set[str]] = {}
    for name, part, tree in modules():
        for imported in imports(tree):
            head = imported.split(".")[0]
            if head in FENCED and row_of(part) < PURE_ROWS:
                seen.setdefault(head, set()).add(name)
    assert seen == FENCED


def test_model_uses_the_standard_library_only() -> None:
    wrong = []
    for name, part, tree in modules():
        if part == "model":
            wrong += [f"{name} imports {i}" for i in imports(tree) if i.split(".")[0] in {"msgspec", "re2", "cel", "psutil"}]
    assert not wrong


def test_apscheduler_is_imported_in_one_file() -> None:
    found = {name for name, _, tree in modules() for i in imports(tree) if i.split(".")[0] == "apscheduler"}
    assert found == {"schedule.py"}


def test_every_source_is_in_the_table() -> None:
    """A file with a class that polls or streams is either built from SOURCES or wired by name."""
    built = {f.__name__.removeprefix("_") for f in SOURCES}
    found = set()
    for path in (ROOT / "sources").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                methods = {m.name for m in node.body if isinstance(m, ast.FunctionDef | ast.AsyncFunctionDef)}
                if methods & {"poll", "run"} and path.stem != "base":
                    found.add(path.stem)
    assert found == built | set(WIRED)


def test_every_sink_is_in_the_table() -> None:
    found = set()
    for path in (ROOT / "sinks").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and path.stem != "base":
                methods = {m.name for m in node.body if isinstance(m, ast.FunctionDef)}
                if "deliver" in methods:
                    found.add(path.stem)
    assert found == set(SINKS)


def test_no_module_level_mutable_state() -> None:
    wrong = []
    for name, part, tree in modules():
        if row_of(part) >= PURE_ROWS:
            continue
        for node in tree.body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(
                node.value, ast.List | ast.Set | ast.ListComp | ast.SetComp
            ):
                wrong.append(f"{name}:{node.lineno}")
    assert not wrong
