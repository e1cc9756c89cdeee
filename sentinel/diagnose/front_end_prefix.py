"""Removes what an unknown front end puts before each line of llama-server, if that is learned from the log itself. Pure.

The prefixes of known ones are in `engine/log/prefixes.py`. Of 60 public reports, looked at for the first time, four came
in a prefix that nobody knew, and were answered with "none of its lines is known".
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from sentinel.engine.log.extractor import Extractor

#: Lines from which a prefix is learned, and those that must show it, with two different messages of llama-server behind it.
_HEAD, _FEWEST, _DIFFERENT = 5000, 3, 2
#: Bytes of them: each place where a prefix may end is another copy. Of 100 MB without a line end these were 1.5 GB.
_HEAD_BYTES = 4 << 20
#: Where a prefix may end, how many such places are tried in a line, and the longest prefix.
_ENDS = re.compile(rb"[:\])|>-]\s+|\t+|\s(?=\d+\.\d\d\.\d{3}\.\d{3} [IWED] )")
_PLACES, _LONGEST = 8, 300
#: What differs from line to line in one prefix: levels and streams, ids, numbers.
_LEVEL = re.compile(rb"(?i)\b(?:trace|debug|info|notice|warn|warning|error|err|fatal|critical|stdout|stderr)\b")
_ID = re.compile(rb"\b(?=[0-9a-f]*[0-9])[0-9a-f]{6,}\b")
_NUMBER = re.compile(rb"\d+")


def without_prefix(data: bytes, extractor: Extractor | None) -> bytes:
    """The log without the prefix, if no line of it is known as it stands and many are behind the same prefix; else as it is."""
    if extractor is None:
        return data
    start = data if len(data) <= _HEAD_BYTES else data[:_HEAD_BYTES].rpartition(b"\n")[0]
    head = start.split(b"\n", _HEAD)[:_HEAD]
    if next(iter(extractor.events(b"\n".join(head))), None) is not None:
        return data
    learned = _learned(head, extractor)
    if not learned:
        return data
    return b"\n".join(_cut(line, learned) for line in data.split(b"\n"))


def _learned(head: list[bytes], extractor: Extractor) -> set[bytes]:
    """The shapes of the prefixes behind which messages of llama-server stand."""
    tries = [(number, cut) for number, line in enumerate(head) for cut in _places(line)]
    behind: dict[bytes, set[int]] = defaultdict(set)
    said: dict[bytes, set[str]] = defaultdict(set)
    for match in extractor.events(b"\n".join(head[number][cut:] for number, cut in tries)):
        number, cut = tries[match.line_index]
        shape = _shape(head[number][:cut])
        behind[shape].add(number)
        said[shape].add(match.event.name)
    return {shape for shape, lines in behind.items() if len(lines) >= _FEWEST and len(said[shape]) >= _DIFFERENT}


def _places(line: bytes) -> Iterator[int]:
    for found, end in enumerate(_ENDS.finditer(line, 0, _LONGEST)):
        if found == _PLACES:
            return
        yield end.end()


def _cut(line: bytes, learned: set[bytes]) -> bytes:
    return next((line[cut:] for cut in reversed(list(_places(line))) if _shape(line[:cut]) in learned), line)


def _shape(prefix: bytes) -> bytes:
    return _NUMBER.sub(b"0", _ID.sub(b"0", _LEVEL.sub(b"L", prefix)))
