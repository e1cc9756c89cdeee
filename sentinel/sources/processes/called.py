"""What people call a server: its model, and its port. Its identity is another (`discover.py`)."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sentinel.llama.command_line import Requested
from sentinel.model.entity import Unknown, Value
from sentinel.model.text import clean
from sentinel.sources.fs import Roots, read_bytes
from sentinel.sources.processes.log_location import absolute, inside

#: a part of a split model, and the file's type
_ENDING = re.compile(r"(?:-\d{5}-of-\d{5})?\.gguf\Z", re.IGNORECASE)
#: Ollama keeps models under the digest of their file
_BLOB = re.compile(r"(?P<models>/.+)/blobs/(?P<digest>sha256-[0-9a-f]{64})\Z")
#: More manifests than one looks through by hand; each is a few hundred bytes.
_MOST_MANIFESTS, _MOST_BYTES = 500, 1 << 16
_LONGEST = 120


def called(roots: Roots, pid: int, requested: Requested, port: Value | Unknown) -> str:
    """The model's name as its users write it, with the port; empty if neither is known."""
    model = requested.text("alias").split(",")[0] or _of_file(roots, pid, requested.text("model")) or requested.text("hf_repo")
    known = isinstance(port, int) and port > 0
    return clean(f"{model}, port {port}" if model and known else model or (f"port {port}" if known else ""))[:_LONGEST]


def _of_file(roots: Roots, pid: int, path: str) -> str:
    if not path:
        return ""
    blob = _BLOB.fullmatch(path)
    if blob is not None:
        return _of_ollama(Path(inside(roots, pid, absolute(roots, pid, blob["models"]))), blob["digest"]) or blob["digest"][:19]
    return _ENDING.sub("", os.path.basename(path))  # noqa: PTH119 - the path may be no path of this machine


def _of_ollama(models: Path, digest: str) -> str:
    """Ollama's name of a model: manifests/HOST/NAMESPACE/MODEL/TAG holds the digests of its files (manifest/paths.go)."""
    wanted = digest.replace("-", ":", 1).encode()
    seen = 0
    for folder, folders, files in os.walk(models / "manifests"):
        if folder.count("/") - str(models).count("/") > 4:
            folders.clear()
        for name in files:
            seen += 1
            if seen > _MOST_MANIFESTS:
                return ""
            try:
                held = read_bytes(f"{folder}/{name}", _MOST_BYTES)
            except OSError:
                continue
            if wanted in held:
                host, _, rest = str(Path(folder).relative_to(models / "manifests")).partition("/")
                space, _, model = rest.partition("/")
                ours = host == "registry.ollama.ai"
                return f"{model}:{name}" if ours and space == "library" else f"{'' if ours else host + '/'}{rest}:{name}"
    return ""
