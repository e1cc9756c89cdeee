"""What a llama-server was asked for, from words a stranger chose."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.llama.command_line import decode
from sentinel.llama.flags import OPTION
from sentinel.model.entity import Unknown, Value


def signal(name: str, *words: str, **env: str) -> Value | Unknown:
    return decode(["llama-server", *words], env).signals()[f"server.{name}"]


def test_a_llamafile_has_its_model_inside_and_is_no_router() -> None:
    assert decode(["/srv/mistral-7b.Q4_0.llamafile", "--port", "8081"], {}).is_router is False
    assert decode(["C:\\models\\Mistral.llamafile.EXE"], {}).is_router is False
    assert decode(["llamafile", "--port", "8081"], {}).is_router is True


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ("-m x.gguf", "model_path", "x.gguf"),
        ("--model x.gguf", "is_router", False),
        ("-hf org/model:Q4_K_M", "is_router", False),
        ("-hf org/model:Q4_K_M", "model_path", ""),
        ("--gpt-oss-20b-default", "is_router", False),
        ("", "is_router", True),
        ("--models-dir /models", "is_router", True),
        ("--version", "is_router", False),
        ("-c 512", "ctx_requested", 512),
        ("--ctx_size 512", "ctx_requested", 512),
        ("--ctx-size=512", "ctx_requested", 512),
        ("-c 512 -c 1024", "ctx_requested", 1024),
        ("", "ctx_explicit", False),
        ("-c 0", "ctx_explicit", True),
        ("-np 4", "slots_requested", 4),
        ("--rope-scaling yarn --yarn-orig-ctx 32768", "rope_scaling_requested", True),
        ("-c 8192", "rope_scaling_requested", False),
        ("", "slots_requested", -1),
        ("-ngl 99", "gpu_layers_requested", 99),
        ("-ngl 0", "gpu_layers_requested", 0),
        ("-ngl auto", "gpu_layers_requested", -1),
        ("--n-gpu-layers all", "gpu_layers_requested", -2),
        ("--n-gpu-layers all", "gpu_layers_asked", "all"),
        ("--gpu-layers 7", "gpu_layers_source", "--gpu-layers"),
        ("", "gpu_layers_asked", "auto"),
        ("--device none", "device_none", True),
        ("-ub 2048", "ubatch_requested", 2048),
        ("-ngl 9", "ubatch_requested", 512),
        ("--rpc 192.168.1.9:50052", "rpc_requested", True),
        ("-ngl 9", "rpc_requested", False),
        ("-dev Vulkan0,Vulkan1", "devices_requested", "Vulkan0,Vulkan1"),
        ("--cpu-moe", "experts_on_cpu", True),
        ("-ncmoe 12", "experts_on_cpu", True),
        ("-ncmoe 0", "experts_on_cpu", False),
        (r"-ot \.ffn_.*_exps\.=CPU", "experts_on_cpu", True),
        (r"-ot exps=ROCm0 -ot blk\.1.*=CPU", "experts_on_cpu", True),
        ("-ot exps=ROCm0", "experts_on_cpu", False),
        ("--mlock", "mlock_requested", True),
        ("--load-mode mmap+mlock", "mlock_requested", True),
        ("--load-mode mmap+mlock", "mmap_requested", True),
        ("-lm mlock", "mmap_requested", False),
        ("-lm dio", "mmap_requested", False),
        ("--mlock -lm mmap", "mlock_requested", False),
        ("--no-mmap", "mmap_requested", False),
        ("-fit off", "fit_requested", False),
        ("-ngl 99", "fit_requested", True),
        ("--no-mmap --mmap", "mmap_requested", True),
        ("", "mmap_requested", True),
        ("-ctk q8_0", "cache_type_k", "q8_0"),
        ("", "cache_type_v", "f16"),
        ("--context-shift", "context_shift_requested", True),
        ("--context-shift --no-context-shift", "context_shift_requested", False),
        ("-n -1", "predict_limit", -1),
        ("-n 512", "predict_limit", 512),
        ("-lv 4", "verbosity_requested", 4),
        ("-v", "verbosity_requested", 2147483647),
        ("-lv 4 --verbose", "verbosity_requested", 2147483647),
        ("--log-file a.log", "log_file", "a.log"),
        ("--reranking", "embeddings", True),
        ("--host 0.0.0.0 --port 9000", "port", 9000),
        ("", "port", 8080),
        # a bare -fa of an old build takes nothing, a newer one's takes its word
        ("-fa -c 512", "ctx_requested", 512),
        ("-fa on -c 512", "ctx_requested", 512),
    ],
)
def test_flags_are_read_as_llama_server_reads_them(words: str, name: str, value: Value) -> None:
    assert signal(name, *words.split()) == value


def test_a_flag_inside_another_flags_value_is_no_flag() -> None:
    assert signal("ctx_explicit", "--grammar", "-c", "512") is False
    assert signal("ctx_explicit", "--future-flag", "-c 512") is False


def test_unknown_flags_are_kept_and_their_values_are_taken_for_nothing() -> None:
    words = ("--future", "8192", "-zz", "-1", "-c", "512")
    assert signal("unknown_flags", *words) == "--future -zz"
    assert signal("ctx_requested", *words) == 512


@pytest.mark.parametrize("name", ["ctx_requested", "gpu_layers_requested", "port"])
def test_a_bad_number_is_unknown_with_a_sentence_that_names_the_flag(name: str) -> None:
    flag = {"ctx_requested": "-c", "gpu_layers_requested": "-ngl", "port": "--port"}[name]
    value = signal(name, flag, "lots")
    assert isinstance(value, Unknown)
    assert flag in value.why
    assert "lots" in value.why


def test_the_environment_counts_and_the_command_line_overrides_it() -> None:
    env = {"LLAMA_ARG_CTX_SIZE": "4096", "LLAMA_ARG_N_GPU_LAYERS": "47"}
    assert signal("ctx_requested", **env) == 4096
    assert signal("gpu_layers_source", **env) == "LLAMA_ARG_N_GPU_LAYERS"
    assert signal("ctx_requested", "-c", "512", **env) == 512


@pytest.mark.parametrize(
    ("env", "name", "value"),
    [
        ({"LLAMA_ARG_MLOCK": "1"}, "mlock_requested", True),
        ({"LLAMA_ARG_MLOCK": "off"}, "mlock_requested", False),
        ({"LLAMA_ARG_MMAP": "false"}, "mmap_requested", False),
        ({"LLAMA_ARG_NO_MMAP": ""}, "mmap_requested", False),
        # no name turns --mlock off, so no variable does
        ({"LLAMA_ARG_NO_MLOCK": "", "LLAMA_ARG_MLOCK": "1"}, "mlock_requested", True),
        ({"LLAMA_ARG_DIO": "1"}, "mmap_requested", False),
        ({"LLAMA_ARG_DIO": "0"}, "mmap_requested", True),
        ({"LLAMA_ARG_KV_UNIFIED_PER_SLOT": "4096"}, "ctx_slot_limit", 4096),
        # the name that a newer build reads overrides the older one
        ({"LLAMA_LOG_FILE": "/old", "LLAMA_ARG_LOG_FILE": "/new"}, "log_file", "/new"),
        ({"LLAMA_ARG_LOAD_MODE": "mlock"}, "mlock_requested", True),
        ({"LLAMA_ARG_CONTEXT_SHIFT": "on"}, "context_shift_requested", True),
        ({"LLAMA_ARG_CPU_MOE": "true"}, "experts_on_cpu", True),
        ({"LLAMA_ARG_EMBEDDINGS": "1"}, "embeddings", True),
        ({"LLAMA_LOG_VERBOSITY": "4"}, "verbosity_requested", 4),
        ({"LLAMA_ARG_LOG_FILE": "/l"}, "log_file", "/l"),
        ({"LLAMA_ARG_DEVICE": "none"}, "device_none", True),
        ({"HIP_VISIBLE_DEVICES": "", "CUDA_VISIBLE_DEVICES": "-1"}, "hidden_devices",
         "HIP_VISIBLE_DEVICES=,CUDA_VISIBLE_DEVICES=-1"),
        # ROCr filters first and renumbers: HIP's 1 is then beyond the only one
        ({"HIP_VISIBLE_DEVICES": "1", "ROCR_VISIBLE_DEVICES": "1"}, "hidden_devices",
         "HIP_VISIBLE_DEVICES=1,ROCR_VISIBLE_DEVICES=1"),
        ({"HIP_VISIBLE_DEVICES": "0", "ROCR_VISIBLE_DEVICES": "1"}, "hidden_devices", ""),
        ({"HIP_VISIBLE_DEVICES": "1", "ROCR_VISIBLE_DEVICES": "0,1"}, "hidden_devices", ""),
        ({"HSA_OVERRIDE_GFX_VERSION": "11.0.0"}, "gfx_override", "11.0.0"),
        ({"GGML_VK_VISIBLE_DEVICES": "0,1"}, "vulkan_devices", "0,1"),
        ({"GGML_CUDA_ENABLE_UNIFIED_MEMORY": "0"}, "unified_memory", True),
        ({"GGML_CUDA_FORCE_MMQ": "1"}, "unified_memory", False),
        ({"GGML_CUDA_P2P": "0"}, "peer_copies", True),
        ({}, "peer_copies", False),
        ({"LLAMA_ARG_RPC": "192.168.1.9:50052"}, "rpc_requested", True),
    ],
)  # fmt: skip
def test_variables_are_read_as_llama_server_reads_them(env: dict[str, str], name: str, value: Value) -> None:
    assert signal(name, "-m", "x", **env) == value


def test_with_an_unreadable_environment_only_what_the_command_line_says_is_known() -> None:
    values = decode(["x", "-m", "x", "-c", "512"], {}).signals(env_unreadable="environ: permission denied")
    assert values["server.ctx_requested"] == 512
    assert values["server.is_router"] is False
    assert values["server.gpu_layers_requested"] == Unknown("environ: permission denied")
    assert values["server.hidden_devices"] == Unknown("environ: permission denied")


def test_every_signal_is_of_the_catalogue_and_of_its_type() -> None:
    types = {"flag": bool, "int": int, "text": str}
    for name, value in decode(["llama-server"], {}).signals().items():
        assert type(value) is types[CATALOGUE[name].type], name


@given(st.lists(st.text(max_size=20) | st.sampled_from(sorted(OPTION)), max_size=12))
def test_no_command_line_breaks_the_reading(words: list[str]) -> None:
    for value in decode(["x", *words], {}).signals().values():
        if isinstance(value, str):
            value.encode()


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    assert signal("model_path", "-m", os.fsdecode(b"/m/\xff.gguf")) == "/m/\ufffd.gguf"


@pytest.mark.parametrize(
    ("value", "hidden"), [("0", ""), ("0,1", ""), ("GPU-1234", ""), ("", "X="), ("-1", "X=-1"), ("none", "X=none")]
)
def test_only_a_value_that_hides_every_gpu_counts_as_hiding(value: str, hidden: str) -> None:
    """HIP_VISIBLE_DEVICES=0 stands in many a script: it is no cause of anything."""
    found = decode(["llama-server"], {"HIP_VISIBLE_DEVICES": value}).signals()["server.hidden_devices"]
    assert found == hidden.replace("X", "HIP_VISIBLE_DEVICES")
