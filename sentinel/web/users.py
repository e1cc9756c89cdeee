"""Who may read: names and passwords of HTTP's basic authentication (RFC 7617) against hashes of bcrypt."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Mapping

import bcrypt

#: bcrypt reads so many bytes of a password; the library refuses longer ones.
_MOST_PASSWORD = 72


class Users:
    """A hash takes 50 ms and more: the last right password of each is remembered, as a digest under a key of this process."""

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._hashes = dict(hashes)
        self._key = secrets.token_bytes(32)
        self._right: dict[str, bytes] = {}
        # Somebody who is not there is tried as well, or the time would say who is.
        self._nobody = next(iter(hashes.values()), "")

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def remembers(self, header: str) -> bool:
        """Whether this Authorization header was right before. Takes no time."""
        given = _parts(header)
        return given is not None and secrets.compare_digest(self._right.get(given[0], b""), self._digest(*given))

    def lets_in(self, header: str) -> bool:
        """Whether it is right. Takes the time of a hash."""
        given = _parts(header)
        if given is None:
            return False
        name, password = given
        known = self._hashes.get(name)
        right = len(password) <= _MOST_PASSWORD and bcrypt.checkpw(password, (known or self._nobody).encode())
        if not right or known is None:
            return False
        self._right[name] = self._digest(name, password)
        return True

    def _digest(self, name: str, password: bytes) -> bytes:
        said = f"{len(name)}:{name}:{self._hashes.get(name, '')}:".encode("utf-8", "surrogatepass") + password
        return hashlib.blake2b(said, key=self._key, digest_size=32).digest()


def _parts(header: str) -> tuple[str, bytes] | None:
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        raw = base64.b64decode(value.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    name, colon, password = raw.partition(b":")
    # bcrypt ends at a zero byte.
    return (name.decode("utf-8", "replace"), password) if colon and b"\0" not in password else None
