"""What the arithmetic needs of a model file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Dimensions and weights of a model. 0 and empty mean that the file does not say.

    Bytes are those of the tensors, without padding. `heads_kv` has one entry a layer, or a single one for all layers.
    """

    arch: str = ""
    layers: int = 0
    ctx_train: int = 0
    embed: int = 0
    heads: int = 0
    heads_kv: tuple[int, ...] = ()
    key_length: int = 0
    value_length: int = 0
    #: K and V are one compressed row (multi-head latent attention)
    is_mla: bool = False
    weights_bytes: int = 0
    #: of the blocks (``blk.N.``), by number
    block_bytes: Mapping[int, int] = field(default_factory=dict)
    block_expert_bytes: Mapping[int, int] = field(default_factory=dict)
    #: ``token_embd.*``: looked up on the CPU whatever is offloaded (llama-model.cpp, dev_input)
    input_bytes: int = 0
    #: elements of K and V that a token takes in each layer at least, where the architecture's layout is known
    #: (`sizing.architectures`); nothing for layers whose cache is shorter than the context
    rows: tuple[tuple[int, int], ...] = ()
