"""Which tensor goes where, as llama.cpp places them (load_tensors in src/llama-model.cpp, create_tensor in its loader)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from sentinel.llama.model import Model, Tensor
from sentinel.llama.settings import ALL_LAYERS, HOST, Device, Settings
from sentinel.memory.tensor_overrides import overrides
from sentinel.model.entity import Unknown

_BLOCK = re.compile(r"blk\.(\d{1,5})\.")
#: llama-arch.cpp: tensors of the input layer, always on the CPU; all others without a block belong to the output layer
_INPUT = ("token_embd", "position_embd", "token_types", "per_layer_token_embd")
#: once in the file, created once per kind of buffer that has a layer which reads them
_SHARED = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")

#: types that no CPU repacks, and those that a CPU with AVX2 repacks in rows of eight (ggml/src/ggml-cpu/repack.cpp)
_KEPT = frozenset({"F32", "F16", "BF16", "F64"})
_AVX2 = frozenset({"Q4_0", "Q4_K", "IQ4_NL", "MXFP4"})


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights in one place. `spans` maps a file's number to the first and last byte that its buffer covers when mapped."""

    bytes: int = 0
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)
    #: matrices that the CPU backend repacks into separate memory: on a CPU with AVX2, and on any CPU at most
    repacked: int = 0
    repackable: int = 0
    #: of the blocks and the output, without tables that are only looked up
    computed: int = 0
    #: the largest of these: a device copies them, two at a time, to compute with weights on the host
    largest: int = 0

    @property
    def span_bytes(self) -> int:
        return sum(end - start for start, end in self.spans.values())

    @property
    def lock_bytes(self) -> int:
        """A lock reaches from the start of the file (llama-model-loader.cpp, lmlock->grow_to)."""
        return sum(end for _, end in self.spans.values())


def used_devices(settings: Settings, devices: Sequence[Device]) -> tuple[Device, ...]:
    """The devices that take layers, in order (src/llama.cpp: integrated ones only if there is no other)."""
    if settings.device_none:
        return ()
    if settings.devices:
        by_name = {device.name: device for device in devices}
        chosen = tuple(by_name.get(name, Device(name)) for name in settings.devices)
    else:
        chosen = tuple(device for device in devices if not device.integrated) or tuple(devices[:1])
    if settings.split_mode == "none" and chosen:
        return chosen[settings.main_gpu : settings.main_gpu + 1] or chosen[:1]
    return chosen


def layer_places(model: Model, settings: Settings, devices: Sequence[Device], gpu_layers: int) -> tuple[str, ...] | Unknown:
    """The place of every block, and at the end that of the output layer."""
    count = model.layers
    asked = count + 1 if gpu_layers == ALL_LAYERS else min(max(gpu_layers, 0), count + 1)
    if not devices or not asked:
        return (HOST,) * (count + 1)
    if len(devices) == 1:
        shares = [1.0]
    elif any(settings.tensor_split[: len(devices)]):
        shares = [float(n) for n in (*settings.tensor_split, *(0.0,) * len(devices))[: len(devices)]]
    else:
        free = [device.free_bytes for device in devices]
        if any(size is None for size in free):
            return Unknown("how much memory is free on each device, by which layers are spread")
        shares = [float(size or 0) for size in free]
    total, points, upto = sum(shares), [], 0.0
    for share in shares:
        upto += share
        points.append(upto / total if total else 1.0)
    first = max(count + 1 - asked, 0)
    places = []
    for il in range(count + 1):
        if il < first:
            places.append(HOST)
            continue
        at = (il - first) / asked
        # std::upper_bound: the first split point beyond this layer
        places.append(next((devices[n].name for n, point in enumerate(points) if point > at), devices[-1].name))
    return tuple(places)


def weights(model: Model, settings: Settings, places: Sequence[str], *, repack: bool) -> dict[str, Weights] | Unknown:
    """Weights by place. `repack`: the CPU may repack weights that it computes with."""
    over = overrides(settings, model.layers)
    if isinstance(over, Unknown):
        return over
    output = places[-1]
    sums: dict[str, _Sum] = {}

    def add(tensor: Tensor, place: str, block: int | None, *, looked_up: bool = False) -> None:
        at = sums.setdefault(place, _Sum())
        matrix = len(tensor.dims) > 1 and tensor.type not in _KEPT and not looked_up
        avx2 = matrix and tensor.type in _AVX2 and tensor.dims[1] % 8 == 0
        at.bytes += tensor.bytes
        at.repacked += tensor.bytes if avx2 else 0
        at.repackable += tensor.bytes if matrix else 0
        at.computed += 0 if looked_up else tensor.bytes
        at.largest = at.largest if block is None else max(at.largest, tensor.bytes)
        if not (repack and avx2 and place == HOST):
            # repacking copies out of the mapped file
            start, end = at.spans.get(tensor.file, (tensor.offset, tensor.offset))
            at.spans[tensor.file] = min(start, tensor.offset), max(end, tensor.offset + tensor.bytes)

    trunk = model.layers - model.nextn if model.nextn < model.layers else model.layers
    tied: Tensor | None = None
    has_output = False
    for tensor in model.tensors:
        found = _BLOCK.match(tensor.name)
        block = int(found[1]) if found is not None else None
        if block is not None and block >= trunk:
            # layers that predict further tokens stay in the file (TENSOR_SKIP), unless requested
            continue
        asked = over.place(tensor.name, block)
        has_output = has_output or tensor.name == "output.weight"
        if tensor.name == "token_embd.weight" and asked is None:
            tied = tensor
        if tensor.name in _SHARED:
            for place in sorted(set(places[:-1])):
                add(tensor, asked or place, None)
        elif block is not None:
            place = places[min(block, len(places) - 1)]
            add(tensor, asked or (HOST if place.startswith("Vulkan") and _scanned(model, tensor) else place), block)
        elif tensor.name.startswith(_INPUT):
            add(tensor, asked or HOST, None, looked_up=True)
        else:
            add(tensor, asked or output, None)
    # the output layer reads the embeddings: a copy where it is, or where it is repacked
    if not has_output and tied is not None and (output != HOST or (repack and tied.type in _AVX2)):
        add(tied, output, None)
    return {place: at.weights() for place, at in sums.items()}


@dataclass(slots=True)
class _Sum:
    """Accumulates weights."""

    bytes: int = 0
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)
    repacked: int = 0
    repackable: int = 0
    computed: int = 0
    largest: int = 0

    def weights(self) -> Weights:
        return Weights(self.bytes, self.spans, self.repacked, self.repackable, self.computed, self.largest)


def _scanned(model: Model, tensor: Tensor) -> bool:
    """A tensor whose operation Vulkan lacks: Mamba's scan, except for states of 128 and 256 (ggml-vulkan.cpp)."""
    scan = tensor.name.endswith(".ssm_a") and len(tensor.dims) > 1
    return scan and not (tensor.dims[0] == 1 and model.number("ssm.state_size") in {128, 256})
