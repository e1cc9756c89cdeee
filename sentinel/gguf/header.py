"""Reads the header of a GGUF file, v1 to v3, either byte order: what the model is, and the types of its weights.

Files are untrusted: every length is checked against the file before it is used, memory stays at one window whatever the file
says, and the file is not mapped (truncating a mapped file kills the reader).
Format: ggml/docs/gguf.md. Tested against the reference package.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from sentinel.files.opener import NotRegular, Opener
from sentinel.gguf.reader import FaultKind, GgufError, GgufReader, ReadBudget, read_value
from sentinel.gguf.tensor_types import FILE_LABELS, GUESSED, TENSOR_TYPES
from sentinel.llama.model import Model, Tensor
from sentinel.model.entity import Unknown, Value
from sentinel.model.input_limits import MOST_KEYS, MOST_SPLITS, MOST_TENSOR_NAME, MOST_TENSORS, MOST_TENSORS_LISTED
from sentinel.model.text import clean

_SPLIT = re.compile(r"-(\d{5})-of-(\d{5})\.gguf\Z")
#: experts of one layer in one tensor, or (Mixtral of early 2024) one tensor per expert
_EXPERTS = re.compile(r"_exps\.weight\Z|\.ffn_(?:gate|up|down)\.\d+\.weight\Z")
_ABOUT = (
    "bytes", "arch", "ctx_train", "layers", "experts", "experts_used", "bpw", "expert_bpw", "expert_types", "label"
)  # fmt: skip
#: hyper-parameters of the architecture, and the general keys that are needed; the vocabulary is skipped
_KEYS = re.compile(r"general\.(?:architecture|file_type|alignment)\Z|(?!general\.|tokenizer\.)[\w-]{1,40}\.[\w.-]{1,80}\Z")
_ALIGNMENT = 32
#: Opens a file for reading; raises OSError, NotRegular, ValueError.
Open = Callable[[str], int]
_Metadata = dict[str, int | float | str | tuple[int, ...]]

__all__ = ["GgufError", "GgufHeader", "model_of", "read_header", "read_model"]


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """A model file, or all splits of one. Types map a tensor type's name to its number of weights."""

    file_bytes: int
    metadata: Mapping[str, int | float | str | tuple[int, ...]] = field(default_factory=dict)
    types: Mapping[str, int] = field(default_factory=dict)
    expert_types: Mapping[str, int] = field(default_factory=dict)
    weights_bytes: int = 0
    expert_bytes: int = 0
    #: why the sums are incomplete; empty if they are complete
    incomplete: str = ""
    #: every tensor; empty if there are more than any model has
    tensors: tuple[Tensor, ...] = ()
    #: file sizes, one per split
    files: tuple[int, ...] = ()
    #: why the file is shorter than its header says; empty if it is not
    truncated: str = ""
    #: how a split could not be read; None if all were read
    split_fault: FaultKind | None = None

    @property
    def arch(self) -> str:
        return str(self.metadata.get("general.architecture", ""))

    def of_arch(self, key: str) -> int | None:
        """An integer under the architecture's own keys, for example ``block_count``."""
        value = self.metadata.get(f"{self.arch}.{key}")
        return value if isinstance(value, int) else None

    def signals(self) -> dict[str, Value | Unknown]:
        """Signals ``server.model_*``."""
        whole: Unknown | None = Unknown(self.incomplete) if self.incomplete else None
        values = self.unknown("the model file does not say")
        values |= {
            "server.model_bytes": whole or self.file_bytes,
            "server.model_experts": self.of_arch("expert_count") or 0,
            "server.model_experts_used": self.of_arch("expert_used_count") or 0,
            "server.model_expert_types": whole or _shares(self.expert_types),
            "server.model_expert_bpw": whole or _bits(self.expert_bytes, self.expert_types),
            "server.model_bpw": whole or _bits(self.weights_bytes, self.types),
            "server.model_label": self._label(),
        }
        if self.arch:
            values["server.model_arch"] = clean(self.arch)
        for key, name in (("context_length", "ctx_train"), ("block_count", "layers")):
            number = self.of_arch(key)
            if number is not None:
                values[f"server.model_{name}"] = number
        return values

    @staticmethod
    def unknown(why: str) -> dict[str, Value | Unknown]:
        """Every signal of a model file, unknown for one reason."""
        return {f"server.model_{name}": Unknown(why) for name in _ABOUT}

    def _label(self) -> str | Unknown:
        number = self.metadata.get("general.file_type")
        if not isinstance(number, int):
            return Unknown("the model file has no general.file_type")
        return FILE_LABELS.get(number & ~GUESSED, f"file type {number}")


def parts_of(path: str) -> list[str]:
    """The files of a model: one, or all its splits when it is named ``...-00001-of-0000N.gguf``. At most one too many to read."""
    match = _SPLIT.search(path)
    count = int(match[2]) if match else 1
    if match is None or count < 2:
        return [path]
    stem = path[: match.start()]
    return [f"{stem}-{number:05d}-of-{count:05d}.gguf" for number in range(1, min(count, MOST_SPLITS + 1) + 1)]


def read_model(path: str, opener: Open | None = None, budget: ReadBudget | None = None) -> GgufHeader:
    """Read a model file, with all its splits when it is named ``...-00001-of-0000N.gguf``. Raises GgufError."""
    names = parts_of(path)
    budget = ReadBudget() if budget is None else budget
    if len(names) == 1:
        return read_header(path, opener, budget)
    if len(names) > MOST_SPLITS:
        raise GgufError(f"{clean(path)} claims more than {MOST_SPLITS} splits, which are not read")
    parts: list[GgufHeader] = []
    missing: list[GgufError] = []
    for name in names:
        try:
            parts.append(read_header(name, opener, budget))
        except GgufError as error:
            missing.append(error)
    if not parts:
        raise missing[0]
    types, expert_types = Counter[str](), Counter[str]()
    metadata: _Metadata = {}
    for part in parts:
        types.update(part.types)
        expert_types.update(part.expert_types)
        metadata |= {key: value for key, value in part.metadata.items() if key not in metadata}
    return GgufHeader(
        sum(part.file_bytes for part in parts),
        metadata,
        types,
        expert_types,
        sum(part.weights_bytes for part in parts),
        sum(part.expert_bytes for part in parts),
        str(missing[0]) if missing else next((part.incomplete for part in parts if part.incomplete), ""),
        tuple(replace(tensor, file=number) for number, part in enumerate(parts) for tensor in part.tensors),
        tuple(part.file_bytes for part in parts),
        next((part.truncated for part in parts if part.truncated), ""),
        missing[0].kind if missing else None,
    )


def model_of(header: GgufHeader) -> Model | Unknown:
    """The model for the memory calculation; Unknown if a split is missing or a tensor type is not known."""
    if header.incomplete:
        return Unknown(header.incomplete)
    if not header.tensors:
        return Unknown("the model file has no tensors, or more than any model has")
    return Model(header.arch, header.metadata, header.tensors, header.files)


def read_header(path: str, opener: Open | None = None, budget: ReadBudget | None = None) -> GgufHeader:
    """Read the header of one file: under 0.3 s for a vocabulary of 256k tokens. Raises GgufError."""
    try:
        descriptor = (Opener().open if opener is None else opener)(path)
    except NotRegular as error:
        raise GgufError(f"{clean(path)} is not a regular file but {str(error).partition(',')[0]}", "no file") from None
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or str(error)
        kind: FaultKind = "denied" if isinstance(error, PermissionError) else "missing"
        raise GgufError(f"{clean(path)} cannot be opened: {what}", kind) from None
    try:
        return _parse(GgufReader(descriptor, os.fstat(descriptor).st_size, clean(path), budget))
    except OSError as error:
        raise GgufError(f"{clean(path)} cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)


def _parse(reader: GgufReader) -> GgufHeader:
    if reader.take(4) != b"GGUF":
        raise GgufError(f"{reader.path} is not a GGUF file: its first four bytes are not 'GGUF'", "damaged")
    version = reader.number("I")
    if version & 0xFFFF == 0:
        # written in the other byte order
        reader.order = ">"
        version = int.from_bytes(version.to_bytes(4, "little"), "big")
    if not 1 <= version <= 3:
        raise reader.fail(f"GGUF version {version} is not known (1 to 3 are)")
    reader.wide = "I" if version == 1 else "Q"
    tensors = reader.count(MOST_TENSORS, "tensors")
    metadata: _Metadata = {}
    for _ in range(reader.count(MOST_KEYS, "keys")):
        reader.budget.spend(1)
        key = reader.string().decode("utf-8", "replace")
        value = read_value(reader, reader.number("I"), wanted=_KEYS.match(key) is not None)
        if value is not None:
            metadata[key] = value
    types, expert_types = Counter[str](), Counter[str]()
    all_bytes = expert_bytes = 0
    strange = ""
    listed: list[Tensor] = []
    for _ in range(tensors):
        reader.budget.spend(1)
        tensor, kind, weights = _tensor(reader)
        if kind not in TENSOR_TYPES:
            strange = f"{reader.path} has tensors of type {kind}, which this version of sentinel does not know"
        if tensors <= MOST_TENSORS_LISTED:
            listed.append(tensor)
        types[tensor.type] += weights
        all_bytes += tensor.bytes
        if _EXPERTS.search(tensor.name):
            expert_types[tensor.type] += weights
            expert_bytes += tensor.bytes
    start = _data_start(reader, metadata)
    end = max((start + tensor.offset + tensor.bytes for tensor in listed), default=0)
    return GgufHeader(
        reader.size,
        metadata,
        types,
        expert_types,
        all_bytes,
        expert_bytes,
        strange,
        tuple(replace(tensor, offset=start + tensor.offset) for tensor in listed),
        (reader.size,),
        f"{reader.path} is {end - reader.size} bytes shorter than its header says: it is truncated" if end > reader.size else "",
    )


def _data_start(reader: GgufReader, metadata: _Metadata) -> int:
    """Where the tensors begin (ggml/src/gguf.cpp: aligned, to 32 bytes if the file does not say)."""
    asked = metadata.get("general.alignment", _ALIGNMENT)
    if not isinstance(asked, int) or asked < 1 or asked & (asked - 1) or asked > 1 << 20:
        raise reader.fail(f"its alignment {asked!s:.20} is no power of two")
    return -(-reader.position // asked) * asked


def _tensor(reader: GgufReader) -> tuple[Tensor, int, int]:
    """One entry, the number of its type, its number of weights. The offset is still relative to the start of the tensors."""
    name = reader.string(MOST_TENSOR_NAME - 1).decode("utf-8", "replace")
    count = reader.number("I")
    # ggml allows four (ggml.h)
    if count > 8:
        raise reader.fail(f"a tensor claims {count} dimensions")
    dims = tuple(reader.number(reader.wide) for _ in range(count))
    weights = math.prod(dims)
    kind = reader.number("I")
    offset = reader.number("Q")
    if weights > reader.size * 64:
        raise reader.fail("a tensor claims more weights than the file has bits for")
    type_name, block, size = TENSOR_TYPES.get(kind, (f"type {kind}", 1, 0))
    return Tensor(name, type_name, dims, weights * size // block, 0, offset), kind, weights


def _bits(size: int, types: Mapping[str, int]) -> float:
    weights = sum(types.values())
    return round(size * 8 / weights, 3) if weights else 0.0


def _shares(types: Mapping[str, int]) -> str:
    total = sum(types.values())
    largest = sorted(types.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {round(100 * weights / total)} %" for name, weights in largest if total)
