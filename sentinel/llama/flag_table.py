"""Flags of llama-server, one option a line: its names, the words it takes, its variables, the builds that take it.

Names after ``/`` turn it off. A figure is the number of words that follow, with ``@`` and a range if that changed.
``@`` before a range, alone or after a name: the builds that take it, else all of them. ``!``: a build that was seen to refuse
it before the next list of flags. A range begins with the first build known to have the flag and ends with the last one; flags
that were there in b3950 have no beginning.

From every state of common/arg.cpp from b3950 (October 2024) to b10068, from ``--help`` of b10092 and b10434, from arg.cpp of
b11434 and from the names in the library of b11549. b10867 is the last build checked with ``--mlock``, b10878 the first without.
"""

from __future__ import annotations

from sentinel.model.builds import BuildRange

#: Builds of which all flags are known. For a build between them that the table does not cover, a flag is unknown.
LOOKED_AT = (BuildRange(3950, 10068), *(BuildRange(one, one) for one in (10092, 10434, 11434, 11549)))

TABLE = """
# it prints something and ends
-h --help --usage 0
--version 0
-cl --cache-list 0 @b6992-
--completion-bash 0 @b4708-
--verbose-prompt 0 @-b8554
# processor
-t --threads 1 LLAMA_ARG_THREADS
-tb --threads-batch 1
-C --cpu-mask 1
-Cr --cpu-range 1
--cpu-strict 1
--prio 1
--poll 1
-Cb --cpu-mask-batch 1
-Crb --cpu-range-batch 1
--cpu-strict-batch 1
--prio-batch 1
--poll-batch 1
# context and caches
-lcs --lookup-cache-static 1 @b7864-
-lcd --lookup-cache-dynamic 1 @b7864-
-c --ctx-size 1 LLAMA_ARG_CTX_SIZE
--kv-unified-per-slot 1 LLAMA_ARG_KV_UNIFIED_PER_SLOT @b11434-
-n --predict --n-predict 1 LLAMA_ARG_N_PREDICT
-b --batch-size 1 LLAMA_ARG_BATCH
-ub --ubatch-size 1 LLAMA_ARG_UBATCH
--keep 1
--swa-full 0 LLAMA_ARG_SWA_FULL @b5429-
-ctxcp --ctx-checkpoints@b6685- --swa-checkpoints@b6160- 1 LLAMA_ARG_CTX_CHECKPOINTS LLAMA_ARG_SWA_CHECKPOINTS @b8218-
-cms --checkpoint-min-step 1 LLAMA_ARG_CHECKPOINT_MIN_SPACING_NT @b9310-
-cram --cache-ram 1 LLAMA_ARG_CACHE_RAM @b6723-
-kvu --kv-unified / -no-kvu@b7856- --no-kv-unified@b7856- 0 LLAMA_ARG_KV_UNIFIED LLAMA_ARG_KV_SPLIT @b5913-
--cache-idle-slots / --no-cache-idle-slots 0 LLAMA_ARG_CACHE_IDLE_SLOTS @b8852-
--context-shift / --no-context-shift@any 0 LLAMA_ARG_CONTEXT_SHIFT LLAMA_ARG_NO_CONTEXT_SHIFT @b6206-
-fa --flash-attn 0@-b6324 1@b6325- LLAMA_ARG_FLASH_ATTN
# prompt and sampling
-p --prompt 1 @-b4440
--perf / --no-perf@any 0 LLAMA_ARG_PERF LLAMA_ARG_NO_PERF @b7376-
-f --file 1 @-b4440
-bf --binary-file 1 @-b4440
-e --escape / --no-escape 0
-r --reverse-prompt 1 @b5957-
-sp --special 0
--warmup / --no-warmup@b4276- 0 @b7376-
--spm-infill 0
--samplers 1
-s --seed 1
--sampler-seq --sampling-seq@any 1 @b4357-
--ignore-eos 0
--temp --temperature@b8155- 1 LLAMA_ARG_TEMPERATURE
--top-k 1 LLAMA_ARG_TOP_K
--top-p 1 LLAMA_ARG_TOP_P
--min-p 1 LLAMA_ARG_MIN_P
--top-nsigma --top-n-sigma@b8155- 1 @b6207-
--xtc-probability 1
--xtc-threshold 1
--typical --typical-p@b8155- 1
--repeat-last-n 1
--repeat-penalty 1 LLAMA_ARG_REPEAT_PENALTY
--presence-penalty 1 LLAMA_ARG_PRESENCE_PENALTY
--frequency-penalty 1 LLAMA_ARG_FREQUENCY_PENALTY
--dry-multiplier 1 @b3978-
--dry-base 1 @b3978-
--dry-allowed-length 1 @b3978-
--dry-penalty-last-n 1 @b3978-
--dry-sequence-breaker 1 @b3978-
--adaptive-target 1 @b7748-
--adaptive-decay 1 @b7748-
--dynatemp-range 1
--dynatemp-exp 1
--mirostat 1
--mirostat-lr 1
--mirostat-ent 1
-l --logit-bias 1
--grammar 1
--grammar-file 1
-j --json-schema 1
-jf --json-schema-file 1 @b5232-
-bs --backend-sampling 0 LLAMA_ARG_BACKEND_SAMPLING @b7627-
# attention and position
--pooling 1 LLAMA_ARG_POOLING
--rope-scaling 1 LLAMA_ARG_ROPE_SCALING_TYPE
--rope-scale 1 LLAMA_ARG_ROPE_SCALE
--rope-freq-base 1 LLAMA_ARG_ROPE_FREQ_BASE
--rope-freq-scale 1 LLAMA_ARG_ROPE_FREQ_SCALE
--yarn-orig-ctx 1 LLAMA_ARG_YARN_ORIG_CTX
--yarn-ext-factor 1 LLAMA_ARG_YARN_EXT_FACTOR
--yarn-attn-factor 1 LLAMA_ARG_YARN_ATTN_FACTOR
--yarn-beta-slow 1 LLAMA_ARG_YARN_BETA_SLOW
--yarn-beta-fast 1 LLAMA_ARG_YARN_BETA_FAST
-kvo --kv-offload / -nkvo@any --no-kv-offload@any 0 LLAMA_ARG_KV_OFFLOAD LLAMA_ARG_NO_KV_OFFLOAD @b7376-
--repack@b7376- / -nr --no-repack 0 LLAMA_ARG_REPACK LLAMA_ARG_NO_REPACK @b6049-
--no-host 0 LLAMA_ARG_NO_HOST @b6700-
-ctk --cache-type-k 1 LLAMA_ARG_CACHE_TYPE_K
-ctv --cache-type-v 1 LLAMA_ARG_CACHE_TYPE_V
-dt --defrag-thold 1 LLAMA_ARG_DEFRAG_THOLD
# slots and pictures
-np --parallel 1 LLAMA_ARG_N_PARALLEL
-cb --cont-batching / -nocb --no-cont-batching 0 LLAMA_ARG_CONT_BATCHING LLAMA_ARG_NO_CONT_BATCHING
-mm --mmproj@b5177- 1 LLAMA_ARG_MMPROJ @b7366-
-mmu --mmproj-url@b5177- 1 LLAMA_ARG_MMPROJ_URL @b7366-
--mmproj-auto / --no-mmproj@b5177- --no-mmproj-auto 0 LLAMA_ARG_MMPROJ_AUTO LLAMA_ARG_NO_MMPROJ @b7376-
--mmproj-offload / --no-mmproj-offload@b5178- 0 LLAMA_ARG_MMPROJ_OFFLOAD LLAMA_ARG_NO_MMPROJ_OFFLOAD @b7376-
-mmdev --mmproj-device 1 MTMD_BACKEND_DEVICE @b11434-
--image-min-tokens 1 LLAMA_ARG_IMAGE_MIN_TOKENS @b6935-
--image-max-tokens 1 LLAMA_ARG_IMAGE_MAX_TOKENS @b6935-
--mtmd-batch-max-tokens 1 LLAMA_ARG_MTMD_BATCH_MAX_TOKENS @b9617-
--video-fps 1 LLAMA_ARG_VIDEO_FPS @b11434-
--video-timestamp-interval 1 LLAMA_ARG_VIDEO_TIMESTAMP_INTERVAL @b11434-
--video-ffmpeg-dir 1 LLAMA_ARG_VIDEO_FFMPEG_DIR @b11434-
# weights and devices
--rpc 1 LLAMA_ARG_RPC
-lm --load-mode 1 LLAMA_ARG_LOAD_MODE @b10434-
-lzm --lazy-mode 1 LLAMA_ARG_LAZY_MODE @b11434-
--numa 1 LLAMA_ARG_NUMA
-dev --device 1 LLAMA_ARG_DEVICE @b4167-
--list-devices 0 @b4167-
-ot --override-tensor 1 LLAMA_ARG_OVERRIDE_TENSOR @b5028-
-cmoe --cpu-moe@b6051- 0 LLAMA_ARG_CPU_MOE @b6089-
-ncmoe --n-cpu-moe 1 LLAMA_ARG_N_CPU_MOE @b6089-
--moe-cache-mib 1 LLAMA_ARG_MOE_CACHE_MIB @b11549-
-ncffn --n-cpu-ffn 1 LLAMA_ARG_N_CPU_FFN @b11434-
-ngl --gpu-layers --n-gpu-layers 1 LLAMA_ARG_N_GPU_LAYERS
-sm --split-mode 1 LLAMA_ARG_SPLIT_MODE
-ts --tensor-split 1 LLAMA_ARG_TENSOR_SPLIT
-mg --main-gpu 1 LLAMA_ARG_MAIN_GPU
-fit --fit 1 LLAMA_ARG_FIT @b7407-
-fitt --fit-target 1 LLAMA_ARG_FIT_TARGET @b7407-
-fitc --fit-ctx 1 LLAMA_ARG_FIT_CTX @b7407-
--check-tensors 0
--override-kv 1
--op-offload / --no-op-offload@b5346- 0 @b7376-
--lora 1
--lora-scaled 2@-b7447 1@b7448-
--control-vector 1
--control-vector-scaled 2@-b7447 1@b7448-
--control-vector-layer-range 2
# model
-a --alias 1 LLAMA_ARG_ALIAS
--tags 1 LLAMA_ARG_TAGS @b8173-
-m --model 1 LLAMA_ARG_MODEL
-mu --model-url 1 LLAMA_ARG_MODEL_URL
-dr --docker-repo 1 LLAMA_ARG_DOCKER_REPO @b6457-
-hf@b4470- -hfr --hf-repo 1 LLAMA_ARG_HF_REPO
-hff --hf-file 1 LLAMA_ARG_HF_FILE
-hft --hf-token 1 HF_TOKEN
# HTTP
--embd-normalize 1 @b9193-
--host 1 LLAMA_ARG_HOST
--port 1 LLAMA_ARG_PORT
--reuse-port 0 LLAMA_ARG_REUSE_PORT @b8560-
--path 1 LLAMA_ARG_STATIC_PATH
--cors-origins 1 LLAMA_ARG_CORS_ORIGINS @b10010-
--cors-methods 1 LLAMA_ARG_CORS_METHODS @b10010-
--cors-headers 1 LLAMA_ARG_CORS_HEADERS @b10010-
--cors-credentials / --no-cors-credentials 0 LLAMA_ARG_CORS_CREDENTIALS @b10010-
--api-prefix 1 LLAMA_ARG_API_PREFIX @b5844-
--ui-config --webui-config@b7462- 1 LLAMA_ARG_UI_CONFIG LLAMA_ARG_WEBUI_CONFIG @b9174-
--ui-config-file --webui-config-file@b7462- 1 LLAMA_ARG_UI_CONFIG_FILE LLAMA_ARG_WEBUI_CONFIG_FILE @b9174-
--ui-mcp-proxy --webui-mcp-proxy@b8217-
    / --no-ui-mcp-proxy --no-webui-mcp-proxy@b8217- 0 LLAMA_ARG_UI_MCP_PROXY LLAMA_ARG_WEBUI_MCP_PROXY @b9174-
--tools 1 LLAMA_ARG_TOOLS @b8553-
--tools-runtime 1 LLAMA_ARG_TOOLS_RUNTIME @b10434-
--mcp-servers-config 1 LLAMA_ARG_MCP_SERVERS_CONFIG @b10434-
--mcp-servers-json 1 LLAMA_ARG_MCP_SERVERS_JSON @b10434-
-ag --agent / -no-ag --no-agent 0 LLAMA_ARG_AGENT @b9726-
--ui --webui@b7376- / --no-ui --no-webui@b4297- 0 LLAMA_ARG_UI LLAMA_ARG_WEBUI LLAMA_ARG_NO_WEBUI @b9174-
--embedding --embeddings 0 LLAMA_ARG_EMBEDDINGS
--rerank --reranking 0 LLAMA_ARG_RERANKING
--api-key 1 LLAMA_API_KEY
--api-key-file 1 LLAMA_ARG_API_KEY_FILE
--ssl-key-file 1 LLAMA_ARG_SSL_KEY_FILE
--ssl-cert-file 1 LLAMA_ARG_SSL_CERT_FILE
--chat-template-kwargs 1 LLAMA_ARG_CHAT_TEMPLATE_KWARGS LLAMA_CHAT_TEMPLATE_KWARGS @b5780-
-to --timeout 1 LLAMA_ARG_TIMEOUT
--sse-ping-interval 1 LLAMA_ARG_SSE_PING_INTERVAL @b9478-
--threads-http 1 LLAMA_ARG_THREADS_HTTP
--cache-prompt / --no-cache-prompt 0 LLAMA_ARG_CACHE_PROMPT @b7716-
--cache-reuse 1 LLAMA_ARG_CACHE_REUSE
--metrics 0 LLAMA_ARG_ENDPOINT_METRICS
--props 0 LLAMA_ARG_ENDPOINT_PROPS
--slots / --no-slots 0 LLAMA_ARG_ENDPOINT_SLOTS LLAMA_ARG_NO_ENDPOINT_SLOTS
--slot-save-path 1 LLAMA_ARG_SLOT_SAVE_PATH
--media-path 1 @b7243-
--models-dir 1 LLAMA_ARG_MODELS_DIR @b7218-
--models-preset 1 LLAMA_ARG_MODELS_PRESET @b7352-
--models-max 1 LLAMA_ARG_MODELS_MAX @b7218-
--models-autoload / --no-models-autoload@b7218- 0 LLAMA_ARG_MODELS_AUTOLOAD LLAMA_ARG_NO_MODELS_AUTOLOAD @b7376-
--jinja / --no-jinja@b7170- 0 LLAMA_ARG_JINJA LLAMA_ARG_NO_JINJA @b4524-
--reasoning-format 1 LLAMA_ARG_THINK @b4706-
-rea --reasoning 1 LLAMA_ARG_REASONING @b8287-
--reasoning-effort 1 LLAMA_ARG_REASONING_EFFORT @b10434-
--reasoning-budget 1 LLAMA_ARG_THINK_BUDGET @b5488-
--reasoning-budget-message 1 LLAMA_ARG_THINK_BUDGET_MESSAGE @b8287-
--reasoning-preserve / --no-reasoning-preserve 0 LLAMA_ARG_REASONING_PRESERVE @b9837-
--chat-template 1 LLAMA_ARG_CHAT_TEMPLATE
--chat-template-file 1 LLAMA_ARG_CHAT_TEMPLATE_FILE @b4524-
--skip-chat-parsing / --no-skip-chat-parsing 0 LLAMA_ARG_SKIP_CHAT_PARSING @b8397-
--prefill-assistant / --no-prefill-assistant@b5415- 0 LLAMA_ARG_PREFILL_ASSISTANT LLAMA_ARG_NO_PREFILL_ASSISTANT @b7376-
-sps --slot-prompt-similarity 1
--lora-init-without-apply 0
--sleep-idle-seconds 1 @b7492-
# log
--log-disable 0
--log-file 1 LLAMA_ARG_LOG_FILE LLAMA_LOG_FILE
--log-jsonl / --no-log-jsonl 0 LLAMA_ARG_LOG_JSONL @b11434-
--log-prompts-dir 1 @b9577-
--log-colors 0@-b6392 1@b6393- LLAMA_ARG_LOG_COLORS LLAMA_LOG_COLORS
-v --verbose --log-verbose 0
--offline 0 LLAMA_ARG_OFFLINE LLAMA_OFFLINE @b5501-
-lv --verbosity --log-verbosity 1 LLAMA_ARG_LOG_VERBOSITY LLAMA_LOG_VERBOSITY
--log-prefix / --no-log-prefix@b9151- 0 LLAMA_ARG_LOG_PREFIX LLAMA_LOG_PREFIX
--log-timestamps / --no-log-timestamps@b9151- 0 LLAMA_ARG_LOG_TIMESTAMPS LLAMA_LOG_TIMESTAMPS
# drafts
--spec-draft-hf@b8955- -hfd -hfrd --hf-repo-draft 1 LLAMA_ARG_SPEC_DRAFT_HF_REPO LLAMA_ARG_HFD_REPO @b4519-
--spec-draft-threads@b8955- -td --threads-draft 1 @b6150-
--spec-draft-threads-batch@b8955- -tbd --threads-batch-draft 1 @b6150-
--spec-draft-cpu-mask -Cd --cpu-mask-draft 1 @b8955-
--spec-draft-cpu-range -Crd --cpu-range-draft 1 @b8955-
--spec-draft-cpu-strict --cpu-strict-draft 1 @b8955-
--spec-draft-prio --prio-draft 1 @b8955-
--spec-draft-poll --poll-draft 1 @b8955-
--spec-draft-cpu-mask-batch -Cbd --cpu-mask-batch-draft 1 @b8955-
--spec-draft-cpu-strict-batch --cpu-strict-batch-draft 1 @b8955-
--spec-draft-prio-batch --prio-batch-draft 1 @b8955-
--spec-draft-poll-batch --poll-batch-draft 1 @b8955-
--spec-draft-type-k@b8955- -ctkd --cache-type-k-draft 1 LLAMA_ARG_SPEC_DRAFT_CACHE_TYPE_K
    LLAMA_ARG_CACHE_TYPE_K_DRAFT @b5709-
--spec-draft-type-v@b8955- -ctvd --cache-type-v-draft 1 LLAMA_ARG_SPEC_DRAFT_CACHE_TYPE_V
    LLAMA_ARG_CACHE_TYPE_V_DRAFT @b5709-
--spec-draft-override-tensor@b8955- -otd --override-tensor-draft 1 @b6148-
--spec-draft-cpu-moe@b8955- -cmoed --cpu-moe-draft 0 LLAMA_ARG_SPEC_DRAFT_CPU_MOE LLAMA_ARG_CPU_MOE_DRAFT @b6148-
--spec-draft-n-cpu-moe --spec-draft-ncmoe -ncmoed@b6148- --n-cpu-moe-draft@b6148- 1
    LLAMA_ARG_SPEC_DRAFT_N_CPU_MOE LLAMA_ARG_N_CPU_MOE_DRAFT @b8955-
--spec-draft-n-max 1 LLAMA_ARG_SPEC_DRAFT_N_MAX @b8955-
--spec-draft-n-min 1 LLAMA_ARG_SPEC_DRAFT_N_MIN @b8955-
--spec-synth-len 1 LLAMA_ARG_SPEC_SYNTH_LEN @b11434-
--spec-synth-rates 1 LLAMA_ARG_SPEC_SYNTH_RATES @b11434-
--spec--draft-p-split --spec-draft-p-split@b8989- --draft-p-split@b8955- 1 LLAMA_ARG_SPEC_DRAFT_P_SPLIT @b8955-b8988
--spec-draft-p-min --draft-p-min@b4159- 1 LLAMA_ARG_SPEC_DRAFT_P_MIN LLAMA_ARG_DRAFT_P_MIN @b8955-
--spec-draft-backend-sampling / --no-spec-draft-backend-sampling 0 LLAMA_ARG_SPEC_DRAFT_BACKEND_SAMPLING @b9261-
--spec-draft-sampling 1 LLAMA_ARG_SPEC_DRAFT_SAMPLING @b11434-
--spec-draft-device@b8955- -devd --device-draft 1 @b4167-
--spec-draft-ngl@b8955- -ngld --gpu-layers-draft --n-gpu-layers-draft 1 LLAMA_ARG_N_GPU_LAYERS_DRAFT @b4159-
--spec-draft-model@b8955- -md --model-draft 1 LLAMA_ARG_SPEC_DRAFT_MODEL LLAMA_ARG_MODEL_DRAFT @b4159-
--spec-type 1 LLAMA_ARG_SPEC_TYPE @b7864-
--spec-ngram-mod-n-min 1 @b8955-
--spec-ngram-mod-n-max 1 @b8955-
--spec-ngram-mod-n-match 1 @b8955-
--spec-ngram-simple-size-n 1 @b8955-
--spec-ngram-simple-size-m 1 @b8955-
--spec-ngram-simple-min-hits 1 @b8955-
--spec-ngram-map-k-size-n 1 @b8955-
--spec-ngram-map-k-size-m 1 @b8955-
--spec-ngram-map-k-min-hits 1 @b8955-
--spec-ngram-map-k4v-size-n 1 @b8955-
--spec-ngram-map-k4v-size-m 1 @b8955-
--spec-ngram-map-k4v-min-hits 1 @b8955-
--draft --draft-n --draft-max 1 LLAMA_ARG_DRAFT_MAX @b4159-b8954
--draft-min --draft-n-min 1 LLAMA_ARG_DRAFT_MIN @b4159-b8954
--spec-ngram-size-n 1 @b7864-b8954
--spec-ngram-size-m 1 @b7864-b8954
--spec-ngram-min-hits 1 @b7864-b8954
# presets that name a model
--embd-gemma-default 0 @b6740-
--fim-qwen-1.5b-default 0 @b4743-
--fim-qwen-3b-default 0 @b4743-
--fim-qwen-7b-default 0 @b4743-
--fim-qwen-7b-spec 0 @b4858-
--fim-qwen-14b-spec 0 @b4858-
--fim-qwen-30b-default 0 @b6301-
--gpt-oss-20b-default 0 @b6740-
--gpt-oss-120b-default 0 @b6740-
--vision-gemma-4b-default 0 @b6740-
--vision-gemma-12b-default 0 @b6740-
--spec-default 0 @b8874-
# gone
--mlock 0 LLAMA_ARG_MLOCK @-b10867 !b10878
--mmap / --no-mmap@-b10867 0 LLAMA_ARG_MMAP LLAMA_ARG_NO_MMAP @b7376-b10867 !b10878
-dio --direct-io / -ndio --no-direct-io 0 LLAMA_ARG_DIO @b7668-b10867 !b10878
-hfv@b4470-b10092 -hfrv --hf-repo-v 1 LLAMA_ARG_HF_REPO_V @b4357-b10092
-hffv --hf-file-v 1 LLAMA_ARG_HF_FILE_V @b4357-b10092
-mv --model-vocoder 1 @b4357-b10092
--tts-use-guide-tokens 0 @b4504-b10092
--license 0 @b7691-b9404
-cpent --checkpoint-every-n-tokens 1 LLAMA_ARG_CHECKPOINT_EVERY_NT @b8218-b9309
--spec-draft-ctx-size@b8955-b9108 -cd --ctx-size-draft 1 LLAMA_ARG_SPEC_DRAFT_CTX_SIZE
    LLAMA_ARG_CTX_SIZE_DRAFT @b4159-b9108
--spec-draft-replace --spec-replace@b6045-b9108 2 @b8955-b9108
--embd-bge-small-en-default 0 @b4660-b6739
--embd-e5-small-en-default 0 @b4660-b6739
--embd-gte-small-default 0 @b4660-b6739
--penalize-nl 0 @-b4334
--tfs 1 @-b3987
-dkvc --dump-kv-cache 0 @-b5434
-ld --logdir 1 @-b4102
--clear-idle / --no-clear-idle 0 LLAMA_ARG_CLEAR_IDLE @b8658-b8851
--spec-ngram-check-rate 1 @b7864-b7977
"""
