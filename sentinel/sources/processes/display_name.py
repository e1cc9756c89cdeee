"""The name of a server for people: its model and its port. Its identity is another (`naming.py`)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from sentinel.files.opener import NotRegular
from sentinel.files.reader import Reader
from sentinel.llama.command_line import Requested
from sentinel.model.entity import Unknown, Value
from sentinel.model.input_limits import MOST_DISPLAY_NAME, MOST_MANIFEST_BYTES, MOST_MANIFESTS
from sentinel.model.text import clean
from sentinel.sources.fs import Roots
from sentinel.sources.processes.paths import absolute, inside

#: a part of a split model, and the file's type
_ENDING = re.compile(r"(?:-\d{5}-of-\d{5})?\.gguf\Z", re.IGNORECASE)
#: Ollama keeps models under the digest of their file
_BLOB = re.compile(r"(?P<models>/.+)/blobs/(?P<digest>sha256-[0-9a-f]{64})\Z")


def display_name(roots: Roots, reader: Reader, requested: Requested, port: Value | Unknown) -> str:
    """The model's name as its users write it, with the port; empty if neither is known. `reader` opens what the process names."""
    model = requested.text("alias").split(",")[0] or _of_file(roots, reader, requested.text("model")) or requested.text("hf_repo")
    known = isinstance(port, int) and port > 0
    return clean(f"{model}, port {port}" if model and known else model or (f"port {port}" if known else ""))[:MOST_DISPLAY_NAME]


def _of_file(roots: Roots, reader: Reader, path: str) -> str:
    if not path:
        return ""
    blob = _BLOB.fullmatch(path)
    if blob is not None:
        pid = int(reader.process.name)
        models = inside(roots, pid, absolute(roots, pid, blob["models"]))
        return _of_ollama(reader, f"{models}/manifests", blob["digest"]) or blob["digest"][:19]
    return _ENDING.sub("", os.path.basename(path))  # noqa: PTH119 - the path may be no path of this machine


def _of_ollama(reader: Reader, manifests: str, digest: str) -> str:
    """Ollama's name of a model: manifests/HOST/NAMESPACE/MODEL/TAG holds the digests of its files (manifest/paths.go)."""
    wanted = digest.replace("-", ":", 1).encode()
    left = [MOST_MANIFESTS]
    for parts in _below(reader, manifests, (), left):
        try:
            fd = reader.open("/".join((manifests, *parts)))
        except (OSError, NotRegular, ValueError):
            continue
        try:
            held = os.read(fd, MOST_MANIFEST_BYTES)
        finally:
            os.close(fd)
        if wanted in held:
            host, space, model, tag = parts
            ours = host == "registry.ollama.ai"
            return f"{model}:{tag}" if ours and space == "library" else f"{'' if ours else host + '/'}{space}/{model}:{tag}"
    return ""


def _below(reader: Reader, folder: str, parts: tuple[str, ...], left: list[int]) -> Iterator[tuple[str, ...]]:
    """The files four levels below the folder; `left` is how many names are still looked at."""
    try:
        names = reader.listing("/".join((folder, *parts)), left[0])
    except (OSError, ValueError):
        return
    for name in names:
        left[0] -= 1
        if left[0] < 0:
            return
        if len(parts) == 3:
            yield (*parts, name)
        else:
            yield from _below(reader, folder, (*parts, name), left)
