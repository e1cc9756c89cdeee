"""`sentinel notify` on the command line: what is missing or not allowed is one sentence with its exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.cli.main import main
from sentinel.notify.store import Store


def test_without_a_configuration_it_does_not_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["notify", "--config", str(tmp_path / "none.toml")]) == 2
    assert capsys.readouterr().err == f"sentinel: {tmp_path / 'none.toml'}: cannot be read: No such file or directory\n"


def test_every_mistake_is_reported_and_nothing_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "notify.toml"
    config.write_text("chanel = 1\n[[channel]]\nname = 'a'\ntype = 'webhook'\n", encoding="utf-8")
    assert main(["notify", "--config", str(config)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all(str(config) in line for line in said)


def test_an_unknown_channel_is_answered_with_those_that_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "notify.toml"
    config.write_text("[[channel]]\nname = 'a'\ntype = 'command'\ncommand = ['/bin/true']\n", encoding="utf-8")
    assert main(["notify", "--config", str(config), "--test", "b"]) == 2
    assert capsys.readouterr().err == "sentinel: there is no channel 'b'; there are a\n"
    assert main(["notify", "--config", str(config), "--test", "a"]) == 0
    assert capsys.readouterr().out == "a (command): delivered\n"


def test_a_status_of_nothing_that_runs_is_not_ok(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last run delivered everything; nobody will deliver the next."""
    folder = tmp_path / "a name? of #5 %20"
    store = Store(folder)
    store.has_channels(["a"])
    assert main(["notify", "--status", "--state", str(folder)]) == 0
    store.close()
    capsys.readouterr()
    assert main(["notify", "--status", "--state", str(folder)]) == 1
    assert "`sentinel notify` does not run" in capsys.readouterr().out


def test_a_status_without_state_or_without_the_right_to_it_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["notify", "--status", "--state", str(tmp_path)]) == 3
    assert capsys.readouterr().err.startswith(f"sentinel: there is no state in {tmp_path}; start it with ")

    def refuse(_path: Path) -> None:
        raise PermissionError

    # What the folder of a dynamic user answers to everybody else.
    monkeypatch.setattr(Path, "stat", refuse)
    assert main(["notify", "--status", "--state", "/var/lib/sentinel-notify"]) == 3
    assert "ask as root: sudo sentinel notify --status" in capsys.readouterr().err
