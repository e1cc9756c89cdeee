"""The text that a pattern cannot do without, by which lines are caught: wrong once, and an event is never seen again."""

from __future__ import annotations

import pytest

from sentinel.engine.log.prefilter import required, unlimited


@pytest.mark.parametrize(
    ("regex", "text"),
    [
        (r"^main: model loaded$", "main: model loaded"),
        (r"^srv +\S+ server is entering sleeping state$", " server is entering sleeping state"),
        (r"^n_ctx = (?P<n>\d+) tokens a second$", " tokens a second"),
        (r"^build info \| build=(?P<build>\d+)", "build info | build="),
        (r"^optional words?$", "optional word"),
        (r"^repeated lines+ of it$", "repeated lines"),
        (r"^none or morex* of it$", "none or more"),
        (r"^counted linex{0,3} of a{2}$", "counted line"),
        (r"^a brace { as such$", "a brace { as such"),
        (r"^(?:this|that) way$", None),
        (r"^(?:perhaps this)? always$", " always"),
        (r"^either this|or that$", None),
        (r"(?i)^any letters$", None),
        (r"^(?i:any letters) after$", None),
        (r"^\x1b[0m coloured$", None),
        (r"^\pLetters at all$", None),
        (r"^[a-z]lasses$", "lasses"),
        (r"^slot print_timing: id +\d+ \| task +-?\d+ \| n_gen = +\d+", " | n_gen = "),
        (r"^slot print_timing: id +\d+ \| task -?\d+ \| *$", None),
        (r"^\Qquoted.text\E$", None),
        (r"^\.{3,}$", None),
    ],
)
def test_only_what_every_match_holds_is_required(regex: str, text: str | None) -> None:
    assert required(regex) == text


@pytest.mark.parametrize(
    ("regex", "wider"),
    [
        (r"^why: (?P<why>.{1,300}?)$", r"^why: (?P<why>.{1,}?)$"),
        (r"(?:ab|c){0,9}\d{2,40}", r"(?:ab|c){0,}\d{2,}"),
        (r"[a-z]{1,1000}", r"[a-z]{1,}"),
        # few times cost little
        (r"a{1,8}b{3}c{3,}", r"a{1,8}b{3}c{3,}"),
        # no repeats, or none that RE2 accepts
        (r"a\{1,300}", r"a\{1,300}"),
        (r"[x{1,300}]", r"[x{1,300}]"),
        (r"\Qa{1,300}\E", r"\Qa{1,300}\E"),
        (r"a{1,1001}", r"a{1,1001}"),
        (r"a{20,9}", r"a{20,9}"),
    ],
)
def test_limited_repeats_have_no_limit_in_the_filter(regex: str, wider: str) -> None:
    assert unlimited(regex) == wider
