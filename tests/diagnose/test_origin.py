"""The system and the front end that a log comes from, as far as its text shows them."""

from __future__ import annotations

import pytest

from sentinel.diagnose.origin import gpu_maker_of, keeper_of, system_of


@pytest.mark.parametrize(
    ("text", "system"),
    [
        (rb"srv    load_model: loading model 'C:\Users\me\m.gguf'", "windows"),
        (b"load_backend: loaded CUDA backend from ggml-cuda.dll", "windows"),
        (b"build: 6170 (c37132b) with MSVC 19.43 for x64", "windows"),
        (b"build: 6170 (c37132b) with Apple clang 17 for arm64-apple-darwin24", "macos"),
        (b"srv    load_model: loading model '/Users/me/m.gguf'", "macos"),
        (b"build: 6170 (c37132b) with cc 13.2 for x86_64-linux-gnu", "linux"),
        (b"build: 6170 (c37132b) with cc", ""),
        # WSL: a Linux server that reads a Windows disk; a path quoted by someone proves nothing either way
        (rb"llama_model_load: /mnt/c/m.gguf C:\models\m.gguf", ""),
    ],
)
def test_the_system_shows_in_paths_libraries_and_the_compiler(text: bytes, system: str) -> None:
    assert system_of([text]) == system


@pytest.mark.parametrize(
    ("text", "keeper"),
    [
        (b"panic: x\n\ngithub.com/ollama/ollama/runner/llamarunner.(*Server).loadModel(0xc0)", "ollama"),
        (b'time=2025-10-14T23:33:13.540+08:00 level=ERROR source=server.go:426 msg="llama runner terminated"', "ollama"),
        (b"llama_model_loader: loaded from /root/.ollama/models/blobs/sha256-667b0c19", "ollama"),
        (b"Welcome to KoboldCpp - Version 1.99", "koboldcpp"),
        (b"[LLM] Loading model 'x' with runtime llama.cpp-win-x86_64-amd-rocm-avx2@2.5.1", "lm-studio"),
        (b"main: server is listening on http://127.0.0.1:8080", ""),
    ],
)
def test_the_front_end_shows_in_its_own_lines_and_folders(text: bytes, keeper: str) -> None:
    assert keeper_of([text]) == keeper


@pytest.mark.parametrize(
    ("text", "maker"),
    [
        (b"  Device 0: NVIDIA GeForce RTX 3090, compute capability 8.6", "nvidia"),
        (b"ggml_vulkan: 0 = AMD Radeon RX 6800 (RADV NAVI21) (radv)", "amd"),
        (b"ggml_vulkan: 0 = Intel(R) Arc(tm) B580 Graphics (BMG G21)", "intel"),
        (b"ggml_metal_init: found device: Apple M2", "apple"),
        (b"Device 0: NVIDIA GeForce RTX 3090\nggml_vulkan: 1 = AMD Radeon Graphics (RADV RENOIR)", ""),
        # a build for ROCm says GGML_CUDA, and Ollama lists every maker's variables
        (b"ggml_cuda_init: GGML_CUDA_FORCE_MMQ: no\nROCm0 model buffer size", "amd"),
        (b'env="map[CUDA_VISIBLE_DEVICES: HSA_OVERRIDE_GFX_VERSION: OLLAMA_HOST:x]" NVIDIA T4', "nvidia"),
        (b"AMD Ryzen 9 7950X, no GPU", ""),
    ],
)
def test_the_maker_of_the_gpus_shows_where_all_are_of_one(text: bytes, maker: str) -> None:
    assert gpu_maker_of([text]) == maker
