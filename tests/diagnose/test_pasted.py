"""What people paste is taken apart: logs out of issues, command lines out of prompts, units and compose files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sentinel.diagnose.pasted import unpack

LOG = "build: 6811 (6de8ed751) with cc\nmain: model loaded\n"
ISSUE = f"""### Command line

```shell
llama-server -m /m/a.gguf -c 32768 \\
    -np 4
```

error: invalid argument: --foo is what somebody else saw

```console
{LOG}```
"""
UNIT = """[Unit]
Description=llama
[Service]
Environment="LLAMA_ARG_CTX_SIZE=4096" OTHER=1
ExecStart=/usr/bin/llama-server -m /m/a.gguf \\
    -ngl 99
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("$ llama-server -m a.gguf -c 4096\n", ("llama-server", "-m", "a.gguf", "-c", "4096")),
        ("user@box:~/x$ ./build/bin/llama-server -m a.gguf\n", ("./build/bin/llama-server", "-m", "a.gguf")),
        ("LLAMA_ARG_CTX_SIZE=9 llama-server -m 'a b.gguf'\n", ("LLAMA_ARG_CTX_SIZE=9", "llama-server", "-m", "a b.gguf")),
        (
            "C:\\llama> llama-server.exe -m C:\\models\\a.gguf ^\n  -c 4096\n",
            ("llama-server.exe", "-m", "C:\\models\\a.gguf", "-c", "4096"),
        ),
        (
            'time=2025 level=INFO msg="starting llama-server" cmd="/usr/lib/ollama/llama-server --model \\"/m/x y\\" -c 8192"\n',
            ("/usr/lib/ollama/llama-server", "--model", "/m/x y", "-c", "8192"),
        ),
        ("llama-server -m a.gguf\nllama-server -m b.gguf\n", ()),
        ("llama-server: error while loading shared libraries: x\n", ()),
        ("srv  llama_server: loading llama-server - a model\n", ()),
    ],
)
def test_a_command_line_is_found_where_there_is_one(text: str, words: tuple[str, ...]) -> None:
    """One only: of two nobody knows which was the server's."""
    found = unpack((text + LOG).encode())

    assert found.words == words
    assert found.log == (text + LOG).encode()


def test_a_log_is_taken_out_of_the_fences_of_an_issue() -> None:
    """What the person writes is no line of a log, and lines keep their numbers."""
    found = unpack(ISSUE.encode())
    rows = found.log.decode().split("\n")

    assert [row for row in rows if row] == LOG.splitlines()
    assert rows.index("main: model loaded") == ISSUE.split("\n").index("main: model loaded")
    assert found.words == ("llama-server", "-m", "/m/a.gguf", "-c", "32768", "-np", "4")


def test_fences_in_a_prompt_do_not_make_a_log_an_issue() -> None:
    log = f"{LOG}slot update_slots: id  0 | task 7 | prompt\n```python\nprint()\n```\nmain: more\n"

    assert unpack(log.encode()).log == log.encode()


def test_a_unit_says_how_the_server_is_started() -> None:
    found = unpack(UNIT.encode())

    assert found.log == b""
    assert found.words == ("/usr/bin/llama-server", "-m", "/m/a.gguf", "-ngl", "99")
    assert found.environment == {"LLAMA_ARG_CTX_SIZE": "4096"}


@pytest.mark.parametrize(
    "command",
    [
        "    command: -m /m/a.gguf -c 4096\n",
        "    command: >\n      -m /m/a.gguf\n      -c 4096\n",
        '    command: ["-m", "/m/a.gguf", "-c", "4096"]\n',
        '    command:\n      - -m\n      - /m/a.gguf\n      - "-c"\n      - "4096"\n',
    ],
)
def test_a_compose_file_says_how_the_server_is_started(command: str) -> None:
    """The service with llama in it, in each of the usual spellings."""
    text = (
        "services:\n  web:\n    image: nginx\n    command: -x 1\n  llm:\n    image: ghcr.io/ggml-org/llama.cpp:server-cuda\n"
        f"{command}    environment:\n      - LLAMA_ARG_N_PARALLEL=4\n    deploy:\n      x: 1\nvolumes:\n  a:\n"
    )
    found = unpack(text.encode())

    assert found.words == ("llama-server", "-m", "/m/a.gguf", "-c", "4096")
    assert found.environment == {"LLAMA_ARG_N_PARALLEL": "4"}


@pytest.mark.parametrize(
    "line",
    [
        'time=2025-01-29T20:11:02.316Z level=INFO source=gpu.go:392 msg="no compatible GPUs were discovered"',
        '2025/01/29 20:11:02 routes.go:1187: INFO server config env="map[]"',
        '[GIN] 2025/01/29 - 20:11:02 | 200 |  30.80s | 172.18.0.4 | POST     "/api/chat"',
        'INFO [                    main] model loaded | tid="1" timestamp=1725256050',
        "error: invalid argument: --foo",
    ],
)
def test_a_log_below_a_compose_file_stays_a_log(line: str) -> None:
    pasted = unpack(f"```yaml\nservices:\n  ollama:\n    image: ollama/ollama\n```\n```\n{line}\n```\n".encode())
    assert line in pasted.log.decode()
    assert line in unpack(f"services:\n  ollama:\n    image: ollama/ollama\n{line}\n".encode()).log.decode()


@pytest.mark.parametrize("fence", ["```\n", ""])
def test_only_the_servers_own_service_says_that_its_container_gets_a_gpu(fence: str) -> None:
    services = "services:\n  a:\n    image: comfy\n    runtime: nvidia\n  b:\n    image: ollama/ollama\n    gpus: all\n"
    log = 'time=2025-01-29T20:11:02.316Z level=INFO source=types.go:131 msg="inference compute" id=0 library=cpu\n'
    kept = unpack(f"{fence}{services}{fence}{fence}{log}{fence}".encode()).log.decode().split("\n")
    assert [line.strip() for line in kept if "nvidia" in line or "gpus" in line] == ["gpus: all"]


def test_a_unit_beside_the_log_counts_as_the_command_line(tmp_path: Path) -> None:
    """As --argv does, and it is no log."""
    log, unit = tmp_path / "server.log", tmp_path / "llama.service"
    log.write_text(LOG)
    unit.write_text(UNIT)
    command = [sys.executable, "-m", "sentinel", "diagnose", str(log)]
    beside = subprocess.run([*command, str(unit), "--json"], capture_output=True, timeout=60, check=False).stdout
    alone = subprocess.run([*command, "--json"], capture_output=True, timeout=60, check=False).stdout

    assert b"server.ctx_requested" in alone
    assert b"server.ctx_requested" not in beside


@pytest.mark.parametrize(
    "data", [b"", b"```\n" * 3, b"services:\n", b"services:\n  a:\n", b"[Service]\nExecStart=\n", b"\xff" * 99]
)
def test_what_is_none_of_these_is_left_alone_or_empty(data: bytes) -> None:
    assert unpack(data).words == ()


def test_a_hostile_file_is_taken_apart_in_time() -> None:
    hostile = ("llama-server -" + "a" * 19_000 + " \\\n") * 50 + ("> " * 5000 + "llama\n") * 20 + ("A=b " * 4000 + "llama\n") * 20

    assert unpack(hostile.encode()).log == hostile.encode()
