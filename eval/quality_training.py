"""A real fine-tune of gemma for `make quality-table`: all of its layers trained by AdamW on this project's pages.

libllama's own training (llama_opt_epoch) has no backward pass for gemma's GEGLU, so the model is written down once more in JAX
(`pip install jax`; nothing else needs it). Run as a program it trains and keeps the model after 1, 2, 4, ... steps.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "demo")]

from real_server import large_model, server  # noqa: E402

from eval import quality_models as models  # noqa: E402
from sentinel.quality.http import Address, Client  # noqa: E402

#: Learning rate and steps of the rows of the table.
KEPT = tuple(("2e-5", steps) for steps in (1, 2, 4, 8))
#: Tokens of a step, and what it learns from: prose of another kind than the prefixes.
LENGTH = 64
_PAGES = ("docs/quality.md", "docs/usage.md", "ARCHITECTURE.md")
_LAYERS, _HEADS, _WIDTH, _EVERY = 18, 4, 256, 6
#: Of the layers that see 512 tokens, and of every sixth one, which sees all (gemma3.rope.freq_base).
_NEAR, _FAR = 1e4, 1e6
_EPSILON = 1e-6
_BETAS, _SMALL = (0.9, 0.999), 1e-8


def name_of(rate: str, steps: int) -> str:
    """Of the file in the cache."""
    return f"gemma-3-270m-trained-{rate}-{steps}"


def trained(rate: str, steps: int) -> Path:
    """The model after so many steps. Raises NotMade where it has not been trained."""
    path = models.place(name_of(rate, steps))
    if not path.exists():
        raise models.NotMade(f"train it first: pip install jax, python eval/quality_training.py --rate {rate} --steps {steps}")
    return path


def _texts(count: int) -> list[list[int]]:
    """So many pieces of the pages, in gemma's tokens."""
    text = "\n".join((HERE.parent / page).read_text(encoding="utf-8") for page in _PAGES)
    with server("-m", str(large_model()), "-c", "64", "-np", "1", "-ngl", "0", "-fit", "off", "--no-warmup") as running:
        _, body = Client(Address("127.0.0.1", running.port)).post("/tokenize", {"content": text})
    tokens: list[int] = body["tokens"]
    return [[2, *tokens[at : at + LENGTH]] for at in range(0, count * LENGTH, LENGTH)]


def _weights() -> tuple[Any, dict[str, Any]]:
    """The embedding, which is not trained, and the rest in 32 bits."""
    import gguf
    import numpy as np

    found = {one.name: np.asarray(one.data, dtype=np.float32) for one in gguf.GGUFReader(str(large_model())).tensors}
    return found.pop("token_embd.weight"), found


def _normal(x: Any, weight: Any) -> Any:
    from jax import numpy as jnp

    return x / jnp.sqrt(jnp.mean(x * x, axis=-1, keepdims=True) + _EPSILON) * weight


def _turned(x: Any, base: float) -> Any:
    """Rotary positions, halves together (NEOX)."""
    from jax import numpy as jnp

    half = _WIDTH // 2
    angle = jnp.arange(x.shape[0])[:, None] * base ** (-jnp.arange(half) / half)[None, :]
    cos, sin = jnp.cos(angle)[:, None, :], jnp.sin(angle)[:, None, :]
    one, two = x[..., :half], x[..., half:]
    return jnp.concatenate([one * cos - two * sin, two * cos + one * sin], axis=-1)


def logits(w: dict[str, Any], embedding: Any, tokens: Any) -> Any:
    """gemma 3, of a text shorter than its window: probabilities of the next token at each place, not normalized."""
    import jax
    from jax import numpy as jnp

    x = embedding[tokens] * jnp.sqrt(float(embedding.shape[1]))
    seen = jnp.tril(jnp.ones((len(tokens), len(tokens)), dtype=bool))
    for layer in range(_LAYERS):
        base = _FAR if layer % _EVERY == _EVERY - 1 else _NEAR

        def of(part: str, layer: int = layer) -> Any:
            return w[f"blk.{layer}.{part}.weight"]

        y = _normal(x, of("attn_norm"))
        q = (y @ of("attn_q").T).reshape(len(tokens), _HEADS, _WIDTH)
        q = _turned(_normal(q, of("attn_q_norm")), base) / jnp.sqrt(float(_WIDTH))
        k = _turned(_normal((y @ of("attn_k").T)[:, None, :], of("attn_k_norm")), base)[:, 0]
        scores = jnp.where(seen[None], jnp.einsum("qhd,kd->hqk", q, k), -jnp.inf)
        mixed = jnp.einsum("hqk,kd->qhd", jax.nn.softmax(scores, axis=-1), y @ of("attn_v").T)
        x = x + _normal(mixed.reshape(len(tokens), -1) @ of("attn_output").T, of("post_attention_norm"))
        y = _normal(x, of("ffn_norm"))
        y = jax.nn.gelu(y @ of("ffn_gate").T, approximate=True) * (y @ of("ffn_up").T)
        x = x + _normal(y @ of("ffn_down").T, of("post_ffw_norm"))
    return _normal(x, w["output_norm.weight"]) @ embedding.T


def _train(rate: float, keep: Sequence[int], name: str) -> None:
    import jax
    from jax import numpy as jnp

    raw, weights = _weights()
    embedding = jnp.asarray(raw)

    # The embedding is an argument: as a constant the compiler folds it, with 8 GB of memory for the 700 MB of it.
    def loss(w: dict[str, Any], embedding: Any, tokens: Any) -> Any:
        each = jax.nn.log_softmax(logits(w, embedding, tokens[:-1]))
        return -jnp.mean(jnp.take_along_axis(each, tokens[1:, None], axis=1))

    step = jax.jit(jax.value_and_grad(loss))
    one, two = _BETAS
    first = {part: jnp.zeros_like(value) for part, value in weights.items()}
    second = dict(first)
    for number, text in enumerate(_texts(max(keep)), 1):
        began = time.monotonic()
        value, gradient = step(weights, embedding, jnp.asarray(text))
        for part, slope in gradient.items():
            first[part] = one * first[part] + (1 - one) * slope
            second[part] = two * second[part] + (1 - two) * slope * slope
            way = first[part] / (1 - one**number) / (jnp.sqrt(second[part] / (1 - two**number)) + _SMALL)
            weights[part] = weights[part] - rate * way
        print(f"step {number}: loss {float(value):.4f}, {time.monotonic() - began:.0f} s", flush=True)
        if number in keep:
            _write(models.place(name_of(name, number)), weights)


def _write(path: Path, weights: dict[str, Any]) -> None:
    """The F16 file with these weights, rounded to what it has."""
    import gguf
    import numpy as np

    part = path.with_suffix(".part")
    shutil.copyfile(large_model(), part)
    reader: Any = gguf.GGUFReader(str(part), "r+")
    moved = whole = 0.0
    for tensor in reader.tensors:
        if tensor.name in weights:
            before = tensor.data.astype(np.float32)
            tensor.data[...] = np.asarray(weights[tensor.name]).astype(tensor.data.dtype)
            # Norms are few and large: they would hide what moved.
            if before.ndim == 2:
                moved += float(((tensor.data - before) ** 2).sum())
                whole += float((before**2).sum())
    reader.data.flush()
    part.replace(path)
    print(f"{path.name}: matrices moved by {(moved / whole) ** 0.5:.3%} of their norm", flush=True)


def main() -> int:
    """Train, and keep the model after 1, 2, 4, ... steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", default="2e-5", help="AdamW's learning rate")
    parser.add_argument("--steps", type=int, default=8)
    arguments = parser.parse_args()
    keep = [1 << number for number in range(arguments.steps.bit_length()) if 1 << number <= arguments.steps]
    _train(float(arguments.rate), keep, arguments.rate)
    return 0


if __name__ == "__main__":
    sys.exit(main())
