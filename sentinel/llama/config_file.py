"""llama.cpp's own configuration file, which b11434 and later apply before the environment and the command line. Pure.

common/arg.cpp, common_params_apply_system_config: /etc/llama.cpp/config.ini, then llama.cpp/config.ini in $XDG_CONFIG_HOME or in
~/.config; of each the section [*], then what stands before any section. A key is an option without its dashes, or its variable's
name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from sentinel.llama.flags import OPTION, OPTIONS, PRINT_AND_EXIT

SYSTEM = "/etc/llama.cpp/config.ini"
_SECTION = re.compile(r"\s*\[(?P<name>[^\]]*)\]\s*\Z")
_PAIR = re.compile(r"\s*(?P<key>[A-Za-z][\w.-]*)\s*=\s*(?P<value>.*?)\s*\Z")
_FALSE = frozenset({"off", "disabled", "false", "0", "no"})


def user_file(env: Mapping[str, str]) -> str:
    """Where the user's own file is; empty if the environment names no home."""
    if base := env.get("XDG_CONFIG_HOME", ""):
        return f"{base}/llama.cpp/config.ini"
    return f"{env['HOME']}/.config/llama.cpp/config.ini" if env.get("HOME", "").startswith("/") else ""


def words_of(text: str) -> list[str]:
    """The words of a command line that would do the same. What no option is called is left out, as llama-server does."""
    by_section: dict[str, list[tuple[str, str]]] = {"*": [], "": []}
    section = ""
    for line in text.splitlines():
        if line.lstrip()[:1] in ("", "#", ";"):
            continue
        if (head := _SECTION.match(line)) is not None:
            section = "" if head["name"] == "default" else head["name"]
        elif section in by_section and (pair := _PAIR.match(line)) is not None:
            by_section[section].append((pair["key"], pair["value"]))
    return [word for pairs in (by_section["*"], by_section[""]) for key, value in pairs for word in _words(key, value)]


def _words(key: str, value: str) -> Iterator[str]:
    flag = next((name for name in (f"--{key}", f"-{key}") if name in OPTION), "") or _of_variable(key)
    if not flag or flag in PRINT_AND_EXIT:
        return
    option = OPTION[flag]
    if max(option.words) > 0 and not (option.may_stand_alone and not value):
        yield from (flag, value)
    elif value.lower() not in _FALSE:
        yield flag
    elif negated := next((name for name in option.negated if name.startswith("--")), ""):
        yield negated


def _of_variable(name: str) -> str:
    return next((option.names[0] for option in OPTIONS if name in option.variables), "")
