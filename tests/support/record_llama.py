"""Records what one build of llama.cpp knows: its flags (an option a line: names, how many words follow, variables), its models.

    record_llama.py help llama-server          asks the program (its libraries are found by LD_LIBRARY_PATH)
    record_llama.py source common/arg.cpp      reads the source, for a build that cannot be had as a program
    record_llama.py library FILE arg.cpp       lists the names that stand in a library, less those that arg.cpp, the source of
                                               a build close to it, gives to other programs alone; how many words is unknown

    record_llama.py architectures src/llama-arch.cpp

"removed" stands for a flag that is still there only to say so and to end the start. The files tests/llama/flags/bNNNNN.txt and
tests/llama/architectures/ were made by it; the tests beside them hold the tables against them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

Option = tuple[list[str], str, list[str]]
_NAME = re.compile(r"(--?[A-Za-z][\w.-]*)(,\s+)?")
#: the placeholders of the only option of the server that takes two words
_PAIR = "START END"
_REMOVED = "the argument has been removed"


def from_help(text: str) -> Iterator[Option]:
    """Each head of --help stands at the start of a line; the variable in brackets somewhere below it."""
    for block in re.split(r"\n(?=-)", text):
        head, at, names = block.splitlines()[0], 0, list[str]()
        while (match := _NAME.match(head, at)) and (not at or head[at - 1] in ", "):
            names.append(match[1])
            at = match.end()
            if not match[2]:
                break
        hint = head[at:]
        values = "2" if hint.startswith(f" {_PAIR}") else "1" if re.match(r" \S", hint) else "0"
        values = "removed" if _REMOVED in block else values
        if names and block.startswith("-") and not block.startswith("---"):
            yield names, values, re.findall(r"\(env: (\w+)\)", block)


def from_source(text: str) -> Iterator[tuple[Option, bool]]:
    """Every option of common/arg.cpp, and whether the server takes it."""
    for block in re.split(r"add_opt\((?:common|llama)_arg\(", text)[1:]:
        call = re.sub(r"/\*.*?\*/|^\s*//.*$", "", block.split("\n    add_opt", 1)[0], flags=re.MULTILINE)
        lists = re.match(r"\s*\{([^}]*)\}\s*,\s*(?:\{([^}]*)\})?", call)
        handler = re.search(r"\[[^\]]*\]\s*\((?:common|gpt)_params ?&\s*\w*(?:,([^)]*))?\)", call)
        if lists is None or handler is None:
            continue
        names = re.findall(r'"([^"]+)"', f"{lists[1]} {lists[2] or ''}")
        takes = (handler[1] or "").strip()
        values = "removed" if _REMOVED in call else "2" if "," in takes else "0" if not takes or takes.startswith("bool") else "1"
        examples = re.search(r"set_examples\(([^)]*)\)", call)
        excludes = re.search(r"set_excludes\(([^)]*)\)", call)
        own = examples is None or bool(re.search(r"EXAMPLE_(SERVER|COMMON)\b|mmproj_examples", examples[1]))
        own = own and not (excludes and "EXAMPLE_SERVER" in excludes[1])
        yield (names, values, re.findall(r'set_env\("(\w+)"\)', call)), own


def from_library(content: bytes, source: str) -> Iterator[Option]:
    """Names as a compiler leaves them: each text once, in the order of the source, ended by a zero byte."""
    texts = [match[1].decode() for match in re.finditer(rb"\0([!-~]{2,80})(?=\0)", content)]
    first, last = texts.index("--completion-bash"), max(i for i, text in enumerate(texts) if text.startswith("LLAMA_ARG_"))
    options = list(from_source(source))
    taken = {name for (names, _, _), own in options if own for name in names}
    others = {name for (names, _, _), own in options if not own for name in names} - taken
    names = [text for text in texts[first : last + 1] if _NAME.fullmatch(text) and text not in others]
    # a short name may stand far from here, where another text is the same
    names += [name for name in sorted(taken - set(names)) if name in texts]
    theirs = {variable for (_, _, variables), own in options if not own for variable in variables}
    variables = {text for text in texts if re.fullmatch(r"LLAMA_(ARG|LOG|API)_\w*[A-Z]", text)} - theirs
    for group in _in_groups(sorted(set(names))):
        yield group, "?", []
    for group in _in_groups(sorted(variables)):
        yield [], "?", group


def _in_groups(found: list[str], size: int = 8) -> Iterator[list[str]]:
    yield from (found[at : at + size] for at in range(0, len(found), size))


def shown(program: str, env: Mapping[str, str]) -> list[Option]:
    """What a program's own help says."""
    done = subprocess.run([program, "--help"], capture_output=True, text=True, check=True, timeout=60, env=dict(env))
    return list(from_help(done.stdout))


def main(kind: str, *paths: str) -> None:
    """Print the record."""
    if kind == "architectures":
        names = Path(paths[0]).read_text(encoding="utf-8").split("LLM_ARCH_NAMES = {")[1].split("};")[0]
        print("\n".join(" ".join(group) for group in _in_groups(sorted(re.findall(r'"([^"(]+)"', names)))))
        return
    if kind == "help":
        options = shown(paths[0], os.environ)
    elif kind == "source":
        options = [option for option, own in from_source(Path(paths[0]).read_text(encoding="utf-8")) if own]
    else:
        options = list(from_library(Path(paths[0]).read_bytes(), Path(paths[1]).read_text(encoding="utf-8")))
    print("\n".join(sorted({" ".join([*names, values, *variables]) for names, values, variables in options})))


if __name__ == "__main__":
    main(*sys.argv[1:])
