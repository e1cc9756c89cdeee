"""How the screen looks: the style sheet, the colour of each state, the line of keys and their help.

Colours are those of the terminal, so that it can be read on a dark and on a light one; NO_COLOR takes them away. All text is
put in as plain text: nothing of a name is taken for markup.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from sentinel.cli.top.pieces import Pieces, cropped
from sentinel.model.text import escape
from sentinel.terminal.style import Style

KEYS = " tab alerts  w why  p preflight  h history  s silence  / filter  ? help  q quit"
HELP = """\
up, down     choose a server or an alert
tab          go from the servers to the alerts and back
w or enter   why: what makes the alert's rule true, its cause and all fixes
p            preflight: would this server fit if it were started now
h            history: the alerts of the last day
s            silence the alert's rule on its server for a while
/            show servers and alerts whose name has this in it; escape shows all
q            quit

ctx is the fullest context of the server's slots; * marks a slot at work.
The line in a bar of memory is the forecast: what the server will need at
least, once its model is loaded.
"""
_COLOURS = {
    "ok": "green", "critical": "bold red", "warning": "bold yellow", "info": "blue", "loading": "cyan",
    "dim": "dim", "bold": "bold", "gone": "bold white on red",
}  # fmt: skip
SHEET = """
Screen, OptionList, Input, VerticalScroll { background: ansi_default; color: ansi_default; }
OptionList { border: none; padding: 0; scrollbar-size-vertical: 1; }
OptionList:focus { border: none; background-tint: ansi_default 0%; }
OptionList > .option-list--option-highlighted, OptionList:focus > .option-list--option-highlighted {
    background: ansi_default; color: ansi_default; text-style: none; }
OptionList:focus > .option-list--option-highlighted { text-style: reverse; }
Screen { overflow: hidden; }
#servers { height: auto; max-height: 35%; }
#alerts { height: 1fr; }
#alerts:focus > .option-list--option-highlighted { text-style: none; }
#head, #machine, #columns, #detail, #title, #keys { height: auto; }
#keys { dock: bottom; height: 1; }
#filter { dock: bottom; height: 1; border: none; padding: 0; display: none; }
"""


def as_text(of: Sequence[Pieces], style: Style) -> Text:
    """Lines as what Textual shows."""
    text = Text(no_wrap=True, overflow="crop")
    for number, line in enumerate(of):
        if number:
            text.append("\n")
        for piece, state in cropped(line, style.width, style):
            text.append(escape(piece), style=_COLOURS.get(state, ""))
    return text
