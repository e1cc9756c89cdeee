"""Overrides and drop-ins: named fields of a shipped rule are replaced and nothing else, and what an upgrade changes is said."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from switch_rules import Switch, text_of

from sentinel.cli.main import main
from sentinel.cli.rules.override import lines_of, spelled
from sentinel.daemon.override_drift import Upgrades
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.history import History
from sentinel.model.problem import Problem
from sentinel.rulefiles.digest import parts, rule_digest
from sentinel.rulefiles.files import Loaded, RuleFiles, load_given, shipped
from sentinel.rulefiles.load import load, load_events, load_rules
from sentinel.rulefiles.testing.runner import run_tests

BASE = text_of(Switch("base", "server.ctx_requested", hold="3s"))
OVER = """
schema = 1
override = "base"
severity = "info"
[alert]
for = "1m"
[check]
on = "server.ctx_requested > 10"
[[cause]]
id = "switched"
text = "in other words"
"""


def loaded(*overrides: str, base: str = BASE) -> tuple[RuleSet | None, list[Problem]]:
    files = {"base.toml": base.encode()} | {f"over{i}.toml": text.encode() for i, text in enumerate(overrides, 1)}
    return load(files, {})


def test_named_fields_are_replaced_and_all_others_stay() -> None:
    ruleset, _ = loaded(OVER)
    assert ruleset is not None
    rule, base = ruleset.rules["base"].rule, ruleset.overrides[0].base
    replaced = {"severity", "alert.for", "check.on", "cause 'switched'.text"}
    assert {name for name in parts(rule) if parts(rule)[name] != parts(base)[name]} == replaced
    assert parts(rule).keys() == parts(base).keys()
    assert dict(rule.origins) == dict.fromkeys(sorted(replaced), "over1.toml")
    assert (rule.severity, rule.hold, rule.checks[0].expression) == ("info", 60.0, "server.ctx_requested > 10")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('override = "bse"\nseverity = "info"', "over1.toml: override: there is no rule 'bse'; did you mean 'base'"),
        ("override = 3", "over1.toml: override: must be text, not 3"),
        ('override = "base"', "over1.toml: override: replaces nothing; write for example severity"),
        ('override = "base"\nid = "other"', "over1.toml: id: cannot be replaced"),
        ('override = "base"\nscope = "gpu"', "over1.toml: scope: cannot be replaced"),
        ('override = "base"\nseverty = "info"', "over1.toml: severty: unknown key; did you mean 'severity'"),
        ('override = "base"\nseverity = "bad"', "over1.toml: severity: 'bad' is none of"),
        ('override = "base"\n[alert]\nfro = "1m"', "over1.toml: alert.fro: unknown key; did you mean 'for'"),
        ('override = "base"\n[alert]\nfor = "1 m"', "over1.toml: alert.for: '1 m' is not a duration"),
        ('override = "base"\n[alert]\nwhen = "onn"', "over1.toml: alert.when: unknown name 'onn'; did you mean 'on'"),
        ('override = "base"\n[check]\nom = "true"', "over1.toml: check.om: there is no check 'om' in rule 'base'; it has on"),
        ('override = "base"\n[value]\nx = "1"', "there is no value 'x' in rule 'base'; it has no [value] at all"),
        ('override = "base"\n[[cause]]\nid = "swiched"\ntext = "x"', "there is no cause 'swiched' in rule 'base'; did you mean"),
        ('override = "base"\n[[cause]]\ntext = "x"', "over1.toml: cause[1].id: must be the id of a cause of the rule"),
        ('override = "base"\n[[cause]]\nid = "switched"', "replaces nothing of this cause"),
        ('override = "base"\n[[cause]]\nid = "switched"\nwhen = "oon"', "over1.toml: cause 'switched'.when: unknown name 'oon'"),
        ('override = "base"\ncheck = 3', "over1.toml: check: must be a table"),
        ('override = "base"\ncause = 3', "over1.toml: cause: must be written as [[cause]]"),
        ('override = "base"\nenabled = "no"', "over1.toml: enabled: must be true or false"),
        ('override = "base"\n[[test]]\nname = "x"\nexpect = { state = "frozen" }', "over1.toml: test 'x'.expect.state: 'frozen'"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_override_is_reported_with_its_file_and_place(text: str, told: str) -> None:
    found = [p for p in loaded(f"schema = 1\n{text}\n")[1] if p.level == "error"]
    assert [p for p in found if told in f"over1.toml: {p.where}: {p.what}"], found
    assert [p for p in found if p.file != "over1.toml" or p.line < 2] == []


def test_a_mistake_that_an_override_makes_elsewhere_names_the_override() -> None:
    base = BASE.replace("[check]\n", '[value]\nsum = "server.ctx_requested + 1"\n[check]\nmore = "sum > 3"\n')
    text = "schema = 1\noverride = 'base'\n[value]\nsum = \"server.state\"\n"
    found = [str(p) for p in loaded(text, base=base)[1] if p.level == "error"]
    assert found
    assert [line for line in found if not line.startswith("over1.toml: check.more: ")] == []
    assert [line for line in found if not line.endswith("(in base.toml, with what this override replaces)")] == []


def test_of_two_overrides_the_later_file_has_the_last_word_and_says_so() -> None:
    ruleset, problems = loaded(OVER, OVER.replace('"1m"', '"2m"'))
    assert ruleset is not None
    assert ruleset.rules["base"].rule.hold == 120.0
    assert any("over2.toml:6: warning: alert.for: is replaced by over1.toml too" in str(p) for p in problems)


def test_a_rule_that_is_switched_off_judges_nothing_and_may_still_be_named_by_others() -> None:
    other = text_of(Switch("other", "server.slots_requested", inhibits=("base",)))
    off = 'schema = 1\noverride = "base"\nenabled = false\n'
    ruleset, problems = load({"base.toml": BASE.encode(), "o.toml": other.encode(), "x.toml": off.encode()}, {})
    assert ruleset is not None, problems
    assert list(ruleset.rules) == ["other"]
    assert not ruleset.overrides[0].enabled


def test_tests_of_the_rule_that_an_override_changes_are_no_failures_and_its_own_are() -> None:
    base = BASE.replace('name = "firing"', 'name = "firing"\ngiven = { "server.ctx_requested" = 4 }').replace('"1s"', '"9s"')
    base = base.replace('name = "quiet"', 'name = "quiet"\ngiven = { "server.ctx_requested" = 0 }')
    own = OVER + '[[test]]\nname = "mine"\ngiven = { "server.ctx_requested" = 4 }\nat = "9s"\nexpect = { state = "firing" }\n'
    ruleset, problems = loaded(own, base=base)
    assert ruleset is not None, problems
    came = {name: failure for _, name, failure in run_tests(ruleset)}
    assert came["quiet"] is None
    assert came["firing"] is not None
    assert came["firing"].override == "over1.toml"
    assert came["mine"] is not None
    assert came["mine"].override == ""


def test_an_override_that_the_command_writes_changes_nothing_of_any_shipped_rule(tmp_path: Path, ruleset: RuleSet) -> None:
    for rule_id, compiled in ruleset.rules.items():
        rule = compiled.rule
        there = [(name, said) for name, said in parts(rule).items() if name not in ("scope", "message_id")]
        text = "\n".join(lines_of(rule, rule_digest(rule), there, {spelled(name) for name, _ in there}))
        (tmp_path / f"{rule_id}.toml").write_text(text)
    found = load_given([tmp_path])
    assert found.ruleset is not None, found.errors
    assert not found.problems
    for rule_id, compiled in ruleset.rules.items():
        again = found.ruleset.rules[rule_id].rule
        assert len(again.origins) > 5
        assert rule_digest(again) == rule_digest(compiled.rule), rule_id


# --- after an upgrade ---


def test_lint_warns_when_the_rule_is_not_the_one_that_the_override_was_written_against() -> None:
    ruleset, _ = loaded(OVER)
    assert ruleset is not None
    digest = rule_digest(ruleset.overrides[0].base)
    against = OVER.replace("[alert]", f'against = "{digest}"\n[alert]', 1)
    assert loaded(against)[1] == []
    upgraded = BASE.replace('keep_firing_for = "0s"', 'keep_firing_for = "7s"')
    told = [str(p) for p in loaded(against, base=upgraded)[1]]
    assert len(told) == 1
    assert told[0].startswith("over1.toml:5: warning: against: rule 'base' changed since this override was written; compare with")
    assert [str(p) for p in loaded(OVER)[1]] == [
        "over1.toml:3: warning: override: says no 'against', so only the daemon can see when rule 'base' changes under it; "
        f'write against = "{digest}"'
    ]


def changed(upgrades: Upgrades, base: str, override: str = OVER) -> list[Any]:
    ruleset, problems = loaded(override, base=base)
    assert ruleset is not None, problems
    return [one["changed"] for one in upgrades.look(ruleset.overrides)]


def test_the_daemon_remembers_what_each_override_was_written_beside_also_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    upgraded = BASE.replace('for = "3s"', 'for = "4s"').replace('keep_firing_for = "0s"', 'keep_firing_for = "7s"')
    history = History(path)
    assert changed(Upgrades(history), BASE) == [[]]
    assert changed(Upgrades(history), BASE) == [[]]
    history.close()
    history = History(path)
    # What the override replaces comes first. It is reported until somebody has looked.
    assert changed(Upgrades(history), upgraded) == [["alert.for", "alert.keep_firing_for"]]
    assert changed(Upgrades(history), upgraded) == [["alert.for", "alert.keep_firing_for"]]
    looked = OVER + "# looked at it\n"
    assert changed(Upgrades(history), upgraded, looked) == [[]]
    assert changed(Upgrades(history), BASE, looked) == [["alert.for", "alert.keep_firing_for"]]
    history.close()


def test_what_another_version_remembered_is_no_mistake() -> None:
    history = History(None)
    history.commit([], {"overrides": json.dumps({"version": 9, "seen": []}).encode()})
    assert changed(Upgrades(history), BASE) == [[]]


# --- folders ---


@pytest.fixture
def machine(tmp_path: Path) -> tuple[RuleFiles, Path]:
    """Two shipped rules, and a drop-in folder that is not there yet."""
    base = tmp_path / "shipped"
    base.mkdir()
    (base / "base.toml").write_text(BASE)
    (base / "other.toml").write_text(text_of(Switch("other", "server.slots_requested")))
    return RuleFiles([tmp_path / "rules.d"], base=base), tmp_path / "rules.d"


def told(found: Loaded) -> list[str]:
    return [str(p) for p in found.errors]


def test_a_drop_in_folder_adds_rules_and_overrides_and_need_not_be_there(machine: tuple[RuleFiles, Path]) -> None:
    files, folder = machine
    found = files.load()
    assert found.ruleset is not None
    assert (sorted(found.ruleset.rules), found.problems) == (["base", "other"], ())
    folder.mkdir()
    assert files.load().problems == ()
    (folder / "mine.toml").write_text(text_of(Switch("mine", "server.slots_requested")))
    (folder / "over.toml").write_text(OVER)
    (folder / ".#over.toml").symlink_to("root@host.4711")
    found = files.load()
    assert found.ruleset is not None, told(found)
    assert sorted(found.ruleset.rules) == ["base", "mine", "other"]
    assert found.ruleset.rules["base"].rule.severity == "info"


def test_lint_says_how_a_copy_of_a_shipped_rule_is_written_as_an_override(
    machine: tuple[RuleFiles, Path],
) -> None:
    files, folder = machine
    folder.mkdir()
    (folder / "base.toml").write_text(BASE)
    assert any("to change that one, write override = 'base'" in line for line in told(files.load()))


def test_the_signature_changes_with_every_save_and_not_by_itself(machine: tuple[RuleFiles, Path]) -> None:
    files, folder = machine
    seen = [files.signature()]
    folder.mkdir()
    seen.append(files.signature())
    (folder / "a.toml").write_text("x")
    seen.append(files.signature())
    (folder / "b.tmp").write_text("y")
    assert files.signature() == seen[-1]
    (folder / "b.tmp").replace(folder / "a.toml")
    seen.append(files.signature())
    (folder / "events").mkdir()
    (folder / "events/e.toml").write_text("z")
    seen.append(files.signature())
    (folder / "a.toml").unlink()
    seen.append(files.signature())
    assert len({*seen}) == len(seen)


def test_at_the_start_files_with_mistakes_are_left_out_and_the_others_serve(machine: tuple[RuleFiles, Path]) -> None:
    files, folder = machine
    folder.mkdir()
    (folder / "good.toml").write_text(OVER)
    (folder / "bad.toml").write_text(text_of(Switch("bad", "server.slots_requestd")))
    (folder / "leans.toml").write_text(text_of(Switch("leans", "server.slots_requested", inhibits=("bad",))))
    found = files.load_good()
    assert found.ruleset is not None
    assert found.left_out == (str(folder / "bad.toml"), str(folder / "leans.toml"))
    assert sorted(found.ruleset.rules) == ["base", "other"]
    assert found.ruleset.rules["base"].rule.severity == "info"
    assert any("did you mean 'server.slots_requested'" in line for line in told(found))
    assert files.load().ruleset is None


def test_rules_of_which_the_shipped_ones_are_broken_are_not_started_with(machine: tuple[RuleFiles, Path]) -> None:
    files, folder = machine
    (files.base / "base.toml").write_text("schema = 1\n")
    folder.mkdir()
    (folder / "mine.toml").write_text(OVER)
    assert files.load_good().ruleset is None


def test_what_is_in_a_drop_in_folder_and_no_file_is_reported_and_not_waited_for(machine: tuple[RuleFiles, Path]) -> None:
    files, folder = machine
    folder.mkdir()
    os.mkfifo(folder / "pipe.toml")
    (folder / "away.toml").symlink_to("nowhere")
    assert sorted(line.rpartition("/")[2] for line in told(files.load())) == [
        "away.toml: cannot be read: No such file or directory",
        "pipe.toml: is no regular file",
    ]


# --- files that are named ---


def test_a_named_rule_stands_among_the_shipped_ones_and_takes_the_place_of_its_namesake(tmp_path: Path, ruleset: RuleSet) -> None:
    mine = (shipped() / "cpu-fallback.toml").read_text().replace('severity = "critical"', 'severity = "info"')
    (tmp_path / "my-copy.toml").write_text(mine)
    shutil.copy(shipped() / "cpu-fallback.test.toml", tmp_path / "my-copy.test.toml")
    (tmp_path / "new.toml").write_text(text_of(Switch("new", "server.slots_requested", inhibits=("cpu-fallback",))))
    found = load_given([tmp_path])
    assert found.ruleset is not None, told(found)
    assert found.ruleset.rules.keys() == {*ruleset.rules, "new"}
    assert found.ruleset.rules["cpu-fallback"].rule.severity == "info"


def test_a_copy_of_the_shipped_folder_stands_alone(tmp_path: Path, ruleset: RuleSet) -> None:
    shutil.copytree(shipped(), tmp_path / "copy")
    (tmp_path / "copy/routing-noise.toml").unlink()
    (tmp_path / "copy/routing-noise.test.toml").unlink()
    found = load_given([tmp_path / "copy"])
    assert found.ruleset is not None, told(found)
    assert found.ruleset.rules.keys() == ruleset.rules.keys() - {"routing-noise"}


def test_rules_show_names_the_file_of_each_field(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    over = tmp_path / "mine.toml"
    over.write_text('schema = 1\noverride = "cpu-fallback"\nagainst = "0000000000000000"\n[alert]\nfor = "1m"\n')
    assert main(["rules", "show", "cpu-fallback", str(over), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["fields"]["alert.for"] == {"value": '"1m"', "file": str(over), "instead_of": '"5s"'}
    assert shown["fields"]["alert.keep_firing_for"]["file"] == str(shipped() / "cpu-fallback.toml")
    assert shown["overrides"][0]["changed_since"] is True
    assert main(["rules", "show", "cpu-fallback", str(over)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"  [2] {over} replaces alert.for; the rule changed since it was written" in lines
    at = next(i for i, line in enumerate(lines) if line.startswith("  [2] for"))
    assert [lines[at].split()[2], lines[at + 1].split()[2]] == ['"1m"', '"5s"']


def test_the_command_that_writes_an_override_names_a_field_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "override", "cpu-fallback", "alert.fro", "cause.no-gpu-in-machin.text"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "sentinel: rule 'cpu-fallback' has no field 'alert.fro'; did you mean 'alert.for'",
        "sentinel: rule 'cpu-fallback' has no field 'cause.no-gpu-in-machin.text'; did you mean 'cause.no-gpu-in-machine.text'",
    ]
    assert main(["rules", "override", "cpu-fallbak"]) == 2
    assert "did you mean 'cpu-fallback'" in capsys.readouterr().err


# --- further patterns ---

EVENTS = b"""
schema = 1
source = "llama-server"
[[event]]
name = "ready"
fields = { port = "int" }
sets = { "server.slots" = "port" }
[[event.pattern]]
builds = "any"
regex = '''^listening on (?P<port>\\d+)$'''
example = "listening on 8080"
[[event]]
name = "asleep"
[[event.pattern]]
builds = "any"
regex = '''^going to sleep'''
example = "going to sleep now"
"""
MORE = """
schema = 1
source = "llama-server"
[[event]]
extends = "ready"
[[event.pattern]]
builds = "b99999-"
regex = '''^now serving at port (?P<port>\\d+)$'''
example = "now serving at port 8080"
"""


def test_a_file_may_add_patterns_to_an_event_that_another_file_defines() -> None:
    events, problems = load_events({"shipped.toml": EVENTS, "mine.toml": MORE.encode()})
    assert problems == []
    ruleset = RuleSet.build(load_rules({}, events)[0], events.values())
    found = list(ruleset.extractors["llama-server"].events(b"now serving at port 1234\nlistening on 5\n"))
    assert [(m.event.name, m.fields) for m in found] == [("ready", {"port": 1234}), ("ready", {"port": 5})]
    assert [p.path for p in events["ready"].patterns] == ["", "mine.toml"]


@pytest.mark.parametrize(
    ("old", "new", "level", "told"),
    [
        ('"ready"', '"redy"', "error", "there is no event 'redy' to extend; did you mean 'ready'"),
        ('"llama-server"', '"kernel"', "error", "is an event of source 'llama-server'"),
        ("(?P<port>", "(?P<prt>", "warning", "no pattern captures 'port', so these patterns never set server.slots"),
        ("(?P<port>", "(?<port", "error", "is no pattern of RE2"),
        ("at port 8080", "at 8080", "error", "does not match its own example"),
        ('extends = "ready"', 'extends = "ready"\nsets = { "server.slots" = "port" }', "error", "sets: unknown key"),
        ('extends = "ready"', 'extends = "ready"\nfields = { port = "text" }', "error", "'port' is int in shipped.toml"),
        ("^now serving at port", "^(?:now serving at port|going to sleep) ?", "error", "it claims the example of event 'asleep'"),
        ("now serving at port", "listening on", "warning", "is not needed any more: shipped.toml understands its example"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_pattern_is_reported_with_its_file(old: str, new: str, level: str, told: str) -> None:
    text = MORE.replace(old, new)
    assert text != MORE
    if old == "^now serving at port":
        text = text.replace("(?P<port>\\d+)$", "(?P<port>.+)$")
    events, problems = load_events({"shipped.toml": EVENTS, "mine.toml": text.encode()})
    assert [(p.file, p.level) for p in problems if told in p.what or told in str(p)] == [("mine.toml", level)], problems
    # What is taught stands where the event is defined, but the pattern is none the worse for it.
    assert len(events["ready"].patterns) == (2 if level == "warning" or "sets" in told else 1)
