"""The configuration: one clear sentence for each mistake, and secrets that nobody else may read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sample_transitions import FIRING, as_shown

from sentinel.model.problem import ConfigError
from sentinel.notify import quiet
from sentinel.notify.config import load
from sentinel.notify.message import compose
from sentinel.notify.quiet import Quiet
from sentinel.notify.secrets import Redactor
from sentinel.notify.settings import Config
from sentinel.notify.template import filled

SECRET = "s3cr3t-t0ken-77"
Read = Callable[..., Config]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads a configuration of this text."""

    def run(text: str, mode: int = 0o600, **environ: str) -> Config:
        file = tmp_path / "notify.toml"
        file.write_text(text, encoding="utf-8")
        file.chmod(mode)
        return load(file, environ)

    return run


def channel(kind: str, more: str = "") -> str:
    return f"[[channel]]\nname = 'one'\ntype = '{kind}'\n{more}\n"


def test_everything_has_a_default_but_name_type_and_address(read: Read) -> None:
    (one,) = read(channel("webhook", "url = 'https://example.org/x'")).channels
    assert one.chosen.severities == {"critical", "warning"}
    assert one.urgent == {"critical"}
    assert (one.policy.group_wait, one.policy.group_interval) == (5.0, 30.0)
    assert one.chosen.resolved
    assert not one.quiet.at(time.time())


def test_what_stands_above_counts_for_each_channel_that_does_not_say_otherwise(read: Read) -> None:
    text = "group_wait = '1s'\nquiet = '22:00-07:00'\nurgent = []\n"
    text += channel("command", "command = ['/bin/true']")
    text += (
        "[[channel]]\nname = 'two'\ntype = 'command'\ncommand = ['/bin/true']\ngroup_wait = '2s'\nquiet = []\nurgent = ['info']\n"
    )
    one, two = read(text).channels
    assert (one.policy.group_wait, two.policy.group_wait) == (1.0, 2.0)
    assert (len(one.quiet.spans), len(two.quiet.spans)) == (1, 0)
    assert (set(one.urgent), set(two.urgent)) == (set(), {"info"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "channel: there is none; add a [[channel]] with name and type"),
        ("chanel = 1\n" + channel("command", "command = ['/bin/true']"), "chanel: unknown key; did you mean 'channel'"),
        (channel("webhok", "url = 'https://example.org'"), "'webhok' is none of: apprise, webhook, command, alertmanager"),
        (channel("webhook"), "channel 'one'.url: is missing"),
        (channel("webhook", "url = 'example.org'"), "is no address; write http:// or https://"),
        (channel("webhook", "url = 'https://example.org:port/'"), "is no address; write http:// or https://"),
        (channel("webhook", "url = 'https://example.org/'\nbody = 'x'"), "body: must be a table"),
        (channel("webhook", "url = 'https://example.org/'\nbody = { a = '{nam}' }"), "there is no {nam}"),
        (channel("webhook", "url = 'https://example.org/'\nbody = { a = 2026-11-29 }"), "is a date, which JSON has not"),
        (channel("webhook", "url = 'https://example.org/'\nheaders = { 'a b' = 'x' }"), "must be a line of text under a name"),
        (channel("webhook", "url = 'https://example.org/{secret:none}'"), "the secret 'none' is not there"),
        (channel("webhook", "url = 'https://example.org/'\ntimeout = '1h'"), "3600 s is out of range; between 1 s and 300 s"),
        (channel("webhook", "url = 'https://example.org/'\nseverities = ['bad']"), "'bad' is none of: critical, warning, info"),
        (channel("command", "command = 'rm -rf /'"), "must be a list of words, ['/path/to/program', 'word']: there is no shell"),
        (channel("webhook", "url = 'https://example.org/'\nheaders = { Title = 'Störung – GPU' }"), "no header can hold"),
        (channel("webhook", "url = 'https://example.org/'\nheaders = { content-length = '3' }"), "is set by sentinel"),
        (channel("webhook", "url = 'https://example.org/{secret:a/b}'"), "has a {secret:NAME} whose name is none"),
        (channel("webhook", "url = 'https://example.org/'\nbody = { a = ['{secret:none}'] }"), "the secret 'none' is not there"),
        (channel("command", "command = ['/bin/true', '{secret:a}']"), "everybody on the machine sees the words of a command"),
        (channel("command", "command = ['mail']"), "'mail' must be the whole path of the program"),
        (channel("command", "command = ['/no/such']"), "/no/such is no program that may be run"),
        (channel("command"), "command: is missing"),
        (channel("command", "command = ['/bin/true']\nurl = 'x'"), "url: unknown key"),
        ("urgent = 'critical'\n" + channel("command", "command = ['/bin/true']"), "urgent: must be a list, not 'critical'"),
        (channel("command", "command = ['/bin/true']\nurgent = 'critical'"), "channel 'one'.urgent: must be a list"),
        ("quiet = 'at night'\n" + channel("command", "command = ['/bin/true']"), "'at night' is no time of the day"),
        (channel("command", "command = ['/bin/true']\nquiet = ['07:00-07:00']"), "write '22:00-07:00'"),
        (channel("command", "command = ['/bin/true']") * 2, "'one' is the name of two channels"),
        ("[[channel]]\nname = 'A B'\ntype = 'command'\ncommand = ['/bin/true']", "a name is lower-case letters"),
        ('host = "a\\nBcc: x"\n' + channel("command", "command = ['/bin/true']"), "host: must be one line of text"),
        ("runbook = 'x'\n" + channel("command", "command = ['/bin/true']"), "runbook: is no address"),
        (channel("alertmanager", "url = 'http://127.0.0.1:9093'\nquiet = '22:00-07:00'"), "Alertmanager's own configuration"),
        (channel("alertmanager", "url = 'http://127.0.0.1:9093'\ngroup_wait = '9s'"), "Alertmanager's own configuration"),
        ("a = = 1", "is not TOML"),
        ("a = " + "9" * 5000, "is not TOML"),
        ("a = " + "[" * 5000, "is nested too deeply"),
        ("#" * ((1 << 20) + 1), "is larger than"),
    ],
)
def test_each_mistake_is_one_sentence(read: Read, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as said:
        read(text)
    assert any(says in str(problem) for problem in said.value.problems), said.value


def test_all_mistakes_are_reported_at_once_with_their_lines(read: Read) -> None:
    with pytest.raises(ConfigError) as said:
        read("hots = 'x'\n" + channel("webhook", "url = 'x'\nfoo = 1"))
    assert len(said.value.problems) == 3
    assert all(problem.line for problem in said.value.problems)


def test_no_configuration_names_where_it_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"docs/notify\.md has examples"):
        load(None, {"XDG_CONFIG_HOME": str(tmp_path)})


@pytest.mark.parametrize(
    "text",
    [
        channel("webhook", f"url = 'https://example.org/{SECRET}'"),
        channel("apprise", f"url = 'ntfys://{SECRET}'"),
        channel("alertmanager", f"url = 'https://me:{SECRET}@example.org'"),
        channel("alertmanager", f"url = 'https://example.org'\nheaders = {{ Authorization = '{SECRET}' }}"),
    ],
)
def test_a_secret_in_a_file_that_others_may_read_is_refused_without_repeating_it(read: Read, text: str) -> None:
    with pytest.raises(ConfigError, match="others may read this file; chmod 600") as said:
        read(text, mode=0o644)
    assert SECRET not in str(said.value)
    assert SECRET not in repr(read(text, mode=0o600))


def test_what_holds_no_secret_may_be_read(read: Read) -> None:
    assert read(channel("alertmanager", "url = 'http://127.0.0.1:9093'"), mode=0o644)
    assert read(channel("command", "command = ['/bin/true']"), mode=0o644)


def test_secrets_come_from_credentials_of_the_unit_or_from_a_folder_of_private_files(read: Read, tmp_path: Path) -> None:
    text = channel("webhook", "url = 'https://example.org/{secret:path}'\nheaders = { Authorization = 'Bearer {secret:token}' }")
    folder, credentials = tmp_path / "notify.secrets", tmp_path / "credentials"
    for place in (folder, credentials):
        place.mkdir()
    (folder / "path").write_text("from-folder\n", encoding="utf-8")
    (folder / "path").chmod(0o600)
    # systemd shows its access list as the group's rights
    (credentials / "token").write_text(SECRET, encoding="utf-8")
    (credentials / "token").chmod(0o440)
    (one,) = read(text, mode=0o644, CREDENTIALS_DIRECTORY=str(credentials)).channels

    assert one.url == "https://example.org/from-folder"
    assert one.headers == {"Authorization": f"Bearer {SECRET}"}
    assert Redactor(one.secrets)(f"{one.url} Bearer {SECRET} from-folder") == "*** *** ***"

    (folder / "path").chmod(0o640)
    with pytest.raises(ConfigError, match=r"others may read .*/path; chmod 600 it"):
        read(text, mode=0o644, CREDENTIALS_DIRECTORY=str(credentials))


def test_a_secret_in_a_body_is_filled_in_as_it_is_and_shown_nowhere(read: Read, tmp_path: Path) -> None:
    value = "{title} s3cr3t"
    (tmp_path / "notify.secrets").mkdir()
    (tmp_path / "notify.secrets/key").write_text(value, encoding="utf-8")
    (tmp_path / "notify.secrets/key").chmod(0o600)
    (one,) = read(channel("webhook", "url = 'https://example.org/'\nbody = { a = { key = ['{secret:key}', 1] } }")).channels
    sent = filled(one.body, compose([as_shown(FIRING)], "gpu-1", "k"))
    assert sent == {"a": {"key": [value, 1]}}
    assert "s3cr3t" not in repr(one)
    assert "s3cr3t" not in Redactor(one.secrets)(f"refused {value}")


def test_a_credential_that_is_missing_is_asked_of_the_unit(read: Read, tmp_path: Path) -> None:
    """Nobody can write into the folder of credentials."""
    with pytest.raises(ConfigError) as said:
        read(channel("webhook", "url = 'https://example.org/{secret:token}'"), CREDENTIALS_DIRECTORY=str(tmp_path))
    assert "LoadCredential=token:/etc/sentinel/notify.secrets/token" in str(said.value)
    assert "write it there" not in str(said.value)


@pytest.mark.parametrize("content", [b"", b"two\nlines", b"\xff\xfe", b"x" * 20000])
def test_a_secret_is_one_line_of_text(read: Read, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "notify.secrets").mkdir()
    (tmp_path / "notify.secrets/a").write_bytes(content)
    (tmp_path / "notify.secrets/a").chmod(0o600)
    with pytest.raises(ConfigError, match=r"one line of text|not UTF-8"):
        read(channel("webhook", "url = 'https://example.org/{secret:a}'"))


def test_a_secret_is_not_waited_for(read: Read, tmp_path: Path) -> None:
    (tmp_path / "notify.secrets").mkdir()
    os.mkfifo(tmp_path / "notify.secrets/a", 0o600)
    with pytest.raises(ConfigError, match="is no file"):
        read(channel("webhook", "url = 'https://example.org/{secret:a}'"))


@pytest.mark.parametrize(
    ("span", "moment", "is_quiet"),
    [
        ("22:00-07:00", "21:59", False),
        ("22:00-07:00", "22:00", True),
        ("22:00-07:00", "03:00", True),
        ("22:00-07:00", "07:00", False),
        ("12:00-13:00", "12:30", True),
        ("12:00-13:00", "13:00", False),
    ],
)
def test_quiet_hours_are_of_the_local_day(span: str, moment: str, is_quiet: bool) -> None:
    parsed = quiet.parse(span)
    assert parsed is not None
    one = Quiet((parsed,), lambda _: time.strptime(moment, "%H:%M"))
    assert one.at(0.0) is is_quiet
