"""Unpacks pasted text: an issue with a log in code fences, with a compose file, a unit or a command line. Pure.

Lines keep their numbers: what is not part of a log becomes an empty line, but for those that hand a GPU to the container.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

_FENCE = re.compile(r"\s{0,3}(?:>\s?)?(```+|~~~+)")
#: A log line outside every fence: then the fences belong to a prompt, and the file is a log.
_LIKE_A_LOG = re.compile(
    r"\d+\.\d\d\.\d{3}\.\d{3} |srv  |slot  |llama_|ggml_|load_tensors: |main: |[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d "
    r"|time=\d{4}-\d\d-\d\dT|\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d|\[GIN\] "
    r"|(?:INFO|WARN| ERR) +\[|load_backend: |print_info: |error: "
)
_MARKDOWN = re.compile(r"#{1,6} |<details>|</details>|\*\*|- \[[ xX]\] ")
_PROMPT = r"\s*(?:(?:[\w.-]+@[\w.-]+[^$#\n]{0,80})?[$#] |PS [^>\n]{0,200}> ?|[A-Z]:\\[^>\n]{0,200}> ?|> )?"
_BEFORE = r"(?:[A-Za-z_]\w*=\S+ +|sudo +|env +|exec +|nohup +|time +)*"
_COMMAND = re.compile(rf"{_PROMPT}(?P<line>{_BEFORE}[\"']?[^\s\"'=]*llama-server(?:\.exe)?[\"']?(?:\s+-.*|\s*[\\^`]\s*)$)")
_CONTINUES = re.compile(r"\s[\\^`]\s*$")
_OLLAMA = re.compile(r'msg="starting (?:llama[- ]server|runner)" cmd="(?P<line>(?:[^"\\]|\\.)*)"')
_UNIT = re.compile(r"(?m)^\[Service\]\s*$")
_COMPOSE = re.compile(r"(?m)^services:\s*$")
_VARIABLE = re.compile(r"^\s*-?\s*[\"']?(?P<name>LLAMA_ARG_[A-Z0-9_]+)[\"']?\s*[:=]\s*[\"']?(?P<value>.*?)[\"']?\s*$")
_UNIT_VARIABLE = re.compile(r"(LLAMA_ARG_[A-Z0-9_]+)=([^\s\"']*)")
#: The only lines of a compose file that are read as part of the log: the event container_asks_for_nvidia says what they mean.
_ASKS_FOR_GPU = re.compile(r"\s*(?:- )?(?:driver|runtime): *\"?nvidia\"?\s*$|\s*gpus: *\S")
_MOST_COMMANDS = 50


@dataclass(frozen=True, slots=True)
class Pasted:
    """An unpacked file. `log` is empty if the file only has the server's command line."""

    log: bytes
    words: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


def unpack(data: bytes) -> Pasted:
    """Unpack a file."""
    text = data.decode("utf-8", "replace")
    config = _config(text)
    if config is not None and not _like_a_log(text):
        return config
    lines = text.split("\n")
    if _is_issue(lines):
        return _issue(lines)
    commands = _commands(lines)
    if _COMPOSE.search(text):
        asking = _asking(lines)
        data = "\n".join("" if _ASKS_FOR_GPU.match(line) and line not in asking else line for line in lines).encode()
    return Pasted(data, commands[0] if len(set(commands)) == 1 else ())


def _asking(lines: Sequence[str]) -> frozenset[str]:
    """The lines of a compose file that hand a GPU to the server's container; another service may have one."""
    return frozenset(line for line in _service(lines) if _ASKS_FOR_GPU.match(line))


def _like_a_log(text: str) -> bool:
    return any(_LIKE_A_LOG.match(line) for line in text.split("\n"))


def _is_issue(lines: Sequence[str]) -> bool:
    fences = [number for number, line in enumerate(lines) if _FENCE.match(line)]
    if len(fences) < 2:
        return False
    outside, inside = [], False
    for line in lines:
        if _FENCE.match(line):
            inside = not inside
        elif not inside:
            outside.append(line)
    return not any(_LIKE_A_LOG.match(line) for line in outside) or any(_MARKDOWN.match(line) for line in outside[:20])


def _issue(lines: Sequence[str]) -> Pasted:
    """Fenced blocks are logs, except those with the server's command line."""
    out = [""] * len(lines)
    words: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    begin: int | None = None
    for number, line in enumerate([*lines, "```"]):
        if not _FENCE.match(line):
            continue
        if begin is None:
            begin = number + 1
            continue
        block = lines[begin:number]
        config = _config("\n".join(block))
        commands = _commands(block)
        if config is not None:
            words, environment = words or config.words, environment or config.environment
            asking = _asking(block)
            out[begin:number] = [line if line in asking else "" for line in block]
        elif commands and not _like_a_log("\n".join(block)):
            words = words or commands[0]
        else:
            out[begin:number] = block
            words = words or (commands[0] if len(set(commands)) == 1 else ())
        begin = None
    if begin is not None:
        out[begin:] = lines[begin:]
    words = words or next(iter(_commands([line for line, kept in zip(lines, out, strict=True) if not kept])), ())
    return Pasted("\n".join(out).encode(), words, environment)


def _commands(lines: Sequence[str]) -> list[tuple[str, ...]]:
    """Command lines of llama-server, as typed at a prompt or as logged by Ollama."""
    found: list[tuple[str, ...]] = []
    at = 0
    while at < len(lines) and len(found) < _MOST_COMMANDS:
        line = lines[at]
        at += 1
        if "llama" not in line or len(line) > 20_000:
            continue
        started = _OLLAMA.search(line)
        if started is not None:
            found.append(_words(_unescaped(started["line"])))
            continue
        typed = _COMMAND.match(line)
        if typed is None:
            continue
        whole = typed["line"]
        while _CONTINUES.search(whole) and at < len(lines):
            whole = whole.rstrip()[:-1] + " " + lines[at].strip()
            at += 1
        found.append(_words(whole))
    return [words for words in found if len(words) > 1]


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        return text


def _words(line: str) -> tuple[str, ...]:
    windows = "\\" in line and (".exe" in line or re.search(r"[A-Za-z]:\\", line) is not None)
    try:
        words = shlex.split(line, posix=not windows)
    except ValueError:
        words = line.split()
    return tuple(word.strip("\"'") for word in words)


def _config(text: str) -> Pasted | None:
    """The command line in a compose file or a unit; None for any other text."""
    if _UNIT.search(text) and "ExecStart=" in text:
        joined = re.sub(r"\\\n\s*", " ", text)
        start = re.findall(r"(?m)^ExecStart=[-@:+!]*(\S.*)$", joined)
        lines = [line for line in joined.split("\n") if line.startswith("Environment=")]
        return Pasted(b"", _words(start[-1]) if start else (), dict(_UNIT_VARIABLE.findall("\n".join(lines))))
    return _compose(text) if _COMPOSE.search(text) else None


def _compose(text: str) -> Pasted:
    block = _service(text.split("\n"))
    found = (match for line in block if (match := _VARIABLE.match(line)) is not None)
    words = _of_key(block, "command")
    program = any(re.search(r"llama-server(?:\.exe)?$", word) for word in words[:3])
    return Pasted(b"", words if program or not words else ("llama-server", *words), {m["name"]: m["value"] for m in found})


def _service(lines: Sequence[str]) -> list[str]:
    """The lines of the compose service that runs llama-server or Ollama."""
    services: list[list[str]] = []
    indent: int | None = None
    inside = False
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        depth = len(line) - len(line.lstrip())
        if depth == 0:
            inside = line.startswith("services:")
            continue
        if not inside:
            continue
        indent = depth if indent is None else indent
        if depth <= indent:
            services.append([])
        services[-1].append(line)
    return next((one for one in services if any("llama" in line for line in one)), [])


def _of_key(block: Sequence[str], key: str) -> tuple[str, ...]:
    """The words of a YAML key in its usual forms: a line, a folded scalar, a flow list or a block list."""
    for number, line in enumerate(block):
        if not line.strip().startswith(f"{key}:"):
            continue
        depth = len(line) - len(line.lstrip())
        rest = line.strip()[len(key) + 1 :].strip()
        below = []
        for more in block[number + 1 :]:
            if len(more) - len(more.lstrip()) <= depth and not (more.strip().startswith("- ") and not rest):
                break
            below.append(more.strip())
        if rest.startswith("["):
            return tuple(_bracketed(" ".join([rest, *below])))
        if rest and rest[0] not in ">|":
            return _words(" ".join([rest, *below]))
        if any(one.startswith("- ") for one in below):
            return tuple(word for one in below if one.startswith("- ") for word in _words(one[2:]))
        return _words(" ".join(one.rstrip("\\") for one in below))
    return ()


def _bracketed(text: str) -> list[str]:
    found = re.findall(r"\"([^\"]*)\"|'([^']*)'|([^\s,\[\]\"']+)", text)
    return [next(filter(None, groups), "") for groups in found]
