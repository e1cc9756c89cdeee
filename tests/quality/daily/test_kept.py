"""What is kept of a server survives kills, and a damaged file counts as none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sentinel.quality.daily.identity import Identity
from sentinel.quality.daily.kept import MOST_KEPT, Record, Shelf
from sentinel.quality.daily.outcome import Distance, Outcome, taken

NAME = "llama.service"


def kept(folder: Path) -> Path:
    """The file of a server that was checked."""
    shelf = Shelf(folder)
    record = shelf.record(NAME)
    record.checked_at, record.checked_as = 1000.0, Identity(program="p", flags="-fa off")
    record.found = Outcome("done", tokens=4800, past=Distance("shifted", divergence=0.17))
    record.spend(4800, 30.0, 1000.0)
    assert shelf.save(NAME) == ""
    (state,) = folder.glob("*.state.json")
    return state


def test_a_record_is_read_back_as_it_was(tmp_path: Path) -> None:
    kept(tmp_path)
    again = Shelf(tmp_path).record(NAME)
    assert again.checked_as == Identity(program="p", flags="-fa off")
    assert again.found.past == Distance("shifted", divergence=0.17)
    assert (again.spent(1000.0), again.spent(1000.0 + 86_400)) == (4800, 0)
    assert (again.took(1000.0), again.took(1000.0 + 86_400)) == (30.0, 0.0)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"version": 2}', '{"version": 1, "name": "another"}', "[" * 100_000, '{"version": 1, "name": NaN}'],
    ids=["empty", "cut", "a list", "null", "another version", "another server", "nested", "no number"],
)
def test_a_file_that_is_none_counts_as_none(text: str, tmp_path: Path) -> None:
    kept(tmp_path).write_text(text)
    assert Shelf(tmp_path).record(NAME) == Record(NAME)


def test_values_of_another_kind_are_left_out(tmp_path: Path) -> None:
    state = kept(tmp_path)
    given = json.loads(state.read_text())
    given |= {"checked_at": "yesterday", "tokens_of_day": 1e300, "checked_as": [], "failures": True}
    given["found"]["past"] |= {"verdict": 7, "divergence": "much"}
    state.write_text(json.dumps(given))
    again = Shelf(tmp_path).record(NAME)
    assert (again.checked_at, again.tokens_of_day, again.checked_as, again.failures) == (0.0, 0, Identity(), 0)
    assert again.found.past == Distance()


def test_text_of_a_stranger_is_cut() -> None:
    found = taken(Outcome, {"why": "\udcff" + "x" * 10_000, "past": {"divergence": float("inf")}})
    assert len(found.why) == 500
    assert found.why.encode()
    assert found.past.divergence is None


def test_no_more_servers_are_kept_than_there_may_be(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    for number in range(MOST_KEPT + 5):
        name = f"127.0.0.1:{number}"
        shelf.record(name)
        shelf.reference(name).parent.mkdir(exist_ok=True)
        shelf.reference(name).write_text("{}")
        assert shelf.save(name) == ""
    assert len(list(tmp_path.glob("*.state.json"))) == MOST_KEPT
    assert len(list(tmp_path.glob("*.reference.json"))) == MOST_KEPT


def test_two_names_never_share_a_file(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    names = ("a b", "a/b", "a-b", "../../etc/passwd", "", "x" * 300, "x" * 301)
    assert len({shelf.reference(name) for name in names}) == len(names)
    assert all(shelf.reference(name).parent == tmp_path for name in names)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    shelf = Shelf(tmp_path / "file" / "daily")
    shelf.record(NAME)
    assert "cannot be kept" in shelf.save(NAME)
