"""Which experts the router of a mixture really chooses: `ffn_moe_topk-*` of each batch, by libllama's evaluation callback.

Run as a program it prints one model's choices as JSON, in a process of its own: libllama finds its backends by LD_LIBRARY_PATH.
"""

from __future__ import annotations

import ctypes
import json
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "demo")]

from real_server import binary, environment  # noqa: E402

#: By layer, by token in the order of the texts: the experts that were chosen.
Choices = dict[int, list[list[int]]]
_PIECE = 256
#: Which of llama_batch's pointers says of which tokens probabilities are wanted.
_WANTED = 5
_TOPK = b"ffn_moe_topk-"
#: What llama_context_default_params puts before `cb_eval`: yarn_ext_factor, attn_factor, beta_fast and beta_slow, yarn_orig_ctx,
#: defrag_thold. They show where the callback's place is in this build; fields before them came and went.
_BEFORE_CALLBACK = (struct.pack("<4fIf", -1, -1, -1, -1, 0, -1), struct.pack("<4fIf", -1, 1, 32, 1, 0, -1))
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_bool, ctypes.c_void_p)


class _ModelParameters(ctypes.Structure):
    _fields_ = (("all", ctypes.c_byte * 256),)


class _ContextParameters(ctypes.Structure):
    """The counts come first in every build: n_ctx, n_batch, n_ubatch."""

    _fields_ = (
        ("context", ctypes.c_uint32),
        ("batch", ctypes.c_uint32),
        ("piece", ctypes.c_uint32),
        ("rest", ctypes.c_byte * 500),
    )


class _Batch(ctypes.Structure):
    """llama_batch: a count and six pointers."""

    _fields_ = (("count", ctypes.c_int32), ("pointers", ctypes.c_void_p * 6))


class _Tensor(ctypes.Structure):
    """The head of ggml_tensor."""

    _fields_ = (
        ("type", ctypes.c_int32),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * 4),
        ("nb", ctypes.c_size_t * 4),
    )


def choices(model: Path, texts: Sequence[str], chunk: int = 0) -> Choices:
    """Of every token of the texts, or of chunks of so many as llama-imatrix cuts them. Raises CalledProcessError."""
    done = subprocess.run(
        [sys.executable, __file__, str(model), str(chunk)],
        input=json.dumps(list(texts)), env=environment(), check=True, capture_output=True, text=True,
    )  # fmt: skip
    return {int(layer): rows for layer, rows in json.loads(done.stdout).items()}


def _choices(model: Path, texts: Sequence[str], chunk: int) -> Choices:
    llama = ctypes.CDLL(str(binary().parent / "libllama.so"))
    ggml = ctypes.CDLL(str(binary().parent / "libggml-base.so"))
    ggml.ggml_get_name.restype, ggml.ggml_get_name.argtypes = ctypes.c_char_p, (ctypes.c_void_p,)
    ggml.ggml_get_data.restype, ggml.ggml_get_data.argtypes = ctypes.c_void_p, (ctypes.c_void_p,)
    found: Choices = {}

    @_CALLBACK  # type: ignore[untyped-decorator]
    def look(tensor: int, ask: bool, _: int) -> bool:
        name = ggml.ggml_get_name(tensor)
        if not name.startswith(_TOPK):
            return not ask
        if not ask:
            head = _Tensor.from_address(tensor)
            data, used, tokens = ggml.ggml_get_data(tensor), head.ne[0], head.ne[1]
            rows = found.setdefault(int(name[len(_TOPK) :]), [])
            for at in range(tokens):
                rows.append(list((ctypes.c_int32 * used).from_address(data + at * head.nb[1])))
        return True

    llama.llama_backend_init()
    for name, restype in (
        ("llama_model_default_params", _ModelParameters), ("llama_context_default_params", _ContextParameters),
        ("llama_model_load_from_file", ctypes.c_void_p), ("llama_init_from_model", ctypes.c_void_p),
        ("llama_model_get_vocab", ctypes.c_void_p), ("llama_get_memory", ctypes.c_void_p), ("llama_batch_get_one", _Batch),
    ):  # fmt: skip
        getattr(llama, name).restype = restype
    loaded = _given(llama.llama_model_load_from_file(str(model).encode(), llama.llama_model_default_params()), "load the model")
    wanted = llama.llama_context_default_params()
    wanted.context, wanted.batch, wanted.piece = 2048, _PIECE, _PIECE
    raw = bytes(wanted)
    at = max(raw.find(before) + len(before) for before in _BEFORE_CALLBACK if before in raw)
    place = ctypes.c_void_p.from_address(ctypes.addressof(wanted) + (at + 7) // 8 * 8)
    place.value = ctypes.cast(look, ctypes.c_void_p).value
    context = ctypes.c_void_p(_given(llama.llama_init_from_model(ctypes.c_void_p(loaded), wanted), "make a context"))
    # Threads wait for each other spinning: more than there are idle cores take many times as long.
    llama.llama_set_n_threads(context, 1, 1)
    vocabulary = ctypes.c_void_p(llama.llama_model_get_vocab(ctypes.c_void_p(loaded)))
    parts: list[list[int]] = []
    for text in texts:
        data = text.encode()
        tokens = (ctypes.c_int32 * (len(data) + 2))()
        parts += _cut(tokens[: llama.llama_tokenize(vocabulary, data, len(data), tokens, len(tokens), True, False)], chunk)
    for part in parts:
        llama.llama_memory_clear(ctypes.c_void_p(llama.llama_get_memory(context)), True)
        for begin in range(0, len(part), _PIECE):
            some = part[begin : begin + _PIECE]
            piece = (ctypes.c_int32 * len(some))(*some)
            batch = llama.llama_batch_get_one(piece, len(piece))
            # Of every token, not of the last alone: the last layer routes only those whose probabilities are wanted.
            every = (ctypes.c_int8 * len(piece))(*[1] * len(piece))
            batch.pointers[_WANTED] = ctypes.addressof(every)
            if llama.llama_decode(context, batch) != 0:
                raise OSError("libllama does not evaluate a text")
    return found


def _cut(tokens: list[int], chunk: int) -> list[list[int]]:
    """Whole chunks, each with the first token of all, that of a beginning, in place of its own."""
    if not chunk:
        return [tokens]
    return [[tokens[0], *tokens[at + 1 : at + chunk]] for at in range(0, len(tokens) - chunk + 1, chunk)]


def _given(pointer: Any, what: str) -> Any:
    if not pointer:
        raise OSError(f"libllama does not {what}")
    return pointer


if __name__ == "__main__":
    json.dump(_choices(Path(sys.argv[1]), json.load(sys.stdin), int(sys.argv[2])), sys.stdout)
