"""Detects llama-server processes: by program file, names and mapped libraries."""

from __future__ import annotations

import os
import re
from enum import Enum

from sentinel.sources.fs import Roots, link, read_bytes

#: llama-server, llama-server-vulkan, llama-cpp-server, llama_cpp_server, llama-avx2-server
_NAME = re.compile(r"llama[-_](?:[\w.]+[-_])*server(?:[-_.][\w.-]+)?\Z")
#: the kernel's truncated form of a longer name (comm(5): 15 characters)
_CUT_NAME = re.compile(r"llama[-_](?:[\w.]+[-_])*serve?r?")
_NOT_A_SERVER = re.compile(r"rpc|bench|client|test")
#: Interpreters: a wrapper named llama-server is not the server it is about to start.
_INTERPRETER = re.compile(r"(?:python|pypy|perl|ruby|node|bun|deno|bash|dash|zsh|fish|sh|busybox|env|lua|tini|sudo)[\d.]*\Z")
#: Flags that no other program built on libllama has.
_SERVER_FLAGS = frozenset(
    {b"--port", b"--host", b"-np", b"--parallel", b"--metrics", b"--slots", b"--models-dir", b"--embedding", b"--alias"}
)


class Kind(Enum):
    """The answer for one process. MAYBE: a wrapper by that name, or something unreadable; check again later."""

    SERVER = "server"
    MAYBE = "maybe"
    OTHER = "other"


def classify(roots: Roots, pid: int, comm: str) -> Kind:
    """Classify one process by the program it runs. `comm` is its kernel name, which a process may set freely."""
    process = roots.proc / str(pid)
    named = is_server_name(comm)
    try:
        exe = link(process / "exe").removesuffix(" (deleted)")
    except FileNotFoundError:
        # a kernel thread, a zombie, or gone
        return Kind.OTHER
    except OSError:
        # another user's process: only the names are readable
        return Kind.SERVER if named or _first_word_is_server(roots, pid) else Kind.OTHER
    program = os.path.basename(exe)  # noqa: PTH119 - called for each new process; Path would be ten times the work
    if _INTERPRETER.match(program):
        return Kind.MAYBE if named else Kind.OTHER
    if is_server_name(program):
        return Kind.SERVER
    maps = _maps(roots, pid)
    if maps is None:
        return Kind.SERVER if named else Kind.OTHER
    if b"libllama-server-impl" in maps:
        return Kind.SERVER
    if b"/libllama.so" not in maps and not (program == "server" and b"/libggml" in maps):
        return Kind.MAYBE if named else Kind.OTHER
    if named or program == "server":
        return Kind.SERVER
    if program.startswith(("llama-", "whisper", "ollama")):
        return Kind.OTHER
    return Kind.SERVER if _SERVER_FLAGS & set(_words(roots, pid)) else Kind.OTHER


def is_server_name(name: str) -> bool:
    """True for llama-server by any of its names, whole or truncated to 15 characters."""
    match = _CUT_NAME.match(name) if len(name) == 15 else _NAME.match(name)
    return match is not None and _NOT_A_SERVER.search(name) is None


def _first_word_is_server(roots: Roots, pid: int) -> bool:
    words = _words(roots, pid)
    return bool(words) and is_server_name(os.path.basename(os.fsdecode(words[0])))  # noqa: PTH119


def _words(roots: Roots, pid: int) -> list[bytes]:
    try:
        return read_bytes(f"{roots.proc}/{pid}/cmdline").split(b"\0")
    except OSError:
        return []


def _maps(roots: Roots, pid: int) -> bytes | None:
    try:
        return read_bytes(f"{roots.proc}/{pid}/maps", 4 << 20)
    except OSError:
        return None
