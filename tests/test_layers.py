"""Imports go down the rooms only, the pure part stays pure, and every source and sink is in its table."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from places import REPO

import sentinel
from sentinel.daemon.polled_sources import SOURCES, WIRED
from sentinel.sinks import SINKS

ROOT = Path(sentinel.__file__).parent

#: Rooms from the bottom up. A module may import modules of rows below its own, and of its own room. A room is a folder; the
#: folders in `cli` and `preflight` are parts of it.
ROWS: tuple[tuple[str, ...], ...] = (
    ("model",),
    ("llama", "engine/log", "rulefiles/toml", "files", "terminal"),
    ("gguf", "memory", "engine/facts"),
    ("engine/rules", "engine/alerts"),
    ("engine",),
    ("engine/inspect", "rulefiles/testing", "rulefiles/lint"),
    ("rulefiles",),
    ("recording", "sources", "sinks", "history"),
    ("sources/gpu", "diagnose"),
    ("sources/processes",),
    ("sources/logs", "sources/server"),
    ("preflight", "report", "quality"),
    ("api",),
    ("daemon", "notify", "web", "cure"),
    ("cli",),
    ("generate",),
    ("__main__",),
)
#: Rooms without input and output, clocks, concurrency and logging, and modules of them that have some all the same.
PURE = {
    "model", "llama", "memory", "engine", "engine/log", "engine/facts", "engine/rules", "engine/alerts", "engine/inspect",
    "rulefiles", "rulefiles/toml", "rulefiles/lint", "rulefiles/testing", "recording", "diagnose", "quality",
}  # fmt: skip
NOT_PURE = {
    "rulefiles/files.py",
    "rulefiles/kept.py",
    "recording/archive.py",
    "recording/flight_recorder.py",
    "diagnose/diagnosis.py",
}
NOT_PURE |= {"rulefiles/kept.py"} | {f"quality/{name}.py" for name in ("api_key", "asking", "http", "listening", "store")}
NOT_PURE |= {f"quality/daily/{name}.py" for name in ("child", "computing", "errand", "guard", "identity", "kept", "source")}
IMPURE_LIBRARIES = {
    "asyncio", "socket", "subprocess", "threading", "time", "datetime", "logging", "structlog", "os", "shutil", "tempfile",
    "sqlite3", "psutil", "pyudev", "watchdog", "apscheduler", "h11", "random", "selectors", "signal", "multiprocessing",
}  # fmt: skip
#: Third-party code in the pure part, each in its files only.
FENCED = {
    "re2": {
        "diagnose/complaints.py",
        "engine/log/extractor.py",
        "engine/log/match.py",
        "engine/log/spans.py",
        "memory/tensor_overrides.py",
    },
    "cel": {"engine/rules/expression.py"},
    "tomllib": {"rulefiles/toml/document.py"},
    "msgspec": {"recording/line_types.py", "recording/state_types.py"},
}
#: datetime in these converts a number that is already there into text; nothing asks what time it is.
CONVERTS_TIME = {"model/json_form.py", "engine/log/envelope.py"}


def room_of(module: str) -> str:
    """The room of a file below sentinel/, ``engine/log/lines.py``: the longest folder that is a room."""
    parts = module.split("/")
    rooms = {room for row in ROWS for room in row}
    for length in range(len(parts), 0, -1):
        room = "/".join(parts[:length]).removesuffix(".py")
        if room in rooms:
            return room
    pytest.fail(f"{module} is in no room: add its folder to ROWS where it belongs")


def row_of(room: str) -> int:
    return next(number for number, row in enumerate(ROWS) if room in row)


@cache
def modules() -> tuple[tuple[str, str, ast.Module], ...]:
    """Every file below sentinel/ but the package's own __init__: its name, its room, its syntax tree."""
    names = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))
    return tuple((name, room_of(name), ast.parse((ROOT / name).read_text())) for name in names if name != "__init__.py")


@cache
def imports(tree: ast.Module) -> tuple[str, ...]:
    """The modules that a file imports, for types as well; of `from package import module` both."""
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
            if node.module.startswith("sentinel"):
                found += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(found)


@cache
def has_code(init: Path) -> bool:
    """Whether a package's __init__ is more than a docstring; if not, it imports nothing."""
    return len(ast.parse(init.read_text()).body) > 1


def rooms_imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Imported modules of this package with the room of each."""
    for imported in imports(tree):
        path = imported.removeprefix("sentinel.").replace(".", "/")
        if imported.startswith("sentinel.") and (ROOT / f"{path}.py").exists():
            yield imported, room_of(f"{path}.py")
        elif imported.startswith("sentinel.") and (init := ROOT / path / "__init__.py").exists() and has_code(init):
            yield imported, room_of(f"{path}/__init__.py")


def test_imports_go_down_only() -> None:
    wrong = [
        f"{name} imports {imported}"
        for name, room, tree in modules()
        for imported, other in rooms_imported(tree)
        if other != room and row_of(other) >= row_of(room)
    ]
    assert not wrong


def test_no_two_files_of_tests_have_the_same_name() -> None:
    """pytest imports them by their name alone, and ends with an error when it meets the second."""
    names = [path.name for path in (REPO / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []


def test_no_module_is_loose_at_the_root() -> None:
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py", "__main__.py"}


def test_a_room_with_rooms_in_it_has_an_empty_init() -> None:
    """Else whoever imports the inner room imports the outer one, which stands above it."""
    outer = {room.split("/")[0] for row in ROWS for room in row if "/" in room}
    wrong = [room for room in outer if has_code(ROOT / room / "__init__.py")]
    assert not wrong


def test_one_name_is_one_thing() -> None:
    """A reader who has met a class, or an alias of a type, knows it wherever the name stands again. Programs of their own (the
    notifier, the cure, the live page, the measurement of quality) and the contents of a page have names of their own."""
    homes: dict[tuple[str, str], list[str]] = {}
    for name, room, tree in modules():
        whose = room if room in ("notify", "cure", "quality", "report", "web") else ""
        for node in tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
            named = [target.id for target in targets if isinstance(target, ast.Name)]
            named += [node.name] if isinstance(node, ast.ClassDef) else []
            for one in named:
                if one[0].isupper() and not one.isupper():
                    homes.setdefault((whose, one), []).append(name)
    assert {one: where for one, where in homes.items() if len(where) > 1} == {}


def test_the_pure_part_knows_no_clock_and_no_io() -> None:
    wrong = []
    for name, room, tree in modules():
        if room not in PURE or name in NOT_PURE:
            continue
        for imported in imports(tree):
            head = imported.split(".")[0]
            if head in IMPURE_LIBRARIES and not (head == "datetime" and name in CONVERTS_TIME):
                wrong.append(f"{name} imports {imported}")
        wrong += [f"{name} imports {imported}" for imported, other in rooms_imported(tree) if other not in PURE]
    assert not wrong


def test_third_party_code_in_the_pure_part_is_fenced() -> None:
    seen: dict[str, set[str]] = {}
    for name, room, tree in modules():
        for imported in imports(tree):
            head = imported.split(".")[0]
            if head in FENCED and room in PURE and name not in NOT_PURE:
                seen.setdefault(head, set()).add(name)
    assert seen == FENCED


def test_model_uses_the_standard_library_only() -> None:
    wrong = []
    for name, room, tree in modules():
        if room == "model":
            wrong += [f"{name} imports {i}" for i in imports(tree) if i.split(".")[0] in {"msgspec", "re2", "cel", "psutil"}]
    assert not wrong


def test_apscheduler_is_imported_in_one_file() -> None:
    found = {name for name, _, tree in modules() for i in imports(tree) if i.split(".")[0] == "apscheduler"}
    assert found == {"daemon/schedule.py"}


def classes_with(folder: str, methods: set[str]) -> set[str]:
    """Stems of the files below a folder with a class that has one of these methods, its own or of an abstract class that it
    completes; the abstract ones and the protocols in base.py left out."""
    classes = [
        (path.relative_to(ROOT / folder).with_suffix("").as_posix(), node)
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and path.stem != "base"
    ]

    def bases(node: ast.ClassDef) -> set[str]:
        return {ast.unparse(base).partition("[")[0] for base in node.bases}

    having = {
        (name, node.name): bases(node)
        for name, node in classes
        if methods & {m.name for m in node.body if isinstance(m, ast.FunctionDef | ast.AsyncFunctionDef)}
    }
    abstract = {name for (_, name), parents in having.items() if "ABC" in parents}
    completed = {name for name, node in classes if bases(node) & abstract}
    return {name for (name, _), parents in having.items() if "ABC" not in parents} | completed


def test_every_source_is_in_the_table() -> None:
    """A file with a class that polls or streams is either built from SOURCES or wired by name."""
    built = {f.__name__.removeprefix("_") for f in SOURCES}
    found = classes_with("sources", {"poll", "run"})
    assert {name for name in found if name not in WIRED and name.rsplit("/", 1)[-1] not in built} == set()
    assert set(WIRED) <= found


def test_every_sink_is_in_the_table() -> None:
    assert classes_with("sinks", {"deliver"}) == set(SINKS)


def test_no_module_level_mutable_state() -> None:
    wrong = []
    for name, room, tree in modules():
        if room not in PURE:
            continue
        for node in tree.body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(
                node.value, ast.List | ast.Set | ast.ListComp | ast.SetComp
            ):
                wrong.append(f"{name}:{node.lineno}")
    assert not wrong


def test_architecture_shows_these_rooms() -> None:
    """The block ```layers in ARCHITECTURE.md, top first, is this table."""
    text = (REPO / "ARCHITECTURE.md").read_text(encoding="utf-8")
    block = re.search(r"```layers\n(.*?)```", text, re.DOTALL)
    assert block is not None
    shown = [tuple(line.split()) for line in block.group(1).splitlines() if line.strip()]
    assert shown == list(reversed(ROWS))
