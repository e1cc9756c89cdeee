"""The text that a pattern cannot do without, by which lines are caught: wrong once, and an event is never seen again."""

from __future__ import annotations

import pytest

from sentinel.engine.log.prefilter import required


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
        (r"^\Qquoted.text\E$", None),
        (r"^\.{3,}$", None),
    ],
)
def test_only_what_every_match_holds_is_required(regex: str, text: str | None) -> None:
    assert required(regex) == text
