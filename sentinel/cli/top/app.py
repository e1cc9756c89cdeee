"""The screen itself, with Textual: lists of servers and alerts, the chosen server, keys, and windows of text over it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Protocol

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from sentinel.cli.top import detail, lines
from sentinel.cli.top.look import HELP, KEYS, SHEET, as_text
from sentinel.cli.top.pieces import Pieces
from sentinel.cli.top.poll import Snapshot
from sentinel.cli.top.windows import Ask, Pages
from sentinel.model.text import counted, escape
from sentinel.terminal import names
from sentinel.terminal.glance import of_server, rank
from sentinel.terminal.style import Style

#: Seconds between two looks.
EVERY = 2.0


class Asked(Protocol):
    """Who is asked: the daemon, or in tests somebody else."""

    def look(self) -> Snapshot:
        """The present state."""

    def silence(self, rule: str, server: str, duration: str) -> str:
        """Silence a rule; a sentence."""

    def verb(self, *words: str) -> str:
        """What a command prints."""


class Top(App[int]):
    """`sentinel top`."""

    ENABLE_COMMAND_PALETTE = False
    CSS = SHEET
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("w", "why", "why"),
        Binding("p", "preflight", "preflight"),
        Binding("h", "history", "history"),
        Binding("s", "silence", "silence"),
        Binding("slash", "filter", "filter"),
        Binding("question_mark", "keys", "keys"),
        Binding("escape", "all", "all", show=False),
    ]

    def __init__(self, daemon: Asked, *, every: float = EVERY) -> None:
        super().__init__(ansi_color=True)
        self._daemon = daemon
        self._every = every
        self._asking = False
        self._wanted = ""
        self._shot = Snapshot()
        self._servers: list[Mapping[str, Any]] = []
        self._alerts: list[Mapping[str, Any]] = []
        #: what the rows of each list are about
        self._rows: dict[str, list[str]] = {}
        # Held, not looked for: an answer may come when the screen is being taken down.
        self._texts = {name: Static(id=name, markup=False) for name in ("head", "machine", "columns", "detail", "title")}
        self._lists = {name: OptionList(id=name, markup=False) for name in ("servers", "alerts")}
        self._filter = Input(id="filter", placeholder="part of a name; enter keeps it, escape shows all")

    def compose(self) -> ComposeResult:
        """The parts from top to bottom."""
        for name in ("head", "machine", "columns"):
            yield self._texts[name]
        yield self._lists["servers"]
        for name in ("detail", "title"):
            yield self._texts[name]
        yield self._lists["alerts"]
        yield self._filter
        yield Static(Text(KEYS, style="dim"), id="keys")

    def on_mount(self) -> None:
        """Look at once, then again and again."""
        self._lists["servers"].focus()
        self.look()
        self.set_interval(self._every, self.look)

    def on_resize(self, _event: Resize) -> None:
        """Another width: every line is made again."""
        self.call_after_refresh(self._show)

    def look(self) -> None:
        """Ask the daemon, unless it is being asked."""
        if not self._asking:
            self._asking = True
            self._look()

    @work(thread=True)
    def _look(self) -> None:
        shot = self._daemon.look()
        self.call_from_thread(self._take, shot)

    def _take(self, shot: Snapshot) -> None:
        self._asking = False
        if not self.is_running:
            return
        self._shot = shot
        self._show()

    def _style(self) -> Style:
        # The last column is the scroll bar's. Textual writes UTF-8 everywhere: only the locale says that a terminal has none.
        locale = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG") or ""
        return Style(max(self.size.width, 60) - 1, colour=True, unicode=locale not in ("C", "POSIX"))

    def _show(self) -> None:
        shot, style = self._shot, self._style()
        if not shot.status and not shot.fault:
            return
        wanted = self._wanted.lower()
        every = shot.status.get("servers", [])
        named = [s for s in every if wanted in f"{s['name']} {s.get('called') or ''}".lower()]
        self._servers = sorted(named, key=lambda server: rank(server, shot.status["alerts"]))
        shown = {server["name"] for server in self._servers}
        self._alerts = [
            a for a in shot.status.get("alerts", []) if not wanted or a["entity"]["name"] in shown or wanted in a["rule"]
        ]
        clock = f"{datetime.now().astimezone():%H:%M:%S}"
        self._put("head", lines.head(shot, style, len(self._servers), clock))
        if not shot.status:
            return
        self._put("machine", lines.machine(shot, style))
        self._put("columns", [lines.column_heads(style)])
        self._fill("servers", [(s["name"], [lines.row(s, shot, style)]) for s in self._servers])
        self._fill("alerts", [(f"{a['rule']} {a['entity']}", lines.alert(a, style, _since(a))) for a in self._alerts])
        self._show_chosen()

    def _show_chosen(self) -> None:
        style = self._style()
        server = self._server()
        if server is not None:
            about = detail.detail(server, self._shot, style)
        elif self._wanted:
            about = [[(f" no server has '{escape(self._wanted)}' in its name; escape shows all", "dim")]]
        else:
            about = [[(" no llama-server runs here; one is found within a second of its start", "dim")]]
        self._put("detail", about)
        count = len(self._alerts)
        title = f" {counted(count, 'open alert')}" if count else " no open alert"
        self._put("title", [[(title, "bold" if count else "dim")]])

    def _put(self, name: str, of: Sequence[Pieces]) -> None:
        self._texts[name].update(as_text(of, self._style()))

    def _fill(self, name: str, rows: Sequence[tuple[str, Sequence[Pieces]]]) -> None:
        """The rows of a list; what was chosen stays so, whatever comes and goes above it."""
        box = self._lists[name]
        ids = [key for key, _ in rows]
        texts = [as_text(of, self._style()) for _, of in rows]
        keys = self._rows.get(name, [])
        if keys == ids:
            for number, text in enumerate(texts):
                box.replace_option_prompt_at_index(number, text)
            return
        chosen = keys[box.highlighted] if box.highlighted is not None and box.highlighted < len(keys) else None
        self._rows[name] = ids
        box.clear_options()
        box.add_options([Option(text) for text in texts])
        if ids:
            box.highlighted = ids.index(chosen) if chosen in ids else 0

    def _chosen(self, name: str, of: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        number = self._lists[name].highlighted
        return of[number] if number is not None and number < len(of) else None

    def _server(self) -> Mapping[str, Any] | None:
        return self._chosen("servers", self._servers)

    def _alert(self) -> Mapping[str, Any] | None:
        """The alert that a key is about: the chosen one, or from the servers the worst of the chosen server."""
        if self.focused is not None and self.focused.id == "servers":
            server = self._server()
            mine = [] if server is None else of_server(server, self._alerts)
            if mine:
                return mine[0]
        return self._chosen("alerts", self._alerts)

    def on_option_list_option_highlighted(self, _event: OptionList.OptionHighlighted) -> None:
        """Another server is chosen."""
        self._show_chosen()

    def on_option_list_option_selected(self, _event: OptionList.OptionSelected) -> None:
        """Enter."""
        self.action_why()

    def on_input_changed(self, event: Input.Changed) -> None:
        """The filter, as it is typed."""
        self._wanted = event.value.strip()
        self._show()

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        """The filter stays."""
        self._filter.display = False
        self._lists["servers"].focus()

    def action_filter(self) -> None:
        """Ask for a part of a name."""
        box = self._filter
        box.display = True
        box.focus()

    def action_all(self) -> None:
        """No filter any more."""
        box = self._filter
        box.value = ""
        box.display = False
        self._lists["servers"].focus()

    def action_keys(self) -> None:
        """What the keys do."""
        self.push_screen(Pages("keys", lambda: HELP))

    def action_why(self) -> None:
        """The checks of the alert's rule."""
        alert = self._alert()
        if alert is None:
            self.notify("No open alert is chosen.", markup=False)
            return
        words = ["why", alert["rule"], *([alert["entity"]["name"]] if alert["entity"]["scope"] == "server" else [])]
        self._open(words)

    def action_preflight(self) -> None:
        """Would the chosen server fit, if it were started now."""
        server = self._server()
        if server is None or not server.get("pid"):
            self.notify("No running server is chosen.", markup=False)
            return
        self._open(["preflight", "--pid", str(server["pid"])])

    def action_history(self) -> None:
        """The alerts of the last day."""
        self._open(["alerts", "--since", "24h"])

    def _open(self, words: list[str]) -> None:
        self.push_screen(Pages(f"sentinel {escape(' '.join(words))}", lambda: self._daemon.verb(*words)))

    def action_silence(self) -> None:
        """Silence the alert's rule on its server."""
        alert = self._alert()
        if alert is None:
            self.notify("No open alert is chosen.", markup=False)
            return
        rule, name = alert["rule"], alert["entity"]["name"]

        def done(duration: str | None) -> None:
            if duration:
                self._silence(lambda: self._daemon.silence(rule, name, duration))

        self.push_screen(Ask(f"Silence {rule} on {names.of_alert(alert)} for"), done)

    @work(thread=True)
    def _silence(self, call: Callable[[], str]) -> None:
        said = call()
        self.call_from_thread(self.notify, escape(said), markup=False, timeout=8)
        self.call_from_thread(self.look)


def _since(alert: Mapping[str, Any]) -> str:
    """When it began, in local time."""
    if not alert.get("since"):
        return ""
    at = datetime.fromisoformat(alert["since"]).astimezone()
    return f"since {at:%H:%M:%S}" if at.date() == datetime.now().astimezone().date() else f"since {at:%d %b %H:%M}"
