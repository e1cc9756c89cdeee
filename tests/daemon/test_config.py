"""The configuration: found, validated strictly, all mistakes at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.daemon.config import default_socket, load
from sentinel.files.xdg import state_folder
from sentinel.model.problem import ConfigError


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
    text = f"""
state_dir = "/s"
socket = "/x.sock"
rules = ["/etc/sentinel/rules.d"]
sink = "console"
[intervals]
process = "1s"
rocm_smi = "1m"
[paths]
sys = "{tmp_path}"
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
    assert (config.intervals.rocm_smi, config.intervals.process, config.sys) == (60.0, 1.0, tmp_path)


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"a =", "is not TOML"),
        (b"\xff", "is not UTF-8"),
        (b"a = " + b"9" * 5000, "is not TOML"),
        (b"a = " + b"[" * 100_000, "is nested too deeply"),
        (b"#" * (1 << 20) + b"\n", "is larger than 1048576 bytes"),
    ],
    ids=["no-toml", "no-utf-8", "long-number", "deep", "large"],
)
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
    assert state_folder(env) == Path("/var/lib/sentinel")
    assert default_socket(env) == Path("/run/sentinel/sentinel.sock")


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ('[intervals]\nhost = "0s"', "intervals.host", "0 s is too short"),
        ('[paths]\nproc = "/nope"', "paths.proc", "'/nope' is not a folder"),
        ('[paths]\ndev = "/dev/null"', "paths.dev", "'/dev/null' is not a folder"),
        ('rules = ["~nobody-of-that-name/r"]', "rules", "that home folder is not known"),
        (
            '[[server]]\nname = "a"\nlog = "/x"\n[[server]]\nname = "a"\nlog = "/y"',
            "server",
            "'a' is the name of two [[server]] tables",
        ),
        ('[[server]]\nname = "a"\nlog = "/x"\n[[server]]\nname = "b"\nlog = "/x"', "server", "'/x' is the log of two"),
        ('[[server]]\nname = "a"\nunit = "x"\n[[server]]\nname = "b"\nunit = "x"', "server", "'x' is the unit of two"),
        (
            '[[server]]\nname = "a"\nlog = "/x"\nport = 1\n[[server]]\nname = "b"\nlog = "/y"\nport = 1',
            "server",
            "'1' is the port of two",
        ),
    ],
)
def test_what_would_be_taken_without_a_word_is_refused(tmp_path: Path, text: str, where: str, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text), {})
    assert [p.where for p in caught.value.problems] == [where]
    assert what in caught.value.problems[0].what


def test_two_servers_that_differ_are_accepted(tmp_path: Path) -> None:
    """Neither has a port, one has a log and one a unit."""
    text = '[[server]]\nname = "a"\nlog = "/x"\n[[server]]\nname = "b"\nunit = "x"'
    assert [s.name for s in load(write(tmp_path, text), {}).servers] == ["a", "b"]


def test_a_relative_path_begins_at_the_configuration_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever sentinel was started, and however the file was named."""
    (tmp_path / "elsewhere").mkdir()
    text = 'rules = ["rules"]\nstate_dir = "state"\nsocket = "/run/x"\n[[server]]\nname = "a"\nlog = "logs/a.log"'
    write(tmp_path, text)
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = load(Path("../sentinel.toml"), {})
    monkeypatch.chdir(tmp_path)
    same = load(Path("sentinel.toml"), {})

    for one in (config, same):
        paths = (one.rules[0], one.state_dir, one.socket, one.servers[0].log)
        assert all(path is not None and path.is_absolute() for path in paths)
        assert [path.resolve() for path in paths if path is not None] == [
            tmp_path / "rules",
            tmp_path / "state",
            Path("/run/x"),
            tmp_path / "logs/a.log",
        ]
