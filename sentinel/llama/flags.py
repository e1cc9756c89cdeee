"""Flags of llama-server as data: which take a value, which do not, and which setting each of them is about.

Taken from ``--help`` of b10434 and from common/arg.cpp of builds since 2024-10; a flag an era has dropped stays, for a server
of that era may be the one that runs. A test holds the table against ``--help`` of a real llama-server.
"""

from __future__ import annotations

from collections.abc import Mapping

_WITH_VALUE = """
-a --adaptive-decay --adaptive-target --alias --api-key --api-key-file --api-prefix -b --batch-size -bf
--binary-file -C -c --cache-ram --cache-reuse --cache-type-k --cache-type-k-draft --cache-type-v
--cache-type-v-draft -Cb -Cbd -Cd --cfg-negative-prompt --cfg-scale --chat-template --chat-template-file
--chat-template-kwargs --checkpoint-every-n-tokens --checkpoint-min-step --chunks -cms --control-vector
--control-vector-scaled --cors-headers --cors-methods --cors-origins -cpent --cpu-mask --cpu-mask-batch
--cpu-mask-batch-draft --cpu-mask-draft --cpu-range --cpu-range-batch --cpu-range-draft --cpu-strict
--cpu-strict-batch --cpu-strict-batch-draft --cpu-strict-draft -Cr -cram --n-cpu-ffn -ncffn -Crb -Crd -ctk -ctkd -ctv -ctvd
--ctx-checkpoints --ctx-size --ctx-size-draft -ctxcp -ctxd --defrag-thold -dev -devd --device --device-draft
--docker-repo -dr --draft --draft-max --draft-min --draft-n --draft-n-min --draft-p-min --draft-p-split
--dry-allowed-length --dry-base --dry-multiplier --dry-penalty-last-n --dry-sequence-breaker -dt
--dynatemp-exp --dynatemp-range --embd-normalize -f --file --fit -fit --fit-ctx --fit-target -fitc -fitt
--frequency-penalty -gan -gaw --gpu-layers --gpu-layers-draft --grammar --grammar-file --grp-attn-n
--grp-attn-w -hf --hf-file --hf-file-v --hf-repo --hf-repo-draft --hf-repo-v --hf-token -hfd -hff -hffv -hfr
-hfrd -hfrv -hft -hfv --host --image-max-tokens --image-min-tokens -j -jf --json-schema --json-schema-file
--keep -l -lcd -lcs -ld -lm --load-mode --log-file --log-prompts-dir --log-verbosity --logdir --logit-bias
--lookup-cache-dynamic --lookup-cache-static --lora --lora-scaled -lv -m --main-gpu --mcp-servers-config
--mcp-servers-json -md --media-path -mg --min-p --mirostat --mirostat-ent --mirostat-lr -mm --mmproj
--mmproj-device --mmproj-url -mmu --model --model-draft --model-url --model-vocoder --models-dir --models-max
--models-preset --mtmd-batch-max-tokens -mu -mv -n --n-cpu-moe --n-cpu-moe-draft --n-gpu-layers
--n-gpu-layers-draft --n-predict -ncmoe -ncmoed -ngl -ngld -np --numa -ot -otd --override-kv --override-tensor
--override-tensor-draft -p --parallel --path --poll --poll-batch --poll-batch-draft --poll-draft --pooling
--port --predict --presence-penalty --prio --prio-batch --prio-batch-draft --prio-draft --prompt -r -rea
--reasoning --reasoning-budget --reasoning-budget-message --reasoning-effort --reasoning-format
--repeat-last-n --repeat-penalty --reverse-prompt --rope-freq-base --rope-freq-scale --rope-scale
--rope-scaling --rpc -s --sampler-seq --samplers --sampling-seq --seed --sleep-idle-seconds
--slot-prompt-similarity --slot-save-path -sm --spec-draft-cpu-mask --spec-draft-cpu-mask-batch
--spec-draft-cpu-range --spec-draft-cpu-strict --spec-draft-cpu-strict-batch --spec-draft-device
--spec-draft-hf --spec-draft-model --spec-draft-n-cpu-moe --spec-draft-n-max --spec-draft-n-min
--spec-draft-ncmoe --spec-draft-ngl --spec-draft-override-tensor --spec-draft-p-min --spec-draft-p-split
--spec-draft-poll --spec-draft-poll-batch --spec-draft-prio --spec-draft-prio-batch --spec-draft-threads
--spec-draft-threads-batch --spec-draft-type-k --spec-draft-type-v --spec-ngram-check-rate
--spec-ngram-map-k-min-hits --spec-ngram-map-k-size-m --spec-ngram-map-k-size-n --spec-ngram-map-k4v-min-hits
--spec-ngram-map-k4v-size-m --spec-ngram-map-k4v-size-n --spec-ngram-min-hits --spec-ngram-mod-n-match
--spec-ngram-mod-n-max --spec-ngram-mod-n-min --spec-ngram-simple-min-hits --spec-ngram-simple-size-m
--spec-ngram-simple-size-n --spec-ngram-size-m --spec-ngram-size-n --spec-replace --spec-type -spf
--split-mode -sps --sse-ping-interval --ssl-cert-file --ssl-key-file --swa-checkpoints --system-prompt-file -t
--tags -tb -tbd -td --temp --temperature --tensor-split --tfs --think-budget --threads --threads-batch
--threads-batch-draft --threads-draft --threads-http --timeout -to --tools --tools-runtime --top-k
--top-n-sigma --top-nsigma --top-p -ts --tts-speaker-file --typical --typical-p -ub --ubatch-size --ui-config
--ui-config-file --verbosity --webui-config --webui-config-file --xtc-probability --xtc-threshold
--yarn-attn-factor --yarn-beta-fast --yarn-beta-slow --yarn-ext-factor --yarn-orig-ctx
"""

_WITHOUT_VALUE = """
-ag --agent --backend-sampling -bs --cache-idle-slots --cache-list --cache-prompt -cb --chatml --check-tensors
-cl -cmoe -cmoed -co --color --completion-bash --cont-batching --context-shift --cors-credentials --cpu-moe
--cpu-moe-draft -dio --direct-io -dkvc --dump-kv-cache -e --embd-bge-small-en-default
--embd-e5-small-en-default --embd-gemma-default --embd-gte-small-default --embedding --embeddings --escape
--fim-qwen-1.5b-default --fim-qwen-14b-spec --fim-qwen-30b-default --fim-qwen-3b-default --fim-qwen-7b-default
--fim-qwen-7b-spec --gpt-oss-120b-default --gpt-oss-20b-default -h --help --ignore-eos --jinja --kv-offload
--kv-unified -kvo -kvu --license --list-devices --log-append --log-disable --log-enable --log-new --log-prefix
--log-test --log-timestamps --log-verbose --lora-init-without-apply --metrics --mlock --mmap --mmproj-auto
--mmproj-offload --models-autoload -ndio -nkvo -no-ag --no-agent --no-cache-idle-slots --no-cache-prompt
--no-cont-batching --no-context-shift --no-cors-credentials --no-direct-io --no-display-prompt --no-escape
--no-host --no-jinja --no-kv-offload --no-kv-unified -no-kvu --no-log-prefix --no-log-timestamps --no-mmap
--no-mmproj --no-mmproj-auto --no-mmproj-offload --no-models-autoload --no-op-offload --no-perf
--no-prefill-assistant --no-reasoning-preserve --no-repack --no-skip-chat-parsing --no-slots
--no-spec-draft-backend-sampling --no-ui --no-ui-mcp-proxy --no-warmup --no-webui --no-webui-mcp-proxy -nocb
-nr --offline --op-offload --penalize-nl --perf --prefill-assistant --props --reasoning-preserve --repack
--rerank --reranking --reuse-port --skip-chat-parsing --slots --slots-endpoint-disable -sp --spec-default
--spec-draft-backend-sampling --spec-draft-cpu-moe --special --spm-infill --swa-full --tts-oute-default
--tts-use-guide-tokens --ui --ui-mcp-proxy --usage -v --verbose --verbose-prompt --version
--vision-gemma-12b-default --vision-gemma-4b-default --warmup --webui --webui-mcp-proxy
"""

VALUE_FLAGS = frozenset(_WITH_VALUE.split())
SWITCHES = frozenset(_WITHOUT_VALUE.split())

#: Bare in old builds, with a value (on, off, auto) in newer ones.
OPTIONAL_VALUE_FLAGS = frozenset({"-fa", "--flash-attn", "--log-colors"})

#: Take two words.
PAIR_FLAGS = frozenset({"--control-vector-layer-range"})

#: Switches that name a model by themselves (common/arg.cpp, presets that download).
MODEL_SWITCHES = frozenset(flag for flag in SWITCHES if flag.endswith(("-default", "-spec")) and flag != "--spec-default")

#: Flags that print something and end the process.
PRINT_AND_EXIT = frozenset(
    {"-h", "--help", "--usage", "--version", "-cl", "--cache-list", "--completion-bash", "--list-devices", "--license"}
)

#: Variables of the GPU runtimes that leave devices out. The word "all" hides every AMD GPU.
HIDING_VARIABLES = (
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

#: setting -> flags that carry its value
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "model": ("-m", "--model"),
    "model_url": ("-mu", "--model-url"),
    "hf_repo": ("-hf", "-hfr", "--hf-repo"),
    "docker_repo": ("-dr", "--docker-repo"),
    "ctx": ("-c", "--ctx-size"),
    "slots": ("-np", "--parallel"),
    "gpu_layers": ("-ngl", "--gpu-layers", "--n-gpu-layers"),
    "override_tensor": ("-ot", "--override-tensor"),
    "n_cpu_moe": ("-ncmoe", "--n-cpu-moe"),
    "n_cpu_ffn": ("-ncffn", "--n-cpu-ffn"),
    "load_mode": ("-lm", "--load-mode"),
    "cache_type_k": ("-ctk", "--cache-type-k"),
    "cache_type_v": ("-ctv", "--cache-type-v"),
    "host": ("--host",),
    "port": ("--port",),
    "log_file": ("--log-file",),
    "verbosity": ("-lv", "--verbosity", "--log-verbosity"),
    "device": ("-dev", "--device"),
    "predict": ("-n", "--predict", "--n-predict"),
    "flash_attn": ("-fa", "--flash-attn"),
    "models_dir": ("--models-dir",),
    "models_preset": ("--models-preset",),
    "sleep_idle": ("--sleep-idle-seconds",),
    "rpc": ("--rpc",),
    "fit_ctx": ("-fitc", "--fit-ctx"),
    "cache_ram": ("-cram", "--cache-ram"),
    "batch": ("-b", "--batch-size"),
    "ubatch": ("-ub", "--ubatch-size"),
    "split_mode": ("-sm", "--split-mode"),
    "tensor_split": ("-ts", "--tensor-split"),
    "main_gpu": ("-mg", "--main-gpu"),
    "fit": ("-fit", "--fit"),
    "fit_target": ("-fitt", "--fit-target"),
    "ctx_checkpoints": ("-ctxcp", "--ctx-checkpoints", "--swa-checkpoints"),
    "mmproj": ("-mm", "--mmproj"),
    "mmproj_url": ("-mmu", "--mmproj-url"),
    "draft_model": ("-md", "--model-draft", "--spec-draft-model", "-hfd", "-hfrd", "--hf-repo-draft", "--spec-draft-hf"),
    "lora": ("--lora", "--lora-scaled"),
    "rope": ("--rope-scaling", "--rope-scale", "--rope-freq-base", "--rope-freq-scale", "--yarn-orig-ctx"),
}
BY_FLAG = {flag: name for name, flags in SETTINGS.items() for flag in flags}

#: switch -> setting and what it sets it to
BY_SWITCH: Mapping[str, tuple[str, str]] = {
    "-cmoe": ("cpu_moe", "on"),
    "--cpu-moe": ("cpu_moe", "on"),
    "--mlock": ("mlock", "on"),
    "--mmap": ("mmap", "on"),
    "--no-mmap": ("mmap", "off"),
    "-dio": ("mmap", "off"),
    "--direct-io": ("mmap", "off"),
    "--embedding": ("embeddings", "on"),
    "--embeddings": ("embeddings", "on"),
    "--rerank": ("embeddings", "on"),
    "--reranking": ("embeddings", "on"),
    "--context-shift": ("context_shift", "on"),
    "--no-context-shift": ("context_shift", "off"),
    "-kvu": ("kv_unified", "on"),
    "--kv-unified": ("kv_unified", "on"),
    "-no-kvu": ("kv_unified", "off"),
    "--no-kv-unified": ("kv_unified", "off"),
    "-kvo": ("kv_offload", "on"),
    "--kv-offload": ("kv_offload", "on"),
    "-nkvo": ("kv_offload", "off"),
    "--no-kv-offload": ("kv_offload", "off"),
    "--swa-full": ("swa_full", "on"),
    "--no-repack": ("repack", "off"),
    "-nr": ("repack", "off"),
    "--repack": ("repack", "on"),
    "--no-host": ("host_buffer", "off"),
    "--op-offload": ("op_offload", "on"),
    "--no-op-offload": ("op_offload", "off"),
    "--mmproj-offload": ("mmproj_offload", "on"),
    "--no-mmproj-offload": ("mmproj_offload", "off"),
    "--no-mmproj": ("mmproj_auto", "off"),
    "--no-mmproj-auto": ("mmproj_auto", "off"),
    "--embd-gemma-default": ("embeddings", "on"),
    # common/arg.cpp sets INT_MAX
    "-v": ("verbosity", "2147483647"),
    "--verbose": ("verbosity", "2147483647"),
    "--log-verbose": ("verbosity", "2147483647"),
}

#: variable -> setting; LLAMA_LOG_* are the names of builds before the logging options got LLAMA_ARG_ ones
BY_VARIABLE: Mapping[str, str] = {
    "LLAMA_ARG_MODEL": "model",
    "LLAMA_ARG_MODEL_URL": "model_url",
    "LLAMA_ARG_HF_REPO": "hf_repo",
    "LLAMA_ARG_DOCKER_REPO": "docker_repo",
    "LLAMA_ARG_CTX_SIZE": "ctx",
    "LLAMA_ARG_N_PARALLEL": "slots",
    "LLAMA_ARG_N_GPU_LAYERS": "gpu_layers",
    "LLAMA_ARG_OVERRIDE_TENSOR": "override_tensor",
    "LLAMA_ARG_N_CPU_MOE": "n_cpu_moe",
    "LLAMA_ARG_N_CPU_FFN": "n_cpu_ffn",
    "LLAMA_ARG_CACHE_TYPE_K": "cache_type_k",
    "LLAMA_ARG_CACHE_TYPE_V": "cache_type_v",
    "LLAMA_ARG_HOST": "host",
    "LLAMA_ARG_PORT": "port",
    "LLAMA_LOG_FILE": "log_file",
    "LLAMA_ARG_LOG_FILE": "log_file",
    "LLAMA_LOG_VERBOSITY": "verbosity",
    "LLAMA_ARG_LOG_VERBOSITY": "verbosity",
    "LLAMA_ARG_DEVICE": "device",
    "LLAMA_ARG_N_PREDICT": "predict",
    "LLAMA_ARG_FLASH_ATTN": "flash_attn",
    "LLAMA_ARG_MODELS_DIR": "models_dir",
    "LLAMA_ARG_MODELS_PRESET": "models_preset",
    "LLAMA_ARG_ROPE_SCALING_TYPE": "rope",
    "LLAMA_ARG_ROPE_SCALE": "rope",
    "LLAMA_ARG_ROPE_FREQ_BASE": "rope",
    "LLAMA_ARG_ROPE_FREQ_SCALE": "rope",
    "LLAMA_ARG_YARN_ORIG_CTX": "rope",
    "LLAMA_ARG_CPU_MOE": "cpu_moe",
    "LLAMA_ARG_MLOCK": "mlock",
    "LLAMA_ARG_MMAP": "mmap",
    "LLAMA_ARG_DIO": "dio",
    "LLAMA_ARG_LOAD_MODE": "load_mode",
    "LLAMA_ARG_EMBEDDINGS": "embeddings",
    "LLAMA_ARG_RERANKING": "embeddings",
    "LLAMA_ARG_CONTEXT_SHIFT": "context_shift",
    "LLAMA_ARG_KV_UNIFIED": "kv_unified",
    "LLAMA_ARG_KV_OFFLOAD": "kv_offload",
    "LLAMA_ARG_RPC": "rpc",
    "LLAMA_ARG_FIT_CTX": "fit_ctx",
    "LLAMA_ARG_CACHE_RAM": "cache_ram",
    "LLAMA_ARG_BATCH": "batch",
    "LLAMA_ARG_UBATCH": "ubatch",
    "LLAMA_ARG_SPLIT_MODE": "split_mode",
    "LLAMA_ARG_TENSOR_SPLIT": "tensor_split",
    "LLAMA_ARG_MAIN_GPU": "main_gpu",
    "LLAMA_ARG_FIT": "fit",
    "LLAMA_ARG_FIT_TARGET": "fit_target",
    "LLAMA_ARG_CTX_CHECKPOINTS": "ctx_checkpoints",
    "LLAMA_ARG_MMPROJ": "mmproj",
    "LLAMA_ARG_MMPROJ_URL": "mmproj_url",
    "LLAMA_ARG_MMPROJ_OFFLOAD": "mmproj_offload",
    "LLAMA_ARG_SWA_FULL": "swa_full",
    "LLAMA_ARG_REPACK": "repack",
}
#: settings that are on or off
ON_OR_OFF = frozenset(
    {
        "cpu_moe", "mlock", "mmap", "dio", "embeddings", "context_shift", "kv_unified", "kv_offload", "swa_full", "repack",
        "mmproj_offload",
    }
)  # fmt: skip

#: signal -> settings of which one settles it; without any of them it could still be set in the environment
SETTLED_BY: Mapping[str, tuple[str, ...]] = {
    "server.host": ("host",),
    "server.port": ("port",),
    "server.is_router": ("model", "model_url", "hf_repo", "docker_repo"),
    "server.embeddings": ("embeddings",),
    "server.model_path": ("model",),
    "server.ctx_requested": ("ctx",),
    "server.ctx_explicit": ("ctx",),
    "server.slots_requested": ("slots",),
    "server.gpu_layers_requested": ("gpu_layers",),
    "server.gpu_layers_asked": ("gpu_layers",),
    "server.gpu_layers_explicit": ("gpu_layers",),
    "server.gpu_layers_source": ("gpu_layers",),
    "server.device_none": ("device",),
    "server.devices_requested": ("device",),
    "server.rpc_requested": ("rpc",),
    "server.experts_on_cpu": ("cpu_moe", "n_cpu_moe", "override_tensor"),
    "server.mlock_requested": ("mlock",),
    "server.mmap_requested": ("mmap",),
    "server.cache_type_k": ("cache_type_k",),
    "server.cache_type_v": ("cache_type_v",),
    "server.cache_ram_asked": ("cache_ram",),
    "server.context_shift_requested": ("context_shift",),
    "server.rope_scaling_requested": ("rope",),
    "server.ubatch_requested": ("ubatch",),
    "server.predict_limit": ("predict",),
    "server.verbosity_requested": ("verbosity",),
    "server.log_file": ("log_file",),
}
COMMAND_LINE_ONLY = frozenset({"server.unknown_flags"})
