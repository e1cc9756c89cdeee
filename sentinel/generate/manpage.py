"""Generates the manual page sentinel(1) from the command line's parser: `python -m sentinel.generate.manpage FILE [--check]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import sentinel
from sentinel.cli.parser import parser
from sentinel.generate.made_file import asked, put
from sentinel.generate.verbs import EXIT, verbs

_FILES = (
    ("/etc/sentinel/sentinel.toml", "The configuration of the service; none is needed."),
    ("~/.config/sentinel/sentinel.toml", "The configuration of a user's own daemon; it is looked for first."),
    ("/etc/sentinel/cure.toml, ~/.config/sentinel/cure.toml", "What `sentinel cure` may restart for which alerts."),
    ("/etc/sentinel/notify.toml, ~/.config/sentinel/notify.toml", "What `sentinel notify` brings where; for its owner only."),
    ("/etc/sentinel/web.env, ~/.config/sentinel/web.env", "OPTIONS of `sentinel serve` as a service."),
    ("/run/sentinel/sentinel.sock", "The socket of the service: HTTP and JSON."),
    (
        "$XDG_RUNTIME_DIR/sentinel/sentinel.sock",
        "The socket of a user's own daemon; without that variable, ~/.local/state/sentinel/sentinel.sock.",
    ),
    ("/var/lib/sentinel, ~/.local/state/sentinel", "History of alerts, and how far each log was read."),
    ("/var/lib/sentinel-notify, ~/.local/state/sentinel-notify", "What waits for each channel of `sentinel notify`."),
    ("~/.cache/sentinel/rules.decoded", "The rules as last read and checked; made again when anything of them changes."),
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
    lines += ["Every verb takes \\-\\-help; most take \\-\\-json, for programs.", ".SH COMMANDS"]
    for verb in verbs():
        lines += [".SS", f"{_text(verb.name)} {_text(verb.arguments)}".rstrip(), _text(verb.about)]
        lines += [line for words, help_text in verb.options for line in (".TP", f".B {_text(words)}", _text(help_text))]
    for title, rows in (("EXIT STATUS", EXIT), ("FILES", _FILES), ("ENVIRONMENT", _ENVIRONMENT)):
        lines += [f".SH {title}", *(line for word, text in rows for line in (".TP", f".B {_text(word)}", _text(text)))]
    lines += [".SH SEE ALSO", _text(", ".join(_SEE))]
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    """Escape text for groff: a backslash, a minus, and a dot or quote that would start a request."""
    plain = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page, or with --check report whether it is stale."""
    arguments = asked(argv, "sentinel.generate.manpage", "Makes the manual page.")
    return put(arguments.file, page(), check=arguments.check)


if __name__ == "__main__":
    sys.exit(main())
