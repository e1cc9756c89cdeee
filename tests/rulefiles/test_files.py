"""Rule files: the shipped ones are right, and every mistake is found, all at once, with its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sample_rules import EVENT, GOOD

from sentinel.engine.rules.expression import Condition, ExpressionError, context
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.engine.rules.template import Template, TemplateError
from sentinel.model.problem import Problem
from sentinel.model.text import parse_duration
from sentinel.rulefiles.files import load_paths, read, shipped
from sentinel.rulefiles.load import load_events, load_rules
from sentinel.rulefiles.testing.runner import run_tests


def problems_of(text: str | bytes, events: dict[str, bytes]) -> list[Problem]:
    definitions, _ = load_events(events)
    data = text.encode() if isinstance(text, str) else text
    return load_rules({"rule.toml": data}, definitions)[2]


def test_the_shipped_rules_pass_their_own_tests(ruleset: RuleSet) -> None:
    results = list(run_tests(ruleset))
    assert len(results) >= 30
    assert [(rule, name, failure.what) for rule, name, failure in results if failure is not None] == []


def test_the_five_rules_of_the_contract_are_shipped(ruleset: RuleSet) -> None:
    assert {"load-oom", "cpu-fallback", "context-collapse", "routing-noise", "blind-spot"} <= set(ruleset.rules)


def test_a_good_rule_has_no_findings_and_passes(events: dict[str, bytes], tmp_path: Path) -> None:
    assert problems_of(GOOD, events) == []
    (tmp_path / "too-slow.toml").write_text(GOOD)
    rules, _ = load_paths([tmp_path])
    assert rules is not None
    assert [failure for _, _, failure in run_tests(rules)] == [None, None, None]


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        ('severity = "warning"', 'serverity = "warning"', "serverity", "unknown key; did you mean 'severity'"),
        ('severity = "warning"', 'severity = "fatal"', "severity", "'fatal' is none of: critical, warning, info"),
        ('severity = "warning"', "severity = 3", "severity", "must be text"),
        ('id = "too-slow"', 'id = "Too Slow"', "id", "is not a rule id"),
        ("00000000000000000000000000000001", "1", "message_id", "32 lower-case hex digits"),
        ('title = "generation is slow"', "", "title", "is missing"),
        ("schema = 1", "schema = 2", "schema", "is not supported"),
        ("schema = 1", "", "schema", "write 'schema = 1'"),
        ('clear = "!slow"', "", "alert", "has no way to clear"),
        ('for = "5s"', 'for = "5 seconds"', "alert.for", "is not a duration"),
        ('slow = "speed < 1.0"', 'slow = "speed <"', "check.slow", "is not CEL"),
        ('slow = "speed < 1.0"', 'slow = "sped < 1.0"', "check.slow", "unknown name 'sped'; did you mean 'speed'"),
        ('slow = "speed < 1.0"', "slow = \"speed == 'x'\"", "check.slow", "which is number, with 'x', which is text"),
        ('slow = "speed < 1.0"', 'slow = "speed"', "check.slow", "must be true or false"),
        ('slow = "speed < 1.0"', 'slow = "speed + 1 < 2"', "check.slow", "mixes types"),
        ('slow = "speed < 1.0"', 'slow = "server.generation_tp < 1.0"', "check.slow", "did you mean 'server.generation_tps'"),
        ('slow = "speed < 1.0"', 'slow = "gpu.busy_percent < 1.0"', "check.slow", "cannot read 'gpu.busy_percent'"),
        ('slow = "speed < 1.0"', "slow = 3", "check.slow", "must be an expression"),
        ('"server.generation_tps", over', '"server.generation_tsp", over', "window.speed", "unknown signal"),
        ('over = "30s"', 'over = "0s"', "window.speed.over", "must be longer than nothing"),
        ('take = "mean"', 'take = "average"', "window.speed.take", "'average' is none of"),
        ('name = "backend_init_failed"', 'name = "backend_failed"', "event.failed", "there is no event 'backend_failed'"),
        ('since = "server.start"', 'over = "1m", since = "server.start"', "event.failed", "needs one of"),
        ("failed.fields.api}", "failed.fields.apy}", "cause 'no-gpu'.text", "has no field 'apy'; did you mean 'api'"),
        ("failed.count > 0", "failed.number > 0", "cause 'no-gpu'.when", "an event has count, age and fields"),
        ("{speed:.1f}", "{speed:%}", "alert.summary", "unknown format"),
        ("{speed:.1f}", "{speed", "alert.summary", "a brace without its partner"),
        ("{speed:.1f}", "{sped:.1f}", "alert.summary", "did you mean 'speed'"),
        ('id = "other"', 'id = "no-gpu"', "cause 'no-gpu'", "is there twice"),
        ('when = "failed.count > 0"', "", "cause 'other'", "can never be reached: the condition of cause 'no-gpu', which"),
        ('cause = "other"', 'cause = "others"', "test 'slow'", "did you mean 'other'"),
        ('_tps" = 0.4', '_tps" = "x"', "test 'slow'.given.server.generation_tps", "which is float"),
        ('generation_tps" = 0.4', 'tps" = 0.4', "test 'slow'.given.server.tps", "gives unknown signal 'server.tps'"),
        ('state = "unknown", missing = ["server.generation_tps"]', 'state = "quiet"', "test", "expects state = 'unknown'"),
        ('scope = "server"', 'scope = "server"\ninhibits = ["cpu-fall"]', "inhibits[1]", "there is no rule 'cpu-fall'"),
        ('do = "look"', 'do = "look"\nbuilds = "5000-"', "cause 'other'.fix[1].builds", "is not a range of builds"),
        ('do = "look"', 'do = "look"\nbuilds = "b9-b5"', "cause 'other'.fix[1].builds", "is empty"),
    ],
)  # fmt: skip
def test_a_mistake_is_found_with_its_place(old: str, new: str, where: str, what: str, events: dict[str, bytes]) -> None:
    assert old in GOOD
    found = [p for p in problems_of(GOOD.replace(old, new, 1), events) if p.where == where and what in p.what]
    assert found, [str(p) for p in problems_of(GOOD.replace(old, new, 1), events)]


def test_all_mistakes_are_reported_at_once(events: dict[str, bytes]) -> None:
    text = (
        GOOD.replace('severity = "warning"', 'serverity = "warning"')
        .replace('"5s"', '"5 s"')
        .replace("speed < 1.0", "sped < 1.0")
    )
    assert {"serverity", "severity", "alert.for"} <= {p.where for p in problems_of(text, events)}
    text = GOOD.replace("speed < 1.0", "sped < 1.0").replace("{speed:.1f}", "{sped}")
    assert {"check.slow", "alert.summary"} <= {p.where for p in problems_of(text, events)}


def test_what_cannot_be_decoded_hides_no_other_mistake(events: dict[str, bytes]) -> None:
    """An unknown key, a missing id, and beside them a signal, an expression, an event, a check and a text that are wrong."""
    text = (
        GOOD.replace('id = "too-slow"', 'ident = "too-slow"')
        .replace('"5s"', '"5 s"')
        .replace("server.rss_bytes", "server.rss_byte")
        .replace("speed < 1.0", "speed <")
        .replace("backend_init_failed", "backend_failed")
        .replace('clear = "!slow"', 'clear = "!slaw"')
        .replace("{failed.fields.api}", "{speed:%}")
    )
    places = {"ident", "id", "alert.for", "value.share", "check.slow", "event.failed", "alert.clear", "cause 'no-gpu'.text"}
    assert {p.where for p in problems_of(text, events)} == places


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('slow = "speed < 1.0"', "slow = 3"),
        ('speed = { signal = "server.generation_tps", over = "30s", take = "mean" }', "speed = 3"),
        ('failed = { name = "backend_init_failed", since = "server.start" }', "failed = 3"),
        ('id = "too-slow"', ""),
        ('severity = "warning"', 'severity = "fatal"'),
        ('scope = "server"', 'scope = "serv"'),
    ],
)
def test_one_mistake_is_reported_once(old: str, new: str, events: dict[str, bytes]) -> None:
    """What rests on the part that could not be decoded is no mistake of its own."""
    assert old in GOOD
    found = problems_of(GOOD.replace(old, new, 1), events)
    assert len(found) == 1, [str(p) for p in found]


@pytest.mark.parametrize(
    ("fix", "warned"),
    [
        ('do = "look"\nwhen = "slow"', True),
        ('do = "look"\nbuilds = "b5000-"', True),
        ('do = "restart {server.unit}"', True),
        ('do = "restart[? {server.unit}?]"', False),
        ('do = "tell {server.name}"', False),
        ('do = "new"\nbuilds = "b5000-"\n[[cause.fix]]\ndo = "old"\nbuilds = "-b4999"', False),
        ('do = "look"\nwhen = "slow"\n[[cause.fix]]\ndo = "else"\notherwise = true', False),
    ],
)
def test_a_cause_whose_fixes_all_have_conditions_is_warned_of(fix: str, warned: bool, events: dict[str, bytes]) -> None:
    """Where nothing is known, an alert would come without advice."""
    found = problems_of(GOOD.replace('do = "look"', fix), events)

    assert [(p.level, p.where) for p in found] == ([("warning", "cause 'other'")] if warned else [])


def test_a_fix_for_everything_else_has_no_condition(events: dict[str, bytes]) -> None:
    found = problems_of(GOOD.replace('do = "look"', 'do = "look"\nwhen = "slow"\notherwise = true'), events)

    assert [p.where for p in found] == ["cause 'other'.fix[1].otherwise"]


def test_no_cause_of_a_shipped_rule_can_come_without_advice() -> None:
    """`rules lint` warns of none."""
    assert load_paths([shipped()])[1] == []


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "is empty"),
        (b"\xff\xfe\x00", "is not UTF-8"),
        (b"a = ", "has no value"),
        (b"schema = 0x" + b"f" * 5000, "a very large number is not supported"),
        (b"\xef\xbb\xbfschema = 1", "byte order mark"),
        (b"<html>\n<body>\n</body>", "is not TOML: Invalid statement"),
        (b"\x7fELF\x02\x01\x01\x00\x00", "is not TOML"),
        (b"schema = 1\nx = " + b"9" * 5000, "is not TOML"),
        (b"x" * (2 << 20), "is larger than 1048576 bytes"),
        (b"a = " + b"[" * 5000 + b"]" * 5000, "nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_no_rule_file_gets_one_sentence(data: bytes, what: str, events: dict[str, bytes]) -> None:
    (problem,) = problems_of(data, events)
    assert what in problem.what


def test_a_path_that_is_not_there_is_said() -> None:
    _, problems = load_paths([Path("/nowhere/at/all")])
    assert any("is not there" in p.what for p in problems)


def test_what_is_no_file_is_said_and_never_waited_for(tmp_path: Path) -> None:
    """A pipe that nobody writes to, a circle of links, a name that is too long, a zero byte, a device."""
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "one.toml").symlink_to("two.toml")
    (tmp_path / "two.toml").symlink_to("one.toml")
    asked = [tmp_path / "pipe.toml", tmp_path / "one.toml", tmp_path / ("x" * 300), tmp_path / "a\0b", Path("/dev/null")]
    told = [p.what for p in load_paths(asked)[1][: len(asked)]]
    assert [what.partition(";")[0].partition(":")[0] for what in told] == [
        "is no regular file",
        "cannot be read",
        "cannot be read",
        "cannot be read",
        "is no regular file",
    ]


def test_a_folder_of_very_many_files_is_refused_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(4):
        (tmp_path / f"rule-{i}.toml").write_text(GOOD)
    monkeypatch.setattr("sentinel.rulefiles.files.MAX_FILES", 3)
    rules, _, problems = read([tmp_path])
    assert rules == {}
    assert [p.what for p in problems] == ["holds more than 3 *.toml files; give the folder that holds your rules, or the files"]
    monkeypatch.setattr("sentinel.rulefiles.files.MAX_FILES", 4)
    assert len(read([tmp_path])[0]) == 4
    monkeypatch.setattr("sentinel.rulefiles.files.MAX_NAMES", 3)
    assert "holds more than 3 files and folders" in read([tmp_path])[2][0].what


def test_two_rules_with_one_message_id_are_refused(events: dict[str, bytes]) -> None:
    definitions, _ = load_events(events)
    files = {"a.toml": GOOD.encode(), "b.toml": GOOD.replace('id = "too-slow"', 'id = "slower"', 1).encode()}
    assert any("message_id" in p.where and "a.toml" in p.what for p in load_rules(files, definitions)[2])


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("^slots", "slots", "must begin with ^"),
        ("(?P<n>", "(?P<n", "new_event"),
        ('example = "slots: 4"', 'example = "slot: 4"', "does not match its own example"),
        ('n = "int"', 'n = "integer"', "is none of"),
        ('"server.slots"', '"server.slot"', "sets unknown signal 'server.slot'"),
        ('fields = { n = "int" }', "", "takes 'n', which is text, for 'server.slots', which is int; say so in 'fields'"),
        ('"n" }', '"m" }', "no pattern captures 'm'"),
        ('n = "int"', 'n = "int", m = "int"', "fields.m: no pattern captures 'm'"),
        ("sets =", 'const = { "server.slots" = 1.5 }\nsets =', "must be int, as 'server.slots' is, not 1.5"),
        ("sets =", 'const = { "server.slots" = [] }\nsets =', "must be int, as 'server.slots' is, not []"),
        ("sets =", 'adds = { "server.state" = "n" }\nsets =', "takes 'n', which is int, for 'server.state', which is text"),
        ("sets =", 'forgets = ["server.slot"]\nsets =', "did you mean 'server.slots'"),
        ('builds = "b9000-"', "", "is missing; write the range of builds"),
        ('source = "llama-server"', 'source = "syslog"', "is none of"),
    ],
)
def test_a_mistake_in_an_event_file_is_found(old: str, new: str, what: str) -> None:
    assert load_events({"e.toml": EVENT.encode()})[1] == []
    found = load_events({"e.toml": EVENT.replace(old, new, 1).encode()})[1]
    assert any(what in str(p) for p in found), [str(p) for p in found]


def test_every_pattern_that_re2_refuses_is_reported_and_the_others_are_still_checked() -> None:
    """Two bad patterns of two events, and a third event whose example is wrong."""
    two = EVENT.split("[[event]]")[1].replace("new_event", "second")
    three = EVENT.split("[[event]]")[1].replace("new_event", "third").replace("^slots", "^third")
    text = EVENT.replace("(?P<n>", "(?P<n") + "[[event]]" + two.replace("^", "^(?=x)") + "[[event]]" + three
    told = [str(p) for p in load_events({"e.toml": text.encode()})[1]]
    assert [t.partition(": ")[2].partition(" ")[0] for t in told] == ["event", "event", "event"], told
    assert ["RE2" in t for t in told] == [True, True, False], told
    assert "does not match its own example" in told[2]


def test_unknown_is_not_false() -> None:
    assert Condition("a && b").evaluate(context({"a": False})) is False
    assert Condition("b && a").evaluate(context({"a": False})) is False
    assert Condition("a || b").evaluate(context({"a": True})) is True
    assert Condition("a && b").evaluate(context({"a": True})) is None
    assert Condition("!b").evaluate(context({})) is None
    assert Condition("server.x == 3").evaluate(context({"server": {}})) is None
    assert Condition("has(server.x)").evaluate(context({"server": {}})) is False
    with pytest.raises(ExpressionError):
        Condition("a + 1").evaluate(context({"a": 1.5}))


def test_names_that_an_expression_reads() -> None:
    condition = Condition("server.state == 'server.fake' && failed.fields.why.contains('x') || size(server.user) > n && true")
    assert condition.paths == ("server.state", "failed.fields.why", "server.user", "n")


def test_a_template_shows_quotes_and_leaves_out() -> None:
    known = {"a": "x; rm -rf /", "n": 1 << 31, "f": 0.61, "flag": True}
    template = Template.parse("{a} {n:GiB} {f:percent} {flag} {gone}[? and {gone}?][? and {f:.2f}?] {{}}")
    assert template.render(known.get) == "x; rm -rf / 2.0 GiB 61 % yes unknown and 0.61 {}"
    assert Template.parse("{m:GiB}").render({"m": 313_049_088}.get) == "299 MiB"
    assert Template.parse("cat {a}").render(known.get, quote=True) == "cat 'x; rm -rf /'"
    assert not Template.parse("{gone}").complete(known.get)
    assert Template.parse("{a}[? {gone}?]").complete(known.get)
    with pytest.raises(TemplateError):
        Template.parse("[? {a}")


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10), ("1.5h", 5400), ("250ms", 0.25), ("2d", 172800), ("5", None), ("-1s", None), ("1w", None)]
)
def test_durations(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == seconds


def test_a_value_of_several_words_is_quoted_word_by_word_where_its_format_says_so() -> None:
    text = Template.parse("run {flags:words} {flags}")
    assert text.render({"flags": "-c 4096 $(x)"}.get, quote=True) == "run -c 4096 '$(x)' '-c 4096 $(x)'"
