"""SHA-256 of a model's files, compared with a given one or with the one stored for the same files.

Stored in a file of its own in the user's state folder; a file is the same if its path, size and modification time are.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

from sentinel.files.atomic import write_atomically
from sentinel.files.opener import NotRegular, Opener
from sentinel.memory.fit import FitNote
from sentinel.model.text import clean
from sentinel.preflight.command import NoCommand

_BLOCK = 4 << 20
_NAME = "model-sha256.json"
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
#: Entries kept; the oldest are dropped.
_MOST = 512


def parse_given(text: str) -> str:
    """A checksum as typed, possibly with a publisher's ``sha256:`` prefix. Raises NoCommand."""
    digest = text.strip().lower().removeprefix("sha256:")
    if _DIGEST.match(digest) is None:
        raise NoCommand(f"--verify {clean(text)!r:.80} is no SHA-256 checksum: it has 64 hexadecimal digits")
    return digest


def verify(parts: list[str], given: str, folder: Path, progress: Callable[[int, int], None]) -> list[FitNote]:
    """Read all files; an empty `given` compares with the stored checksums. `progress` gets bytes done and total bytes."""
    if given and len(parts) != 1:
        text = (
            f"the model has {len(parts)} files and one checksum was given: give none, and each is held against what is remembered"
        )
        return [FitNote("sha256-not-checked", text, "unknown")]
    known = _read(folder)
    whys = []
    try:
        total = sum(os.stat(part).st_size for part in parts)  # noqa: PTH116 - names may hold surrogate escapes
        done = 0
        for part in parts:
            digest, done = _digest(part, done, total, progress)
            whys.append(_held_against(part, digest, given, known))
    except NotRegular as error:
        return [FitNote("sha256-not-checked", f"the model is {error}", "fails", about="model")]
    except OSError as error:
        return [FitNote("sha256-not-checked", f"the model cannot be read to its end: {error.strerror}", "fails", about="model")]
    trouble = _write(folder, known)
    return whys if not trouble else [*whys, FitNote("sha256-not-remembered", trouble, "note")]


def _digest(path: str, done: int, total: int, progress: Callable[[int, int], None]) -> tuple[str, int]:
    found = hashlib.sha256()
    with os.fdopen(Opener().open(path), "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while block := file.read(_BLOCK):
            found.update(block)
            done += len(block)
            progress(done, total)
    return found.hexdigest(), done


def _held_against(path: str, digest: str, given: str, known: dict[str, dict[str, object]]) -> FitNote:
    status = os.stat(path)  # noqa: PTH116
    key, name = clean(os.path.realpath(path)), clean(Path(path).name)
    before = known.pop(key, None)
    same_file = before is not None and (before.get("size"), before.get("mtime_ns")) == (status.st_size, status.st_mtime_ns)
    if given and digest != given:
        known |= {key: before} if before is not None else {}
        text = f"{name} has SHA-256 {digest}, not {given}: it is damaged or another file; fetch it again"
        return FitNote("sha256-differs", text, "fails", about="model")
    if same_file and before is not None and before.get("sha256") != digest:
        known[key] = before
        text = (
            f"{name} has SHA-256 {digest}, and had {clean(str(before.get('sha256')))[:64]} before, with the same size and time:"
            " the disk or the memory of this machine changed its content; fetch it again"
        )
        return FitNote("sha256-differs", text, "fails", about="model")
    known[key] = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": digest}
    if given:
        return FitNote("sha256-matches", f"{name} has the SHA-256 that was given", "note")
    if before is None:
        return FitNote("sha256-remembered", f"{name} has SHA-256 {digest}; it is remembered from now on", "note")
    if same_file or before.get("sha256") == digest:
        return FitNote("sha256-matches", f"{name} has the same SHA-256 as when it was remembered", "note")
    return FitNote(
        "sha256-changed", f"{name} is another file than the one remembered; it has SHA-256 {digest}, remembered now", "note"
    )


def _read(folder: Path) -> dict[str, dict[str, object]]:
    try:
        found = json.loads((folder / _NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, dict)} if isinstance(found, dict) else {}


def _write(folder: Path, known: dict[str, dict[str, object]]) -> str:
    """Returns the failure, else empty."""
    kept = dict(list(known.items())[-_MOST:])
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(folder / _NAME, json.dumps(kept, indent=1).encode())
    except OSError as error:
        return f"the checksum cannot be remembered: {folder / _NAME} cannot be written ({error.strerror})"
    return ""
