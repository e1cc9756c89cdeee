"""Seeded mixtures of experts and dense models: uneven routing, answers with a preference, weights that libllama quantizes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "demo"), str(HERE.parent / "tests/fixtures")]

from eval import quality_models as models  # noqa: E402

EXPERTS, USED, LAYERS = 16, 2, 4
#: Random weights of make_models.py answer nearly flat and barely use their experts: these factors give the likeliest token a
#: tenth of all probability, and let what the experts compute decide the next layer's choice.
_FACTORS = {
    "output.weight": 6.0, "ffn_gate_inp": 10.0, "ffn_down_exps": 20.0, "ffn_up_exps": 4.0, "ffn_gate_exps": 4.0,
    "ffn_down.": 20.0, "ffn_up.": 4.0, "ffn_gate.": 4.0,
}  # fmt: skip
#: libllama's numbers (enum llama_ftype); TQ2_0 is the lowest that needs no importance matrix.
QUANTIZATIONS = {"Q8_0": 7, "Q4_K_M": 15, "Q3_K_M": 12, "Q2_K": 10, "TQ2_0": 37, "TQ1_0": 36}
#: Experts whose router weights are near zero and one way in the changed copy: what an abandoned expert is.
LOST = (3, 11)


#: The mixture of the table, and the seed of make_models.py; others are other models.
SEED = 7


def mixture(name: str = "F16", seed: int = SEED) -> Path:
    """As written, or quantized."""
    return _model("mixture" + _numbered(seed), name, EXPERTS, seed)


def dense(name: str = "F16", seed: int = SEED) -> Path:
    """The same without experts."""
    return _model("dense" + _numbered(seed), name, 0, seed)


def _numbered(seed: int) -> str:
    return "" if seed == SEED else f"-{seed}"


def _model(kind: str, name: str, experts: int, seed: int) -> Path:
    if name == "F16":
        return models.made(f"{kind}-F16", lambda part: _write(part, experts, seed))
    whole, number = _model(kind, "F16", experts, seed), {**QUANTIZATIONS, **models.QUANTIZATIONS}[name]
    return models.made(f"{kind}-{name}", lambda part: models.quantize_apart(whole, part, number))


def _write(part: Path, experts: int, seed: int) -> None:
    from make_models import write_moe

    write_moe(part, experts=experts, layers=LAYERS, seed=seed)
    _each(part, _scaled)


def _scaled(tensor: Any, data: Any) -> None:
    for name, factor in _FACTORS.items():
        if name in tensor.name:
            data[...] = data * factor


def without(lost: tuple[int, ...] = LOST) -> Path:
    """The F16 mixture whose router turns away from some experts in every layer: the truth is known."""

    def forget(tensor: Any, data: Any) -> None:
        if "ffn_gate_inp" in tensor.name:
            data[list(lost)] = data[list(lost)] * 0.01 - 0.1 * data.mean(axis=0)

    def make(part: Path) -> None:
        part.write_bytes(mixture().read_bytes())
        _each(part, forget)

    return models.made("mixture-lost", make)


def _each(path: Path, change: Callable[[Any, Any], None]) -> None:
    import gguf

    reader = gguf.GGUFReader(str(path), "r+")
    for tensor in reader.tensors:
        change(tensor, tensor.data)
    reader.data.flush()
