"""The command line as data: every verb with its arguments and options, for the manual page and docs/commands.md."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from sentinel.cli.parser import parser
from sentinel.cli.verbs import VERBS

EXIT = (
    ("0", "All is well."),
    (
        "1",
        "A warning is open; for doctor: something does not work; for notify: a channel does not deliver; for preflight: it is "
        "tight; for quality check: the answers shifted; for experts compare: an expert is abandoned.",
    ),
    (
        "2",
        "A critical alert is open, or what was given (a file, a rule, an option) is wrong; for preflight: it fails; for quality "
        "check: the answers are broken.",
    ),
    ("3", "Unknown: a signal is missing, or no daemon or server answers; for quality check: not comparable."),
)


@dataclass(frozen=True, slots=True)
class DescribedVerb:
    """One verb, `rules lint` for one of several words; options by what is written, with a sentence each."""

    name: str
    about: str
    arguments: str
    options: tuple[tuple[str, str], ...]
    examples: tuple[tuple[str, str], ...]


def verbs() -> Iterator[DescribedVerb]:
    """All, in the order of the command's own help."""
    for name, verb, about in _verbs(parser(), ""):
        examples = tuple(VERBS[name].examples) if name in VERBS else ()
        yield DescribedVerb(name, sentence(about), _arguments(verb), tuple(_options(verb)), examples)


def sentence(text: str) -> str:
    """A help text as a sentence."""
    return f"{text[:1].upper()}{text[1:]}." if text and not text.endswith(".") else text


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


def _options(verb: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in verb._actions:
        if isinstance(action, argparse._HelpAction) or not action.help or action.help == argparse.SUPPRESS:
            continue
        words = ", ".join(action.option_strings) or str(action.metavar or action.dest)
        if action.option_strings and action.nargs != 0:
            taken = str(action.metavar or action.dest.upper())
            words += f" {taken}" * (action.nargs if isinstance(action.nargs, int) else 1)
        yield words, sentence(action.help)
