"""Installing: what lands where, what is refused with one sentence, and that only what is ours is removed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
INSTALL = REPO / "systemd/install.sh"


def run(verb: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [str(INSTALL), verb]
    return subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"PREFIX": "opt/x"}, "must begin with /"),
        ({"PREFIX": "/root/sentinel"}, "cannot rely on a program there"),
        ({"PREFIX": "/opt/a b"}, "letters, digits"),
        ({"PREFIX": "/opt/a,b;c"}, "letters, digits"),
        ({"PREFIX": "/usr"}, "holds files that sentinel did not put there"),
        ({"PYTHON": "/nowhere/python3"}, "no Python at /nowhere/python3"),
    ],
)
def test_a_wrong_setting_is_one_sentence_and_exit_code_2(tmp_path: Path, environ: dict[str, str], words: str) -> None:
    """Before anything was written."""
    (tmp_path / "usr").mkdir()
    (tmp_path / "usr/keep").touch()
    done = run("install", DESTDIR=str(tmp_path), **environ)

    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["usr", "usr/keep"]


def test_an_old_python_is_refused(tmp_path: Path) -> None:
    """By the version it tells, with the one that is needed."""
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\ncase "$1" in --version) echo "Python 3.9.2" ;; *) exit 1 ;; esac\n')
    old.chmod(0o755)

    done = run("install", DESTDIR=str(tmp_path), PYTHON=str(old))

    assert (done.returncode, done.stderr) == (
        2, f"sentinel install: {old} is Python 3.9.2; sentinel needs Python 3.11 or later (set PYTHON=)\n",
    )  # fmt: skip


def test_uninstall_removes_ours_and_names_what_stays(tmp_path: Path) -> None:
    """A folder without our mark, another program's command and the history are kept."""
    ours = (
        "usr/local/share/man/man1/sentinel.1",
        "usr/local/share/bash-completion/completions/sentinel",
        "usr/local/share/zsh/site-functions/_sentinel",
        "usr/local/share/fish/vendor_completions.d/sentinel.fish",
        "opt/sentinel/bin/sentinel",
        "opt/sentinel/.installed-by-sentinel",
        "etc/systemd/system/sentinel.service",
        "etc/systemd/system/sentinel.socket",
        "etc/systemd/system/sentinel-cure.service",
        "etc/systemd/system/sentinel-notify.service",
        "etc/systemd/system/sentinel-web.service",
        "etc/systemd/user/sentinel.service",
        "etc/systemd/user/sentinel-notify.service",
        "etc/systemd/user/sentinel-web.service",
        "etc/systemd/user/sentinel-cure.service",
        "usr/lib/sysusers.d/sentinel.conf",
        "usr/lib/tmpfiles.d/sentinel.conf",
        "usr/lib/systemd/catalog/sentinel.catalog",
    )
    kept = ("var/lib/sentinel/history.db", "etc/sentinel/sentinel.toml", "usr/local/bin/sentinel")
    for name in (*ours, *kept):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    done = run("uninstall", DESTDIR=str(tmp_path))
    stranger = run("uninstall", DESTDIR=str(tmp_path), PREFIX="/var/lib/sentinel")

    assert done.returncode == 0, done.stderr
    assert "Kept: its users, its history in /var/lib/sentinel" in done.stdout
    assert not any((tmp_path / name).exists() for name in ours)
    assert not (tmp_path / "opt/sentinel").exists()
    assert all((tmp_path / name).exists() for name in kept)
    assert stranger.returncode == 2


def test_a_users_own_installation_is_removed_without_root(tmp_path: Path) -> None:
    """Program, command, manual and unit go; history, configuration and another program of that name stay."""
    home = tmp_path / "home/joe"
    data = ".local/share"
    ours = (f"{data}/sentinel/bin/sentinel", f"{data}/sentinel/.installed-by-sentinel", f"{data}/man/man1/sentinel.1")
    kept = (".local/state/sentinel/history.sqlite", ".config/sentinel/sentinel.toml", ".local/bin/sentinel")
    for name in (*ours, ".config/systemd/user/sentinel.service", *kept):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).touch()
    environ = {"HOME": str(home), "XDG_DATA_HOME": "", "XDG_CONFIG_HOME": "", "XDG_RUNTIME_DIR": ""}

    done = run("uninstall-user", **environ)

    assert done.returncode == 0, done.stderr
    assert not any((home / name).exists() for name in (*ours, ".config/systemd/user/sentinel.service"))
    assert all((home / name).exists() for name in kept)
    assert run("uninstall-user", **environ | {"HOME": "joe"}).returncode == 2
