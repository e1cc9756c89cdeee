"""A command line's llama-server: its version, the flags it accepts, its devices, the models that it can read.

The program itself is run if that is safe (`safe_program`): with ``--version`` appended it parses every flag and then
exits, which shows exactly what it accepts; ``--help`` and ``--list-devices`` provide the rest.
Its libraries are searched for the names of architectures and types, which they store as plain text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from sentinel.llama.builds import build_of
from sentinel.llama.flags import OPTION, OPTIONS, PRINT_AND_EXIT, WITH_EFFECT, takes
from sentinel.llama.tokenizer import words
from sentinel.model.entity import Unknown
from sentinel.model.text import clean
from sentinel.preflight.command import Command
from sentinel.preflight.device import BuildDevice
from sentinel.preflight.run_program import run
from sentinel.preflight.safe_program import Program, Unsafe, open_anyway, open_program

_VARIABLES_WITH_EFFECT = frozenset(variable for flag in WITH_EFFECT for variable in OPTION[flag].variables)
_FILE_VARIABLES = frozenset(
    variable for option in OPTIONS if any(name.endswith("-file") for name in option.names) for variable in option.variables
)
#: Refused flags found in one command line at most.
_MOST_REFUSALS = 8
_DEVICE = re.compile(r"^ {2}([A-Za-z]+\d+): (.{0,200}?) \((\d+) MiB, (\d+) MiB free\)$", re.MULTILINE)
_VERSION = re.compile(r"^version: (.{0,200})$", re.MULTILINE)
_HELP_FLAGS = re.compile(r"^(--?[A-Za-z][\w.-]*(?:, +-[\w.-]+)*)(?: (\S.*?))?(?: {2,}.*)?$")
_INVALID = re.compile(r"error: invalid argument: (.*)")
_HANDLING = re.compile(r'error while handling (argument|environment variable) "([^"]*)": (?:error: )?(.*)')
#: Larger libraries are not searched for names (a build with CUDA linked in has about 600 MB).
_MOST_LIBRARY = 1 << 30


@dataclass(frozen=True, slots=True)
class RefusedFlag:
    """The build's own error message about a flag (or a variable)."""

    flag: str
    said: str
    #: index in the command line, -1 for a variable
    at: int = -1


@dataclass(frozen=True, slots=True)
class Build:
    """`version` is the program's own text; `flags` maps each flag of its help to whether it takes a value."""

    version: str | Unknown
    number: int | None = None
    flags: Mapping[str, bool] | Unknown = field(default_factory=dict)
    deprecated: frozenset[str] = frozenset()
    devices: tuple[BuildDevice, ...] | Unknown = ()
    #: names of GPU backends beside it: hip, cuda, vulkan, ...
    backends: frozenset[str] = frozenset()
    refusals: tuple[RefusedFlag, ...] = ()
    #: its backends are separate libraries
    is_split: bool = False

    def accepts(self, flag: str) -> bool | None:
        """Whether it accepts the flag; by its build number if its help is unknown; None: unknown."""
        if not isinstance(self.flags, Unknown):
            return flag in self.flags
        return None if self.number is None else takes(flag, self.number)


def ask(command: Command) -> Build:
    """Run the program of the command line. One that must not be run is identified by its files alone."""
    if not command.may_ask or command.binary is None:
        return unasked(command)
    env = _absolute(quiet(command.env), command.folder)
    try:
        with (open_anyway if command.ask_anyway else open_program)(command.binary, env) as program:
            return _asked(command, program)
    except Unsafe as why:
        return unasked(command, str(why))


def _asked(command: Command, program: Program) -> Build:
    assert command.binary is not None
    backends = backends_beside(command.binary)
    name = str(command.binary)
    given = _harmless(command.argv, command.folder)
    # a variable that it refuses would end the other three as well
    bare = replace(program, env={name: value for name, value in program.env.items() if not name.startswith("LLAMA_")})
    asked: list[tuple[Program, list[str]]] = [
        (program, [*(word for _, word in given), "--version"]),
        (bare, ["--help"]),
        (bare, ["--list-devices"]),
        (bare, ["--version"]),
    ]
    with ThreadPoolExecutor(len(asked)) as pool:
        whole, usage, listed, said = pool.map(lambda one: run(one[0], one[1], name), asked)
    if isinstance(said, Unknown):
        return Build(said, None, said, devices=said, backends=backends)
    version = _VERSION.search(said[1])
    if version is None:
        why = Unknown(f"{clean(name)} does not answer --version as llama-server does")
        return Build(why, None, why, devices=why, backends=backends)
    flags, deprecated = parse_help(usage[1]) if not isinstance(usage, Unknown) else (usage, frozenset[str]())
    return Build(
        clean(version[1]),
        build_of(version[1]),
        flags,
        deprecated,
        parse_devices(listed[1]) if not isinstance(listed, Unknown) else listed,
        backends,
        _refusals(program, name, given, whole, flags),
        _is_split(command.binary),
    )


def unasked(command: Command, unsafe: str = "") -> Build:
    """What the program's files alone show. `unsafe`: why it must not be run."""
    why = Unknown(_not_asked(command, unsafe))
    return Build(why, None, why, devices=why, backends=backends_beside(command.binary), is_split=_is_split(command.binary))


def _is_split(binary: Path | None) -> bool:
    """Its backends are separate libraries, so a missing library means a missing backend."""
    return binary is not None and any(
        next(folder.glob("libggml-base.so*"), None) is not None for folder in _library_folders(Path(os.path.realpath(binary)))
    )


def parse_devices(text: str) -> tuple[BuildDevice, ...] | Unknown:
    """Decode the output of ``--list-devices`` (common/arg.cpp)."""
    if "Available devices:" not in text:
        return Unknown("the build does not know --list-devices (it came in January 2025)")
    return tuple(
        BuildDevice(name, int(free) << 20, int(total) << 20, about=clean(about))
        for name, about, total, free in _DEVICE.findall(text)
    )


def parse_help(text: str) -> tuple[Mapping[str, bool], frozenset[str]]:
    """Flags of ``--help`` with whether a value follows, and the deprecated ones."""
    flags: dict[str, bool] = {}
    deprecated: set[str] = set()
    current: list[str] = []
    for line in text.splitlines():
        match = _HELP_FLAGS.match(line)
        if match is not None:
            current = [word.strip() for word in match[1].split(",")]
            # the description of a flag that fills its column is on the next line
            value = match[2] is not None and not match[2].startswith(("DEPRECATED", "("))
            flags |= dict.fromkeys(current, value)
        elif not line.startswith(" "):
            current = []
        if current and "DEPRECATED" in line:
            deprecated.update(current)
    return flags, frozenset(deprecated)


def _refusals(
    program: Program,
    name: str,
    given: list[tuple[int, str]],
    first: tuple[int, str] | Unknown,
    flags: Mapping[str, bool] | Unknown,
) -> tuple[RefusedFlag, ...]:
    """Every flag that the program refuses, with its own message: it parses them all, then exits at --version."""
    env, found, said = dict(program.env), list[RefusedFlag](), first
    while not isinstance(said, Unknown) and said[0] != 0 and len(found) < _MOST_REFUSALS:
        one = _refusal(said[1], given)
        if one is None:
            break
        found.append(one)
        if one.at < 0:
            env.pop(one.flag, None)
        else:
            given = _less(given, one, flags)
        said = run(replace(program, env=env), [*(word for _, word in given), "--version"], name)
    return tuple(found)


def _less(given: list[tuple[int, str]], one: RefusedFlag, flags: Mapping[str, bool] | Unknown) -> list[tuple[int, str]]:
    """The words without the refused flag and its value, actual or intended, unless that is itself a flag."""
    index = next(i for i, (at, _) in enumerate(given) if at == one.at)
    after = given[index + 1][1] if index + 1 < len(given) else "-"
    known = flags if not isinstance(flags, Unknown) else {}
    has_value = known.get(one.flag, not after.startswith("-"))
    return given[:index] + given[index + (2 if has_value and after not in known and after != "-" else 1) :]


def _refusal(text: str, given: Sequence[tuple[int, str]]) -> RefusedFlag | None:
    match = _INVALID.search(text)
    if match is not None:
        flag, said = match[1], "it does not know this argument"
    else:
        match = _HANDLING.search(text)
        if match is None:
            return None
        flag, said = match[2], match[3]
        if match[1] != "argument":
            return RefusedFlag(clean(flag)[:80], clean(said)[:200])
    said = {"stoi": "it is no whole number", "stof": "it is no number"}.get(said, said)
    spelled = [at for at, word in given if word == flag or (word.startswith("--") and word.replace("_", "-") == flag)]
    return RefusedFlag(clean(flag)[:80], clean(said)[:200], spelled[-1 if match.re is _HANDLING else 0]) if spelled else None


def _harmless(argv: Sequence[str], folder: Path) -> list[tuple[int, str]]:
    """The words after the program with their indices, without those whose parsing has side effects. Files are named in full: it
    is not run in the command's folder.
    """
    kept = []
    for word in words(argv):
        if word.flag not in WITH_EFFECT | PRINT_AND_EXIT:
            values = tuple(str(folder / value) for value in word.values) if _reads_file(word.flag) else word.values
            kept += list(enumerate((argv[word.at], *values), word.at))
    return kept


def _reads_file(flag: str) -> bool:
    option = OPTION.get(flag)
    return option is not None and any(name.endswith("-file") for name in option.names)


def _absolute(env: Mapping[str, str], folder: Path) -> dict[str, str]:
    return {name: str(folder / value) if name in _FILE_VARIABLES else value for name, value in env.items()}


def quiet(env: Mapping[str, str]) -> dict[str, str]:
    """The environment without variables that would write a file or connect somewhere."""
    return {name: value for name, value in env.items() if name not in _VARIABLES_WITH_EFFECT}


def _not_asked(command: Command, unsafe: str) -> str:
    name = clean(command.argv[0]) if command.argv else "llama-server"
    if command.binary is None:
        missing = f"there is no program {name}" if "/" in name else f"{name} is not installed here or cannot be found in PATH"
        return f"{missing}: which flags it takes and which devices it has is not known"
    if unsafe:
        return f"{clean(str(command.binary))} was not asked: {unsafe}; --ask-build asks it all the same"
    return f"a program of another user, or in a container, is not run: as its owner `sentinel preflight -- {name} ...` asks it"


def backends_beside(binary: Path | None) -> frozenset[str]:
    """GPU backends whose libraries are beside the program (or in the lib folder next to its own)."""
    if binary is None:
        return frozenset()
    real = Path(os.path.realpath(binary))
    found = set()
    for folder in _library_folders(real):
        for path in folder.glob("libggml-*.so*"):
            match = re.match(r"libggml-(hip|cuda|vulkan|sycl|opencl|musa|cann)\b", path.name)
            if match is not None:
                found.add(match[1])
    return frozenset(found)


def _library_folders(real: Path) -> tuple[Path, ...]:
    return (real.parent, real.parent.parent / "lib", real.parent.parent / "lib64")


def unknown_names(binary: Path | None, names: Sequence[str], libraries: Sequence[str]) -> list[str]:
    """The names that the program's library does not hold; none if it cannot be searched.

    llama.cpp stores architectures and tensor types as text (src/llama-arch.cpp, ggml.c), ended by a zero byte. Linkers merge a
    text with the end of a longer one, so a match may be part of another name: only absence is certain.
    """
    if binary is None or not names:
        return []
    real = Path(os.path.realpath(binary))
    files = [folder / library for library in libraries for folder in _library_folders(real)]
    # without a library of its own, everything is linked into the program
    path = next((path for path in files if path.is_file()), real)
    try:
        if path.stat().st_size > _MOST_LIBRARY:
            return []
        content = path.read_bytes()
    except OSError:
        return []
    if b"q4_0\0" not in content and b"deepseek2\0" not in content:
        # not a library of llama.cpp, a script or a packed program: what it does not hold proves nothing
        return []
    return [name for name in names if name.encode("utf-8", "replace") + b"\0" not in content]
