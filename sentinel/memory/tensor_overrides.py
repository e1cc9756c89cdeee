"""Tensors that flags place elsewhere: -ot, --cpu-moe, --n-cpu-moe, --n-cpu-ffn. The first pattern that matches wins.

Patterns are untrusted and run in RE2, in linear time; std::regex syntax that RE2 lacks (look-ahead, back references)
is refused with a reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import re2

from sentinel.llama.settings import HOST, Settings
from sentinel.model.entity import Unknown

#: common/common.h, LLM_FFN_EXPS_REGEX and LLM_FFN_DENSE_REGEX
_EXPERTS = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps"
_DENSE = r"\.ffn_(up|down|gate)\."
_MAX_PATTERN = 4096


class Overrides:
    """Places by tensor name; None if no flag names one."""

    def __init__(self, rules: Sequence[tuple[Any, str]], experts: int, dense: int) -> None:
        self._rules = tuple(rules)
        self._kinds = [(re2.compile(kind), count) for kind, count in ((_EXPERTS, experts), (_DENSE, dense)) if count]

    def place(self, tensor: str, block: int | None) -> str | None:
        """The place that flags name for a tensor of this block, None for one without a block."""
        for pattern, place in self._rules:
            if pattern.search(tensor):
                return place
        for pattern, count in self._kinds:
            if block is not None and block < count and pattern.search(tensor):
                return HOST
        return None


def overrides(settings: Settings, layers: int) -> Overrides | Unknown:
    """Compile the flags. Unknown, with the pattern, if one cannot be read."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    rules = []
    for pattern, place in settings.overrides:
        try:
            compiled = re2.compile(pattern[:_MAX_PATTERN], options)
        except re2.error:
            return Unknown(f"the pattern {pattern[:60]!r} of --override-tensor cannot be read by sentinel")
        # host buffers of a device: CUDA_Host, Vulkan_Host
        on_host = place == "CPU" or place.endswith("_Host") or place.startswith("CPU_")
        rules.append((compiled, HOST if on_host else place))
    return Overrides(rules, layers if settings.cpu_moe else settings.n_cpu_moe, settings.n_cpu_ffn)
