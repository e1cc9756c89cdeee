"""The configuration of `sentinel cure`: one clear sentence for each mistake; the polkit rule allows what it names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sentinel.cli.main import main
from sentinel.cure import polkit
from sentinel.cure.config import Config, load
from sentinel.model.problem import ConfigError

GOOD = "[[action]]\nrestart = 'llama.service'\nrules = ['server-wedged']\n"


def read(folder: Path, text: str) -> Config:
    file = folder / "cure.toml"
    file.write_text(text, encoding="utf-8")
    return load(file, {})


def test_two_in_an_hour_ten_minutes_apart_are_the_default(tmp_path: Path) -> None:
    (action,) = read(tmp_path, GOOD).actions
    assert (action.unit, action.server) == ("llama.service", "llama.service")
    assert (action.per_hour, action.pause, action.after) == (2, 600.0, 0.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is none; add an [[action]] with restart and rules"),
        ("[[action]]\nrestart = 'llama.service'\n", "is missing; name the rules"),
        ("[[action]]\nrules = ['server-wedged']\n", "restart: is missing"),
        (GOOD + "per_hour = 100\n", "must be from 1 to 12"),
        (GOOD + "pause = '1s'\n", "must be from 1m to 1h"),
        (GOOD + "stop = true\n", "stop"),
        ("[[action]]\nrestart = 'x.service; reboot'\nrules = ['a']\n", "must be the name of one service, such as llama.service"),
        ("[[action]]\nrestart = 'llama@.service'\nrules = ['a']\n", "must be the name of one service"),
        ("[[action]]\nrestart = 'reboot.target'\nrules = ['a']\n", "must be the name of one service"),
        ("[[action]]\nrestart = 'a.service'\nrules = ['*']\n", "'*' is no name of a rule"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"cure\.toml") as raised:
        read(tmp_path, text)
    assert said in str(raised.value)


def test_without_a_file_it_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"/etc/sentinel/cure\.toml: is not there; write it"):
        load(None, {"HOME": str(tmp_path)})


def test_check_shows_what_may_be_restarted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read(tmp_path, GOOD)
    assert main(["cure", "--check", "--config", str(tmp_path / "cure.toml")]) == 0
    assert "restart llama.service for server-wedged: at most 2 an hour, 10 min apart" in capsys.readouterr().out
    assert main(["cure", "--check", "--json", "--config", str(tmp_path / "cure.toml")]) == 0
    assert json.loads(capsys.readouterr().out)["actions"][0]["unit"] == "llama.service"


def test_the_polkit_rule_names_each_unit_once_as_json(tmp_path: Path) -> None:
    text = polkit.rules(["b.service", "a@1.service", "b.service"])
    assert '["a@1.service", "b.service"].indexOf(action.lookup("unit"))' in text
    assert 'subject.user == "sentinel-cure"' in text
