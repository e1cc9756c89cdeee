"""The parser of the command line, and what it answers to a mistake."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

import sentinel
from sentinel.cli.verbs import VERBS

_EPILOG = """\
exit codes: 0 ok, 1 warning, 2 critical or a mistake in the input, 3 unknown or no daemon

  sentinel status                  is all well, and if not: what is wrong and what to do
  sentinel diagnose server.log     what a log says, without a daemon
  sentinel VERB --help             options and examples
"""


#: of the examples, which stand as they are on any terminal
_COLUMNS = 80


class _Help(argparse.RawDescriptionHelpFormatter):
    """Leaves the examples as they are, and wraps what a verb is about.

    It knows the terminal's width: argparse would load shutil to ask for it, for each verb, and with that three compressors.
    """

    def __init__(self, prog: str) -> None:
        from sentinel.terminal.style import style_for

        super().__init__(prog, width=style_for(sys.stdout).width - 2)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n  " in text:
            return super()._fill_text(text, width, indent)
        return argparse.HelpFormatter._fill_text(self, text, width, indent)


class Parser(argparse.ArgumentParser):
    """Answers a mistake with one sentence that names what was meant, instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        """End with 2."""
        line = f"sentinel: error: {self._plain(message)}; `{self.prog} --help` has examples"
        rows = [line]
        if sys.stderr.isatty():
            from sentinel.terminal.style import style_for, wrap

            rows = wrap(line, style_for(sys.stderr).prose, "", "  ")
        self.exit(2, "\n".join(rows) + "\n")

    def _plain(self, message: str) -> str:
        """argparse's words about the action of a verb, as a person would say it."""
        actions = next((list(one.choices or ()) for one in self._actions if one.dest == "action"), [])
        if not actions or "ACTION" not in message:
            return message
        wrong = message.split("invalid choice: '")[1:]
        which = f"one of {', '.join(actions)}"
        if not wrong:
            return f"{self.prog.split()[-1]!r} needs {which}"
        word = wrong[0].split("'")[0]
        meant = _meant(word, actions)
        return f"there is no {word!r} here{meant or f'; {which}'}"

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """As argparse, but an option that is not there is answered by the verb, which knows what was meant."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown and self._defaults.get("call"):
            known = [word for action in self._actions for word in action.option_strings]
            self.error(f"there is no {unknown[0]!r} here{_meant(unknown[0], known)}")
        return found, unknown


def parser(only: str = "") -> argparse.ArgumentParser:
    """The parser with every verb; with only that one, if `only` is a verb."""
    top = Parser(
        prog="sentinel",
        description="Detects llama-server failures and explains their cause and fix.",
        epilog=_EPILOG,
        formatter_class=_Help,
    )
    top.add_argument("--version", action="version", version=f"sentinel {sentinel.__version__}")
    if only and not only.startswith("-") and only not in VERBS:
        top.error(f"there is no verb {only!r}{_meant(only, VERBS)}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=Parser)
    for name in (only,) if only in VERBS else VERBS:
        verb = VERBS[name]
        made = verbs.add_parser(
            name,
            help=verb.help,
            description=verb.about or f"{verb.help[:1].upper()}{verb.help[1:]}.",
            epilog=_examples(verb.examples),
            formatter_class=_Help,
        )
        verb.add(made)
        if verb.call:
            made.set_defaults(call=verb.call)
    return top


def _meant(word: str, known: Iterable[str]) -> str:
    from sentinel.model.problem import did_you_mean

    return did_you_mean(word, known)


def _examples(rows: Sequence[tuple[str, str]]) -> str:
    """Commands with what they do, aligned where that fits in 80 columns."""
    # What does not begin with a verb is for another program, or for a unit.
    lines = [(f"sentinel {command}" if command.split()[0] in VERBS else command, does) for command, does in rows]
    short = [len(command) for command, _ in lines if len(command) <= 40]
    width = max(short, default=0)
    out = ["examples:"]
    for command, does in lines:
        column = min(width + 5, max(_COLUMNS - len(does), 6))
        if does and len(command) + 2 < column:
            out.append(f"  {command}".ljust(column) + does)
        else:
            out += [f"  {command}", *([" " * column + does] if does else [])]
    return "\n".join(out)
