"""What is said where an optional library is missing: a command for this very installation."""

from __future__ import annotations

import sys

import pytest

from sentinel.files import libraries


def test_the_command_is_of_the_python_that_sentinel_runs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """After `sudo make install` a bare `pip install` added the library to another Python."""
    monkeypatch.setattr(sys, "executable", "/opt/sentinel/bin/python3")
    monkeypatch.setattr("os.access", lambda *_: True)
    assert libraries.how_to_add("textual", "top") == "/opt/sentinel/bin/python3 -m pip install textual"

    monkeypatch.setattr("os.access", lambda *_: False)
    assert libraries.how_to_add("textual", "top") == "sudo /opt/sentinel/bin/python3 -m pip install textual"


def test_without_pip_beside_it_sentinel_is_installed_again_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "find_spec", lambda _name: None)

    said = libraries.how_to_add("textual", "top")

    assert "'.[top]'" in said
    assert " -m pip " not in said
