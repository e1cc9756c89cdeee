"""Links and anchors: as GitHub makes them of Markdown, and as a browser follows them in the built site."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.generate.links import anchors, broken, broken_in_site, links


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("[a](b.md)", ["b.md"]),
        ("![picture](p.svg) and [with [brackets] in it](b.md#c)", ["p.svg", "b.md#c"]),
        ("```sh\n[a](b.md)\n```\n", []),
        ("1. x\n\n    ```sh\n    [a](b.md)\n    ```\n", []),
        ("    [a](b.md)\n", []),
        ("`[a](b.md)` and ``[`](c.md)``", []),
        (r"\[a](b.md)", []),
    ],
    ids=["plain", "two", "fence", "fence in a list", "indented", "code", "escaped"],
)
def test_links_of_a_page(markdown: str, expected: list[str]) -> None:
    assert links(markdown) == expected


@pytest.mark.parametrize(
    ("title", "anchor"),
    [
        ("no-gpu-in-machine", "no-gpu-in-machine"),
        ("oom_killed", "oom_killed"),
        ("Will it fit?", "will-it-fit"),
        ('The log ends with "out of memory"', "the-log-ends-with-out-of-memory"),
        ("You gave `-c`, and get less", "you-gave--c-and-get-less"),
        ("See [the rules](rules.md)", "see-the-rules"),
    ],
)
def test_an_anchor_is_made_as_github_makes_it(title: str, anchor: str) -> None:
    assert anchors(f"text\n\n## {title}\n") == [anchor]


def test_the_second_of_two_equal_headings_is_counted() -> None:
    assert anchors("# a\n## a\n## b\n### a\n") == ["a", "a-1", "b", "a-2"]


def test_a_link_that_leads_nowhere_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(
        "[b](b.md#here) [c](c.md) [d](b.md#gone) [e](../e.md) [f](https://example.org/x)\n", encoding="utf-8"
    )
    (tmp_path / "b.md").write_text("# Here\n", encoding="utf-8")

    wrong = broken(tmp_path, iter([tmp_path / "a.md", tmp_path / "b.md"]))

    assert wrong == [
        "a.md: c.md leads to no file",
        "a.md: b.md#gone leads to no heading",
        "a.md: ../e.md leads to no file",
    ]


def test_a_built_page_must_lead_somewhere_and_load_nothing_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<link rel="canonical" href="https://example.org/"><script src="https://example.org/x.js"></script>'
        '<a href="b/">b</a><a href="b/#here">c</a><a href="b/#gone">d</a><a href="c.html">e</a><a href="https://example.org/">f</a>',
        encoding="utf-8",
    )
    (tmp_path / "b").mkdir()
    (tmp_path / "b/index.html").write_text('<h1 id="here">b</h1><img src="data:image/png;base64,">', encoding="utf-8")

    assert broken_in_site(tmp_path) == [
        "a.html: b/#gone leads to no anchor",
        "a.html: c.html leads to no file",
        "a.html: https://example.org/x.js is loaded from elsewhere",
    ]
