"""Windows over the screen: a text to read, and a choice to make."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static

from sentinel.model.text import escape

_CLOSE: list[BindingType] = [Binding("escape,q", "close", "close")]
#: What may be chosen, as the daemon takes it.
DURATIONS = (("30 minutes", "30m"), ("2 hours", "2h"), ("1 day", "1d"), ("7 days", "7d"))


class Pages(ModalScreen[None]):
    """A text, as a command prints it; made by a thread, because it takes a moment."""

    BINDINGS: ClassVar[list[BindingType]] = _CLOSE
    CSS = """
    Pages { background: ansi_default; }
    Pages VerticalScroll { background: ansi_default; height: 1fr; scrollbar-size-vertical: 1; }
    Pages .head { height: 1; }
    Pages #text { height: auto; }
    """

    def __init__(self, title: str, make: Callable[[], str]) -> None:
        super().__init__()
        self._named = title
        self._make = make

    def compose(self) -> ComposeResult:
        """Title, text, keys."""
        yield Static(Text(f" {self._named}", style="bold reverse"), classes="head")
        with VerticalScroll():
            yield Static(Text("asking ...", style="dim"), id="text")
        yield Static(Text(" ↑↓ scroll  escape close", style="dim"), classes="head")

    def on_mount(self) -> None:
        """Begin to ask."""
        self.query_one(VerticalScroll).focus()
        self._ask()

    @work(thread=True)
    def _ask(self) -> None:
        # Line ends stay; what else could move the cursor does not.
        shown = "\n".join(escape(line) for line in self._make().splitlines())
        self.app.call_from_thread(self._put, shown)

    def _put(self, shown: str) -> None:
        # It may have been closed meanwhile.
        if self.is_attached:
            self.query_one("#text", Static).update(Text(shown))

    def action_close(self) -> None:
        """Back to the screen."""
        self.dismiss(None)


class Ask(ModalScreen[str | None]):
    """For how long."""

    BINDINGS: ClassVar[list[BindingType]] = _CLOSE
    CSS = """
    Ask { align: center middle; }
    Ask Vertical { width: 70; height: auto; border: round ansi_default; background: ansi_default; }
    Ask Static { padding: 0 1; }
    """

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """The durations."""
        with Vertical():
            yield Static(Text(escape(self._question), style="bold"))
            yield OptionList(*(f" {label}" for label, _ in DURATIONS), markup=False)
            yield Static(Text("enter silence  escape close", style="dim"))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter."""
        event.stop()
        self.dismiss(DURATIONS[event.option_index][1])

    def action_close(self) -> None:
        """Nothing is silenced."""
        self.dismiss(None)
