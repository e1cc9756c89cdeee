"""The command that a systemd unit would start: argv, environment, user, groups and limits, as the manager reports them.

busctl keeps the words separate, while `systemctl show` joins them with spaces. Querying a unit also loads it.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from grp import getgrnam
from pathlib import Path
from typing import Any

from sentinel.model.entity import Unknown
from sentinel.model.text import clean
from sentinel.preflight.command import Command, NoCommand, Place
from sentinel.preflight.words import find_program
from sentinel.sources.fs import Roots
from sentinel.sources.processes.cgroup import Membership

_PATIENCE = 5.0
_SERVICE = (
    "ExecStart", "Environment", "EnvironmentFiles", "User", "Group", "SupplementaryGroups", "DynamicUser", "WorkingDirectory",
    "LimitMEMLOCKSoft", "AmbientCapabilities", "CapabilityBoundingSet", "MemoryMax", "MemoryHigh", "Slice", "MainPID",
    "PrivateDevices",
)  # fmt: skip
_UNIT = ("LoadState", "LoadError")
_NAME = re.compile(r"[A-Za-z0-9:_.\\@-]{1,255}\Z")
_NO_LIMIT = (1 << 64) - 1
_CAP_IPC_LOCK = 14
#: systemd's first uid for dynamic users (DynamicUser=); such a user owns no device
_DYNAMIC_USER = 61184
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def from_unit(name: str, roots: Roots | None = None) -> Command:
    """What the unit would start. Raises NoCommand."""
    roots = Roots() if roots is None else roots
    if _NAME.match(name) is None:
        raise NoCommand(f"{clean(name)!r:.80} is no name of a unit: write for example --unit llama.service")
    name = name if name.endswith(".service") else f"{name}.service"
    properties: dict[str, Any] | Unknown = {}
    for manager in ((), ("--user",)):
        properties = _ask(manager, name)
        if isinstance(properties, Unknown):
            raise NoCommand(properties.why)
        if properties.get("LoadState") == "loaded":
            return command_of(name, properties, roots)
    assert isinstance(properties, dict)
    why = f"the unit {name} is not known to systemd (LoadState={clean(str(properties.get('LoadState')))})"
    raise NoCommand(f"{why}: `systemctl list-units '*llama*'` lists those that are")


def command_of(name: str, properties: Mapping[str, Any], roots: Roots) -> Command:
    """The command from a unit's properties. Raises NoCommand."""
    starts = properties.get("ExecStart") or []
    if not starts:
        raise NoCommand(f"the unit {name} has no ExecStart")
    env, unreadable = _environment(properties)
    program, words = str(starts[-1][0]), [str(word) for word in starts[-1][1]]
    words = _expanded(words, env)
    at = find_program(words)
    if at is None:
        first = clean(words[0] if words else program)
        raise NoCommand(
            f"the unit {name} starts {first!r:.120}, which is not named llama-server: judge it with --pid once it runs"
        )
    binary = Path(program if at == 0 else words[at])
    pid = int(properties.get("MainPID") or 0)
    folder = Path(str(properties.get("WorkingDirectory") or "/").lstrip("!") or "/")
    folder = folder if folder.is_absolute() else Path("/")
    place = _place(name, properties, roots)
    return Command(
        tuple(words[at:]),
        env,
        folder,
        binary,
        place,
        pid=pid,
        env_unreadable=unreadable,
        may_ask=os.geteuid() in (0, place.user),
        wrapper=tuple(words[:at]),
    )


def _ask(manager: Sequence[str], name: str) -> dict[str, Any] | Unknown:
    path = "/org/freedesktop/systemd1/unit/" + "".join(
        letter if letter.isalnum() and letter.isascii() and (at or not letter.isdigit()) else f"_{ord(letter):02x}"
        for at, letter in enumerate(name)
    )
    found: dict[str, Any] = {}
    for interface, names in (("Unit", _UNIT), ("Service", _SERVICE)):
        words = ["busctl", *manager, "--json=short", "get-property", "org.freedesktop.systemd1", path]
        try:
            done = subprocess.run(
                [*words, f"org.freedesktop.systemd1.{interface}", *names],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_PATIENCE,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return Unknown("systemd cannot be asked: busctl is not there or does not answer; use --pid, or `--` with the command")
        if done.returncode != 0:
            if found:
                return found
            said = clean((done.stderr.splitlines() or [""])[0])
            return (
                {"LoadState": "not-found"} if manager else Unknown(f"systemd does not answer ({said:.160}): use --pid, or `--`")
            )
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.strip()]
        found |= {one: line.get("data") for one, line in zip(names, lines, strict=False)}
        if found.get("LoadState") != "loaded":
            return found
    return found


def _environment(properties: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    """Environment= and the files of EnvironmentFile=; and why one of them could not be read."""
    env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"}
    unreadable = ""
    for pair in properties.get("Environment") or []:
        key, equals, value = str(pair).partition("=")
        env |= {key: value} if equals else {}
    for path, optional in properties.get("EnvironmentFiles") or []:
        try:
            text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            unreadable = unreadable or ("" if optional else f"{clean(path)} cannot be read ({error.strerror})")
            continue
        for line in text.splitlines():
            key, equals, value = line.strip().partition("=")
            if equals and key and not key.startswith(("#", ";")):
                env[key.strip()] = _unquoted(value)
    return env, unreadable


def _unquoted(value: str) -> str:
    try:
        words = shlex.split(value)
    except ValueError:
        return value.strip()
    return words[0] if len(words) == 1 else value.strip()


def _expanded(words: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """``$NAME`` as a word of its own becomes its value's words, ``${NAME}`` its value (systemd.service(5), command lines)."""
    found: list[str] = []
    for word in words:
        if re.fullmatch(r"\$[A-Za-z_][A-Za-z0-9_]*", word):
            found += env.get(word[1:], "").split()
        else:
            found.append(_VARIABLE.sub(lambda match: env.get(match[1], ""), word))
    return found


def _place(name: str, properties: Mapping[str, Any], roots: Roots) -> Place:
    user, groups = _identity(properties)
    limits = {}
    for key in ("MemoryMax", "MemoryHigh"):
        value = properties.get(key)
        if isinstance(value, int) and value < _NO_LIMIT:
            limits[key] = value
    unified = (roots.sys / "fs/cgroup/cgroup.controllers").exists()
    group = slice_path(str(properties.get("Slice") or ""))
    return Place(
        user,
        groups,
        Membership(group, group, unified),
        _lock_limit(properties, user),
        name,
        limits,
        private_devices=properties.get("PrivateDevices") is True,
    )


def slice_path(name: str) -> str:
    """The control group of a slice: ``a-b.slice`` is below ``a.slice`` (systemd.slice(5))."""
    parts = name.removesuffix(".slice").split("-")
    if not name.endswith(".slice") or name == "-.slice" or not all(parts):
        return "/"
    return "".join(f"/{'-'.join(parts[: at + 1])}.slice" for at in range(len(parts)))


def _identity(properties: Mapping[str, Any]) -> tuple[int, frozenset[int]]:
    """User and groups that the unit runs as. A user that does not exist yet owns nothing and is in no group."""
    name, group = str(properties.get("User") or ""), str(properties.get("Group") or "")
    groups: set[int] = set()
    if properties.get("DynamicUser") is True:
        user = _DYNAMIC_USER
    elif not name:
        user = 0
    else:
        try:
            entry = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
        except KeyError:
            user = int(name) if name.isdigit() else _DYNAMIC_USER
        else:
            user = entry.pw_uid
            groups |= {entry.pw_gid, *os.getgrouplist(entry.pw_name, entry.pw_gid)}
    for one in (group, *map(str, properties.get("SupplementaryGroups") or [])):
        try:
            groups |= {int(one)} if one.isdigit() else {getgrnam(one).gr_gid} if one else set()
        except KeyError:
            # systemd refuses to start a unit with a missing group, and reports it
            continue
    return user, frozenset(groups)


def _lock_limit(properties: Mapping[str, Any], user: int) -> int | Unknown:
    """LimitMEMLOCK, unless CAP_IPC_LOCK lifts it: root has it, others through AmbientCapabilities=."""
    bounding, ambient = properties.get("CapabilityBoundingSet"), properties.get("AmbientCapabilities")
    held = bounding if user == 0 else ambient
    if isinstance(held, int) and held >> _CAP_IPC_LOCK & 1:
        return -1
    limit = properties.get("LimitMEMLOCKSoft")
    if not isinstance(limit, int):
        return Unknown("systemd does not say how much memory the unit may lock")
    return -1 if limit >= _NO_LIMIT else limit
