"""The words of this project are the field's: those that it once used for the same things do not come back."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache

import pytest
from places import REPO

#: What people read: the texts and comments of the program and of the rules, the units, the manual, the documentation.
_READ = (
    "*.md",
    "sentinel/**/*.py",
    "docs/*.md",
    "docs/symptoms/*.md",
    "man/*",
    "rules/**/*.toml",
    "systemd/**/*",
    "prometheus/*",
)
#: A history of what was, public reports with their first answers, and tests of rules, whose names are nobody's text.
_LEFT_OUT = re.compile(r"CHANGELOG\.md|docs/wild\.md|.*\.test\.toml|.*/bases\.toml")
#: A word that is not written, and what is written in its place.
WORDS = {
    r"\b(told|tells?|telling)\b(?!.*\bapart\b)": "reported, notified, says",
    r"\banew\b": "again",
    r"\bnobody asked\b": "no request",
    r"\bis asked who\b": "without authentication",
    r"\bworked out\b": "computed",
    r"\bbeliev\w+": "last value, max age",
    r"\bwordings?\b": "pattern",
    r"(?<![-{])\bcards?\b(?![-*\d/\\{}])": "GPU",
    r"\bbrakes?\b": "memory.high",
    r"\brereads?\b": "refault",
    r"\bfirm\b": "unreclaimable",
    r"\bfor want of\b": "signal missing",
    r"\bit is (?:not )?so\b": "true, false",
    r"\bsilences? (?:\w+ )?before its time\b": "expire a silence early",
}
#: Where such a word is another's: names of files, keys of before that stay, a prompt, a model's card, a front end, a program.
_MEANT = re.compile(
    r"kfd, render, card|'card'|\"card\"|\"told\"|`told`|`wordings`|\"wordings\"|The doctor told|model's card|RX 7900 cards"
    r"|tell llama-swap|Clients are often not told|than it believes"
)


@cache
def texts() -> tuple[tuple[str, str], ...]:
    """Each line that people read, with its place."""
    return tuple(
        (f"{path.relative_to(REPO)}:{number}", line)
        for pattern in _READ
        for path in sorted(REPO.glob(pattern))
        if path.is_file() and not _LEFT_OUT.fullmatch(path.relative_to(REPO).as_posix())
        for number, line in (prose if path.suffix == ".py" else whole)(path.read_text(encoding="utf-8"))
        if not _MEANT.search(line)
    )


def whole(text: str) -> Iterator[tuple[int, str]]:
    yield from enumerate(text.splitlines(), 1)


def prose(source: str) -> Iterator[tuple[int, str]]:
    """Comments and texts of a module: the names in it are nobody's sentences."""
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in kinds:
            yield from enumerate(token.string.splitlines(), token.start[0])


@pytest.mark.parametrize(("word", "written"), WORDS.items())
def test_no_text_uses_a_word_of_before(word: str, written: str) -> None:
    found = re.compile(word, re.IGNORECASE)
    assert [f"{place}: {line.strip()[:120]}" for place, line in texts() if found.search(line)] == [], f"write: {written}"


def test_what_is_read_is_read() -> None:
    """A pattern that finds no file would hold nothing."""
    names = " ".join(place for place, _ in texts())
    for one in ("README.md:", "sentinel/cli/why.py:", "docs/symptoms/slow.md:", "man/sentinel.1:", "rules/load-oom.toml:"):
        assert one in names
