"""Which llama.cpp builds accept which flag of llama-server. Advice is held against this table by `sentinel rules lint`.

Read from common/arg.cpp of the trees b3950, b4580, b5310, b6170, b8650, b9650 and b11434 (the first six by date, within some
tens of builds) and from ``--help`` of b10434; flags that are not for the server are left out. A range reaches from the first
tree that has the flag to the last one, so that inside it acceptance was seen, and outside nothing is promised. Bounds taken
from elsewhere: b10867 is the last and b10878 the first build looked at with and without ``--mlock``; ``--flash-attn`` takes a
value in a log of b6448.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from sentinel.model.builds import BuildRange

#: The newest tree that was looked at.
NEWEST = 11434

_BY_RANGE: Mapping[str, str] = {
    "any": """
--alias --api-key --api-key-file --batch-size --cache-type-k --cache-type-v --chat-template --check-tensors
--cont-batching --control-vector --control-vector-layer-range --control-vector-scaled --cpu-mask --cpu-mask-batch
--cpu-range --cpu-range-batch --cpu-strict --cpu-strict-batch --ctx-size --defrag-thold --dynatemp-exp
--dynatemp-range --embedding --embeddings --escape --flash-attn --frequency-penalty --gpu-layers --grammar
--grammar-file --help --hf-file --hf-repo --hf-token --host --ignore-eos --json-schema --keep --log-colors
--log-disable --log-file --log-prefix --log-timestamps --log-verbose --log-verbosity --logit-bias --lora
--lora-init-without-apply --lora-scaled --main-gpu --metrics --min-p --mirostat --mirostat-ent --mirostat-lr --model
--model-url --n-gpu-layers --n-predict --no-cont-batching --no-context-shift --no-escape --no-kv-offload --no-perf
--no-slots --numa --override-kv --parallel --path --poll --poll-batch --pooling --port --predict --presence-penalty
--prio --prio-batch --repeat-last-n --repeat-penalty --rerank --reranking --rope-freq-base --rope-freq-scale
--rope-scale --rope-scaling --rpc --samplers --sampling-seq --seed --slot-prompt-similarity --slot-save-path --special
--split-mode --spm-infill --ssl-cert-file --ssl-key-file --temp --tensor-split --threads --threads-batch
--threads-http --timeout --top-k --top-p --typical --ubatch-size --usage --verbose --verbosity --version
--yarn-attn-factor --yarn-beta-fast --yarn-beta-slow --yarn-ext-factor --yarn-orig-ctx -C -Cb -Cr -Crb -a -b -c -cb
-ctk -ctv -dt -e -fa -h -hff -hfr -hft -j -l -lv -m -mg -mu -n -ngl -nkvo -nocb -np -s -sm -sp -sps -t -tb -to -ts -ub
-v
""",
    "-b10867": """
--mlock --no-mmap
""",
    "-b6170": """
--verbose-prompt
""",
    "-b5310": """
--dump-kv-cache -dkvc
""",
    "-b3950": """
--binary-file --file --grp-attn-n --grp-attn-w --logdir --penalize-nl --prompt --system-prompt-file --tfs -bf -f -gan
-gaw -ld -p -spf
""",
    "b4580-": """
--cache-reuse --chat-template-file --device --device-draft --draft --draft-max --draft-min --draft-n --draft-n-min
--draft-p-min --dry-allowed-length --dry-base --dry-multiplier --dry-penalty-last-n --dry-sequence-breaker
--gpu-layers-draft --hf-repo-draft --jinja --list-devices --model-draft --n-gpu-layers-draft --no-warmup --no-webui
--props --sampler-seq --slots --xtc-probability --xtc-threshold -dev -devd -hf -hfd -hfrd -md -ngld
""",
    "b4580-b9650": """
--hf-file-v --hf-repo-v --model-vocoder --tts-use-guide-tokens -hffv -hfrv -hfv -mv
""",
    "b4580-b8650": """
--ctx-size-draft -cd
""",
    "b5310-": """
--completion-bash --fim-qwen-1.5b-default --fim-qwen-14b-spec --fim-qwen-3b-default --fim-qwen-7b-default
--fim-qwen-7b-spec --json-schema-file --mmproj --mmproj-url --no-mmproj --no-mmproj-offload --override-tensor
--reasoning-format -jf -ot
""",
    "b5310-b6170": """
--embd-bge-small-en-default --embd-e5-small-en-default --embd-gte-small-default
""",
    "b6170-": """
--api-prefix --cache-type-k-draft --cache-type-v-draft --chat-template-kwargs --cpu-moe --cpu-moe-draft --kv-unified
--n-cpu-moe --n-cpu-moe-draft --no-op-offload --no-prefill-assistant --no-repack --offline --override-tensor-draft
--reasoning-budget --reverse-prompt --swa-checkpoints --swa-full --threads-batch-draft --threads-draft -cmoe -cmoed
-ctkd -ctvd -kvu -ncmoe -ncmoed -nr -otd -r -tbd -td
""",
    "b6170-b8650": """
--spec-replace
""",
    "b8650-": """
--adaptive-decay --adaptive-target --backend-sampling --cache-list --cache-prompt --cache-ram --context-shift
--ctx-checkpoints --docker-repo --embd-gemma-default --fim-qwen-30b-default --fit --fit-ctx --fit-target
--gpt-oss-120b-default --gpt-oss-20b-default --image-max-tokens --image-min-tokens --kv-offload --lookup-cache-dynamic
--lookup-cache-static --media-path --mmproj-auto --mmproj-offload --models-autoload --models-dir --models-max
--models-preset --no-cache-prompt --no-host --no-jinja --no-kv-unified --no-mmproj-auto --no-models-autoload
--no-skip-chat-parsing --no-webui-mcp-proxy --op-offload --perf --prefill-assistant --reasoning
--reasoning-budget-message --repack --reuse-port --skip-chat-parsing --sleep-idle-seconds --spec-ngram-min-hits
--spec-ngram-size-m --spec-ngram-size-n --spec-type --tags --temperature --tools --top-n-sigma --top-nsigma
--typical-p --vision-gemma-12b-default --vision-gemma-4b-default --warmup --webui --webui-config --webui-config-file
--webui-mcp-proxy -bs -cl -cram -ctxcp -dr -fit -fitc -fitt -kvo -lcd -lcs -mm -mmu -no-kvu -rea
""",
    "b8650-b10867": """
--direct-io --mmap --no-direct-io -dio -ndio
""",
    "b8650-b8650": """
--checkpoint-every-n-tokens --license -cpent
""",
    "b9650-": """
--cache-idle-slots --checkpoint-min-step --cpu-mask-batch-draft --cpu-mask-draft --cpu-range-draft
--cpu-strict-batch-draft --cpu-strict-draft --draft-p-split --embd-normalize --log-prompts-dir --mtmd-batch-max-tokens
--no-cache-idle-slots --no-log-prefix --no-log-timestamps --no-spec-draft-backend-sampling --no-ui --no-ui-mcp-proxy
--poll-batch-draft --poll-draft --prio-batch-draft --prio-draft --spec-default --spec-draft-backend-sampling
--spec-draft-cpu-mask --spec-draft-cpu-mask-batch --spec-draft-cpu-moe --spec-draft-cpu-range --spec-draft-cpu-strict
--spec-draft-cpu-strict-batch --spec-draft-device --spec-draft-hf --spec-draft-model --spec-draft-n-cpu-moe
--spec-draft-n-max --spec-draft-n-min --spec-draft-ncmoe --spec-draft-ngl --spec-draft-override-tensor
--spec-draft-p-min --spec-draft-p-split --spec-draft-poll --spec-draft-poll-batch --spec-draft-prio
--spec-draft-prio-batch --spec-draft-threads --spec-draft-threads-batch --spec-draft-type-k --spec-draft-type-v
--spec-ngram-map-k-min-hits --spec-ngram-map-k-size-m --spec-ngram-map-k-size-n --spec-ngram-map-k4v-min-hits
--spec-ngram-map-k4v-size-m --spec-ngram-map-k4v-size-n --spec-ngram-mod-n-match --spec-ngram-mod-n-max
--spec-ngram-mod-n-min --spec-ngram-simple-min-hits --spec-ngram-simple-size-m --spec-ngram-simple-size-n
--sse-ping-interval --ui --ui-config --ui-config-file --ui-mcp-proxy -Cbd -Cd -Crd -cms
""",
    "b10434-": """
--agent --cors-credentials --cors-headers --cors-methods --cors-origins --load-mode --mcp-servers-config
--mcp-servers-json --no-agent --no-cors-credentials --no-reasoning-preserve --reasoning-effort --reasoning-preserve
--tools-runtime -ag -lm -no-ag
""",
    "b11434-": """
--kv-unified-per-slot --lazy-mode --log-jsonl --n-cpu-ffn --no-log-jsonl --spec-draft-sampling --spec-synth-len
--spec-synth-rates --video-ffmpeg-dir --video-fps --video-timestamp-interval -lzm -ncffn
""",
}

_RANGE = re.compile(r"(?:b(\d+))?-(?:b(\d+))?")


def _bound(text: str) -> BuildRange:
    match = _RANGE.fullmatch(text)
    if match is None:
        return BuildRange(None, None)
    low, high = (int(end) if end else None for end in match.groups())
    return BuildRange(low, high)


#: flag -> builds that accept it
ACCEPTED: Mapping[str, BuildRange] = {flag: _bound(text) for text, flags in _BY_RANGE.items() for flag in flags.split()}

#: flag -> builds in which it stands alone, and builds in which the next word is its value, whatever that is
VALUE_SINCE: Mapping[str, tuple[BuildRange, BuildRange]] = {
    flag: (BuildRange(None, 6170), BuildRange(low, None))
    for flags, low in ((("-fa", "--flash-attn"), 6448), (("--log-colors",), 8650))
    for flag in flags
}

#: option of cmake that current trees ignore without a word, so that a build for the CPU comes out -> what to write instead
#: (docs/build.md; the first two were names until about b4000, the others until 2024-06)
DEAD_CMAKE: Mapping[str, str] = {
    "GGML_HIPBLAS": "GGML_HIP",
    "GGML_CUBLAS": "GGML_CUDA",
    "LLAMA_HIPBLAS": "GGML_HIP",
    "LLAMA_CUBLAS": "GGML_CUDA",
    "LLAMA_CUDA": "GGML_CUDA",
    "LLAMA_VULKAN": "GGML_VULKAN",
}


def accepted(flag: str, *, with_value: bool) -> BuildRange | None:
    """The builds that accept a flag, used with or without a value; None for a flag that no build has."""
    if flag in VALUE_SINCE:
        return VALUE_SINCE[flag][with_value]
    return ACCEPTED.get(flag)


def common(ranges: Iterable[BuildRange]) -> BuildRange | None:
    """The builds that lie in every range; None if there are none."""
    low: int | None = None
    high: int | None = None
    for one in ranges:
        if one.low is not None and (low is None or one.low > low):
            low = one.low
        if one.high is not None and (high is None or one.high < high):
            high = one.high
    return None if low is not None and high is not None and low > high else BuildRange(low, high)
