"""A server's settings and devices, as far as they change its memory use.

Defaults are those of present builds (common/common.h and common/arg.cpp of b11434).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MemoryKind = Literal["weights", "kv", "recurrent", "compute", "output", "projector", "cache", "overhead"]
HOST = "host"
AUTO_LAYERS = -1
#: -np auto
AUTO_SLOTS = 4
ALL_LAYERS = -2


@dataclass(frozen=True, slots=True)
class Device:
    """A device by llama.cpp's name, ``Vulkan0``, ``ROCm0``. None: unknown."""

    name: str
    free_bytes: int | None = None
    total_bytes: int | None = None
    #: integrated graphics: used only if there is no discrete GPU
    integrated: bool = False
    #: a software renderer on the CPU, which llama.cpp takes for a GPU
    software: bool = False
    #: a GPU for which the backend uses host memory, as HIP does with GGML_CUDA_ENABLE_UNIFIED_MEMORY
    managed: bool = False

    @property
    def in_host_memory(self) -> bool:
        """Its allocations come from host memory."""
        return self.integrated or self.software or self.managed


@dataclass(frozen=True, slots=True)
class Item:
    """Bytes of one kind in one place. `low` and `high` equal `bytes` if that is certain.

    `mapped`: pages of the model file, which the kernel drops and reads again unless they are `locked`; `bytes` then counts the
    tensors that are used there, `high` the range of the file that the buffer spans.
    """

    place: str
    kind: MemoryKind
    bytes: int
    low: int
    high: int
    locked: bool = False
    mapped: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """Flags of llama-server. Sizes in tokens unless stated otherwise."""

    #: -ngl: AUTO_LAYERS as without the flag, ALL_LAYERS
    gpu_layers: int = AUTO_LAYERS
    cpu_moe: bool = False
    n_cpu_moe: int = 0
    #: --n-cpu-ffn (b11434-): feed-forward of the first N layers of a dense model on the CPU
    n_cpu_ffn: int = 0
    #: -ot: pattern (searched in tensor names) and place ("CPU" or a device's name), the first that matches wins
    overrides: tuple[tuple[str, str], ...] = ()
    split_mode: str = "layer"
    tensor_split: tuple[float, ...] = ()
    main_gpu: int = 0
    #: --device none
    device_none: bool = False
    #: --device: names in order; empty for all
    devices: tuple[str, ...] = ()
    #: -c; 0 for the model's context
    ctx: int = 0
    ctx_given: bool = False
    #: -np; -1 auto
    parallel: int = -1
    #: --kv-unified; None: -np decides
    kv_unified: bool | None = None
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    flash_attn: str = "auto"
    batch: int = 2048
    ubatch: int = 512
    kv_offload: bool = True
    op_offload: bool = True
    #: mmap, mmap+mlock, mlock, none, dio; auto: the build decides
    load_mode: str = "auto"
    #: --cache-ram; -1 for no limit, 0 for none
    cache_ram_mib: int = 8192
    ctx_checkpoints: int = 32
    swa_full: bool = False
    fit: bool = True
    #: --fit-target, kept free on each device
    fit_target_mib: int = 1024
    #: --fit-ctx, the smallest context that --fit chooses
    fit_ctx: int = 4096
    #: size of the --mmproj file in bytes, and whether it goes to the first device
    mmproj_bytes: int = 0
    mmproj_offload: bool = True
    #: --no-repack, --no-host
    repack: bool = True
    no_host: bool = False
    #: a second model (--model-draft) is not counted, only reported
    draft_model: bool = False
