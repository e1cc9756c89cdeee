"""Every finding comes with its line, and what is not TOML hides nothing of the rest."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from sample_rules import EVENT, GOOD

from sentinel.model.problem import Keys, Problem
from sentinel.rulefiles.files import read, shipped
from sentinel.rulefiles.load import load
from sentinel.rulefiles.toml.document import salvage
from sentinel.rulefiles.toml.positions import outline


def found(text: str, events: dict[str, bytes]) -> list[Problem]:
    return load({"r.toml": text.encode()}, events)[1]


def paths(value: Any, keys: Keys = ()) -> Iterator[Keys]:
    """The keys of everything that tomllib finds."""
    if keys:
        yield keys
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from paths(part, (*keys, key))


def test_every_key_of_every_shipped_file_has_its_place() -> None:
    rules, event_files, _ = read([shipped()])
    assert len(rules) > 10
    for file, data in {**rules, **event_files}.items():
        there = outline(data.decode())
        keys = set(paths(tomllib.loads(data.decode())))
        # A signal's name without quotes is found as one key, too.
        as_one = {(*key[:i], ".".join(map(str, key[i:]))) for key in keys for i in range(len(key) - 1)}
        assert keys <= set(there.lines) <= keys | as_one, file
        assert there.flaws == [], file


@pytest.mark.parametrize(
    ("text", "keys", "line"),
    [
        ("a = 1\nb = 2", ("b",), 2),
        ("# a = 1\r\n\r\na = 1\r\n", ("a",), 3),
        ("a = '''\n[x]\n'''\n[x]\nb = 1", ("x", "b"), 5),
        ('a = """x\\\n  """\nb = 1', ("b",), 3),
        ("a = [\n 1, # ]\n '[',\n 3,\n]\nb = 1", ("a", 2), 4),
        ("a = [\n 1, # ]\n '[',\n 3,\n]\nb = 1", ("b",), 6),
        ("t = { x = 1, y = { z = '}' } }\nb = 1", ("t", "y", "z"), 1),
        ("[[c]]\nx = 1\n[[c]]\nx = 2\n[[c.f]]\n[[c.f]]\ny = 3", ("c", 1, "f", 1, "y"), 7),
        ("[[c]]\n[c.t]\nx = 1\n[[c]]\n[c.t]\nx = 2", ("c", 1, "t", "x"), 6),
        ('"a b".c.\'d e\' = 1', ("a b", "c", "d e"), 1),
        ('"\\u0061" = 1', ("a",), 1),
        ("x = [[1,\n2],\n[3]]", ("x", 1, 0), 3),
        ('x = [\n"a=b",\n"c",\n]\ny = 1', ("x", 1), 3),
        ("x = [{ a = 1 },\n{ a = 2 }]", ("x", 1, "a"), 2),
        ("d = 1979-05-27 07:32:00 # c\nb = 2", ("b",), 2),
    ],
)  # fmt: skip
def test_a_key_is_found_whatever_stands_before_it(text: str, keys: Keys, line: int) -> None:
    assert keys in set(paths(tomllib.loads(text)))
    assert outline(text).lines[keys] == line


def test_what_is_missing_is_reported_where_it_would_stand() -> None:
    there = outline("schema = 1\n[alert]\nfor = '1s'\n[[cause]]\nid = 'x'")
    assert there.line(("alert", "when")) == 2
    assert there.line(("cause", 0, "text")) == 4
    assert there.line(("title",)) == 0


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('severity = "warning"', 'serverity = "warning"', "r.toml:6: serverity: unknown key; did you mean 'severity'"),
        ('take = "mean"', 'take = "meen"', "r.toml:9: window.speed.take: 'meen' is none of: "),
        ('for = "5s"', 'for = "5 s"', "r.toml:18: alert.for: '5 s' is not a duration"),
        ('do = "look"', 'do = "{sped}"', "r.toml:29: cause 'other'.fix[1].do: unknown name 'sped'; did you mean 'speed'"),
        ('when = "slow"', "when = '''\nslow\n  &&'''", "r.toml:19: alert.when: is not CEL: in its line 2"),
        ('state = "quiet"', 'state = "quite"', "r.toml:39: test 'fast'.expect.state: 'quite' is none of"),
        ('"server"\n', '"server"\ninhibits = [\n "a",\n "b",\n]\n', "r.toml:10: inhibits[2]: there is no rule 'b'"),
        ('text = "not known"', "", "r.toml:25: cause 'other'.text: is missing"),
    ],
)  # fmt: skip
def test_a_finding_begins_with_file_line_and_key(old: str, new: str, told: str, events: dict[str, bytes]) -> None:
    assert old in GOOD
    problems = [str(p) for p in found(GOOD.replace(old, new, 1), events)]
    assert any(p.startswith(told) for p in problems), problems


def test_a_mistake_in_an_event_file_has_its_line() -> None:
    text = EVENT.replace('example = "slots: 4"', 'example = "slot: 4"')
    _, problems = load({}, {"e.toml": text.encode()})
    assert [str(p) for p in problems] == ["e.toml:8: event 'new_event'.pattern[1]: does not match its own example 'slot: 4'"]


@pytest.mark.parametrize(
    ("text", "line", "keys", "what"),
    [
        ("a = warning", 1, ("a",), 'is a text without quotes; write "warning"'),
        ("x = 1\na = True", 2, ("a",), "is True; TOML knows true and false"),
        ("a: 3", 1, ("a",), "has ':' where TOML has '='"),
        ("a = ", 1, ("a",), "has no value"),
        ("a", 1, ("a",), "is no key with a value"),
        ("a = 3\nb = 1\na = 4", 3, ("a",), "is there twice; first on line 1"),
        ("[a]\n[b]\n[a]", 3, ("a",), "is there twice; first on line 1"),
        ("[[a]]\n[a]", 2, ("a",), "write [[a]]"),
        ("x = 1\na = '''x\ny = 3", 2, ("a",), "its text begins with ''' and has no end"),
        ("a = [\n 1,\n\n[b]\nc = 1", 1, ("a",), "lacks a ',' or its ']'"),
        ('a = "^\\d+"', 1, ("a",), "has \\d in double quotes; between single quotes"),
        ("[a\nb = 1", 1, ("a",), "its header is not closed; write [a]"),
        ("a = {b = 1,\n c = 2}", 1, ("a",), "stays on one line"),
        ("a = {b = 1, b = 2}", 1, ("a", "b"), "is there twice in one table"),
        ("a = 1 b = 2", 1, ("a",), "Expected newline or end of document after a statement"),
    ],
)
def test_what_is_not_toml_is_reported_with_its_line(text: str, line: int, keys: Keys, what: str) -> None:
    flaw = salvage(text).flaws[0]
    assert flaw[:2] == (line, keys)
    assert what in flaw[2]


def test_a_part_that_is_not_toml_hides_no_other_mistake_and_is_reported_once(events: dict[str, bytes]) -> None:
    """Two statements that are not TOML, beside them a wrong key and a wrong name; what was left out is not missed as well."""
    text = (
        GOOD.replace('severity = "warning"', "severity = warning")
        .replace('for = "5s"', 'far = "5s"')
        .replace('clear = "!slow"', 'clear = "!slow')
        .replace('do = "look"', 'do = "{sped}"')
    )
    assert [(p.line, p.where) for p in found(text, events)] == [
        (6, "severity"),
        (18, "alert.far"),
        (19, "alert.clear"),
        (29, "cause 'other'.fix[1].do"),
    ]


def test_what_stands_under_a_header_that_is_not_toml_is_not_taken_for_the_table_before(events: dict[str, bytes]) -> None:
    text = GOOD.replace("[check]", "[check").replace('summary = "', 'sumary = "')
    assert [(p.line, p.where) for p in found(text, events)] == [(14, "check"), (16, "alert.summary"), (20, "alert.sumary")]


def test_a_text_that_is_something_else_altogether_gets_one_sentence(events: dict[str, bytes]) -> None:
    assert len(found("#!/bin/sh\nset -e\nfor x in 1 2 3; do\n echo $x\ndone\n", events)) == 1


def test_control_characters_of_a_file_do_not_reach_the_terminal(events: dict[str, bytes]) -> None:
    problems = found(GOOD + '[cause."\\u001b[31m"]\n', events)
    assert problems
    assert not any("\x1b" in str(problem) for problem in problems)
