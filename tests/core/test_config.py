"""The configuration: found, validated strictly, all mistakes at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.config import ConfigError, default_socket, default_state_dir, load


def write(folder: Path, text: str) -> Path:
    path = folder / "sentinel.toml"
    path.write_text(text)
    return path


def test_without_a_file_everything_has_a_default(tmp_path: Path) -> None:
    config = load(None, {"XDG_CONFIG_HOME": str(tmp_path), "XDG_RUNTIME_DIR": "/run/user/7", "XDG_STATE_HOME": "/s"})
    assert (config.file, config.discover, config.servers) == (None, True, ())
    assert config.socket == Path("/run/user/7/sentinel/sentinel.sock")
    assert config.state_dir == Path("/s/sentinel")


def test_the_users_own_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "sentinel").mkdir()
    write(tmp_path / "sentinel", "discover = false")
    assert load(None, {"XDG_CONFIG_HOME": str(tmp_path)}).discover is False


def test_a_full_file(tmp_path: Path) -> None:
    text = """
state_dir = "/s"
socket = "/x.sock"
rules = ["/etc/sentinel/rules.d"]
sink = "console"
[intervals]
process = "1s"
rocm_smi = "1m"
[paths]
sys = "/other/sys"
[[server]]
name = "big"
port = 8081
log = "/var/log/big.log"
[[server]]
name = "small.service"
unit = "small.service"
"""
    config = load(write(tmp_path, text), {})
    assert [(s.name, s.port, str(s.log), s.unit) for s in config.servers] == [
        ("big", 8081, "/var/log/big.log", ""),
        ("small.service", 0, "None", "small.service"),
    ]
    assert (config.intervals.rocm_smi, config.intervals.process, config.sys) == (60.0, 1.0, Path("/other/sys"))


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = """
stat_dir = "/s"
sink = "syslog"
[intervals]
rocm_smi = "5s"
host = 3
[[server]]
name = "a"
[[server]]
log = "/x"
unit = "y"
port = 99999
"""
    with pytest.raises(ConfigError) as raised:
        load(write(tmp_path, text), {})
    told = "\n".join(str(p) for p in raised.value.problems)
    for what in (
        "stat_dir: unknown key; did you mean 'state_dir'",
        "'syslog' is none of",
        "5 s is too short; at least 30 s",
        "intervals.host: must be text",
        "server 'a': needs 'log' (a file) or 'unit'",
        "has both 'log' and 'unit'",
        "99999 is not a port",
        "name: is missing",
    ):
        assert what in told


@pytest.mark.parametrize(("data", "what"), [(b"a =", "is not TOML"), (b"\xff", "is not UTF-8")])
def test_what_is_no_configuration_gets_one_sentence(tmp_path: Path, data: bytes, what: str) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=what):
        load(path, {})


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "none.toml", {})


def test_systemd_says_where_a_service_keeps_things() -> None:
    env = {
        "STATE_DIRECTORY": "/var/lib/sentinel",
        "RUNTIME_DIRECTORY": "/run/sentinel",
        "HOME": "/h",
        "XDG_RUNTIME_DIR": "/run/user/1",
    }
    assert default_state_dir(env) == Path("/var/lib/sentinel")
    assert default_socket(env) == Path("/run/sentinel/sentinel.sock")
