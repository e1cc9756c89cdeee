"""Reads how often each expert was used from an importance matrix of llama-imatrix.

- GGUF (llama.cpp since July 2025): for each tensor ``NAME.in_sum2`` and ``NAME.counts``, one count for each expert.
- The older binary form: name, calls, values. It divides by the counts and drops them; an expert that was never used has the
  number of calls in all its values (tools/imatrix/imatrix.cpp, save_imatrix_legacy). That alone can be read of it.

Files are untrusted: every length is checked against the file before it is used.
"""

from __future__ import annotations

import math
import os
import re
import struct
from array import array
from collections.abc import Mapping
from dataclasses import dataclass

from sentinel.files.opener import NotRegular, Opener
from sentinel.gguf.header import GgufError, read_header
from sentinel.model.input_limits import (
    MOST_EXPERT_COUNTS,
    MOST_EXPERTS,
    MOST_HEADER_TEXT,
    MOST_IMATRIX_BYTES,
    MOST_IMATRIX_ENTRY,
    MOST_TENSORS,
)
from sentinel.model.text import clean

#: The routing is the same for all tensors of a layer's experts; the first that is there is read.
_PARTS = ("gate", "up", "gate_up", "down")
_EXPERTS = re.compile(r"blk\.(\d{1,4})\.ffn_(gate|up|gate_up|down)_exps\.weight\Z")
_COUNTS = ".counts"


@dataclass(frozen=True, slots=True)
class Old:
    """One entry of the older form: where its values are, and what stands for an expert that was never used."""

    at: int
    values: int
    calls: int


@dataclass(frozen=True, slots=True)
class Imatrix:
    """By layer: counts of each expert, or where they would be in the older form. Made of so many chunks of so many tokens."""

    path: str
    counts: Mapping[int, tuple[float, ...]]
    old: Mapping[int, Old]
    chunks: int | None = None
    tokens: int | None = None


def read(path: str) -> Imatrix:
    """Of either form. Raises GgufError."""
    descriptor = _open(path)
    try:
        if os.pread(descriptor, 4, 0) == b"GGUF":
            return _read_gguf(path, descriptor)
        return _read_old(path, descriptor)
    except OSError as error:
        raise GgufError(f"{clean(path)} cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)


def never_used(found: Imatrix, layer: int, experts: int) -> frozenset[int]:
    """Of the older form: the experts whose values are all the number of calls. Raises GgufError."""
    entry = found.old[layer]
    if not 0 < experts <= MOST_EXPERTS or entry.values % experts:
        raise GgufError(f"{clean(found.path)}: layer {layer} has {entry.values} values, which are not those of {experts} experts")
    width = entry.values // experts
    descriptor = _open(found.path)
    try:
        values = _floats(os.pread(descriptor, entry.values * 4, entry.at))
    except OSError as error:
        raise GgufError(f"{clean(found.path)} cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)
    unused = array("f", [entry.calls] * width)
    return frozenset(number for number in range(experts) if values[number * width : (number + 1) * width] == unused)


def _open(path: str) -> int:
    try:
        return Opener().open(path)
    except NotRegular as error:
        raise GgufError(f"{clean(path)} is {error}") from None
    except (OSError, ValueError) as error:
        raise GgufError(f"{clean(path)} cannot be opened: {getattr(error, 'strerror', None) or error}", "missing") from None


def _read_gguf(path: str, descriptor: int) -> Imatrix:
    header = read_header(path)
    if header.truncated:
        raise GgufError(header.truncated)
    found: dict[tuple[int, int], tuple[float, ...]] = {}
    left = MOST_EXPERT_COUNTS
    for tensor in header.tensors:
        match = _EXPERTS.match(tensor.name.removesuffix(_COUNTS)) if tensor.name.endswith(_COUNTS) else None
        if match is None:
            continue
        if tensor.type != "F32" or not 0 < tensor.bytes <= MOST_EXPERTS * 4:
            raise GgufError(f"{clean(path)}: {clean(tensor.name)} is no list of counts")
        left -= tensor.bytes // 4
        if left < 0:
            raise GgufError(f"{clean(path)} claims more experts than any model has")
        counts = tuple(_floats(os.pread(descriptor, tensor.bytes, tensor.offset)))
        if not all(math.isfinite(count) and count >= 0 for count in counts):
            raise GgufError(f"{clean(path)}: {clean(tensor.name)} has a count that is none")
        found[int(match[1]), _PARTS.index(match[2])] = counts
    counts_of = {layer: found[layer, part] for layer, part in sorted(found, reverse=True) if len(found[layer, part]) > 1}
    if not counts_of:
        # one count for all experts of a layer
        why = "it was made from a file of the older form" if found else "it is no importance matrix of a mixture of experts"
        raise GgufError(f"{clean(path)} has no counts of experts: {why}")
    chunks, tokens = (header.metadata.get(f"imatrix.chunk_{name}") for name in ("count", "size"))
    return Imatrix(path, dict(sorted(counts_of.items())), {}, _positive(chunks), _positive(tokens))


def _read_old(path: str, descriptor: int) -> Imatrix:
    size, at = os.fstat(descriptor).st_size, 4
    entries = _whole(path, descriptor, 0)
    if not 0 < entries <= MOST_TENSORS:
        raise GgufError(f"{clean(path)} is no importance matrix: neither GGUF nor the older form")
    found: dict[tuple[int, int], Old] = {}
    chunks = 0
    for _ in range(entries):
        length = _whole(path, descriptor, at)
        if not 0 < length <= MOST_HEADER_TEXT:
            raise GgufError(f"{clean(path)} is no importance matrix: a name of {length} bytes")
        name = os.pread(descriptor, length, at + 4).decode("utf-8", "replace")
        calls, values = _whole(path, descriptor, at + 4 + length), _whole(path, descriptor, at + 8 + length)
        at += 12 + length
        if not 0 <= values <= MOST_IMATRIX_ENTRY // 4 or at + values * 4 > size:
            raise GgufError(f"{clean(path)} is truncated: {clean(name)} claims {values} values")
        # of a tensor that every token passes they are the chunks, of experts at most that
        chunks = max(chunks, calls)
        if (match := _EXPERTS.match(name)) is not None and values:
            found[int(match[1]), _PARTS.index(match[2])] = Old(at, values, calls)
        at += values * 4
    if not found:
        raise GgufError(f"{clean(path)} has no experts: it is no importance matrix of a mixture of experts")
    old = {layer: found[layer, part] for layer, part in sorted(found, reverse=True)}
    if sum(entry.values for entry in old.values()) * 4 > MOST_IMATRIX_BYTES:
        raise GgufError(f"{clean(path)} claims more values than those of any model")
    return Imatrix(path, {}, old, _positive(chunks))


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _whole(path: str, descriptor: int, at: int) -> int:
    raw = os.pread(descriptor, 4, at)
    if len(raw) < 4:
        raise GgufError(f"{clean(path)} is truncated, or no importance matrix")
    return int(struct.unpack("<i", raw)[0])


def _floats(raw: bytes) -> array[float]:
    found = array("f")
    found.frombytes(raw[: len(raw) // 4 * 4])
    return found
