"""Every shipped rule, cause and wording is tried; and the search for what is not finds it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sentinel.cli.main import main
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.rulefiles.files import load_given, read, shipped
from sentinel.rulefiles.testing.coverage import coverage
from sentinel.rulefiles.testing.runner import trials

EVENTS = """
schema = 1
source = "llama-server"
[[event]]
name = "moon_rises"
[[event.pattern]]
builds = "any"
regex = '''^moon: (?:up|risen)$'''
example = "moon: up"
from = "composed"
"""


def test_every_shipped_rule_cause_and_wording_is_tried(ruleset: RuleSet) -> None:
    rules, events, _ = read([shipped()])
    found = coverage(ruleset, trials(ruleset), {*rules, *events})
    assert [str(gap) for gap in found.gaps] == []
    assert found.tried == found.there
    assert all(found.there.values())


def _asked(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    code = main(["rules", "coverage", *arguments])
    return code, capsys.readouterr().out.splitlines()


def test_a_cause_that_no_test_names_is_listed_with_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where the cause is reported in a test that does not say so: nobody would notice another one."""
    mine, tests = tmp_path / "memory-thrash.toml", tmp_path / "memory-thrash.test.toml"
    mine.write_bytes((shipped() / mine.name).read_bytes())
    text = (shipped() / tests.name).read_text()
    tests.write_text(text)
    assert _asked(str(mine), capsys=capsys)[0] == 0

    rules = load_given([mine]).ruleset
    assert rules is not None
    cause = rules.rules["memory-thrash"].rule.causes[0].id
    tests.write_text(text.replace(f', cause = "{cause}"', "").replace(f'\ncause = "{cause}"', ""))
    code, told = _asked(str(mine), capsys=capsys)
    assert code == 2
    assert any(line.startswith(f"{mine}: cause '{cause}': no passing test expects it") for line in told)
    assert told[-1] == "tried: 1 of 1 rules, 2 of 3 causes, 0 of 0 patterns"


def test_a_test_that_fails_tries_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "dark.toml"
    mine.write_text(
        RULE.replace("moon_rises", "server_ready").replace('cause = "night" }', 'cause = "night", fix_contains = "a lamp" }')
    )
    code, told = _asked(str(mine), capsys=capsys)
    assert code == 2
    assert told[0] == f"{mine}: rule 'dark': no passing test expects that it fires; add one with state = 'firing'"
    assert told[1].startswith(f"{mine}: cause 'night': no passing test expects it")


def test_an_example_that_its_author_composed_proves_no_wording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line of a test does, and so does an example that was recorded."""
    folder = tmp_path / "events"
    folder.mkdir()
    (folder / "moon.toml").write_text(EVENTS)
    (tmp_path / "dark.toml").write_text(RULE)
    code, told = _asked(str(tmp_path), "--json", capsys=capsys)
    answer = json.loads("".join(told))
    assert code == 2
    assert [gap["where"] for gap in answer["gaps"]] == ["event 'moon_rises'.pattern[1]"]
    assert answer["gaps"][0]["file"] == str(folder / "moon.toml")

    (folder / "moon.toml").write_text(EVENTS.replace('"composed"', '"recorded"'))
    assert _asked(str(tmp_path), capsys=capsys)[0] == 0

    (folder / "moon.toml").write_text(EVENTS)
    (tmp_path / "dark.toml").write_text(RULE.replace('name = "dark"', 'name = "dark"\nlog = ["+1s moon: risen"]'))
    assert _asked(str(tmp_path), capsys=capsys)[0] == 0


RULE = """
schema = 1
id = "dark"
message_id = "00000000000000000000000000000001"
title = "the moon is not up"
severity = "info"
scope = "server"
[event]
moon = { name = "moon_rises", since = "server.start" }
[check]
dark = "server.slots == 0"
[alert]
when = "dark && moon.count < 100"
clear = "!dark"
summary = "dark"
[[cause]]
id = "night"
text = "it is night"
[[test]]
name = "dark"
given = { "server.slots" = 0 }
expect = { state = "firing", cause = "night" }
[[test]]
name = "light"
given = { "server.slots" = 1 }
expect = { state = "quiet" }
[[test]]
name = "nobody knows"
unknown = ["server.slots"]
expect = { state = "unknown" }
"""
