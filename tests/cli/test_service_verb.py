"""`sentinel service`: what is written where, and what is refused with one sentence (booted: tests/e2e)."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.cli.main import main
from sentinel.cli.service import files, place
from sentinel.model.fault import Fault

UNITS = [f"sentinel{of}.service" for of in ("-cure", "-notify", "-web", "")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a user's units go; the program is one of the user's own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "SUDO_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(place, "program", lambda: Path("/home/joe/venv/bin/sentinel"))
    return tmp_path / ".config/systemd/user"


def test_every_unit_starts_this_installation_and_no_other(folder: Path) -> None:
    assert main(["service", "install", "--user"]) == 0
    assert sorted(path.name for path in folder.iterdir()) == UNITS
    for path in folder.iterdir():
        text = path.read_text(encoding="utf-8")
        assert "ExecStart=/home/joe/venv/bin/sentinel" in text
        assert "%h/.local/bin" not in text
        assert path.stat().st_mode & 0o777 == 0o644


def test_no_shipped_file_keeps_a_place_of_its_own() -> None:
    texts = {name: (files.shipped() / name).read_text(encoding="utf-8") for name in files.names(user=False)}
    for file in files.wanted(Path("/opt/x/bin/sentinel"), texts, {}, user=False):
        assert "@PREFIX@" not in file.text
        assert file.text.startswith(files.MARK)


def test_a_dry_run_writes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["service", "install", "--user", "--dry-run"]) == 0
    assert not folder.exists()
    assert capsys.readouterr().out.count("would write") == 4


def test_a_unit_of_others_is_not_replaced_and_nothing_else_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder.mkdir(parents=True)
    (folder / "sentinel-web.service").write_text("[Service]\nExecStart=/usr/bin/other\n", encoding="utf-8")
    assert main(["service", "install", "--user"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{folder}/sentinel-web.service" in said
    assert len(list(folder.iterdir())) == 1

    assert main(["service", "uninstall", "--user"]) == 0
    assert len(list(folder.iterdir())) == 1


def test_a_link_is_somebody_elses(folder: Path, tmp_path: Path) -> None:
    """`systemctl --user link` makes one; to write through it would change what it leads to."""
    folder.mkdir(parents=True)
    target = tmp_path / "shipped.service"
    target.write_text(files.MARK, encoding="utf-8")
    (folder / "sentinel.service").symlink_to(target)
    assert main(["service", "install", "--user"]) == 2
    assert target.read_text(encoding="utf-8") == files.MARK


def test_again_it_changes_nothing_and_takes_away_what_it_wrote(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["service", "install", "--user"])
    capsys.readouterr()
    assert main(["service", "install", "--user"]) == 0
    assert capsys.readouterr().out.count("unchanged") == 4
    assert main(["service", "uninstall", "--user"]) == 0
    assert list(folder.iterdir()) == []
    capsys.readouterr()
    assert main(["service", "uninstall", "--user"]) == 0
    assert "nothing here" in capsys.readouterr().out


def test_a_path_that_a_unit_cannot_start_is_refused() -> None:
    for path in ("/home/joe/my programs/bin/sentinel", "/home/joe/%h/bin/sentinel", "/x/\nUser=root"):
        with pytest.raises(Fault, match="a unit cannot start"):
            files.wanted(Path(path), {}, {"HOME": "/home/joe"}, user=True)


def test_with_sudo_a_service_of_ones_own_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "joe")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert main(["service", "install", "--user"]) == 2
    assert not folder.exists()


def test_what_others_may_change_is_no_service_of_the_machine(tmp_path: Path) -> None:
    program = tmp_path / "sentinel"
    program.touch()
    with pytest.raises(Fault, match=r"others than root may change|could not get to"):
        place.judge(program)
