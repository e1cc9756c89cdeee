"""Which units start a llama-server, by their files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sentinel.sources.processes.unit_files import ServerUnits, commands


def write(folder: Path, name: str, command: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"[Unit]\n[Service]\nExecStart={command}\n")
    # Two changes within one tick of the file system's clock look like one.
    os.utime(folder, (len(list(folder.iterdir())),) * 2)


def test_units_that_start_it_by_themselves_or_behind_a_wrapper(tmp_path: Path) -> None:
    write(tmp_path, "a.service", "-/opt/llama/llama-server -m x")
    write(tmp_path, "b.service", "/usr/bin/sentinel exec -- /usr/bin/llama-server -m x")
    write(tmp_path, "other.service", "/usr/bin/nginx")
    write(tmp_path, "template@.service", "/usr/bin/llama-server")
    write(tmp_path, "dropped.service.d/override.conf", "\nExecStart=/usr/bin/llama-server")
    write(tmp_path, "late.service", "/usr/bin/x 1 2 3 4 5 6 7 8 llama-server")
    units = ServerUnits([str(tmp_path), "/no/such/folder"])
    assert units.names() == ("a.service", "b.service", "dropped.service")
    assert ("a.service", ["/opt/llama/llama-server", "-m", "x"]) in list(commands([str(tmp_path)]))


def test_a_unit_that_comes_later_is_found_and_only_so_many_are(tmp_path: Path) -> None:
    units = ServerUnits([str(tmp_path)])
    assert units.names() == ()
    for number in range(9):
        write(tmp_path, f"{number}.service", "/usr/bin/llama-server")
    assert units.names() == tuple(f"{number}.service" for number in range(8))


def test_a_unit_that_is_seen_before_it_is_written_is_read_again(tmp_path: Path) -> None:
    """Whoever writes it makes the file first, and what comes into it then does not change the folder."""
    units = ServerUnits([str(tmp_path)])
    unit = tmp_path / "a.service"
    unit.touch()
    assert units.names() == ()
    unit.write_text("[Service]\nExecStart=/usr/bin/llama-server\n")
    assert units.names() == ("a.service",)


def test_a_drop_in_that_is_written_into_a_folder_that_was_there_is_read(tmp_path: Path) -> None:
    """`systemctl edit` makes the folder as it begins; the file comes when the person has done, an hour later."""
    write(tmp_path, "a.service", "/usr/bin/run-it")
    write(tmp_path, "a.service.d/none.conf", "")
    os.utime(tmp_path / "a.service.d", (1, 1))
    units = ServerUnits([str(tmp_path)])
    assert units.names() == ()
    (tmp_path / "a.service.d/override.conf").write_text("[Service]\nExecStart=\nExecStart=/usr/bin/llama-server\n")
    assert units.names() == ("a.service",)


def test_folders_that_rest_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked once a second."""
    write(tmp_path, "a.service", "/usr/bin/llama-server")
    units = ServerUnits([str(tmp_path)])
    assert units.names() == ("a.service",)
    monkeypatch.setattr("sentinel.sources.processes.unit_files.commands", lambda _: pytest.fail("read again"))
    assert units.names() == ("a.service",)


def test_a_person_has_his_own_units_and_a_service_the_machines(tmp_path: Path) -> None:
    write(tmp_path / ".config/systemd/user", "mine.service", "/usr/bin/llama-server")
    mine = ServerUnits.of_user(1000, f"{tmp_path}/.config", booted=tmp_path)
    assert "mine.service" in mine.names()
    assert mine.user == 1000
    assert ServerUnits.of_user(998, "", booted=tmp_path).user is None
    assert ServerUnits.of_user(0, "", booted=tmp_path / "none").names() == ()
    assert "mine.service" not in ServerUnits.of_user(1000, "", booted=tmp_path).names()
