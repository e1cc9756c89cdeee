"""`sentinel record`: saves the flight recorder's content, or a recording kept around an alert, to a file."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from pathlib import Path
from urllib.parse import quote

from sentinel.cli.main import CRITICAL, OK
from sentinel.cli.output import NoAnswer, ask, complain, emit, fetch, shown_size, warn
from sentinel.model.text import escape


def main(arguments: argparse.Namespace) -> int:
    """Fetch the recording; never overwrites a file."""
    if arguments.list:
        return _list(arguments)
    name = arguments.name
    path = f"/v1/recordings/{quote(name, safe='')}" if name else "/v1/recording"
    out = arguments.out or name or f"sentinel-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.jsonl.gz"
    if out == "-":
        try:
            fetch(arguments, path, sys.stdout.buffer.write)
            sys.stdout.buffer.flush()
        except NoAnswer as error:
            return complain(error)
        return OK
    if not arguments.out and "/" in out:
        warn(f"'{escape(name):.120}' is no name of a recording; `sentinel record --list` shows them")
        return CRITICAL
    return _save(arguments, path, Path(out))


def _save(arguments: argparse.Namespace, path: str, out: Path) -> int:
    try:
        # It describes what runs on this machine, so only its owner may read it.
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        warn(f"{out} exists and is left as it is; choose another with --out")
        return CRITICAL
    except OSError as error:
        warn(f"{out} cannot be written: {error.strerror}")
        return CRITICAL
    try:
        with os.fdopen(descriptor, "wb") as stream:
            fetch(arguments, path, stream.write)
    except NoAnswer as error:
        _remove(out)
        return complain(error)
    except OSError as error:
        _remove(out)
        warn(f"{out} cannot be written: {error.strerror}")
        return CRITICAL
    written = out.stat().st_size
    if arguments.json:
        emit({"file": str(out), "bytes": written})
    else:
        print(f"{escape(str(out))}: {written} bytes; judge it with `sentinel replay {escape(str(out))}`")
    return OK


def _remove(out: Path) -> None:
    with contextlib.suppress(OSError):
        out.unlink()


def _list(arguments: argparse.Namespace) -> int:
    try:
        answer = ask(arguments, "/v1/recordings")
    except NoAnswer as error:
        return complain(error)
    if arguments.json:
        emit(answer)
        return OK
    for row in answer["recordings"]:
        print(f"{escape(row['name']):<60} {shown_size(row['bytes']):>10}")
    if not answer["recordings"]:
        print("none yet: one is kept around each alert; `sentinel record` saves the present")
    return OK
