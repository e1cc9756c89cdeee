"""The JSON Schemas for editors: shipped files are right by them, shapes that lint refuses are wrong, and no key is forgotten."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from places import REPO

from sentinel.cli.actions import SCHEMAS
from sentinel.cli.main import main
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.rulefiles.decode import event_defs, rule_def
from sentinel.rulefiles.deprecated import RENAMED
from sentinel.rulefiles.file_names import TESTS
from sentinel.rulefiles.files import load_given, read, shipped
from sentinel.rulefiles.json_schema import schemas
from sentinel.rulefiles.library import is_library
from sentinel.rulefiles.load import load
from sentinel.rulefiles.schema_parts import Schema
from sentinel.rulefiles.testing.decode import case_def
from sentinel.rulefiles.toml.document import decode
from sentinel.rulefiles.toml.tables import Findings, Table

RULE = (REPO / "docs/first-rule.md").read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
OVERRIDE = (REPO / "docs/your-rules.md").read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
PATTERN = (REPO / "docs/your-rules.md").read_text(encoding="utf-8").split("```toml\n")[-1].split("```")[0]


@pytest.fixture(scope="module")
def made(ruleset: RuleSet) -> dict[str, Schema]:
    return schemas(ruleset)


def wrong(schema: Schema, text: str | bytes) -> list[str]:
    table = tomllib.loads(text.decode() if isinstance(text, bytes) else text)
    return [error.message for error in Draft7Validator(schema).iter_errors(table)]


def kind_of(file: str, data: bytes) -> str:
    return "tests" if file.endswith(TESTS) else "shared" if is_library(tomllib.loads(data.decode())) else "rule"


def test_they_are_schemas_and_their_own_examples_are_right(made: dict[str, Schema]) -> None:
    assert tuple(made) == SCHEMAS
    for schema in made.values():
        Draft7Validator.check_schema(schema)
    for kind, text in (("rule", RULE), ("override", OVERRIDE), ("events", PATTERN)):
        assert wrong(made[kind], text) == []


def test_the_examples_of_the_documentation_are_without_a_mistake(tmp_path: Path) -> None:
    for name, text in (("rule", RULE), ("override", OVERRIDE), ("pattern", PATTERN)):
        (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")
    found = load_given([tmp_path])
    assert found.errors == []
    assert [p.where for p in found.problems] == ["override"]


def test_every_shipped_file_is_right_by_them(made: dict[str, Schema]) -> None:
    rules, events, _ = read([shipped()])
    assert {file: found for file, data in rules.items() if (found := wrong(made[kind_of(file, data)], data))} == {}
    assert {file: found for file, data in events.items() if (found := wrong(made["events"], data))} == {}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("schema = 1", "schema = 2"),
        ('severity = "warning"', 'serverity = "warning"'),
        ('severity = "warning"', 'severity = "fatal"'),
        ('severity = "warning"', "severity = 3"),
        ('id = "slow-generation"', 'id = "Slow Generation"'),
        ('title = "generation is slower than this machine can do"', ""),
        ('scope = "server"', 'scope = "process"'),
        ('basis = ["measured"]', 'basis = ["guessed"]'),
        ('take = "mean"', 'take = "average"'),
        ('signal = "server.generation_tps"', 'signal = "server.generation_tsp"'),
        ('over = "2m"', 'over = "2 minutes"'),
        ("slow = ", "Slow = "),
        ('slow = "speed < 10.0"', "slow = 10.0"),
        ('for = "30s"', 'fro = "30s"'),
        ('for = "30s"', "for = 30"),
        ('clear = "speed > 12.0"\n', ""),
        ('confidence = "medium"', 'confidence = "certain"'),
        ('confidence = "medium"', 'severity = "fatal"'),
        ('do = "See why', 'du = "See why'),
        ('"server.generation_tps" = 2.0', '"server.generation_tsp" = 2.0'),
        ('"server.generation_tps" = 2.0', '"server.generation_tps" = "slow"'),
        ('state = "quiet"', 'state = "silent"'),
        ('expect = { state = "unknown" }', ""),
    ],
)
def test_what_lint_refuses_for_its_shape_an_editor_marks(made: dict[str, Schema], old: str, new: str) -> None:
    assert old in RULE
    text = RULE.replace(old, new, 1)
    assert wrong(made["rule"], text)
    _, problems = load({"rule.toml": text.encode()}, read([shipped()])[1])
    assert any(p.level == "error" and p.file == "rule.toml" for p in problems), "lint does not mind"


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("override", 'override = "cpu-fallback"', ""),
        ("override", 'severity = "warning"', 'id = "other"'),
        ("override", 'for = "1m"', 'fro = "1m"'),
        ("override", 'id = "no-gpu-in-machine"\n', ""),
        ("events", 'source = "llama-server"', 'source = "llama"'),
        ("events", 'extends = "http_listening"', 'extends = "http_listening"\nname = "mine"'),
        ("events", 'builds = "b99999-"', 'builds = "99999"'),
        ("events", "regex = ", "regexp = "),
    ],
)
def test_the_same_of_overrides_and_event_files(made: dict[str, Schema], kind: str, old: str, new: str) -> None:
    text = OVERRIDE if kind == "override" else PATTERN
    assert old in text
    assert wrong(made[kind], text.replace(old, new, 1))


def _asked(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, ...], set[str]]:
    """Every key that the decoders ask for, by the way to its table; names that an author chose and numbers are *."""
    found: dict[tuple[str, ...], set[str]] = {}

    def done(self: Table) -> None:
        way = tuple("*" if isinstance(key, int) or i == 1 else key for i, key in enumerate(self.keys))
        found.setdefault(way, set()).update(self._asked)

    monkeypatch.setattr(Table, "done", done)
    rules, events, _ = read([shipped()])
    for file, data in {**rules, "rule.toml": RULE.encode()}.items():
        if kind_of(file, data) == "rule":
            rule_def(decode(data, file), file)
    for file, data in rules.items():
        if kind_of(file, data) == "tests":
            for row in Table(decode(data, file).table, (), Findings(file)).tables("test"):
                case_def(row)
    for file, data in {**events, "pattern.toml": PATTERN.encode()}.items():
        event_defs(decode(data, file), Findings(file))
    return found


def _known(schema: Schema) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """The keys of every table of a schema by the same ways."""

    def walk(part: Any, way: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], set[str]]]:
        for form in part.get("anyOf", ()):
            yield from walk(form, way)
        if "items" in part:
            yield from walk(part["items"], (*way, "*"))
        if isinstance(part.get("additionalProperties"), dict):
            yield from walk(part["additionalProperties"], (*way, "*"))
        if "properties" in part:
            yield way, set(part["properties"])
            for key, inner in part["properties"].items():
                yield from walk(inner, (*way, key))

    return walk(schema, ())


def test_they_know_the_keys_that_the_decoder_reads_no_more_and_no_less(
    made: dict[str, Schema], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _asked(monkeypatch)
    known: dict[tuple[str, ...], set[str]] = {}
    for kind in ("rule", "events"):
        for way, keys in _known(made[kind]):
            known.setdefault(way, set()).update(keys)
    assert {way for way in asked if way not in known} == set()
    # A rule and an event file share the top; a test expects one thing, or several with their times.
    # What is shared was put in before a rule is decoded.
    shared = {("cause", "*", "fix", "*"): {"use"}, ("test", "*"): {"base", "without"}}
    # So were the new names of deprecated keys.
    shared |= {tuple(map(str, old[:-1])): {str(old[-1])} for old in RENAMED}
    assert {way: asked[way] ^ known[way] for way in asked if asked[way] != known[way]} in (
        shared,
        shared | {("test", "*", "expect"): {"at"}},
    )


def test_the_command_prints_one(capsys: pytest.CaptureFixture[str], made: dict[str, Schema]) -> None:
    assert main(["rules", "schema", "override"]) == 0
    assert json.loads(capsys.readouterr().out) == made["override"]
