"""Detects llama-server processes: by program file, names and mapped libraries."""

from __future__ import annotations

import os
import re
from enum import Enum

from sentinel.llama import tokenizer
from sentinel.llama.flags import PRINT_AND_EXIT
from sentinel.llama.runtime_table import RUNTIMES, Runtime
from sentinel.llama.runtimes import of_library, of_module, of_program
from sentinel.model.input_limits import MOST_WORDS
from sentinel.sources.fs import Roots, link, read_bytes
from sentinel.sources.processes.listening import ports

#: llama-server, llama-server-vulkan, llama-cpp-server, llama_cpp_server, llama-avx2-server, Nix's .llama-server-wrapped
_NAME = re.compile(r"\.?llama[-_](?:[\w.]+[-_])*server(?:[-_.][\w.-]+)?\Z")
#: the kernel's truncated form of a longer name (comm(5): 15 characters)
_CUT_NAME = re.compile(r"\.?llama[-_](?:[\w.]+[-_])*serve?r?")
_NOT_A_SERVER = re.compile(r"rpc|bench|client|test")
#: llamafile, ik_llama.cpp, llama-box and others by their own names
_OTHER_NAMES = re.compile("|".join(f"(?:{row.program})" for row in RUNTIMES if row.program))
#: Interpreters: a wrapper named llama-server is not the server it is about to start.
_PYTHON = re.compile(r"(?:python|pypy)[\d.]*\Z")
#: the loader of an Actually Portable Executable: llamafile
_LOADER = re.compile(r"ape(?:-.*)?\Z|\.ape-[\d.]+\Z")
#: llamafile and llama-box have these modes too
_NOT_SERVING = frozenset({b"--cli", b"--version", b"--help", b"-h"})
_INTERPRETER = re.compile(r"(?:perl|ruby|node|bun|deno|bash|dash|zsh|fish|sh|busybox|env|lua|tini|sudo)[\d.]*\Z")
#: Flags that no other program built on libllama has.
_SERVER_FLAGS = frozenset(
    {b"--port", b"--host", b"-np", b"--parallel", b"--metrics", b"--slots", b"--models-dir", b"--embedding", b"--alias"}
)

#: All that Ollama's search for GPUs passes, behind a random port (ollama: discover/llama_server.go).
_SEARCH = [b"--host", b"127.0.0.1", b"--no-webui", b"--offline", b"--verbose"]


class ProcessKind(Enum):
    """The answer for one process. MAYBE: a wrapper by that name, or something unreadable; check again at every poll.

    LATER: an interpreter, which may load a server at any time; check again in turn.
    """

    SERVER = "server"
    MAYBE = "maybe"
    LATER = "later"
    OTHER = "other"


def classify(roots: Roots, pid: int, comm: str, *, was_server: bool = False) -> ProcessKind:
    """Classify one process by the program it runs. `comm` is its kernel name, which a process may set freely.

    `was_server`: another process of the same file was a server, whatever it is called.
    """
    process = roots.proc / str(pid)
    named = is_server_name(comm)
    try:
        exe = link(process / "exe").removesuffix(" (deleted)")
    except FileNotFoundError:
        # a kernel thread, a zombie, or gone
        return ProcessKind.OTHER
    except OSError:
        # another user's process: only the names are readable
        return ProcessKind.SERVER if named or _first_word_is_server(roots, pid) else ProcessKind.OTHER
    program = os.path.basename(exe)  # noqa: PTH119 - called for each new process; Path would be ten times the work
    if _PYTHON.match(program):
        return _in_python(roots, pid, named)
    if _INTERPRETER.match(program):
        return ProcessKind.MAYBE if named else ProcessKind.OTHER
    if is_server_name(program):
        words = _words(roots, pid)
        return ProcessKind.OTHER if _lists_gpus_only(words) or _only_prints(words) else ProcessKind.SERVER
    if runtime_of(roots, pid, program) is not None:
        return ProcessKind.SERVER if _serves(roots, pid, program) else ProcessKind.MAYBE
    maps = _maps(roots, pid)
    if maps is None:
        return ProcessKind.SERVER if named else ProcessKind.OTHER
    if b"libllama-server-impl" in maps:
        # `llama` links all its subcommands, each in a library of its own (app/CMakeLists.txt)
        return ProcessKind.OTHER if program in ("llama", "ollama") and not named else ProcessKind.SERVER
    if b"/libllama.so" not in maps and not (program == "server" and b"/libggml" in maps):
        if was_server and _serves_by_its_flags(roots, pid, program):
            # It is looked at as it starts, before the loader has mapped anything.
            return ProcessKind.SERVER
        return ProcessKind.MAYBE if named else ProcessKind.OTHER
    if named or program == "server":
        return ProcessKind.SERVER
    return ProcessKind.SERVER if _serves_by_its_flags(roots, pid, program) else ProcessKind.OTHER


def _serves_by_its_flags(roots: Roots, pid: int, program: str) -> bool:
    """A program of any name that uses libllama and has a server's flags, and is none of llama.cpp's other tools."""
    if program == "llama" or program.startswith(("llama-", "whisper", "ollama")):
        return False
    return not _SERVER_FLAGS.isdisjoint(_words(roots, pid))


def runtime_of(roots: Roots, pid: int, program: str) -> Runtime | None:
    """The row of a server by another name, or inside an interpreter; None for llama-server itself and all other programs."""
    if _PYTHON.match(program):
        return of_module(_text(roots, pid)) or of_library(_maps(roots, pid) or b"")
    if _LOADER.match(program):
        # an Actually Portable Executable is run by a loader: the loader's file, then its own
        return next((row for word in _text(roots, pid)[:2] if (row := of_program(os.path.basename(word), ()))), None)  # noqa: PTH119
    return of_program(program, _text(roots, pid)[:2])


def _serves(roots: Roots, pid: int, program: str) -> bool:
    """A server by another name, not a loader, a client or a mode of the same program that serves nothing."""
    words = set(_words(roots, pid)[1:])
    if program.startswith("koboldcpp"):
        # its one file unpacks itself and starts itself again: the first process serves nothing
        return b"/koboldcpp_" in (_maps(roots, pid) or b"")
    return not words & _NOT_SERVING


def _only_prints(words: list[bytes]) -> bool:
    """`llama-server --list-devices`, and what `sentinel preflight` asks a build: it serves nothing and ends at once.

    Each was shown as an ended server in the status for ten minutes. ``--alias --version`` serves: there it is a value.
    """
    return any(word.flag in PRINT_AND_EXIT for word in tokenizer.words([os.fsdecode(word) for word in words[:MOST_WORDS]]))


def _lists_gpus_only(words: list[bytes]) -> bool:
    """Ollama's search for GPUs: a llama-server without a model, which it kills once it has read the list of devices.

    Nobody asks it anything, and what it would be blamed for is of the next start, whose lines are in the same log.
    """
    return words[1:2] == [b"--port"] and [word for word in words[3:] if word] == _SEARCH


def _in_python(roots: Roots, pid: int, named: bool) -> ProcessKind:
    words = _text(roots, pid)
    if of_module(words) is not None:
        return ProcessKind.SERVER
    if (maps := _maps(roots, pid)) is not None and of_library(maps) is not None and ports(roots, pid):
        return ProcessKind.SERVER
    return ProcessKind.MAYBE if named else ProcessKind.LATER


def is_server_name(name: str) -> bool:
    """True for llama-server by any of its names, whole or truncated to 15 characters."""
    match = _CUT_NAME.match(name) if len(name) == 15 else _NAME.match(name)
    return match is not None and _NOT_A_SERVER.search(name) is None


def may_be_server(comm: str, exe: str) -> bool:
    """Whether a program that was just started is worth a look, by its kernel name and its file: it is asked of every one."""
    program = exe.removesuffix(" (deleted)").rpartition("/")[2]
    return is_server_name(comm) or is_server_name(program) or _OTHER_NAMES.fullmatch(program) is not None


def _first_word_is_server(roots: Roots, pid: int) -> bool:
    words = _words(roots, pid)
    return bool(words) and is_server_name(os.path.basename(os.fsdecode(words[0])))  # noqa: PTH119


def _text(roots: Roots, pid: int) -> list[str]:
    return [os.fsdecode(word) for word in _words(roots, pid)]


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
