"""Which shipped rule files are known to be without mistakes: ``rules/SHA256SUMS`` has the digest of each that was checked.

`make docs` writes it, of rules without a mistake only. Of 1.2 s of CPU that loading the shipped rules took, 1.0 was the check
(measured). `rules lint` and `rules test` check every file all the same, and a load every file that is another.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from sentinel.rulefiles.file_names import of_tests

#: beside the shipped rules, in the format of sha256sum(1)
NAME = "SHA256SUMS"
_LINE = re.compile(r"^([0-9a-f]{64})  (\S+)$", re.MULTILINE)
#: What all rules share: where one of these files is another, no rule is known to be without mistakes.
_SHARED = ("events/", "fixes/")


def manifest(files: Mapping[str, bytes], base: str) -> str:
    """The digests of the files below `base`, without those of tests."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(_digests(files, base).items()))


def unchanged(said: bytes, files: Mapping[str, bytes], base: str) -> frozenset[str]:
    """Those of the files below `base` that the manifest `said` knows; none if what all rules share is not as it was checked."""
    known: dict[str, set[str]] = {}
    for digest, name in _LINE.findall(said.decode("ascii", "replace")):
        known.setdefault(name, set()).add(digest)
    there = _digests(files, base)
    same = {name for name, digest in there.items() if digest in known.get(name, ())}
    if any(name.startswith(_SHARED) and name not in same for name in known.keys() | there.keys()):
        return frozenset()
    return frozenset(file for file in files if _below(file, base) in same)


def _digests(files: Mapping[str, bytes], base: str) -> dict[str, str]:
    """By name below `base`."""
    below = {_below(file, base): data for file, data in files.items() if not of_tests(file)}
    return {name: hashlib.sha256(data).hexdigest() for name, data in below.items() if name}


def _below(file: str, base: str) -> str:
    return file.removeprefix(f"{base}/") if file.startswith(f"{base}/") else ""
