"""Imports libraries without the optional dependencies that the daemon has no use for.

structlog loads rich for its development renderer where that is installed, and cel always depends on it: 82 modules, 4.8 MB;
and colorama, for Windows. msgspec loads typing_extensions, of which it takes what `typing` has as well: 0.4 MB together.
asyncio and hashlib load OpenSSL where it is installed: 5 MB, for a daemon that talks over unix sockets and the loopback, and
hashes with Python's own BLAKE2 (all measured). shutil loads bz2 and lzma, for archives that nobody makes here. All of them work
without these dependencies.
zoneinfo, imported by apscheduler, loads Python's whole build configuration to find the time zones: 0.7 MB, for a daemon that
schedules in UTC. PYTHONTZPATH makes that unnecessary; it is set during the import only.
apscheduler reads its own version and its plugins from the metadata of installed packages (email, zipfile, csv) and offers a pool
of processes (multiprocessing): 41 modules, 1.5 MB. The daemon hands it executor and triggers as objects and forks nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType

#: A Python built without its own hashes (RHEL's) needs OpenSSL's, and logs errors without it.
_OWN_HASHES = all(find_spec(name) for name in ("_md5", "_blake2")) and any(find_spec(name) for name in ("_sha256", "_sha2"))
_UNWANTED = ("rich", "colorama", "typing_extensions", "bz2", "lzma", "ssl", *(["_hashlib"] if _OWN_HASHES else []))
#: CPython's default (configure --with-tzpath)
_TZPATH = "/usr/share/zoneinfo:/usr/lib/zoneinfo:/usr/share/lib/zoneinfo:/etc/zoneinfo"
_HIDDEN = [name for name in _UNWANTED if name not in sys.modules]
for name in _HIDDEN:
    # With None the import fails as if the module were not installed.
    sys.modules[name] = None  # type: ignore[assignment]

import asyncio as asyncio  # noqa: E402
import hashlib as hashlib  # noqa: E402
import shutil as shutil  # noqa: E402

import msgspec as msgspec  # noqa: E402
import structlog as structlog  # noqa: E402

_ASKED = "PYTHONTZPATH" not in os.environ
if _ASKED:
    os.environ["PYTHONTZPATH"] = _TZPATH
import zoneinfo as zoneinfo  # noqa: E402

if _ASKED:
    del os.environ["PYTHONTZPATH"]

for name in _HIDDEN:
    del sys.modules[name]

#: What apscheduler 3 takes from each of these modules while it is imported
_STAND_INS: dict[str, dict[str, object]] = {
    "importlib.metadata": {
        "version": lambda _: "3",
        "entry_points": lambda **_: (),
        "PackageNotFoundError": ModuleNotFoundError,
    },
    "multiprocessing": {},
    "concurrent.futures.process": {"BrokenProcessPool": type("BrokenProcessPool", (RuntimeError,), {})},
}


@contextmanager
def without_plugins() -> Iterator[None]:
    """Inside, apscheduler is imported without the metadata of packages and without its pool of processes."""
    stood_in = [name for name in _STAND_INS if name not in sys.modules]
    for name in stood_in:
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(_STAND_INS[name])
    try:
        yield
    finally:
        for name in stood_in:
            del sys.modules[name]
