"""What a run begins with after a step of the clock: the rules as they are kept, where the files are the same."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sentinel.cli import run
from sentinel.daemon.config import Config
from sentinel.daemon.daemon import AGAIN
from sentinel.daemon.load_in_child import load_first
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.rulefiles.files import Loaded, RuleFiles
from sentinel.rulefiles.kept import KeptRules


@pytest.mark.parametrize("is_kept", [True, False])
def test_unchanged_files_are_not_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_kept: bool) -> None:
    """Nobody had an answer for half a minute on a busy machine, and CEL stayed in the daemon's memory."""
    given: list[RuleSet | None] = []
    decoded: list[int] = []

    class Once:
        def __init__(self, _config: Config, _files: RuleFiles, loaded: Loaded) -> None:
            given.append(loaded.ruleset)
            self.rules: Any = self
            self.loaded = loaded

        async def run(self) -> int:
            return AGAIN if len(given) == 1 else 0

    def decode(_files: RuleFiles) -> Loaded:
        decoded.append(1)
        return loaded

    files, kept = RuleFiles(), KeptRules(tmp_path)
    loaded = load_first(files, kept if is_kept else None)
    monkeypatch.setattr(run, "Daemon", Once)
    monkeypatch.setattr(RuleFiles, "load_good", decode)
    assert asyncio.run(run._run(Config(file=None, state_dir=tmp_path, socket=tmp_path / "s"), files, loaded, kept)) == 0
    assert len(given) == 2
    assert len(decoded) == (0 if is_kept else 1)
    assert given[1] is not None
    assert loaded.ruleset is not None
    assert given[1].rules.keys() == loaded.ruleset.rules.keys()
