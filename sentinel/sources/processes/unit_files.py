"""Units of systemd that start a llama-server, by their files: their journals say how a start ended that nobody saw.

In a container the kernel reports no starts, and a program that is not there (203/EXEC) was never a process of that name anywhere.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from sentinel.model.input_limits import MOST_UNITS
from sentinel.sources.processes.identify import is_server_name

#: where the units of a machine are, and those that every user may start (systemd.unit(5))
_SYSTEM = ("/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_EVERY_USERS = ("/etc/systemd/user",)
UNIT_FOLDERS = (*_SYSTEM, *_EVERY_USERS)
#: systemd is the machine's own (sd_booted(3))
_BOOTED = Path("/run/systemd/system")
#: users from here on are people (login.defs(5), UID_MIN)
_FIRST_PERSON = 1000
_EXEC_START = re.compile(r"^ExecStart=[-@:+!|]*[ \t]*(/\S.*)$", re.MULTILINE)
_UNIT_BYTES = 64 << 10
#: A file that was made just now may not be written yet, which does not change its folder: that is read again meanwhile. Seconds.
_WRITTEN_WITHIN = 5.0
#: A wrapper stands before the program: `sentinel exec --`, `nice -n 10`, `env NAME=value`.
_WORDS = 8


def commands(folders: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """The units there, and the first words of each command that they start; drop-ins (``NAME.service.d``) count as the unit."""
    for folder in folders:
        try:
            files = [*Path(folder).glob("*.service"), *Path(folder).glob("*.service.d/*.conf")]
        except OSError:
            continue
        for file in sorted(files):
            try:
                if not file.is_file():
                    continue
                with file.open(encoding="utf-8", errors="replace") as stream:
                    found = _EXEC_START.findall(stream.read(_UNIT_BYTES))
            except OSError:
                continue
            name = file.name if file.suffix == ".service" else file.parent.name.removesuffix(".d")
            for command in found:
                yield name, command.split(None, _WORDS)[:_WORDS]


class ServerUnits:
    """The names of the units that start a llama-server; read again when a folder has changed. `user`: of his own systemd.

    Folders of drop-ins count as well: `systemctl edit` makes one when it begins, and writes into it when the person is done.
    """

    def __init__(self, folders: Iterable[str], user: int | None = None) -> None:
        self.user = user
        self._folders = tuple(folders)
        #: when each folder, and each of drop-ins in them, was changed
        self._seen: dict[str, int] = {}
        self._names: tuple[str, ...] = ()

    @classmethod
    def of_user(cls, user: int, config_home: str, booted: Path = _BOOTED) -> ServerUnits:
        """The machine's for root and for services; a person may read his own journal only. None where systemd does not run."""
        if not booted.is_dir():
            return cls(())
        if user < _FIRST_PERSON:
            return cls(_SYSTEM)
        return cls((*([f"{config_home}/systemd/user"] if config_home else []), *_EVERY_USERS), user)

    def names(self) -> tuple[str, ...]:
        """At most eight, in order; instances of a template have no file."""
        if self._has_changed():
            # Before they are read: what changes meanwhile is read again.
            self._seen = {folder: _changed(folder) for folder in (*self._folders, *_drop_ins(self._folders))}
            found = {unit for unit, words in commands(self._folders) if any(map(_is_server, words)) and "@." not in unit}
            self._names = tuple(sorted(found))[:MOST_UNITS]
        return self._names

    def _has_changed(self) -> bool:
        if not self._seen or any(_changed(folder) != at for folder, at in self._seen.items()):
            return bool(self._folders)
        return abs(time.time() - max(self._seen.values()) / 1e9) < _WRITTEN_WITHIN


def _is_server(word: str) -> bool:
    return is_server_name(word.rpartition("/")[2])


def _drop_ins(folders: Iterable[str]) -> Iterator[str]:
    for folder in folders:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            yield from (entry.path for entry in entries if entry.name.endswith(".service.d"))


def _changed(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116 - asked once a second
    except OSError:
        return 0
