"""Which setting each flag and each variable sets."""

from __future__ import annotations

from collections.abc import Mapping

from sentinel.llama.flags import OPTION, same_as

#: setting -> one name of each option that carries its value
_VALUED: Mapping[str, tuple[str, ...]] = {
    "model": ("--model",),
    "alias": ("--alias",),
    "model_url": ("--model-url",),
    "hf_repo": ("--hf-repo",),
    "docker_repo": ("--docker-repo",),
    "ctx": ("--ctx-size",),
    "ctx_per_slot": ("--kv-unified-per-slot",),
    "slots": ("--parallel",),
    "gpu_layers": ("--gpu-layers",),
    "override_tensor": ("--override-tensor",),
    "n_cpu_moe": ("--n-cpu-moe",),
    "n_cpu_ffn": ("--n-cpu-ffn",),
    "moe_cache": ("--moe-cache-mib",),
    "load_mode": ("--load-mode",),
    "cache_type_k": ("--cache-type-k",),
    "cache_type_v": ("--cache-type-v",),
    "host": ("--host",),
    "port": ("--port",),
    "log_file": ("--log-file",),
    "verbosity": ("--verbosity",),
    "device": ("--device",),
    "predict": ("--predict",),
    "flash_attn": ("--flash-attn",),
    "models_dir": ("--models-dir",),
    "models_preset": ("--models-preset",),
    "sleep_idle": ("--sleep-idle-seconds",),
    "rpc": ("--rpc",),
    "fit_ctx": ("--fit-ctx",),
    "cache_ram": ("--cache-ram",),
    "timeout": ("--timeout",),
    "batch": ("--batch-size",),
    "ubatch": ("--ubatch-size",),
    "split_mode": ("--split-mode",),
    "tensor_split": ("--tensor-split",),
    "main_gpu": ("--main-gpu",),
    "fit": ("--fit",),
    "fit_target": ("--fit-target",),
    "ctx_checkpoints": ("--ctx-checkpoints",),
    "mmproj": ("--mmproj",),
    "mmproj_url": ("--mmproj-url",),
    "draft_model": ("--model-draft", "--hf-repo-draft"),
    "spec_type": ("--spec-type",),
    "lora": ("--lora", "--lora-scaled"),
    "template_kwargs": ("--chat-template-kwargs",),
    "rope": ("--rope-scaling", "--rope-scale", "--rope-freq-base", "--rope-freq-scale", "--yarn-orig-ctx"),
}

#: one name of a switch -> setting, the value it sets, and the value its negated names set
_SWITCHES: Mapping[str, tuple[str, str, str]] = {
    "--cpu-moe": ("cpu_moe", "on", ""),
    "--mlock": ("mlock", "on", ""),
    "--mmap": ("mmap", "on", "off"),
    "--direct-io": ("mmap", "off", ""),
    "--embedding": ("embeddings", "on", ""),
    "--rerank": ("rerank", "on", ""),
    "--embd-gemma-default": ("embeddings", "on", ""),
    "--context-shift": ("context_shift", "on", "off"),
    "--kv-unified": ("kv_unified", "on", "off"),
    "--kv-offload": ("kv_offload", "on", "off"),
    "--swa-full": ("swa_full", "on", ""),
    "--repack": ("repack", "on", "off"),
    "--no-host": ("host_buffer", "off", ""),
    "--op-offload": ("op_offload", "on", "off"),
    "--mmproj-offload": ("mmproj_offload", "on", "off"),
    "--mmproj-auto": ("mmproj_auto", "on", "off"),
    # common/arg.cpp sets INT_MAX
    "--verbose": ("verbosity", "2147483647", ""),
}

#: setting -> every flag that carries its value
SETTINGS: Mapping[str, tuple[str, ...]] = {
    setting: tuple(flag for name in names for flag in same_as(name)) for setting, names in _VALUED.items()
}
#: flag -> the setting whose value it carries
BY_FLAG: Mapping[str, str] = {flag: setting for setting, flags in SETTINGS.items() for flag in flags}

#: switch -> setting and the value it sets
BY_SWITCH: Mapping[str, tuple[str, str]] = {
    flag: (setting, off if flag in OPTION[name].negated else on)
    for name, (setting, on, off) in _SWITCHES.items()
    for flag in OPTION[name].names
    if off or flag not in OPTION[name].negated
}

#: variable -> setting whose value it carries; an older name comes before the newer one, which overrides it
BY_VARIABLE: Mapping[str, str] = {
    variable: setting for setting, names in _VALUED.items() for name in names for variable in reversed(OPTION[name].variables)
}
#: on/off variable -> setting, the value it sets, the value its opposite sets (empty: nothing)
BY_SWITCH_VARIABLE: Mapping[str, tuple[str, str, str]] = {
    variable: effect
    for name, effect in _SWITCHES.items()
    for variable in OPTION[name].variables
    if variable not in OPTION[name].off_variables
}
#: variable that turns a setting off whatever its value -> setting, and the value it sets
OFF_VARIABLES: Mapping[str, tuple[str, str]] = {
    variable: (setting, off) for name, (setting, _, off) in _SWITCHES.items() if off for variable in OPTION[name].off_variables
}
