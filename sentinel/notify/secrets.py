"""Secrets: where they come from, and that they are never shown."""

from __future__ import annotations

import base64
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from sentinel.model.text import escape

_NAMED = re.compile(r"\{secret:([A-Za-z0-9_.-]{1,64})\}")
#: of files beside the configuration of the system's service
SYSTEM_FOLDER = Path("/etc/sentinel/notify.secrets")
_MOST_BYTES = 16 * 1024
#: A shorter part of an address says little, and a sentence without it would be riddled with holes.
_SHORTEST = 4
#: Characters of what others say that are shown, and that are looked at.
_LONGEST, _MOST_SAID = 160, 4096


class NoSecret(Exception):
    """A secret is not there, or others may read it. The text is a sentence for the operator."""


class Secrets:
    """Values by name: systemd credentials of the unit, else files of a folder, each for its owner only."""

    def __init__(self, folder: Path, environ: Mapping[str, str] = os.environ) -> None:
        self._folder = folder
        self._credentials = Path(environ["CREDENTIALS_DIRECTORY"]) if environ.get("CREDENTIALS_DIRECTORY") else None
        #: every value that was filled in
        self.used: set[str] = set()

    def fill(self, text: str, form: Callable[[str], str] = str) -> str:
        """`text` with the value of each ``{secret:NAME}``, in this form, in its place. Raises NoSecret."""
        if "{secret:" in _NAMED.sub("", text):
            raise NoSecret("has a {secret:NAME} whose name is none: letters, digits, '.', '_' and '-', at most 64, then }")
        return _NAMED.sub(lambda found: form(self._value(found[1])), text)

    def fill_all(self, value: Any, form: Callable[[str], str]) -> Any:
        """As `fill`, in every text of a table or a list."""
        if isinstance(value, Mapping):
            return {key: self.fill_all(one, form) for key, one in value.items()}
        if isinstance(value, list):
            return [self.fill_all(one, form) for one in value]
        return self.fill(value, form) if isinstance(value, str) else value

    def _value(self, name: str) -> str:
        given = None if self._credentials is None else self._credentials / name
        if given is not None and (given.is_file() or self._folder.parent == self._credentials):
            value = _read(given, private=False)
        else:
            value = _read(self._folder / name, private=True)
        self.used.add(value)
        return value


def others_read(status: os.stat_result) -> bool:
    """Whether more than the owner may read a file."""
    return bool(status.st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def is_credential(path: Path, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether systemd hands the file to this unit alone. Its mode shows an access list as the group's rights (acl(5))."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    return bool(folder) and path.parent == Path(str(folder))


def _read(path: Path, *, private: bool) -> str:
    try:
        # Not waiting for who might write into a named pipe.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:  # noqa: PTH123 - a descriptor
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise NoSecret(f"{path} is no file; it must hold one line of text")
            if private and others_read(status):
                raise NoSecret(f"others may read {path}; chmod 600 it")
            data = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        # Nobody can write into the folder of a unit's credentials.
        given = f"give it to the unit: LoadCredential={path.name}:{SYSTEM_FOLDER}/{path.name} (docs/notify.md)"
        remedy = "write it there with mode 600" if private else given
        raise NoSecret(f"the secret '{path.name}' is not there ({path}: {error.strerror}); {remedy}") from error
    try:
        value = data.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise NoSecret(f"{path} is not UTF-8 text") from error
    if not value or len(data) > _MOST_BYTES or escape(value) != value:
        raise NoSecret(f"{path} must hold one line of text")
    return value


def secret_parts(kind: str, url: str) -> tuple[str, ...]:
    """What must not be shown of a channel's address. In one of Apprise everything behind the kind of service may be secret."""
    if kind != "apprise":
        return (url,) if kind == "webhook" or "@" in url else ()
    return (url, *(part for part in re.split(r"[:/@?&=,]+", url.partition("://")[2]) if len(part) >= 6))


class Redactor:
    """Takes secrets out of sentences: whole addresses, their parts, and the ways in which those are written."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms: set[str] = set()
        for secret in secrets:
            for part in {secret, *_parts(secret)}:
                encoded = base64.b64encode(part.encode()).decode()
                forms |= {part, quote(part, safe=""), quote(part), unquote(part), encoded, encoded.rstrip("="), escape(part)}
        kept = sorted((form for form in forms if len(form) >= _SHORTEST), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, kept))) if kept else None

    def __call__(self, text: str) -> str:
        """The text with stars in place of every secret."""
        return text if self._pattern is None else self._pattern.sub("***", text)

    def quoted(self, said: str, longest: int = _LONGEST) -> str:
        """The beginning of what a receiver or a program said, in one line. It is cut last: half a secret would not be found."""
        return self(escape(" ".join(said[:_MOST_SAID].split())))[:longest]


def _parts(secret: str) -> Iterable[str]:
    """Of an address: who, the path and its parts, and the values of its query. Of anything else: its words."""
    if "://" not in secret:
        return secret.split()
    try:
        address = urlsplit(secret)
    except ValueError:
        return ()
    who = address.netloc.rpartition("@")[0]
    query = [pair.partition("=")[2] for pair in address.query.split("&")]
    pieces = [piece for piece in address.path.split("/") if len(piece) >= 8]
    return [who, *who.split(":"), address.path if len(address.path) >= 8 else "", *pieces, *query]
