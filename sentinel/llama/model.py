"""A model file as the memory calculation reads it: hyper-parameters and every tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: What a value of the metadata may be. Texts and arrays are bounded by the reader.
Scalar = int | float | str | bool
Metadata = Mapping[str, Scalar | tuple[int, ...] | tuple[bool, ...]]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor. `bytes` is its data without padding, `offset` where that begins in the file number `file`."""

    name: str
    type: str
    dims: tuple[int, ...]
    bytes: int
    file: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Model:
    """A model file, or all of its splits. `file_bytes` has one entry per file."""

    arch: str
    metadata: Metadata = field(default_factory=dict)
    tensors: tuple[Tensor, ...] = ()
    file_bytes: tuple[int, ...] = ()

    def number(self, key: str, default: int = 0) -> int:
        """An integer under the architecture's own keys, for example ``block_count``. The first one of an array."""
        value = self.metadata.get(f"{self.arch}.{key}")
        if isinstance(value, tuple):
            value = value[0] if value else None
        return int(value) if isinstance(value, int | float) else default

    def given(self, key: str) -> bool:
        return f"{self.arch}.{key}" in self.metadata

    def per_layer(self, key: str, default: int = 0) -> tuple[int, ...]:
        """One integer per layer, if the file gives one for all or one for each. Empty: an array of another length."""
        value = self.metadata.get(f"{self.arch}.{key}")
        layers = self.layers
        if isinstance(value, tuple):
            return tuple(int(n) for n in value[:layers]) if len(value) >= layers else ()
        return (int(value) if isinstance(value, int | float) else default,) * layers

    @property
    def layers(self) -> int:
        """Blocks, including those that predict further tokens (nextn)."""
        return self.number("block_count")

    @property
    def nextn(self) -> int:
        return self.number("nextn_predict_layers")

    @property
    def vocabulary(self) -> int:
        """Rows of the token embeddings; 0 where there are none."""
        return next((t.dims[1] for t in self.tensors if t.name == "token_embd.weight" and len(t.dims) > 1), 0)
