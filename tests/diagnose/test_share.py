"""A bundle for a public issue holds none of the planted secrets, and still tells what happened."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sentinel.diagnose.share import Redactor

SECRETS = {
    "user": "/home/annegret/models/Qwen3-4B.gguf",
    "user on a Mac": "/Users/annegret/x.gguf",
    "user on Windows": "C:\\Users\\Annegret\\models\\a.gguf",
    "host": "Nov 12 10:00:00 tannhauser llama-server[90]: srv  llama_server: x",
    "host, ISO": "2026-11-12T10:00:00+0100 tannhauser llama-server[90]: x",
    "host, French": "févr. 12 07:48:34 tannhauser kernel: amdgpu x",
    "address": "srv log_server_r: done request: POST /v1/chat/completions 203.0.113.77 200",
    "address with port": "RPC0[203.0.113.77:50052]",
    "address, version 6": "listening on [2001:db8:85a3::8a2e:370:7334]:8080",
    "mac": "eth0 52:54:00:ab:cd:ef up",
    "key": "llama-server -m a.gguf --api-key s3cr3t-value-1 -c 4096",
    "key after =": "llama-server --api-key=s3cr3t-value-1",
    "key of a flag with underscores": "llama-server -m a.gguf --api_key s3cr3t-value-1 -c 4096",
    "token of a flag with underscores": "llama-server --hf_token 's3cr3t-value-1'",
    "key in the environment": "Environment=LLAMA_API_KEY=s3cr3t-value-1 x",
    "key in YAML": '      HF_TOKEN: "s3cr3t-value-1"',
    "key between quotes": "llama-server --api-key 'a s3cr3t-value-1' -c 4096",
    "key of blanks in YAML": '      LLAMA_API_KEY: "a s3cr3t-value-1 b"',
    "key with a quote that never ends": 'LLAMA_API_KEY="s3cr3t-value-1',
    "header": "Authorization: Bearer s3cr3t-value-1",
    "basic": 'authorization": "Basic s3cr3t-value-1"',
    "hub token": "download with hf_AbCdEfGhIjKlMnOp",
    "hub token as a flag": "-hft hf_AbCdEfGhIjKlMnOp",
    "github": "ghp_AbCdEfGhIjKlMnOp1234",
    "openai": "sk-proj-AbCdEfGhIjKlMnOp",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2VjcmV0",
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "mail": "From annegret@example.org on Monday",
    "url": "curl https://intern.example.org/models/a.gguf?token=s3cr3t-value-1",
    "proxy": "http://annegret:s3cr3t-value-1@proxy.example.org:3128",
    "gpu": "GPU-4f8ced6a-2dde-5e92-be03-8d21e26bd156",
    "machine": "_MACHINE_ID=1bbb7fd435424ad4ba7bd1a6423d7577",
    "prompt": 'srv  log_server_r: request: {"prompt": "my s3cr3t-value-1 diary", "n": 1}',
    "prompt of a template": "slot update_slots: id  0 | task 7 | <|im_start|>user my s3cr3t-value-1 diary",
    "answer": "0.01.294.459 W common_chat_peg_parse: unparsed Content-only output: s3cr3t-value-1 diary",
    "exception": "srv    operator(): got exception: {'error': 's3cr3t-value-1'}",
    "message": '{"messages": [{"role": "user", "content": "s3cr3t-value-1"}]}',
}
PLANTED = (
    "annegret", "tannhauser", "203.0.113.77", "2001:db8", "52:54:00", "s3cr3t", "diary", "hf_Ab", "ghp_", "sk-proj", "eyJ",
    "AKIA",     "example.org", "4f8ced6a", "1bbb7fd4",
)  # fmt: skip


@pytest.mark.parametrize("line", SECRETS.values(), ids=SECRETS.keys())
def test_a_planted_secret_is_not_in_it(line: str) -> None:
    redacted = Redactor().text(line)

    assert [secret for secret in PLANTED if secret.lower() in redacted.lower()] == []


def test_a_private_key_is_left_out_whole() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\nc2VjcmV0\n-----END RSA PRIVATE KEY-----\nmain: x"

    assert Redactor().text(key).split("\n")[-1] == "main: x"
    assert "MIIE" not in Redactor().text(key)
    assert "c2VjcmV0" not in Redactor().text(key)


@pytest.mark.parametrize(
    "line",
    [
        "0.00.374.713 I srv  llama_server: listening on http://127.0.0.1:18105",
        "Nov 12 10:00:40 systemd[1]: llama.service: Main process exited, code=killed, status=9/KILL",
        "2026-11-12 10:00:40.123 [Info] (Process) srv  llama_server: std::vector a::b",
        "0.00.008.277 W srv  llama_server: security: no API key is set (see https://github.com/ggml-org/llama.cpp/pull/25655)",
        "slot print_timing: id  3 | task 0 |        eval time =    1184.74 ms /    40 tokens (   30.38 ms per token)",
        "ggml_cuda_init: failed to initialize ROCm: no ROCm-capable device is detected",
        "load_backend: loaded CPU backend from /usr/lib/libggml-cpu.so",
        "[  755.07] Out of memory: Killed process 90 (llama-server) total-vm:4012876kB, anon-rss:1801460kB",
        "amdgpu 0000:03:00.0: amdgpu: ring gfx_0.0.0 timeout, signaled seq=1358449, emitted seq=1358451",
        "build: 6448 (24a6734d) with cc (Ubuntu 14.2.0-4ubuntu2~24.04) 14.2.0 for x86_64-linux-gnu",
        "system_info: n_threads = 4 (n_threads_batch = 4) / 16 | CPU : SSE3 = 1 | AVX = 1",
    ],
)
def test_what_shows_the_failure_stays(line: str) -> None:
    assert Redactor().text(line) == line


def test_the_same_is_replaced_by_the_same_and_the_models_name_stays() -> None:
    """Whoever reads it can still see that two lines speak of one file, and of which model."""
    found = Redactor().text(
        "loading model '/srv/data/annegret/a.gguf'\nloading model '/srv/data/annegret/b.gguf'\n"
        "from 203.0.113.77 and 203.0.113.78\nagain 203.0.113.77"
    )

    assert (
        found == "loading model 'folder-1/a.gguf'\nloading model 'folder-1/b.gguf'\nfrom address-1 and address-2\nagain address-1"
    )


def test_names_of_this_machine_are_replaced_wherever_they_stand() -> None:
    assert (
        Redactor(words=("tannhauser", "annegret", "root", "")).text("tannhauser: Annegret's model, root")
        == "name-1: name-2's model, root"
    )


def test_a_bundle_is_written_and_says_what_was_replaced(tmp_path: Path) -> None:
    """The answer, the command line and the logs, none of the secrets; the file is new and for its owner only."""
    log = tmp_path / "server.log"
    log.write_text("\n".join(SECRETS.values()) + "\nmain: server is listening on http://127.0.0.1:1 - starting the main loop\n")
    out = tmp_path / "bundle.md"
    argv = "llama-server -m /home/annegret/a.gguf --api-key s3cr3t-value-1 -c 4096"
    command = [sys.executable, "-m", "sentinel", "diagnose", str(log), "--argv", argv, "--share", "-o", str(out)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    again = subprocess.run(command, capture_output=True, timeout=60, check=False)
    text = out.read_text()

    assert done.returncode in (0, 1, 2)
    assert [secret for secret in PLANTED if secret.lower() in text.lower()] == []
    assert "-c 4096" in text
    assert "main: server is listening" in text
    assert str(tmp_path) not in text
    assert out.stat().st_mode & 0o077 == 0
    assert b"read it before you publish it" in done.stdout + done.stderr
    assert again.returncode == 2
    assert b"is there already" in again.stderr
