"""Two daemons on one state folder are noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.daemon.state_lock import StateInUse, StateLock


def test_the_second_is_refused_with_what_to_do_and_may_follow_the_first(tmp_path: Path) -> None:
    first = StateLock(tmp_path / "state")
    with pytest.raises(StateInUse, match=r"another sentinel has the state folder .*state_dir"):
        StateLock(tmp_path / "state")
    first.release()
    StateLock(tmp_path / "state").release()


def test_a_folder_that_cannot_be_had_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    StateLock(tmp_path / "file" / "state").release()
