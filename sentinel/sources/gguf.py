"""Reads the header of a GGUF file, v1 to v3, either byte order: what the model is, and in which types its weights are.

Files are strangers': every length is checked against the file before it is believed, memory stays at one window whatever the
file says, and no mapping is made (a mapped file that is cut short kills the reader).
Format: ggml/docs/gguf.md. Tested against the reference package.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from sentinel.model.labels import Unknown, Value
from sentinel.sizing.shape import ModelShape
from sentinel.sources.gguf_types import FILE_LABELS, GUESSED, TENSOR_TYPES
from sentinel.sources.roots import clean

_WINDOW = 1 << 18
_MAX_HEADER = 256 << 20
_MAX_STRING = 16 << 20
_MAX_KEYS = 1 << 16
_MAX_TENSORS = 1 << 17
#: four times the largest vocabulary known
_MAX_STRINGS = 1 << 22
_MAX_SPLITS = 1024
#: GGUF value types with a fixed size (gguf.md); 8 is a string, 9 an array
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_SPLIT = re.compile(r"-(\d{5})-of-(\d{5})\.gguf\Z")
#: experts of one layer in one tensor, or (Mixtral of early 2024) one tensor an expert
_EXPERTS = re.compile(r"_exps\.weight\Z|\.ffn_(?:gate|up|down)\.\d+\.weight\Z")
_ABOUT = (
    "bytes", "arch", "ctx_train", "layers", "experts", "experts_used", "bpw", "expert_bpw", "expert_types", "label"
)  # fmt: skip
_BLOCK = re.compile(r"blk\.(\d{1,5})\.")
_KEYS = re.compile(
    r"general\.(?:architecture|file_type)\Z"
    r"|[\w-]+\.(?:block_count|context_length|embedding_length|expert_count|expert_used_count)\Z"
    r"|[\w-]+\.attention\.(?:head_count|head_count_kv|key_length|value_length|key_length_mla)\Z"
)
#: more layers than any model has; a longer array of a wanted key is passed over
_MAX_LAYERS = 4096
_Metadata = dict[str, int | float | str | tuple[int, ...]]


class GgufError(Exception):
    """The file cannot be read as GGUF. The text is one sentence: which file, what is wrong."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """A model file, or all splits of one. Types map a tensor type's name to its number of weights."""

    file_bytes: int
    metadata: Mapping[str, int | float | str | tuple[int, ...]] = field(default_factory=dict)
    types: Mapping[str, int] = field(default_factory=dict)
    expert_types: Mapping[str, int] = field(default_factory=dict)
    weights_bytes: int = 0
    expert_bytes: int = 0
    #: why the sums are not whole, empty when they are
    incomplete: str = ""
    #: bytes of the tensors of each block, of the experts among them, and of the token embeddings
    block_bytes: Mapping[int, int] = field(default_factory=dict)
    block_expert_bytes: Mapping[int, int] = field(default_factory=dict)
    input_bytes: int = 0

    @property
    def arch(self) -> str:
        return str(self.metadata.get("general.architecture", ""))

    def of_arch(self, key: str) -> int | None:
        """An integer of the architecture's own keys, for example ``block_count``."""
        value = self.metadata.get(f"{self.arch}.{key}")
        return value if isinstance(value, int) else None

    def shape(self) -> ModelShape | Unknown:
        """What the arithmetic of memory needs; Unknown where tensors could not all be read."""
        if self.incomplete:
            return Unknown(self.incomplete)
        heads_kv = self.metadata.get(f"{self.arch}.attention.head_count_kv")
        heads = self.of_arch("attention.head_count") or 0
        if isinstance(heads_kv, int) or (heads_kv is None and heads):
            # llama.cpp takes the number of heads where that of the KV heads is missing (llama-model.cpp, load_hparams)
            heads_kv = (heads_kv if isinstance(heads_kv, int) else heads,)
        return ModelShape(
            arch=self.arch,
            layers=self.of_arch("block_count") or 0,
            ctx_train=self.of_arch("context_length") or 0,
            embed=self.of_arch("embedding_length") or 0,
            heads=heads,
            heads_kv=heads_kv if isinstance(heads_kv, tuple) else (),
            key_length=self.of_arch("attention.key_length") or 0,
            value_length=self.of_arch("attention.value_length") or 0,
            is_mla=self.of_arch("attention.key_length_mla") is not None,
            weights_bytes=self.weights_bytes,
            block_bytes=self.block_bytes,
            block_expert_bytes=self.block_expert_bytes,
            input_bytes=self.input_bytes,
        )

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


def read_model(path: str) -> GgufHeader:
    """Read a model file, with all its splits when it is named ``...-00001-of-0000N.gguf``. Raises GgufError."""
    match = _SPLIT.search(path)
    count = int(match[2]) if match else 1
    if match is None or count < 2:
        return read_header(path)
    if count > _MAX_SPLITS:
        raise GgufError(f"{clean(path)} claims {count} splits; more than {_MAX_SPLITS} are not read")
    parts, missing = [], []
    for number in range(1, count + 1):
        name = f"{path[: match.start()]}-{number:05d}-of-{count:05d}.gguf"
        try:
            parts.append(read_header(name))
        except GgufError as error:
            missing.append(str(error))
    if not parts:
        raise GgufError(missing[0])
    types, expert_types = Counter[str](), Counter[str]()
    blocks, block_experts = Counter[int](), Counter[int]()
    metadata: _Metadata = {}
    for part in parts:
        types.update(part.types)
        expert_types.update(part.expert_types)
        blocks.update(part.block_bytes)
        block_experts.update(part.block_expert_bytes)
        metadata |= {key: value for key, value in part.metadata.items() if key not in metadata}
    return GgufHeader(
        sum(part.file_bytes for part in parts),
        metadata,
        types,
        expert_types,
        sum(part.weights_bytes for part in parts),
        sum(part.expert_bytes for part in parts),
        missing[0] if missing else next((part.incomplete for part in parts if part.incomplete), ""),
        blocks,
        block_experts,
        sum(part.input_bytes for part in parts),
    )


def read_header(path: str) -> GgufHeader:
    """Read the header of one file: under 0.3 s for a vocabulary of 256k tokens. Raises GgufError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or str(error)
        raise GgufError(f"{clean(path)} cannot be opened: {what}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise GgufError(f"{clean(path)} is not a regular file")
        return _parse(_Reader(descriptor, status.st_size, clean(path)))
    except OSError as error:
        raise GgufError(f"{clean(path)} cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)


class _Reader:
    """Bytes of a file through one window, with bounds."""

    def __init__(self, descriptor: int, size: int, path: str) -> None:
        self.descriptor, self.size, self.path = descriptor, size, path
        self.buffer, self.base, self.at = b"", 0, 0
        self.order, self.wide = "<", "Q"

    def fail(self, what: str) -> GgufError:
        return GgufError(f"{self.path}: {what} (at byte {self.base + self.at})")

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.buffer):
            self._refill(count)
        taken = self.buffer[self.at : self.at + count]
        self.at += count
        return taken

    def skip(self, count: int) -> None:
        self.at += count
        if self.base + self.at > min(self.size, _MAX_HEADER):
            raise self.fail("a length in the header reaches beyond the end of the file")

    def number(self, code: str) -> int:
        return int(struct.unpack(self.order + code, self.take(struct.calcsize(code)))[0])

    def count(self, limit: int, what: str) -> int:
        number = self.number(self.wide)
        if number > limit:
            raise self.fail(f"it claims {number} {what}, more than {limit}")
        return number

    def string(self) -> bytes:
        length = self.count(_MAX_STRING, "bytes in a string")
        if length > self.size - self.base - self.at:
            raise self.fail("a string reaches beyond the end of the file")
        return self.take(length)

    def skip_strings(self, count: int) -> None:
        """The vocabulary: one loop without a call a string, 0.06 s for 256k of them."""
        width = struct.calcsize(self.wide)
        unpack = struct.Struct(self.order + self.wide).unpack_from
        for _ in range(count):
            if self.at + width > len(self.buffer):
                self._refill(width)
            length = unpack(self.buffer, self.at)[0]
            if length > _MAX_STRING:
                raise self.fail(f"it claims {length} bytes in a string, more than {_MAX_STRING}")
            self.at += width + length
        self.skip(0)

    def _refill(self, count: int) -> None:
        self.base += self.at
        self.at = 0
        if self.base + count > min(self.size, _MAX_HEADER):
            self.buffer = b""
            raise self.fail("the file ends inside its header: it is truncated or no GGUF file")
        self.buffer = os.pread(self.descriptor, max(count, _WINDOW), self.base)
        if len(self.buffer) < count:
            raise self.fail("the file ends inside its header: it is truncated")


def _parse(reader: _Reader) -> GgufHeader:
    if reader.take(4) != b"GGUF":
        raise GgufError(f"{reader.path} is not a GGUF file: its first four bytes are not 'GGUF'")
    version = reader.number("I")
    if version & 0xFFFF == 0:
        # written in the other byte order
        reader.order = ">"
        version = int.from_bytes(version.to_bytes(4, "little"), "big")
    if not 1 <= version <= 3:
        raise reader.fail(f"GGUF version {version} is not known (1 to 3 are)")
    reader.wide = "I" if version == 1 else "Q"
    tensors = reader.count(_MAX_TENSORS, "tensors")
    metadata: _Metadata = {}
    for _ in range(reader.count(_MAX_KEYS, "keys")):
        key = reader.string().decode("utf-8", "replace")
        value = _value(reader, reader.number("I"), wanted=_KEYS.match(key) is not None)
        if value is not None:
            metadata[key] = value
    types, expert_types = Counter[str](), Counter[str]()
    blocks, block_experts = Counter[int](), Counter[int]()
    all_bytes = expert_bytes = input_bytes = 0
    strange = ""
    for _ in range(tensors):
        name, kind, weights = _tensor(reader)
        type_name, block, size = TENSOR_TYPES.get(kind, (f"type {kind}", 1, 0))
        if kind not in TENSOR_TYPES:
            strange = f"{reader.path} has tensors of type {kind}, which this version of sentinel does not know"
        tensor_bytes = weights * size // block
        types[type_name] += weights
        all_bytes += tensor_bytes
        number = _BLOCK.match(name)
        if number is not None:
            blocks[int(number[1])] += tensor_bytes
        elif name.startswith("token_embd."):
            input_bytes += tensor_bytes
        if _EXPERTS.search(name):
            expert_types[type_name] += weights
            expert_bytes += tensor_bytes
            if number is not None:
                block_experts[int(number[1])] += tensor_bytes
    return GgufHeader(
        reader.size, metadata, types, expert_types, all_bytes, expert_bytes, strange, blocks, block_experts, input_bytes
    )


def _value(reader: _Reader, kind: int, *, wanted: bool) -> int | float | str | tuple[int, ...] | None:
    """One value, None when it is not wanted. Arrays are passed over, but for wanted ones of a number a layer."""
    code = _SCALARS.get(kind)
    if code is not None:
        raw = reader.take(struct.calcsize("<" + code))
        value: int | float = struct.unpack(reader.order + code, raw)[0]
        return value if wanted else None
    if kind == 8:
        text = reader.string()
        return text.decode("utf-8", "replace") if wanted else None
    if kind != 9:
        raise reader.fail(f"value type {kind} is not known")
    inner = reader.number("I")
    code = _SCALARS.get(inner)
    if code is not None:
        count = reader.count(reader.size, "values in an array")
        if wanted and code in "BbHhIiQq" and count <= _MAX_LAYERS:
            return tuple(reader.number(code) for _ in range(count))
        reader.skip(struct.calcsize("<" + code) * count)
    elif inner == 8:
        reader.skip_strings(reader.count(_MAX_STRINGS, "strings in an array"))
    else:
        raise reader.fail(f"arrays of value type {inner} are not known")
    return None


def _tensor(reader: _Reader) -> tuple[str, int, int]:
    name = reader.string().decode("utf-8", "replace")
    dimensions = reader.number("I")
    # ggml allows four (ggml.h)
    if dimensions > 8:
        raise reader.fail(f"a tensor claims {dimensions} dimensions")
    weights = 1
    for _ in range(dimensions):
        weights *= reader.number(reader.wide)
    kind = reader.number("I")
    reader.take(8)
    if weights > reader.size * 64:
        raise reader.fail("a tensor claims more weights than the file has bits for")
    return name, kind, weights


def _bits(size: int, types: Mapping[str, int]) -> float:
    weights = sum(types.values())
    return round(size * 8 / weights, 3) if weights else 0.0


def _shares(types: Mapping[str, int]) -> str:
    total = sum(types.values())
    largest = sorted(types.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {round(100 * weights / total)} %" for name, weights in largest if total)
