"""Whether a program may be run to ask it something, and with which environment: a stranger must not choose what runs as us.

Each folder and symbolic link on the way to it, the program, its loader and each library that it loads must belong to root or to
us and be writable by no other user; a sticky folder may be, such as /tmp, unless the program or library is directly in it. What
was judged is what runs: the descriptor is executed, not the path.
"""

from __future__ import annotations

import os
import pwd
import re
import stat
import struct
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from sentinel.files.own_folder import NotOwn, Owner
from sentinel.files.walk import open_root, reopen, walk
from sentinel.model.text import clean

#: Variables that are passed on: which GPUs, how they are used, and the settings of llama-server. None names a file to load.
_PASSED = re.compile(
    r"(?:LLAMA_ARG_\w+|GGML_(?:CUDA|VK|SYCL|CANN|MUSA|CPU|SCHED|OP)_\w+|(?:CUDA|HIP|ROCR|MUSA)_VISIBLE_DEVICES|CUDA_DEVICE_ORDER"
    r"|GPU_DEVICE_ORDINAL|HSA_(?:OVERRIDE_GFX_VERSION\w*|ENABLE_SDMA|XNACK)|ZE_AFFINITY_MASK|ZES_ENABLE_SYSMAN"
    r"|ONEAPI_DEVICE_SELECTOR|AMD_VULKAN_ICD|RADV_PERFTEST|LANG|LC_ALL)\Z"
)
#: Variables of which those paths are passed on that are safe.
_PATHS = frozenset({"LD_LIBRARY_PATH", "GGML_BACKEND_PATH", "GGML_BACKEND_DIR", "VK_ICD_FILENAMES", "VK_DRIVER_FILES"})
_SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PATIENCE = 8.0
_MOST_LIBRARIES = 512
_LIBRARY = re.compile(r"lib[^/]*\.so[^/]*\Z")
#: ld.so --list: "libx.so => /path (0x...)", "/path (0x...)", "linux-vdso.so.1 (0x...)", "libx.so => not found"
_LISTED = re.compile(r"\t(?:\S+ => )?(?P<path>/.*) \(0x[0-9a-f]+\)\Z|\t[\w.-]+ \(0x[0-9a-f]+\)\Z|\tstatically linked\Z")
_NOT_FOUND = re.compile(r"\t(\S+) => not found\Z")


class Unsafe(Exception):
    """It must not be run. The text says why, as the second half of a sentence."""


@dataclass(slots=True)
class Program:
    """An opened program that may be run. `env` is what it is given, `dropped` the parts of search paths that it is not."""

    path: str
    fd: int
    env: dict[str, str]
    dropped: tuple[str, ...] = field(default=())

    def __enter__(self) -> Program:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self.fd)


def open_program(binary: Path, env: Mapping[str, str]) -> Program:
    """Open a program that is safe to run, with its environment. Raises Unsafe."""
    fd = _open(str(binary))
    try:
        path = os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 - may hold what no Path keeps
        loader = _loader(fd)
        for beside in _beside(path):
            check(beside)
        passed, dropped = environment(env)
        if loader:
            check(loader)
            for library in _listed(loader, path, passed, dropped):
                check(library)
    except BaseException:
        os.close(fd)
        raise
    return Program(path, fd, passed, dropped)


def open_anyway(binary: Path, env: Mapping[str, str]) -> Program:
    """Open a program without judging it, with the whole environment: somebody asked for that. Raises Unsafe."""
    try:
        fd = os.open(binary, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Unsafe(f"it cannot be opened ({error.strerror})") from None
    return Program(str(binary), fd, dict(env))


def environment(env: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """What is passed on of an environment, and the parts of search paths that are not, each with its variable."""
    passed = {name: value for name, value in env.items() if _PASSED.match(name) and "\0" not in value}
    dropped: list[str] = []
    for name in sorted(_PATHS & env.keys()):
        kept = []
        for part in re.split(r"[:;]", env[name]):
            try:
                check(part)
            except Unsafe as why:
                dropped.append(f"{name} with {clean(part)!r:.80}: {why}")
            else:
                kept.append(part)
        if kept:
            passed[name] = ":".join(kept)
    passed["PATH"] = _SEARCH
    try:
        passed["HOME"] = pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        passed["HOME"] = "/"
    return passed, tuple(dropped)


def check(path: str) -> None:
    """Raises Unsafe unless only root and we could have written the file or folder, and everything on the way to it."""
    if not path.startswith("/"):
        raise Unsafe("it is looked up in the current folder" if not path else "it depends on the current folder")
    os.close(_safe(path))


def _open(path: str) -> int:
    fd = _safe(path)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Unsafe("it is not a regular file")
        opened = reopen(fd)
    except OSError as error:
        raise Unsafe(f"it cannot be read ({error.strerror})") from None
    finally:
        os.close(fd)
    if os.pread(opened, 4, 0) != b"\x7fELF":
        os.close(opened)
        raise Unsafe("it is a script, or no program")
    return opened


def _safe(path: str) -> int:
    """The object at a path, opened with O_PATH. Raises Unsafe."""
    root, owner = open_root(), Owner()
    try:
        found = walk(path, root, root, owner.judge_passed, owner.judge_link)
    except NotOwn as why:
        raise Unsafe(str(why)) from None
    except (OSError, ValueError) as error:
        raise Unsafe(f"{clean(path)} cannot be opened ({getattr(error, 'strerror', None) or error})") from None
    finally:
        os.close(root)
    try:
        status = os.fstat(found.fd)
        owner.judge(found.fd, status)
        if not stat.S_ISDIR(status.st_mode):
            # Sticky or not: another user could add a library to it, which llama.cpp or the loader finds there by its name.
            owner.judge(found.folder, os.fstat(found.folder))
    except NotOwn as why:
        os.close(found.fd)
        raise Unsafe(str(why)) from None
    except BaseException:
        os.close(found.fd)
        raise
    finally:
        os.close(found.folder)
    return found.fd


def _beside(path: str) -> list[str]:
    """The libraries in the program's folder: llama.cpp loads its backends from there by name."""
    folder = os.path.dirname(path)  # noqa: PTH120
    names = sorted(name for name in os.listdir(folder) if _LIBRARY.match(name))  # noqa: PTH208
    if len(names) > _MOST_LIBRARIES:
        raise Unsafe(f"{len(names)} libraries are beside it, more than {_MOST_LIBRARIES}")
    return [f"{folder}/{name}" for name in names]


def _loader(fd: int) -> str:
    """The program that the kernel starts for it (PT_INTERP, elf(5)); empty for one that is linked statically. Raises Unsafe."""
    head = os.pread(fd, 64, 0)
    try:
        wide, order = {1: False, 2: True}[head[4]], {1: "<", 2: ">"}[head[5]]
        (start,) = struct.unpack_from(order + ("Q" if wide else "I"), head, 32 if wide else 28)
        size, count = struct.unpack_from(order + "HH", head, 54 if wide else 42)
        for number in range(min(count, 128)):
            entry = os.pread(fd, size, start + number * size)
            if struct.unpack_from(order + "I", entry)[0] == 3:
                at, length = (8, 32) if wide else (4, 16)
                code = order + ("Q" if wide else "I")
                offset, length = struct.unpack_from(code, entry, at)[0], struct.unpack_from(code, entry, length)[0]
                return os.fsdecode(os.pread(fd, min(length, 4096), offset).split(b"\0")[0])
    except (KeyError, IndexError, struct.error, OSError, OverflowError):
        raise Unsafe("its headers are damaged") from None
    return ""


def _listed(loader: str, program: str, env: Mapping[str, str], dropped: Sequence[str]) -> list[str]:
    """The libraries that the loader takes for it, nothing of them being run (ld.so(8), --list). Raises Unsafe."""
    try:
        done = subprocess.run(
            [loader, "--list", program], env=dict(env), cwd="/", stdin=subprocess.DEVNULL, capture_output=True,
            timeout=_PATIENCE, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        raise Unsafe(f"which libraries it loads cannot be asked of {clean(loader)}") from None
    found = []
    for line in os.fsdecode(done.stdout).splitlines():
        missing = _NOT_FOUND.match(line)
        if missing is not None:
            without = f"; not searched: {'; '.join(dropped)}" if dropped else ""
            raise Unsafe(f"its library {clean(missing[1])} is in no folder that is searched safely{without}")
        match = _LISTED.match(line)
        if match is None:
            raise Unsafe(f"what {clean(loader)} says of its libraries is not understood")
        if match["path"]:
            found.append(match["path"])
    return found
