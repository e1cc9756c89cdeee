"""Parses the command line and calls the verb."""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NoReturn, TextIO

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3


def _speak_what_it_can(stream: TextIO, environ: Mapping[str, str]) -> None:
    """Escape characters that a stream cannot encode, instead of ending in a traceback.

    In the C locale Python writes UTF-8 (PEP 540), whatever the terminal shows; only ASCII is safe there.
    """
    if not isinstance(stream, io.TextIOWrapper):
        return
    locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or "C"
    if locale == "C.UTF-8" and not environ.get("LC_ALL"):
        # Python sets LC_CTYPE to this if no locale is set (PEP 538).
        locale = environ.get("LANG") or "C"
    chosen = environ.get("PYTHONUTF8") or environ.get("PYTHONIOENCODING")
    plain = locale in ("C", "POSIX") and not chosen and stream.isatty()
    stream.reconfigure(encoding="ascii" if plain else None, errors="backslashreplace")


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point. Returns the exit code."""
    from sentinel.cli.garbage import uncollected
    from sentinel.cli.parser import parser

    words = sys.argv[1:] if argv is None else list(argv)
    # Only the parser of the verb that is used is built: all of them take 9 ms.
    arguments = parser(words[0] if words else "").parse_args(words)
    # An empty or relative part is the current folder, where anybody may have put a `systemctl`.
    os.environ["PATH"] = ":".join(part for part in os.environ.get("PATH", os.defpath).split(":") if part.startswith("/"))
    for stream in (sys.stdout, sys.stderr):
        _speak_what_it_can(stream, os.environ)
    with uncollected():
        verb = importlib.import_module(arguments.call)
    try:
        code: int = verb.main(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader closed the pipe (| head); Python would report it once more while closing the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        return 130
    return code


def program() -> NoReturn:
    """The program `sentinel`: runs `main`, then ends the process without taking the interpreter apart.

    A thread that waits for a hung driver outlives `main`, and Python ends such a thread when it next wants the interpreter's
    lock. Inside RE2's binding that is `terminate called without an active exception`: SIGABRT after an orderly stop (seen once
    in a run of the tests, and in one of three ends of a program with two threads that search).
    """
    if sys.argv[1:2] == ["run"]:
        # Before the parser, which imports argparse.
        from sentinel.daemon.lean_code import install

        install()
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    program()
