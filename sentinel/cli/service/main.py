"""`sentinel service`: writes the units for this installation, or takes them away. Says each step; nothing is started."""

from __future__ import annotations

import argparse
import os
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from sentinel.cli.main import CRITICAL, OK
from sentinel.cli.output import say, warn
from sentinel.cli.service import files, place
from sentinel.cli.service.files import File
from sentinel.files.atomic import write_atomically
from sentinel.files.libraries import how_to_add
from sentinel.model.fault import Fault

#: Where packages have their units: what is there is not ours.
_PACKAGED = [Path(root) / "systemd/system/sentinel.service" for root in ("/usr/lib", "/lib", "/usr/local/lib")]


def main(arguments: argparse.Namespace) -> int:
    """Install or uninstall."""
    steps = _Steps(dry=arguments.dry_run, user=arguments.user)
    try:
        _check_rights(arguments.action, user=arguments.user, dry=arguments.dry_run)
        if arguments.action == "install":
            _install(steps)
        else:
            _uninstall(steps)
    except Fault as fault:
        warn(str(fault))
        return CRITICAL
    except OSError as error:
        warn(f"{error.filename}: {error.strerror}; what was said before is done")
        return CRITICAL
    return OK


class _Steps:
    """Does one thing after the other and says it; dry: says what it would do."""

    def __init__(self, *, dry: bool, user: bool) -> None:
        self.dry = dry
        self.user = user
        place_of_systemd = Path(os.environ.get("XDG_RUNTIME_DIR", "/nowhere")) / "systemd/private"
        #: a systemd runs that can be asked
        self.live = place_of_systemd.exists() if user else Path("/run/systemd/system").is_dir()

    def write(self, file: File) -> None:
        """Write it, whole, for everybody to read."""
        about = f"  (starts {file.starts})" if file.starts else ""
        if _text(file.path) == file.text:
            say(f"unchanged  {file.path}{about}")
            return
        say(f"{'would write' if self.dry else 'write'}  {file.path}{about}")
        if not self.dry:
            file.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file.path, file.text.encode())
            file.path.chmod(0o644)

    def remove(self, path: Path) -> None:
        """Remove it."""
        say(f"{'would remove' if self.dry else 'remove'}  {path}")
        if not self.dry:
            path.unlink()

    def run(self, *command: str) -> None:
        """Run it; what fails is said, and the rest goes on."""
        say(f"{'would run' if self.dry else 'run'}  {' '.join(command)}")
        if self.dry:
            return
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            warn(f"{command[0]} could not be run: {error}")
            return
        if done.returncode:
            said = done.stderr.strip().splitlines()
            warn(f"{command[0]} ended with {done.returncode}{f': {said[-1]}' if said else ''}")

    def systemctl(self, *words: str) -> None:
        """Ask the systemd that the units are for."""
        self.run("systemctl", *(["--user"] if self.user else []), *words)


def _check_rights(action: str, *, user: bool, dry: bool) -> None:
    root = os.geteuid() == 0
    if user and root and os.environ.get("SUDO_USER"):
        raise Fault("a service of your own is not root's", "without sudo: sentinel service install --user")
    if not user and not root and not dry:
        raise Fault(
            "units of the machine are written by root",
            f"sudo {place.program()} service {action}; or for a service of your own: sentinel service {action} --user",
        )


def _install(steps: _Steps) -> None:
    command = place.program()
    if not steps.user:
        if packaged := next((path for path in _PACKAGED if path.exists()), None):
            raise Fault(f"a package has brought {packaged}", "use that one: sudo systemctl enable --now sentinel")
        place.judge(command)
    texts = {name: (files.shipped() / name).read_text(encoding="utf-8") for name in files.names(user=steps.user)}
    wanted = files.wanted(command, texts, os.environ, user=steps.user)
    if others := [str(file.path) for file in wanted if _is_of_others(file.path)]:
        raise Fault(
            f"this was not written by `sentinel service install`: {', '.join(others)}",
            "remove it first (`make uninstall` in the checkout, or `systemctl disable` where it is a link), then try again",
        )
    for file in wanted:
        steps.write(file)
    if not steps.live:
        say("systemd does not answer here: nothing is registered; it reads the units at its next start")
        return
    if not steps.user:
        for file in wanted:
            if file.path.parent.name == "sysusers.d":
                steps.run("systemd-sysusers", str(file.path))
            elif file.path.parent.name == "tmpfiles.d":
                steps.run("systemd-tmpfiles", "--create", str(file.path))
    steps.systemctl("daemon-reload")
    if not steps.user:
        steps.run("journalctl", "--update-catalog")
    # Those that run go on with what was written.
    steps.systemctl("try-restart", *files.UNITS)
    _say_what_is_next(user=steps.user)


def _say_what_is_next(*, user: bool) -> None:
    systemctl = "systemctl --user" if user else "sudo systemctl"
    say("next:")
    say(f"  {systemctl} enable --now sentinel")
    if user:
        say("  loginctl enable-linger        where it should run without a login")
    else:
        say("  sudo sentinel status          without sudo: sudo usermod -aG sentinel $USER, then log in again")
    folder = "~/.config/sentinel" if user else "/etc/sentinel"
    say(f"  {systemctl} enable --now sentinel-notify    once {folder}/notify.toml is there; sentinel-cure: cure.toml")
    if find_spec("starlette") and find_spec("uvicorn"):
        say(f"  {systemctl} enable --now sentinel-web       a page on http://127.0.0.1:8477/")
    else:
        say(f"  sentinel-web needs more libraries: {how_to_add('starlette uvicorn bcrypt pyyaml', 'web')}")


def _uninstall(steps: _Steps) -> None:
    env = {**os.environ, "HOME": os.environ.get("HOME", "/nowhere")}
    paths = [
        file.path for file in files.wanted(Path("/x"), dict.fromkeys(files.names(user=steps.user), ""), env, user=steps.user)
    ]
    ours = [path for path in paths if path.exists() and not _is_of_others(path)]
    for path in paths:
        if _is_of_others(path):
            say(f"left alone  {path}: not written by `sentinel service install`")
    if not ours:
        say("there is nothing here that `sentinel service install` wrote")
        return
    units: Sequence[str] = [path.name for path in ours if path.suffix in (".service", ".socket")]
    if steps.live and units:
        steps.systemctl("disable", "--now", "--quiet", *units)
    for path in ours:
        steps.remove(path)
    if steps.live:
        steps.systemctl("daemon-reload")
        if not steps.user:
            steps.run("journalctl", "--update-catalog")
    say("kept: history, configuration and users; the program itself goes with pipx or uv")


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _is_of_others(path: Path) -> bool:
    """It is there, and this command has not written it."""
    if path.is_symlink():
        return True
    text = _text(path)
    return text is not None and not text.startswith(files.MARK)
