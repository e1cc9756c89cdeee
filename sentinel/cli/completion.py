"""`sentinel completion SHELL`: completion for bash, zsh and fish, made by shtab from the command line's own parser.

Names of rules, servers, silences and recordings are asked for when the key is pressed, by `sentinel completion --names KIND`.
bash expands the words it is offered (compgen -W): a name which a shell could take for more than a name is not offered at all.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from typing import Any

from sentinel.api import client
from sentinel.cli.main import CRITICAL, OK, parser
from sentinel.rulefiles.files import shipped
from sentinel.rulefiles.kinds import of_tests

#: What no shell does anything with. A name that begins with a dash would be an option.
_PLAIN = re.compile(r"[A-Za-z0-9_/][A-Za-z0-9_.:@%+/-]*")
#: What follows each placeholder of the parser; other placeholders are for what nobody can guess.
_FILES = ("FILE", "PATH", "OTHER")
_NAMES = {"RULE": "rules", "SERVER": "servers", "ID": "silences", "NAME": "recordings"}
#: kind: the path to ask, the list in the answer, and the name in each row
_ASKED = {
    "rules": ("/v1/rules", "rules", "id"),
    "servers": ("/v1/status", "servers", "name"),
    "silences": ("/v1/silences", "silences", "id"),
    "recordings": ("/v1/recordings", "recordings", "name"),
}


def main(arguments: argparse.Namespace) -> int:
    """Print the script, or names for it; without a daemon only those of the shipped rules are known."""
    if arguments.names:
        for name in sorted(set(names(arguments.names))):
            print(name)
        return OK
    if not arguments.shell:
        print("sentinel: name the shell: sentinel completion bash, zsh or fish", file=sys.stderr)
        return CRITICAL
    print(script(arguments.shell), end="")
    return OK


def script(shell: str) -> str:
    """The whole script."""
    import shtab

    top = parser()
    for action in _actions(top):
        placeholder = str(action.metavar or "")
        if placeholder in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif placeholder in _NAMES:
            asked = shtab.cmd(f"sentinel completion --names {_NAMES[placeholder]} 2>/dev/null")
            action.complete = asked  # type: ignore[attr-defined]
    return str(shtab.complete(top, shell))


def names(kind: str) -> Iterator[str]:
    """Names that can be completed."""
    path, rows, key = _ASKED[kind]
    answer: dict[str, Any] = {}
    try:
        _, answer = client.get(path)
    except client.DaemonUnreachable:
        if kind == "rules":
            yield from (path.stem for path in shipped().glob("*.toml") if not of_tests(str(path)))
    for row in answer.get(rows, ()):
        if _PLAIN.fullmatch(str(row[key])):
            yield str(row[key])


def _actions(top: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in top._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from _actions(verb)
