"""A model that is no longer what it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import gguf


def scaled(source: Path, target: Path, name: str, factor: float) -> Path:
    """A copy with one tensor multiplied."""
    shutil.copyfile(source, target)
    reader = gguf.GGUFReader(str(target), "r+")
    (tensor,) = [tensor for tensor in reader.tensors if tensor.name == name]
    tensor.data[...] = tensor.data * factor
    reader.data.flush()
    return target
