"""Old keys of rule files are read as the new ones, reported, and change no digest that an older sentinel stored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from switch_rules import Switch, text_of

from sentinel.cli.main import main
from sentinel.daemon.override_drift import Upgrades
from sentinel.engine.engine import Engine
from sentinel.engine.facts.store import FactStore
from sentinel.engine.inspect.metrics import Own, families
from sentinel.engine.inspect.status import signals
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.history import History
from sentinel.model.entity import Entity
from sentinel.model.problem import Problem
from sentinel.model.reading import Samples
from sentinel.rulefiles.digest import part_digests, rule_digest
from sentinel.rulefiles.load import load

EFFECT = text_of(Switch("effect", "server.slots_requested"))
NEW = text_of(Switch("base", "server.ctx_requested", hold="3s", keep_firing_for="7s", inhibits=("effect",)))
OLD = NEW.replace("keep_firing_for =", "keep =").replace("inhibits =", "explains =")
#: of OLD, by the sentinel that knew only the old keys
STORED = "ce10b346883a4075"


def loaded(base: str, *overrides: str) -> tuple[RuleSet | None, list[Problem]]:
    files = {"base.toml": base.encode(), "effect.toml": EFFECT.encode()}
    return load(files | {f"over{i}.toml": text.encode() for i, text in enumerate(overrides)}, {})


def test_the_old_keys_mean_the_same_and_are_reported_with_the_new_ones() -> None:
    ruleset, problems = loaded(OLD)
    assert ruleset is not None
    assert ruleset.rules["base"].rule.keep_firing_for == 7.0
    assert ruleset.rules["base"].rule.inhibits == ("effect",)
    assert sorted(str(p) for p in problems) == [
        "base.toml:11: warning: explains: is deprecated; write 'inhibits'",
        "base.toml:18: warning: alert.keep: is deprecated; write 'keep_firing_for'",
    ]
    assert loaded(NEW)[1] == []


def test_lint_reports_them_and_does_not_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "base.toml").write_text(OLD)
    (tmp_path / "effect.toml").write_text(EFFECT)
    assert main(["rules", "lint", str(tmp_path)]) == 0
    assert "2 rules and" in (printed := capsys.readouterr().out)
    assert "2 warnings" in printed


@pytest.mark.parametrize(
    ("written", "what"),
    [
        ('keep = "7s"\nkeep_firing_for', "alert.keep: is the old name of 'keep_firing_for', which is given too; remove 'keep'"),
        ('keep_firing_for = "7s"\nkeep', "alert.keep: is the old name of 'keep_firing_for', which is given too; remove 'keep'"),
    ],
)
def test_both_at_once_is_one_mistake(written: str, what: str) -> None:
    ruleset, problems = loaded(NEW.replace("keep_firing_for", written, 1))
    assert ruleset is None
    assert [str(p).partition(": ")[2] for p in problems] == [what]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('keep = "7s"', 'keep = "7 s"', "base.toml:18: alert.keep: '7 s' is not a duration"),
        ('explains = ["effect"]', 'explains = ["effct"]', "base.toml:11: explains[1]: there is no rule 'effct'"),
        ('explains = ["effect"]', 'explains = "effect"', "base.toml:11: explains: must be a list, not 'effect'"),
    ],
)
def test_a_mistake_in_an_old_key_is_reported_by_the_name_and_line_that_were_written(old: str, new: str, expected: str) -> None:
    text = OLD.replace("['effect']", '["effect"]')
    assert old in text
    problems = loaded(text.replace(old, new))[1]
    assert any(str(p).startswith(expected) for p in problems), [str(p) for p in problems]


@pytest.mark.parametrize(("base", "key"), [(OLD, "keep_firing_for"), (NEW, "keep"), (OLD, "keep"), (NEW, "keep_firing_for")])
def test_an_override_replaces_the_field_whichever_name_each_file_uses(base: str, key: str) -> None:
    ruleset, problems = loaded(base, f'schema = 1\noverride = "base"\n[alert]\n{key} = "9s"\n')
    assert ruleset is not None, problems
    assert ruleset.rules["base"].rule.keep_firing_for == 9.0
    assert ruleset.overrides[0].fields == ("alert.keep_firing_for",)


def test_a_mistake_in_an_override_with_an_old_key_names_its_file_and_line() -> None:
    problems = loaded(NEW, 'schema = 1\noverride = "base"\n[alert]\nkeep = "x"\n')[1]
    assert any(str(p).startswith("over0.toml:4: alert.keep: 'x' is not a duration") for p in problems), problems


def test_no_digest_changes_with_the_name_of_a_key() -> None:
    """`against` of overrides, recordings and the daemon's state hold digests."""
    old, new = loaded(OLD)[0], loaded(NEW)[0]
    assert old is not None
    assert new is not None
    assert rule_digest(old.rules["base"].rule) == rule_digest(new.rules["base"].rule) == STORED
    assert part_digests(old.rules["base"].rule) == part_digests(new.rules["base"].rule)


def test_a_state_saved_with_the_old_names_of_parts_reports_no_change() -> None:
    override = 'schema = 1\noverride = "base"\n[alert]\nfor = "1m"\n'
    ruleset = loaded(NEW, override)[0]
    assert ruleset is not None
    over = ruleset.overrides[0]
    old_names = {"alert.keep_firing_for": "alert.keep", "inhibits": "explains"}
    parts = {old_names.get(name, name): digest for name, digest in part_digests(over.base).items()}
    assert {"alert.keep", "explains"} < parts.keys()
    saved = {"version": 1, "seen": {over.path: {"digest": over.digest, "rule": over.rule, "parts": parts}}}
    history = History(None)
    history.commit([], {"overrides": json.dumps(saved).encode()})
    assert [one["changed"] for one in Upgrades(history).look(ruleset.overrides)] == [[]]


def test_programs_find_a_field_of_a_rule_by_both_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "show", "cpu-fallback", "--json"]) == 0
    fields = json.loads(capsys.readouterr().out)["fields"]
    assert fields["alert.keep"] == fields["alert.keep_firing_for"]
    assert fields["explains"] == fields["inhibits"]


def test_the_template_of_an_override_takes_the_old_name_and_writes_the_new_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "override", "cpu-fallback", "alert.keep"]) == 0
    assert '\nkeep_firing_for = "10s"\n' in capsys.readouterr().out


FORMER = text_of(Switch("base", "server.reread_bytes_per_s"))


def test_a_former_name_of_a_signal_means_the_present_one_wherever_it_is_written() -> None:
    windows = '\n[window]\nseen = { signal = "server.reread_bytes_per_s", over = "60s", take = "mean" }\n'
    tests = '\n[[test]]\nname = "more"\ngiven = { "server.reread_bytes_per_s" = 3.0 }\nat = "1s"\nexpect = { state = "firing" }\n'
    dotted = tests.replace('"server.reread_bytes_per_s"', "server.reread_bytes_per_s").replace("more", "again")
    text = FORMER.replace('> 0"', '> 0 && seen >= 0.0"') + windows + tests + dotted
    ruleset, problems = load({"base.toml": text.encode()}, {})
    assert ruleset is not None, [str(p) for p in problems]
    assert ruleset.rules["base"].signals == {"server.refault_bytes_per_s"}
    said = "names signal 'server.reread_bytes_per_s', which is deprecated; write 'server.refault_bytes_per_s'"
    assert [str(p).endswith(said) for p in problems] == [True] * 5
    assert all(p.level == "warning" for p in problems)
    assert [test.given for test in ruleset.rules["base"].rule.tests][-2:] == [{"server.refault_bytes_per_s": 3.0}] * 2


def test_a_client_finds_a_signal_and_its_metric_by_the_former_name_too() -> None:
    ruleset, _ = load({"base.toml": FORMER.encode()}, {})
    assert ruleset is not None
    engine = Engine(ruleset)
    engine.step(Samples(1.0, "process", Entity("server", "s"), {"server.refault_bytes_per_s": 7.0}))
    found = {row["signal"]: row["value"] for row in signals(engine, 2.0)}
    assert found["server.reread_bytes_per_s"] == found["server.refault_bytes_per_s"] == 7.0
    own = Own("1", 0.0, 0.0, 0, 0, 0, True, (), (), {})
    values = {family.about.name: [row[1] for row in family.rows] for family in families(engine, own, 2.0)}
    assert values["sentinel_server_reread_bytes_per_second"] == values["sentinel_server_refault_bytes_per_second"] == [7.0]


def test_facts_of_an_older_sentinel_keep_their_values() -> None:
    store = FactStore()
    store.load([["server", "s", "server.gpu_cards", "0000:03:00.0", 1.0, "process"]])
    fact = store.last(Entity("server", "s"), "server.gpus")
    assert fact is not None
    assert fact.value == "0000:03:00.0"
