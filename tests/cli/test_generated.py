"""What is generated is as the rules, the catalogue and the command line are now."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from places import REPO
from sample_transitions import resolved

from sentinel.engine.rules.ruleset import RuleSet
from sentinel.generate import checked_rules, journal_catalog, manpage
from sentinel.generate.markdown import plain
from sentinel.generate.reference import main as make_docs
from sentinel.generate.reference import pages, stale
from sentinel.generate.verbs import verbs
from sentinel.rulefiles.files import load_paths, shipped
from sentinel.sinks.journald import fields


@pytest.fixture(scope="module")
def made(ruleset: RuleSet) -> dict[str, str]:
    """Every page."""
    return pages(ruleset)


def test_the_reference_in_docs_is_not_stale(made: dict[str, str]) -> None:
    assert stale(REPO / "docs", made) == [], "run: make docs"


def test_the_manual_page_is_not_stale() -> None:
    assert (REPO / "man/sentinel.1").read_text(encoding="utf-8") == manpage.page(), "run: make docs"


def test_the_journal_catalog_is_not_stale() -> None:
    assert journal_catalog.main([str(REPO / "systemd/sentinel.catalog"), "--check"]) == 0, "run: make docs"


def test_the_sums_of_the_checked_rules_are_not_stale() -> None:
    """A rule that is not among them costs the first command of every new installation the whole check: 1.3 s."""
    assert checked_rules.main([str(REPO / "rules/SHA256SUMS"), "--check"]) == 0, "run: make docs"


def test_the_journal_catalog_has_one_entry_a_rule_and_names_only_fields_that_are_always_sent(ruleset: RuleSet) -> None:
    """journalctl shows the bare name of a field that an entry lacks, and replaces names of letters and underscores only."""
    made = journal_catalog.catalog(ruleset)
    sent = {name for name, _ in fields(replace(resolved(), cause=None, fixes=(), evidence=()))}

    assert set(re.findall(r"^-- (\w+)$", made, re.MULTILINE)) == {one.rule.message_id for one in ruleset.rules.values()}
    assert set(re.findall(r"(?<!@)@([^@\n]+)@(?!@)", made)) <= {name for name in sent if re.fullmatch("[A-Z_]+", name)}
    assert journal_catalog.catalog(ruleset) == made


@pytest.mark.parametrize("arguments", [["--check"], []], ids=["check", "write"])
def test_the_journal_catalog_is_checked_and_written(arguments: list[str], tmp_path: Path) -> None:
    file = tmp_path / "sentinel.catalog"

    assert journal_catalog.main([str(file), *arguments]) == (1 if arguments else 0)

    assert file.exists() is not bool(arguments)


def test_the_same_rules_give_the_same_bytes(made: dict[str, str]) -> None:
    ruleset, _ = load_paths([shipped()])
    assert ruleset is not None

    assert pages(ruleset) == made


def test_every_rule_has_a_page_with_its_causes_and_fixes(ruleset: RuleSet, made: dict[str, str]) -> None:
    for rule_id, compiled in ruleset.rules.items():
        page = made[f"rules/{rule_id}.md"]
        for cause in compiled.rule.causes:
            assert f"### {cause.id}" in page
            assert all(plain(fix.command).removesuffix(";").splitlines()[0] in page for fix in cause.fixes if fix.command)


def test_a_stale_page_is_listed_and_fails_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_docs([str(tmp_path)])
    (tmp_path / "signals.md").write_text("old", encoding="utf-8")
    (tmp_path / "rules/gone.md").write_text("a rule that is no more", encoding="utf-8")
    capsys.readouterr()

    code = make_docs([str(tmp_path), "--check"])

    listed = [line.split(" is stale")[0] for line in capsys.readouterr().out.splitlines()]
    assert code == 1
    assert listed == [str(tmp_path / "rules/gone.md"), str(tmp_path / "signals.md")]


def test_making_the_pages_leaves_nothing_stale(tmp_path: Path, made: dict[str, str]) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/gone.md").write_text("a rule that is no more", encoding="utf-8")

    assert make_docs([str(tmp_path)]) == 0

    assert stale(tmp_path, made) == []


@pytest.mark.parametrize("arguments", [["--check"], []], ids=["check", "write"])
def test_the_manual_page_is_checked_and_written(arguments: list[str], tmp_path: Path) -> None:
    file = tmp_path / "man/sentinel.1"
    assert manpage.main([str(file), "--check"]) == 1

    assert manpage.main([str(file), *arguments]) == (1 if arguments else 0)

    assert file.exists() is not bool(arguments)


def test_no_page_shows_an_option_that_help_hides_and_each_file_of_an_option_is_shown() -> None:
    """`--names ==SUPPRESS==` of completion stood in the manual, and `--compare FILE` for two files."""
    shown = {verb.name: dict(verb.options) for verb in verbs()}

    assert not [text for options in shown.values() for text in options.values() if "SUPPRESS" in text]
    assert "--names KIND" not in shown["completion"]
    assert "--compare FILE FILE" in shown["quality check"]
    assert "--kernel-log FILE" in shown["diagnose"]


def test_man_renders_the_page_without_a_warning() -> None:
    if shutil.which("man") is None or shutil.which("groff") is None:
        pytest.skip("needs man and groff (Debian: man-db, groff-base)")
    done = subprocess.run(
        ["man", "--warnings", "-l", str(REPO / "man/sentinel.1")],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "80"},
    )

    assert done.stderr == ""
    assert "diagnose" in done.stdout


def test_the_readme_lists_every_shipped_rule() -> None:
    readme = (REPO / "README.md").read_text(encoding="utf-8")
    rules = [path.stem for path in (REPO / "docs" / "rules").glob("*.md")]
    assert rules
    assert [rule for rule in rules if f"(docs/rules/{rule}.md)" not in readme] == []


def test_the_readme_has_at_most_700_words() -> None:
    """Signs of tables and code counted, as `wc -w` does: it grew with each new rule and verb."""
    assert len((REPO / "README.md").read_text(encoding="utf-8").split()) <= 700
