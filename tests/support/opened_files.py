"""Which files a piece of code opens: what it asks the kernel is its cost, whoever else is busy."""

from __future__ import annotations

import os
from typing import Any

import pytest


def opened_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that are opened from now on, by os.open."""
    opened: list[str] = []
    real = os.open

    def counted(path: Any, *rest: Any, **named: Any) -> int:
        opened.append(str(path))
        return real(path, *rest, **named)

    monkeypatch.setattr(os, "open", counted)
    return opened
