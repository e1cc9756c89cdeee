"""Named fixes, bases of tests, and tests in a file beside a rule; every mistake is reported where it stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample_rules import GOOD

from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.problem import Problem
from sentinel.rulefiles.digest import rule_digests
from sentinel.rulefiles.files import RuleFiles, load_given
from sentinel.rulefiles.load import load
from sentinel.rulefiles.testing.runner import run_tests

RULE, TESTS = GOOD[: GOOD.index("[[test]]")], "schema = 1\n" + GOOD[GOOD.index("[[test]]") :]
SHARED = """
schema = 1
[fix.look]
do = "See who uses {who}"
command = "fuser -v /dev/kfd"
risk = "none"
verify = "sentinel why {rule} {server.name}"
[fix.look.value]
who = "server.name"
[fix.less-context]
flags = "-c 4096"
[base.slow]
given = { "server.generation_tps" = 0.5, server.gpu_memory_bytes = 0 }
unknown = ["server.pid"]
log = ["+0s one"]
[base.in-a-unit]
base = "slow"
given.server.unit = "llama.service"
"""


def loaded(files: dict[str, str], events: dict[str, bytes], *, tests: bool = True) -> tuple[RuleSet | None, list[Problem]]:
    return load({file: text.encode() for file, text in files.items()}, events, tests=tests)


def good(files: dict[str, str], events: dict[str, bytes], *, tests: bool = True) -> RuleSet:
    ruleset, problems = loaded(files, events, tests=tests)
    assert ruleset is not None, [str(problem) for problem in problems]
    return ruleset


def with_fix(fix: str) -> str:
    return GOOD.replace("[[test]]", f"[[cause.fix]]\n{fix}\n[[test]]", 1)


# --- named fixes ---


def test_a_named_fix_is_what_its_user_says_on_top_of_what_it_says_itself(events: dict[str, bytes]) -> None:
    text = with_fix('use = "look"\nrisk = ""\nverify = "nvidia-smi"')
    rule = good({"r.toml": text, "fixes.toml": SHARED}, events).rules["too-slow"].rule
    fix = rule.causes[-1].fixes[-1]
    assert (fix.do, fix.command, fix.risk, fix.verify) == ("See who uses {who}", "fuser -v /dev/kfd", "", "nvidia-smi")
    assert [(value.name, value.expression) for value in rule.values if value.name == "who"] == [("who", "server.name")]


def test_a_named_fix_knows_the_rule_that_uses_it(events: dict[str, bytes]) -> None:
    rule = good({"r.toml": with_fix('use = "look"'), "fixes.toml": SHARED}, events).rules["too-slow"].rule
    assert rule.causes[-1].fixes[-1].verify == "sentinel why too-slow {server.name}"


def test_a_rule_that_writes_out_what_it_names_is_the_same_rule(events: dict[str, bytes]) -> None:
    written = with_fix('do = "See who uses it"\ncommand = "fuser -v /dev/kfd"')
    named = with_fix('use = "look"') + '[fix.look]\ndo = "See who uses it"\ncommand = "fuser -v /dev/kfd"\n'
    assert rule_digests(good({"r.toml": written}, events)) == rule_digests(good({"r.toml": named}, events))


def test_a_value_of_the_rule_goes_before_that_of_the_fix(events: dict[str, bytes]) -> None:
    text = with_fix('use = "look"').replace("[value]", "[value]\nwho = \"'me'\"")
    rule = good({"r.toml": text, "fixes.toml": SHARED}, events).rules["too-slow"].rule
    assert [value.expression for value in rule.values if value.name == "who"] == ["'me'"]


def test_what_excludes_a_key_of_the_named_fix_takes_its_place(events: dict[str, bytes]) -> None:
    text = with_fix('use = "less-context"\ndo = "Ask for less"\ncommand = "true"')
    fix = good({"r.toml": text, "fixes.toml": SHARED}, events).rules["too-slow"].rule.causes[-1].fixes[-1]
    assert (fix.command, fix.flags) == ("true", "")


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (
            {"r.toml": with_fix('use = "lok"')},
            "r.toml:{use}: {fix}.use: there is no fix 'lok'; did you mean 'look'",
        ),
        ({"r.toml": with_fix("use = 3")}, "there is no fix 3; a fix is named by [fix.NAME]"),
        ({"r.toml": with_fix('use = "look"\ncomand = "x"')}, "unknown key; did you mean 'command'"),
        ({"r.toml": with_fix('use = "less-context"')}, "{fix}.do: is missing"),
        ({"mine.toml": 'schema = 1\n[fix.mine]\ndoo = "x"'}, "mine.toml:3: fix 'mine'.doo: unknown key; did you mean 'do'"),
        ({"mine.toml": 'schema = 1\n[fix.look]\ndo = "x"'}, "is defined in fixes.toml too; each needs a name of its own"),
        ({"mine.toml": 'schema = 1\n[fix.Mine]\ndo = "x"'}, "mine.toml:2: fix 'Mine': is no name of such a thing"),
        ({"mine.toml": 'schema = 1\nfxi = 1\n[fix.mine]\ndo = "x"'}, "mine.toml:2: fxi: unknown key; did you mean 'fix'"),
        ({"mine.toml": "schema = 1\n[fix]\nmine = 3"}, "must be a table, [fix.mine], not 3"),
        ({"r.toml": with_fix('do = "x"\nflags = "-c 1"\nrestart = true')}, "restart: does not go with 'flags'"),
        ({"r.toml": with_fix('do = "x"\nrestart = true\nstop = true')}, "stop: does not go with 'restart'"),
        ({"r.toml": with_fix('do = "x"\nenv = "A=b"\nunit = "Nice=1"')}, "unit: does not go with 'env'; write two fixes"),
        ({"r.toml": with_fix('do = "x"\nunset = "A"\ncommand = "x"')}, "unset: makes its own command"),
        ({"r.toml": with_fix('do = "x"\nunit = "A={nam}"')}, "{fix}.unit: unknown name 'nam'"),
    ],
)
def test_a_mistake_with_named_fixes_is_reported_once_and_in_its_place(
    files: dict[str, str], told: str, events: dict[str, bytes]
) -> None:
    ruleset, problems = loaded({"r.toml": GOOD, "fixes.toml": SHARED} | files, events)
    assert ruleset is None
    assert len(problems) == 1, [str(problem) for problem in problems]
    line = with_fix("use").split("[[cause.fix]]\nuse")[0].count("\n") + 2
    assert told.replace("{use}", str(line)).replace("{fix}", "cause 'other'.fix[2]") in str(problems[0])


@pytest.mark.parametrize("key", ["restart = true", "stop = true", 'env = "A=b"', 'unit = "Nice=1"'])
def test_what_is_done_to_a_server_is_no_fix_of_a_rule_without_one(key: str, events: dict[str, bytes]) -> None:
    text = with_fix(f'do = "x"\n{key}').replace('scope = "server"', 'scope = "host"')
    _, problems = loaded({"r.toml": text}, events)
    name = key.partition(" ")[0]
    assert [p.what for p in problems if p.keys[-1:] == (name,)] == [
        "says what to do with a server, and the rule's scope is 'host'; write a command"
    ]


def test_a_broken_fix_is_reported_where_it_stands_and_not_where_it_is_used(events: dict[str, bytes]) -> None:
    _, problems = loaded({"r.toml": with_fix('use = "mine"'), "f.toml": 'schema = 1\n[fix.mine]\ndo = "x"\nrisk = 3'}, events)
    assert [str(problem) for problem in problems] == ["f.toml:4: fix 'mine'.risk: must be text, not 3"]


def test_a_value_that_the_rule_cannot_read_is_reported_where_the_fix_is_used(events: dict[str, bytes]) -> None:
    fixes = 'schema = 1\n[fix.mine]\ndo = "see {x}"\n[fix.mine.value]\nx = "gpu.busy_percent"'
    text = with_fix('use = "mine"')
    _, problems = loaded({"r.toml": text, "f.toml": fixes}, events)
    line = text[: text.index('use = "mine"')].count("\n") + 1
    assert [(p.file, p.line, p.where) for p in problems] == [("r.toml", line, "value.x")]


@pytest.mark.parametrize("where", ["the shared file", "its own file"])
def test_an_override_uses_named_fixes(where: str, events: dict[str, bytes]) -> None:
    over = 'schema = 1\noverride = "too-slow"\n[[cause]]\nid = "other"\n[[cause.fix]]\nuse = "look"\n'
    files = {"r.toml": GOOD, "fixes.toml": SHARED}
    if where == "its own file":
        files["o.toml"] = over + '[fix.look]\ndo = "Look"\n'
    else:
        files["o.toml"] = over
    rule = good(files, events).rules["too-slow"].rule
    assert [fix.do for fix in rule.causes[-1].fixes] == ["Look" if where == "its own file" else "See who uses {who}"]
    _, problems = loaded(files | {"o.toml": over.replace('"look"', '"lok"')}, events)
    assert [str(p) for p in problems if p.level == "error"] == [
        "o.toml:6: cause 'other'.fix[1].use: there is no fix 'lok'; did you mean 'look'; a fix is named by [fix.NAME]"
    ]


# --- bases of tests ---


def given_of(test: str, events: dict[str, bytes]) -> dict[str, object]:
    text = GOOD + f'[[test]]\nname = "mine"\nexpect = {{ state = "quiet" }}\n{test}'
    rule = good({"r.toml": text, "bases.toml": SHARED}, events).rules["too-slow"].rule
    case = rule.tests[-1]
    return {**case.given, "unknown": case.unknown, "log": [line for _, line in case.log], **case.series}


@pytest.mark.parametrize(
    ("test", "given"),
    [
        (
            'base = "slow"',
            {"server.generation_tps": 0.5, "server.gpu_memory_bytes": 0, "unknown": ("server.pid",), "log": ["one"]},
        ),
        (
            'base = "in-a-unit"\nlog = ["+1s two"]\nwithout = ["server.generation_tps", "server.pid"]',
            {"server.gpu_memory_bytes": 0, "server.unit": "llama.service", "unknown": (), "log": ["one", "two"]},
        ),
        (
            'base = ["slow"]\nunknown = ["server.generation_tps"]\ngiven.server.pid = 7',
            {"server.gpu_memory_bytes": 0, "server.pid": 7, "unknown": ("server.generation_tps",), "log": ["one"]},
        ),
        (
            'base = "slow"\n[test.series]\nserver.generation_tps = "1.0x2"',
            {"server.gpu_memory_bytes": 0, "server.generation_tps": (1.0, 1.0), "unknown": ("server.pid",), "log": ["one"]},
        ),
    ],
)
def test_a_test_on_a_base_has_the_last_word_of_each_signal(test: str, given: dict[str, object], events: dict[str, bytes]) -> None:
    assert given_of(test, events) == given


@pytest.mark.parametrize(
    ("test", "told"),
    [
        ('base = "solw"', "test 'mine'.base: there is no base 'solw'; did you mean 'slow'"),
        ("base = 3", "test 'mine'.base: must be text, not 3"),
        ('base = "slow"\nwithout = ["server.unit"]', "without[1]: none of its bases says anything of 'server.unit'"),
        ('base = "slow"\ngiven.server.gpu_memory_byte = 1', "gives unknown signal 'server.gpu_memory_byte'; did you mean"),
        ("[test.given]\nserver.unit = 3", "test 'mine'.given.server.unit: gives 3 for 'server.unit', which is text"),
    ],
)
def test_a_mistake_with_bases_is_reported(test: str, told: str, events: dict[str, bytes]) -> None:
    text = GOOD + f'[[test]]\nname = "mine"\nexpect = {{ state = "quiet" }}\n{test}'
    _, problems = loaded({"r.toml": text, "bases.toml": SHARED}, events)
    (problem,) = problems
    assert told in str(problem)
    assert problem.line >= GOOD.count("\n") + 4, "the line of the key itself"


def test_a_base_on_itself_is_reported_and_not_followed(events: dict[str, bytes]) -> None:
    bases = 'schema = 1\n[base.a]\nbase = "b"\n[base.b]\nbase = "a"\n[base.c]\nexpect = 3\n'
    _, problems = loaded({"r.toml": GOOD, "bases.toml": bases}, events)
    assert {p.where: p.what for p in problems} == {
        "base 'a'.base": "'a' stands on itself",
        "base 'b'.base": "'b' stands on itself",
        "base 'c'.expect": "belongs to the tests on this base",
    }


# --- tests beside a rule ---


def test_tests_beside_a_rule_are_its_tests(events: dict[str, bytes], tmp_path: Path) -> None:
    assert rule_digests(good({"r.toml": RULE, "r.test.toml": TESTS}, events)) == rule_digests(good({"r.toml": GOOD}, events))
    both = good({"r.toml": GOOD, "r.test.toml": TESTS.replace('name = "', 'name = "once more: ')}, events)
    assert [failure for _, _, failure in run_tests(both)] == [None] * 6
    (tmp_path / "r.toml").write_text(RULE)
    (tmp_path / "r.test.toml").write_text(TESTS)
    for named in ("r.toml", "r.test.toml"):
        found = load_given([tmp_path / named])
        assert found.errors == []
        assert found.ruleset is not None
        assert len(found.ruleset.rules["too-slow"].rule.tests) == 3


def test_a_mistake_in_them_is_reported_with_their_file_and_its_line(events: dict[str, bytes]) -> None:
    files = {"r.toml": GOOD, "r.test.toml": TESTS.replace("server.generation_tps", "server.generation_tp", 1)}
    (problem,) = loaded(files, events)[1]
    assert (problem.file, problem.line) == ("r.test.toml", 1 + TESTS[: TESTS.index("server.generation_tps")].count("\n"))
    (problem,) = loaded({"r.toml": GOOD, "r.test.toml": "schema = 1\n[[tset]]\n"}, events)[1]
    assert str(problem) == "r.test.toml:2: tset: unknown key; did you mean 'test'"
    (problem,) = loaded({"r.toml": RULE, "r.test.toml": "schema = 1\nx = ["}, events)[1]
    assert problem.file == "r.test.toml", "that the rule has no tests is not told beside it"


def test_tests_of_nothing_are_reported(events: dict[str, bytes]) -> None:
    (problem,) = loaded({"r.toml": GOOD, "other.test.toml": TESTS}, events)[1]
    assert str(problem) == "other.test.toml: warning: holds tests of 'other.toml', and there is no such file beside it"


def test_an_override_has_tests_beside_it_too(events: dict[str, bytes]) -> None:
    over = 'schema = 1\noverride = "too-slow"\nseverity = "info"\nagainst = "0"\n'
    name = "fast"
    tests = f'schema = 1\n[[test]]\nname = "{name}"\ngiven = {{}}\nexpect = {{ state = "quiet" }}\n'
    ruleset = good({"r.toml": GOOD, "o.toml": over, "o.test.toml": tests}, events)
    assert [case.name for case in ruleset.rules["too-slow"].rule.tests].count(name) == 1
    assert dict(ruleset.rules["too-slow"].rule.origins)[f"test '{name}'"] == "o.toml"
    bad = tests.replace("quiet", "quite")
    _, problems = loaded({"r.toml": GOOD, "o.toml": over, "o.test.toml": bad}, events)
    (problem,) = [p for p in problems if p.level == "error"]
    assert str(problem).startswith("o.test.toml:5: test 'fast'.expect.state: 'quite' is none of: firing, quiet, pending")


def test_who_judges_by_rules_reads_no_tests(tmp_path: Path, events: dict[str, bytes]) -> None:
    """A mistake in a test is one of `rules lint`; the daemon's rules are the same with it and without."""
    for folder, text in (("rules", RULE), ("events", "")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "r.toml").write_text(text or "schema = 1\nsource = 'kernel'\n")
    (tmp_path / "rules/r.test.toml").write_text("no TOML at all")
    (tmp_path / "rules/bases.toml").write_text("nor this")
    files = RuleFiles(paths=[tmp_path / "rules"])
    assert files.load().errors == []
    assert len(files.load(tests=True).errors) >= 2
    before = files.signature()
    (tmp_path / "rules/r.test.toml").write_text("still none")
    assert files.signature() == before
    (tmp_path / "rules/r.test.toml").unlink()
    assert files.signature() != before
    assert [p.what for p in files.load().errors][:1] == ["needs at least one test that expects state = 'firing'"]


def test_a_rule_that_takes_the_place_of_a_shipped_one_takes_that_of_its_tests(tmp_path: Path) -> None:
    text = GOOD.replace('id = "too-slow"', 'id = "mlock-denied"')
    (tmp_path / "mine.toml").write_text(text)
    found = load_given([tmp_path / "mine.toml"])
    assert found.errors == []
    assert found.ruleset is not None
    assert len(found.ruleset.rules["mlock-denied"].rule.tests) == 3
