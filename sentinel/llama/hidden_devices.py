"""Variables of the GPU runtimes that hide devices from llama.cpp."""

from __future__ import annotations

from collections.abc import Mapping

from sentinel.model.text import clean

#: The word "all" hides every AMD GPU.
_VARIABLES = (
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "CUDA_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
    "GGML_VK_VISIBLE_DEVICES",
    "GGML_DISABLE_VULKAN",
    "MUSA_VISIBLE_DEVICES",
    "ZE_AFFINITY_MASK",
    "ONEAPI_DEVICE_SELECTOR",
)


def hiding(env: Mapping[str, str]) -> tuple[str, ...]:
    """Those of an environment that hide every device, each with its value."""
    behind = _behind_rocr(env)
    return tuple(
        f"{name}={clean(env[name])}" for name in _VARIABLES if name in env and (name in behind or _hides_all(name, env[name]))
    )


def _hides_all(name: str, value: str) -> bool:
    """The first entry of such a list that names no device ends it (HIP and CUDA guides, environment variables).

    An index that is merely too large hides as much, but the number of GPUs is unknown here; ``0`` is a harmless habit.
    """
    if name == "GGML_DISABLE_VULKAN":
        # Its presence is what counts (ggml-vulkan.cpp).
        return True
    return value.split(",")[0].strip().lower() in {"", "-1", "none", "void", "nodevfiles", "all"}


def _behind_rocr(env: Mapping[str, str]) -> frozenset[str]:
    """ROCR_VISIBLE_DEVICES filters first and renumbers the rest: a number beyond that hides all (HIP's guide)."""
    left = [entry for entry in env.get("ROCR_VISIBLE_DEVICES", "").split(",") if entry.strip()]
    behind = {
        name
        for name in ("HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")
        if (first := env.get(name, "").split(",")[0].strip()).isdecimal() and left and int(first) >= len(left)
    }
    return frozenset(behind | {"ROCR_VISIBLE_DEVICES"} if behind else ())
