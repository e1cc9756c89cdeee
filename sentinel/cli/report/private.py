"""What names this machine and its users, to be left out of what is published."""

from __future__ import annotations

import contextlib
import os
import platform
import pwd
from collections.abc import Iterable, Iterator
from pathlib import Path

from sentinel.diagnose.share import Redactor

#: A user of this name betrays nobody, and `llama-server` without it is no command any more.
_COMMON = frozenset({"llama", "ollama", "llama-server", "server", "sentinel", "user", "home", "models", "model"})
#: Accounts of people (login.defs, UID_MIN).
_FIRST_PERSON = 1000


def redactor(accounts: Iterable[str] = ()) -> Redactor:
    """It replaces the names of this machine, of its user, and of people with these accounts."""
    names = [platform.node(), platform.node().partition(".")[0], Path.home().name]
    names += [os.environ.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER")]
    return Redactor([name for name in [*names, *_people(accounts)] if name.lower() not in _COMMON])


def _people(accounts: Iterable[str]) -> Iterator[str]:
    for name in accounts:
        # What has no account is a number, or of a container.
        with contextlib.suppress(KeyError):
            if pwd.getpwnam(name).pw_uid >= _FIRST_PERSON:
                yield name
