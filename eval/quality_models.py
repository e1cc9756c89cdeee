"""Variants of the real model for `make quality-table`: quantized by the wheel's own libllama, damaged, or changed a little.

Run as a program, it quantizes one file: in a process of its own, because libllama finds its backends by LD_LIBRARY_PATH.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "demo")]

from real_server import binary, cache, environment, large_model  # noqa: E402

#: enum llama_ftype of llama.h
QUANTIZATIONS = {"Q8_0": 7, "Q6_K": 18, "Q4_K_M": 15, "Q3_K_M": 12, "Q2_K": 10}
_SEED = 20251203
_DAMAGED = "blk.8.ffn_down.weight"


class _Parameters(ctypes.Structure):
    """llama_model_quantize_params: threads and type come first; the rest, which grows from build to build, stays as it is."""

    _fields_ = (("threads", ctypes.c_int32), ("type", ctypes.c_int32), ("rest", ctypes.c_byte * 248))


def quantize(source: Path, target: Path, number: int) -> None:
    """In this process. Raises OSError if libllama refuses."""
    llama = ctypes.CDLL(str(binary().parent / "libllama.so"))
    llama.llama_backend_init()
    llama.llama_model_quantize_default_params.restype = _Parameters
    llama.llama_model_quantize.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(_Parameters))
    llama.llama_model_quantize.restype = ctypes.c_uint32
    wanted = llama.llama_model_quantize_default_params()
    wanted.threads, wanted.type = 2, number
    if llama.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(wanted)) != 0:
        raise OSError(f"libllama does not quantize {source} to type {number}")


def quantized(name: str) -> Path:
    """F16 is dequantized from the published Q4_K_M (demo/real_server.py): no better weights are at hand."""
    if name == "F16":
        return large_model()
    return made(f"gemma-3-270m-{name}", lambda part: quantize_apart(large_model(), part, QUANTIZATIONS[name]))


def quantize_apart(source: Path, target: Path, number: int) -> None:
    """In a process of its own. Raises CalledProcessError."""
    command = [sys.executable, __file__, str(source), str(target), str(number)]
    subprocess.run(command, env=environment(), check=True, capture_output=True)


class NotMade(Exception):
    """This model cannot be made here. The text says why."""


def place(name: str) -> Path:
    """The file of this name in the cache."""
    path = cache() / "quality" / f"{name}.gguf"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def made(name: str, make: Callable[[Path], object]) -> Path:
    """The file of this name in the cache, made where it is not there yet."""
    path = place(name)
    if not path.exists():
        part = path.with_suffix(".part")
        make(part)
        part.replace(path)
    return path


def changed(name: str, change: Callable[[Any, Any], None]) -> Path:
    """A copy of the F16 model with its tensors changed in place: `change` gets each tensor and its values."""

    def make(part: Path) -> None:
        import gguf

        shutil.copyfile(large_model(), part)
        reader = gguf.GGUFReader(str(part), "r+")
        for tensor in reader.tensors:
            change(tensor, tensor.data)
        reader.data.flush()

    return made(f"gemma-3-270m-{name}", make)


def page_lost(tensor: Any, data: Any) -> None:
    """4 KiB of zeros in one tensor, as after a lost page."""
    if tensor.name == _DAMAGED:
        data.reshape(-1).view("u1")[1 << 20 : (1 << 20) + 4096] = 0


def bytes_flipped(tensor: Any, data: Any) -> None:
    """Every bit of one byte in 10,000 of one tensor."""
    if tensor.name == _DAMAGED:
        import numpy as np

        raw = data.reshape(-1).view("u1")
        at = np.random.default_rng(_SEED).choice(raw.size, raw.size // 10_000, replace=False)
        raw[at] ^= 0xFF


def tensor_lost(tensor: Any, data: Any) -> None:
    """One tensor of 236 is zero."""
    if tensor.name == _DAMAGED:
        data[...] = 0


def not_numbers(tensor: Any, data: Any) -> None:
    """One weight of the last norm is NaN."""
    if tensor.name == "output_norm.weight":
        data.reshape(-1)[3] = float("nan")


def noise(share: float) -> Callable[[Any, Any], None]:
    """Every weight moved at random by this share of itself (standard deviation): as a small step of training would."""

    def change(tensor: Any, data: Any) -> None:
        import numpy as np

        drawn = np.random.default_rng([_SEED, sum(tensor.name.encode())])
        data[...] = (data * (1 + share * drawn.standard_normal(data.shape, dtype=np.float32))).astype(data.dtype)

    return change


_RANK = 8


def fine_tuned(share: float) -> Callable[[Any, Any], None]:
    """Every matrix of a layer moved by a matrix of rank 8, of this share of its norm: as a merged LoRA does."""

    def change(tensor: Any, data: Any) -> None:
        import numpy as np

        if not tensor.name.startswith("blk.") or data.ndim != 2:
            return
        drawn = np.random.default_rng([_SEED, sum(tensor.name.encode())])
        step = drawn.standard_normal((data.shape[0], _RANK), dtype=np.float32) @ drawn.standard_normal(
            (_RANK, data.shape[1]), dtype=np.float32
        )
        whole = data.astype(np.float32)
        data[...] = (whole + step * (share * np.linalg.norm(whole) / np.linalg.norm(step))).astype(data.dtype)

    return change


if __name__ == "__main__":
    quantize(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
