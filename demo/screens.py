"""What each verb shows, as SVG: at 80 and at 120 columns, on a dark and on a light terminal.

The verbs run in this process on the answers of a real daemon, and take what they write to for a terminal.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME
from rich.text import Text

from sentinel.api import client
from sentinel.cli.main import main

THEMES = {"dark": SVG_EXPORT_THEME, "light": DEFAULT_TERMINAL_THEME}
WIDTHS = (80, 120)
#: Fonts from elsewhere: a picture in a page asks nobody for anything.
_FONT_FACES = re.compile(r"@font-face\s*\{.*?\}", re.S)


class _Terminal(io.StringIO):
    """What a verb takes for a terminal with Unicode."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def drawn_in(theme: str) -> Iterator[None]:
    """Whatever exports a picture meanwhile gets the colours of this terminal: Textual lets nobody choose."""
    export = Console.export_svg

    def export_in_theme(console: Console, **options: Any) -> str:
        return export(console, **{**options, "theme": THEMES[theme]})

    with mock.patch.object(Console, "export_svg", export_in_theme):
        yield


def self_contained(svg: str) -> str:
    """The picture without what it would fetch."""
    return _FONT_FACES.sub("", svg)


def of_these(answer: Mapping[str, Any], ports: Collection[int]) -> dict[str, Any]:
    """An answer of the daemon about the servers at these ports alone, whatever else runs on the machine."""
    ends = tuple(f":{port}" for port in ports)
    shown = dict(answer)
    if "servers" in shown:
        shown |= {"servers": [one for one in shown["servers"] if one["name"].endswith(ends)], "blind_spots": []}
    if "alerts" in shown:
        shown["alerts"] = [one for one in shown["alerts"] if one["entity"]["name"].endswith(ends)]
    if "transitions" in shown:
        shown["transitions"] = [one for one in shown["transitions"] if one["entity"]["name"].endswith(ends)]
    if "subjects" in shown:
        shown["subjects"] = [one for one in shown["subjects"] if one["entity"].endswith(ends)]
    return shown


def printed(words: Sequence[str], width: int, socket: Path, ports: Collection[int]) -> str:
    """What a verb prints on a terminal of this width."""
    real = client.get

    def get(path: str, _sockets: object = None) -> tuple[int, dict[str, Any]]:
        code, answer = real(path, [str(socket)])
        return code, of_these(answer, ports)

    stream = _Terminal()
    terminal = {"COLUMNS": str(width), "TERM": "xterm-256color", "NO_COLOR": ""}
    with mock.patch.object(client, "get", get), mock.patch.dict(os.environ, terminal), contextlib.redirect_stdout(stream):
        main(words)
    return stream.getvalue()


def picture(text: str, title: str, width: int, theme: str) -> str:
    """What was printed, as SVG: a longer line goes on in the next one, as on a terminal."""
    console = Console(width=width, record=True, file=io.StringIO(), force_terminal=True, color_system="standard")
    for line in Text.from_ansi(text.rstrip("\n")).split(allow_blank=True):
        for part in line.divide(range(width, len(line), width)):
            console.print(part, soft_wrap=True)
    # The last line of a picture loses its underscores.
    console.print()
    return self_contained(console.export_svg(title=title, theme=THEMES[theme], unique_id=f"{theme}-{width}"))


def draw(
    verbs: Mapping[str, Sequence[str]], socket: Path, ports: Collection[int], folders: Collection[Path], to: Path
) -> Iterator[Path]:
    """Each verb's screen as `to/NAME-WIDTH-THEME.svg`. The `folders` of this machine are left out of what is shown."""

    def bare(text: str) -> str:
        for folder in folders:
            text = text.replace(f"{folder}/", "")
        return text

    for name, words in verbs.items():
        for width in WIDTHS:
            text = bare(printed(words, width, socket, ports))
            for theme in THEMES:
                file = to / f"{name}-{width}-{theme}.svg"
                file.write_text(picture(text, f"sentinel {words[0]}", width, theme), encoding="utf-8")
                yield file
