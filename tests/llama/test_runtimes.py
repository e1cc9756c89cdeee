"""Flags of llama-server in the words of what starts it."""

from __future__ import annotations

import pytest

from sentinel.llama.runtimes import placed, writer_of


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ("-c 8192", " (in Ollama: num_ctx 8192, or OLLAMA_CONTEXT_LENGTH=8192 for all models)"),
        ("-ctk q8_0 -ctv q8_0 -fa on", " (in Ollama: OLLAMA_KV_CACHE_TYPE=q8_0; OLLAMA_FLASH_ATTENTION=1)"),
        ("-np 1", " (in Ollama: OLLAMA_NUM_PARALLEL=1)"),
    ],
)
def test_ollama_has_names_of_its_own(flags: str, text: str) -> None:
    assert placed(flags, "ollama") == text


def test_what_ollama_cannot_set_is_no_advice_there() -> None:
    assert placed("--swa-full", "ollama") is None


def test_front_ends_that_pass_flags_on_say_where_they_are_written() -> None:
    assert placed("-np 1", "llama-swap") == " (add `-np 1` to this model's cmd in llama-swap's configuration)"
    assert "llamacpp_args" in str(placed("--cache-ram 0", "lemonade"))
    assert placed("-c 8192 -np 1", "jan") == " (in Jan, in the model's settings: Context Size 8192, Parallel Operations 1)"


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("[2026-07-06][19:20:52][tauri_plugin_llamacpp::router][INFO] [llamacpp-router] 0.00.041.907 I srv  x", "jan"),
        ("2026-09-10 21:30:10.433 [Info] (Process) 0.00.041.907 I srv  x", "lemonade"),
        ("llama-swap  | build: 7030 (abc)", "llama-swap"),
        ("Jun 05 12:36:47 host ollama[25973]: llama_context: n_ctx = 4096", "ollama"),
        ('time=2026-07-22T10:00:00.000Z level=INFO msg="0.00.041.907 I srv  x" component=llama.cpp', "docker-model-runner"),
        ("5:02PM DBG GRPC(m-127.0.0.1:41000): stderr srv  x", "localai"),
        ('time=2026-07-22T10:00:00.000Z level=INFO source=routes.go:1 msg="server config"', "ollama"),
        ("0.00.041.907 I srv    load_model: loading model '/home/u/ollama/x.gguf'", ""),
        ("Feb 14 21:09:07 host llama-server[779120]: build: 7973 (39bf692af)", ""),
    ],
)
def test_a_log_shows_what_keeps_it(line: str, name: str) -> None:
    assert writer_of(line) == name
