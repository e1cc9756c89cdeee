"""References as files: in the state folder under a name, or anywhere."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sentinel.files.atomic import write_atomically
from sentinel.files.opener import NotRegular, Opener
from sentinel.model.fault import Fault
from sentinel.model.text import clean
from sentinel.quality.measurement import Measurement
from sentinel.quality.reference import MOST_BYTES, NotReference, decode, encode

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}\Z")
_OTHER = re.compile(r"[^A-Za-z0-9._@-]+")


class NoReference(Fault):
    """There is none that can be read, or it cannot be kept."""


def name_for(server: str) -> str:
    """A name for what somebody calls a server: ``8080``, ``llama.service``, ``10.0.0.2-8080``."""
    return _OTHER.sub("-", server.partition("://")[2] or server).strip("-._@")[:64] or "server"


def place(folder: Path, name: str) -> Path:
    """The file of a name. Raises NoReference."""
    if _NAME.match(name) is None:
        raise NoReference(f"{clean(name)!r:.100} is no name for a reference", "use letters, digits and . _ - @, 64 at most")
    return folder / "quality" / f"{name}.json"


def find(folder: Path, given: str) -> Path:
    """A file, if there is one of this path or it is written as one; else that of a name. Raises NoReference."""
    if "/" in given or given.endswith(".json") or os.path.isfile(given):  # noqa: PTH113 - false for what is no path
        return Path(given)
    return place(folder, given)


def load(path: Path) -> Measurement:
    """Read a reference. Raises NoReference."""
    try:
        with os.fdopen(Opener().open(str(path)), "rb") as stream:
            data = stream.read(MOST_BYTES + 1)
        return decode(data)
    except FileNotFoundError as error:
        raise NoReference(f"there is no reference at {path}", "make one with `sentinel quality learn`") from error
    except NotRegular as error:
        raise NoReference(f"{path} is {error}, no reference") from error
    except (OSError, ValueError) as error:
        if isinstance(error, NotReference):
            raise NoReference(f"{path} {error}") from error
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise NoReference(f"{path} cannot be read: {why}") from error


def require_free(path: Path, *, replace: bool) -> None:
    """Before anything is asked: minutes of answers would be lost. Raises NoReference."""
    if os.path.lexists(path) and not replace:
        raise NoReference(f"{path} exists and is left as it is", "--replace puts the new one in its place")
    folder = next((one for one in path.absolute().parents if os.path.lexists(one)), Path("/"))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise NoReference(f"{path} cannot be written: {folder} is no folder in which you may write", "name another with -o FILE")


def keep(path: Path, measured: Measurement, *, replace: bool) -> None:
    """Write it whole or not at all. Raises NoReference."""
    require_free(path, replace=replace)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, encode(measured).encode("ascii"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise NoReference(f"{path} cannot be written: {why}") from error
