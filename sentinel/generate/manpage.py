"""Generates the manual page sentinel(1) from the command line's parser: `python -m sentinel.generate.manpage FILE [--check]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import sentinel
from sentinel.cli.parser import parser

_EXIT = (
    ("0", "All is well."),
    ("1", "A warning is open; for doctor: something does not work."),
    ("2", "A critical alert is open, or what was given (a file, a rule, an option) is wrong."),
    ("3", "Unknown: a signal is missing, or no daemon answers."),
)
_FILES = (
    ("/etc/sentinel/sentinel.toml", "The configuration of the service; none is needed."),
    ("~/.config/sentinel/sentinel.toml", "The configuration of a user's own daemon; it is looked for first."),
    ("/run/sentinel/sentinel.sock", "The socket of the service: HTTP and JSON."),
    (
        "$XDG_RUNTIME_DIR/sentinel/sentinel.sock",
        "The socket of a user's own daemon; without that variable, ~/.local/state/sentinel/sentinel.sock.",
    ),
    ("/var/lib/sentinel, ~/.local/state/sentinel", "History of alerts, and how far each log was read."),
    ("~/.cache/sentinel/clean-rules", "Digests of rule sets without mistakes, which need not be checked again."),
)
_ENVIRONMENT = (
    ("SENTINEL_SOCKET", "The socket to listen on, and the only one to ask."),
    ("NO_COLOR", "When set and not empty, no colours are printed."),
)
_SEE = ("journalctl(1)", "systemd.journal-fields(7)")


def page() -> str:
    """The page in man(7)'s language. It has no date, so that the output is deterministic."""
    top = parser()
    lines = [f'.TH SENTINEL 1 "" "sentinel {sentinel.__version__}" "User Commands"', ".SH NAME"]
    lines += ["sentinel \\- detect llama\\-server failures and explain how to fix them"]
    lines += [".SH SYNOPSIS", ".B sentinel", ".I VERB", "[options]", ".br", ".B sentinel", "\\-\\-help | \\-\\-version"]
    lines += [".SH DESCRIPTION", _text(top.description or ""), ".PP"]
    lines += ["Every verb takes \\-\\-help, and every verb that prints takes \\-\\-json.", ".SH COMMANDS"]
    for name, verb, about in _verbs(top, ""):
        lines += [".SS", f"{_text(name)} {_text(_arguments(verb))}".rstrip(), _text(_sentence(about))]
        lines += _options(verb)
    for title, rows in (("EXIT STATUS", _EXIT), ("FILES", _FILES), ("ENVIRONMENT", _ENVIRONMENT)):
        lines += [f".SH {title}", *(line for word, text in rows for line in (".TP", f".B {_text(word)}", _text(text)))]
    lines += [".SH SEE ALSO", _text(", ".join(_SEE))]
    return "\n".join(lines) + "\n"


def _verbs(top: argparse.ArgumentParser, before: str) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, verb in action.choices.items():
                inner = list(_verbs(verb, f"{before}{name} "))
                yield from inner or [(f"{before}{name}", verb, helps.get(name, ""))]


def _arguments(verb: argparse.ArgumentParser) -> str:
    usage = " ".join(verb.format_usage().split())
    return usage.removeprefix(f"usage: {verb.prog}").replace("[-h]", "").strip()


def _options(verb: argparse.ArgumentParser) -> Iterator[str]:
    for action in verb._actions:
        if isinstance(action, argparse._HelpAction) or not action.help:
            continue
        words = ", ".join(action.option_strings) or str(action.metavar or action.dest)
        if action.option_strings and action.nargs != 0:
            words += f" {action.metavar or action.dest.upper()}"
        yield ".TP"
        yield f".B {_text(words)}"
        yield _text(_sentence(action.help))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text and not text.endswith(".") else text


def _text(text: str) -> str:
    """Escape text for groff: a backslash, a minus, and a dot or quote that would start a request."""
    plain = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page, or with --check report whether it is stale."""
    options = argparse.ArgumentParser(prog="python -m sentinel.generate.manpage", description="Makes the manual page.")
    options.add_argument("file", type=Path)
    options.add_argument("--check", action="store_true", help="write nothing; fail when the page is stale")
    arguments = options.parse_args(argv)
    file: Path = arguments.file
    made = page()
    if file.is_file() and file.read_text(encoding="utf-8") == made:
        return 0
    if arguments.check:
        print(f"{file} is stale; make docs")
        return 1
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(made, encoding="utf-8")
    print(file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
