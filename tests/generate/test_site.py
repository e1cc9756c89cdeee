"""The documentation as a site: every page is in its menu, every link leads somewhere, and GitHub shows the same."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from places import REPO

from sentinel.engine.rules.ruleset import RuleSet
from sentinel.generate.links import broken, broken_in_site, links

DOCS = REPO / "docs"
#: pages of the site that lie beside docs/
BESIDE = ("ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
PAGES = [*sorted(DOCS.rglob("*.md")), *(REPO / name for name in BESIDE)]
MENU = yaml.safe_load((REPO / "mkdocs.yml").read_text(encoding="utf-8"))


def _listed(entries: Any) -> Iterator[str]:
    if isinstance(entries, str):
        yield entries
    for entry in entries if isinstance(entries, list) else []:
        for below in entry.values():
            yield from _listed(below)


def test_every_page_is_in_the_menu_once() -> None:
    """But for those of the rules, which the hooks put there."""
    pages = [path.relative_to(REPO if path.name in BESIDE else DOCS).as_posix() for path in PAGES]

    assert sorted(_listed(MENU["nav"])) == sorted(name for name in pages if not name.startswith("rules/"))


def test_every_link_and_anchor_of_the_documentation_leads_somewhere() -> None:
    assert broken(REPO, iter([*PAGES, REPO / "README.md"])) == []


def test_every_rule_is_on_the_page_of_a_symptom(ruleset: RuleSet) -> None:
    linked = {link for path in (DOCS / "symptoms").glob("*.md") for link in links(path.read_text(encoding="utf-8"))}

    assert {rule for rule in ruleset.rules if f"../rules/{rule}.md" not in {link.partition("#")[0] for link in linked}} == set()


def test_every_symptom_is_on_the_first_page_and_begins_with_a_command() -> None:
    first = links((DOCS / "README.md").read_text(encoding="utf-8"))
    for path in (DOCS / "symptoms").glob("*.md"):
        assert f"symptoms/{path.name}" in first
        assert re.match(r"# [^\n]+\n\n    sentinel \w+", path.read_text(encoding="utf-8")), path.name


def test_nothing_is_fetched_from_elsewhere_by_the_theme() -> None:
    assert MENU["theme"]["font"] is False
    assert all((DOCS / path).is_file() for path in MENU["extra"]["polyfills"])


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(REPO).as_posix())
def test_a_page_has_the_same_parts_in_the_site_as_on_github(path: Path) -> None:
    """Python-Markdown wants four spaces in a list where CommonMark takes two, and knows fewer escapes."""
    markdown = pytest.importorskip("markdown", reason="needs the extra docs (make setup)")
    commonmark = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    text = path.read_text(encoding="utf-8")

    used = ["tables", "toc", "pymdownx.superfences", "pymdownx.highlight"]
    site = markdown.markdown(text, extensions=used, extension_configs={"pymdownx.highlight": {"use_pygments": False}})

    assert _parts(site) == _parts(commonmark.render(text))


def _parts(html: str) -> dict[str, int]:
    tags = ("h1", "h2", "h3", "ol", "ul", "li", "pre", "code", "table", "tr", "blockquote", "em", "strong", "a", "img")
    return {tag: len(re.findall(rf"<{tag}[ >]", html)) for tag in tags}


def test_the_site_is_built_without_a_warning_and_is_whole(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="needs the extra docs (make setup)")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "NO_MKDOCS_2_WARNING": "1", "LC_ALL": "C.UTF-8"},
    )

    assert (built.returncode, built.stdout, built.stderr) == (0, "", "")
    assert broken_in_site(tmp_path) == []
    assert (tmp_path / "rules/cpu-fallback.html").is_file()
    assert '"symptoms/slow.html"' in (tmp_path / "search/search_index.js").read_text(encoding="utf-8")
