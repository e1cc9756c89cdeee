"""The files of the shipped events, for rules that are loaded beside them."""

from __future__ import annotations

import pytest

from sentinel.rulefiles.files import read, shipped


@pytest.fixture(scope="session")
def events() -> dict[str, bytes]:
    """Content by name."""
    return read([shipped()])[1]
