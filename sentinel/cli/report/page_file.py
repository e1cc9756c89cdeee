"""Writes a page: a new file that only its owner may read, or one in the place of an earlier page."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sentinel.cli.output import warn
from sentinel.files.atomic import write_atomically
from sentinel.model.text import escape, size
from sentinel.report.page import BEGINS


class CannotWrite(Exception):
    """One sentence for the user."""


def write(page: str, name: str, *, redacted: bool) -> None:
    """Write it to a file, or to standard output for ``-``; says so. Raises CannotWrite."""
    data = page.encode("utf-8", "replace")
    shown = escape(name)
    if name == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    path = Path(name)
    try:
        _refuse_others(path)
        write_atomically(path, data)
    except OSError as error:
        raise CannotWrite(f"{shown} cannot be written: {error.strerror}") from error
    print(f"{shown} ({size(len(data)) if len(data) >= 1 << 20 else f'{len(data) >> 10} kB'}): open it in a browser")
    if redacted:
        warn("read it before you publish it, for no pattern knows every secret")


def _refuse_others(path: Path) -> None:
    """An earlier page is replaced, so that a timer may write one each night; nothing else is. Raises CannotWrite and OSError."""
    if path.is_symlink():
        raise CannotWrite(f"{escape(str(path))} is a link: name a file")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        begins = os.read(descriptor, len(BEGINS))
    except IsADirectoryError:
        begins = b""
    finally:
        os.close(descriptor)
    if begins != BEGINS.encode():
        raise CannotWrite(f"{escape(str(path))} is there already and is no page of sentinel: name another file")
