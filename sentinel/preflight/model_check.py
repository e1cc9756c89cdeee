"""The model file of a command line: whether it exists, is complete, and can be read by this build."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sentinel.files.opener import Opener
from sentinel.gguf.header import GgufError, GgufHeader, read_header, read_model
from sentinel.memory.fit import FitNote
from sentinel.model.entity import Unknown
from sentinel.model.text import clean
from sentinel.preflight.build import unknown_names
from sentinel.preflight.command import Command
from sentinel.sources.fs import Roots

_SPLIT = re.compile(r"-(\d{5})-of-(\d{5})\.gguf\Z")
_MOST_SPLITS = 1024
#: Types in old files that llama.cpp removed (ggml.h, "support has been removed"): number -> name
_REMOVED = {
    4: "Q4_2",
    5: "Q4_3",
    31: "Q4_0_4_4",
    32: "Q4_0_4_8",
    33: "Q4_0_8_8",
    36: "IQ4_NL_4_4",
    37: "IQ4_NL_4_8",
    38: "IQ4_NL_8_8",
}
#: ggml.c writes type names in lower case, except the letter of the K types
_OWN_SPELLING = {"Q2_K": "q2_K", "Q3_K": "q3_K", "Q4_K": "q4_K", "Q5_K": "q5_K", "Q6_K": "q6_K", "Q8_K": "q8_K"}


@dataclass(frozen=True, slots=True)
class ModelFile:
    """The header, or why there is none; what is wrong with the file for this build."""

    path: str
    header: GgufHeader | Unknown
    whys: tuple[FitNote, ...] = ()


def read(command: Command, roots: Roots, known: GgufHeader | GgufError | None = None) -> ModelFile:
    """Read the header and check it against the file's size and the names in the program's libraries."""
    asked = command.requested
    named = asked.text("model")
    if not named:
        return ModelFile("", _unnamed(command))
    path, opener = command.path(roots, named), command.opener(roots)
    try:
        if isinstance(known, GgufError):
            raise known
        header = read_model(path, opener.open) if known is None else known
        if header.incomplete and header.metadata.get("split.count") in (None, 0, 1):
            # llama.cpp goes by the file's content, not by its name (llama-model-loader.cpp)
            header = read_header(path, opener.open)
    except GgufError as error:
        missing = _is_missing(path, opener)
        why = FitNote(
            "model-file-missing" if missing else "model-file-unreadable",
            f"{error}; {_advice(error, missing=missing)}",
            "fails",
            about="model",
        )
        return ModelFile(path, Unknown(str(error)), (why,))
    except ValueError:
        raise_as = f"{clean(named)!r:.200} is no name of a file"
        return ModelFile(path, Unknown(raise_as), (FitNote("model-file-missing", raise_as, "fails", about="model"),))
    return ModelFile(path, header, tuple(_problems(header, command)))


def _is_missing(path: str, opener: Opener) -> bool:
    try:
        opener.status(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _unnamed(command: Command) -> Unknown:
    asked = command.requested
    if command.env_unreadable:
        return Unknown(command.env_unreadable)
    if asked.is_router:
        return Unknown("no model is named: llama-server starts as a router, and each model that it loads is a server of its own")
    return Unknown(
        "the model is fetched by name: give its file with -m to have it judged (`--offline` servers keep it in their cache)"
    )


def _advice(error: GgufError, *, missing: bool) -> str:
    """Only of a file whose content is wrong is another copy any better."""
    if missing or error.kind == "no file":
        return "give the file with -m"
    if error.kind == "denied":
        return "let the user that runs llama-server read it, and each folder above it"
    return "fetch the file again"


def _problems(header: GgufHeader, command: Command) -> Iterator[FitNote]:
    if header.truncated:
        text = f"{header.truncated}; llama-server refuses it ('not within the file bounds'): fetch the file again"
        yield FitNote("model-file-truncated", text, "fails", about="model")
    if header.split_fault in ("missing", "denied", "no file"):
        what = "is missing" if header.split_fault == "missing" else "cannot be read"
        yield FitNote("model-split-missing", f"a part of the model {what}: {header.incomplete}", "fails", about="model")
    elif header.split_fault == "damaged":
        yield FitNote("model-split-damaged", f"a part of the model is damaged: {header.incomplete}", "fails", about="model")
    if header.arch and unknown_names(command.binary, [header.arch], ["libllama.so"]):
        text = f"this build does not know the architecture {clean(header.arch)!r:.60}: builds add them, update llama.cpp"
        yield FitNote("architecture-unknown", text, "fails", about="model")
    removed = [_REMOVED[number] for name in header.types if (number := _number(name)) in _REMOVED]
    if removed:
        text = f"llama.cpp no longer reads its tensors of type {removed[0]}: take another file of the model"
        yield FitNote("tensor-type-removed", text, "fails", about="model")
    names = {_OWN_SPELLING.get(name, name.lower()): name for name in header.types if _number(name) < 0}
    absent = unknown_names(command.binary, list(names), ["libggml-base.so", "libggml.so"])
    if absent:
        text = (
            f"this build does not know the tensor type {names[absent[0]]}: the file is younger than the build, update llama.cpp"
        )
        yield FitNote("tensor-type-unknown", text, "fails", about="model")


def _number(name: str) -> int:
    """The number of a type that has no name here, else -1."""
    return int(name.removeprefix("type ")) if name.startswith("type ") else -1


def parts(path: str) -> list[str]:
    """The file, or all splits if it is named as the first of them."""
    match = _SPLIT.search(path)
    count = int(match[2]) if match else 1
    if match is None or not 1 < count <= _MOST_SPLITS:
        return [path]
    return [f"{path[: match.start()]}-{number:05d}-of-{count:05d}.gguf" for number in range(1, count + 1)]
