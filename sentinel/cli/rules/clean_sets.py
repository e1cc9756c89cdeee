"""Keeps the digests of rule sets that were found to be without mistakes, so that a verb need not check them each time.

Checking the shipped rules takes 0.7 s of 0.9 s that loading them takes; the rules of one user hardly ever change (measured).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from sentinel.files.atomic import write_atomically
from sentinel.files.own_folder import NotOwn, check_folder

#: Digests kept, newest last: a few versions and checkouts of one user.
_KEPT = 16
_NAME = "clean-rules"
_MOST_BYTES = 64 * 1024


def folder(environ: Mapping[str, str]) -> Path | None:
    """This user's cache folder of sentinel, which need not exist. None if there is none, or if others may write it or what leads
    to it: with `sudo` and the home of another user, for example."""
    base = environ.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):
        home = environ.get("HOME", "")
        base = f"{home}/.cache" if home.startswith("/") else ""
    if not base:
        return None
    cache = Path(base) / "sentinel"
    try:
        check_folder(str(next(path for path in (cache, *cache.parents) if path.is_dir())))
    except (NotOwn, OSError):
        return None
    return cache


def read(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The digests, oldest first."""
    cache = folder(environ)
    if cache is None:
        return ()
    with suppress(OSError, ValueError), (cache / _NAME).open("rb") as kept:
        return tuple(kept.read(_MOST_BYTES).decode("ascii").split())
    return ()


def add(digest: str, environ: Mapping[str, str]) -> None:
    """Keep one more. What cannot be written is checked again next time."""
    cache = folder(environ)
    if cache is None:
        return
    kept = [known for known in read(environ) if known != digest][-_KEPT + 1 :]
    with suppress(OSError):
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(cache / _NAME, "\n".join([*kept, digest, ""]).encode("ascii"))
