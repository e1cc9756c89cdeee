"""Whatever a name, a path or a line holds, no view draws with it: no control characters, no terminal sequences, no turned text.

The answers are those that the daemon makes of an engine that was given such names; the verbs print them as ever.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from effort import examples
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from shipped_rules import shipped_rules

from sentinel.api import client
from sentinel.cli import main, run
from sentinel.cli import status as screen
from sentinel.cli.doctor import report
from sentinel.cli.doctor.capability import Capability
from sentinel.engine.alerts.silences import Silence
from sentinel.engine.engine import Engine
from sentinel.engine.inspect import explain, status
from sentinel.engine.inspect.blind_spots import blind_spots
from sentinel.model.entity import HOST, Entity, Unknown, Value
from sentinel.model.json_form import to_json, transition_to_dict
from sentinel.model.reading import LogLines, Samples, ServerFound, Tick
from sentinel.model.text import escape
from sentinel.terminal.style import Style

AT = 1_700_000_000.0
#: What draws on a terminal, hides or turns text, ends a line, or breaks an encoder.
NASTY = "\x1b[2J\x1b]0;x\x07\r\n\t\x00\x7f\x9b31m\u202e\u2066\u200f\u2028\ufeff\udcff\U000e0041|'\"$()`\\"
TEXT = st.text(alphabet=st.sampled_from(NASTY + "ab:/. 漢é😀\u0301"), max_size=40) | st.text(max_size=60)
RULES = shipped_rules()


def told_of(name: str, text: str) -> dict[str, dict[str, Any]]:
    """The daemon's answers by path, after an engine was told of a server that is stopped in mid work and runs on the CPU."""
    assert RULES is not None
    engine = Engine(RULES)
    entity = Entity("server", name or "a")
    facts: dict[str, Value | Unknown] = {
        "server.model_path": text,
        "server.user": text,
        "server.log_where": text,
        "server.argv_readable": True,
    }
    engine.step(ServerFound(AT, text, entity, 7, AT - 60, {**facts, "server.process_state": "stopped"}))
    engine.step(Samples(AT, text, entity, {"server.rss_bytes": Unknown(text), "server.log_readable": False}))
    engine.step(Samples(AT, text, Entity("gpu", "0000:03:00.0"), {"gpu.name": text}))
    engine.step(Samples(AT, text, HOST, {"host.kernel_log_why": text, "host.kernel_log_readable": False}))
    engine.step(
        LogLines(AT, text, entity, f"error: {text}\n".encode("utf-8", "surrogateescape" if "\udcff" in text else "replace"))
    )
    transitions = [t for second in range(40) for t in engine.step(Tick(AT + second))]
    now = AT + 40
    engine.silences.add("", name, now, 3600.0, escape(text.strip()) or "why", "root")
    shown = status.alerts(engine, now, pending=True)
    assert shown
    silences = status.silences(engine)
    state = {"fault": escape(text)}
    answers: dict[str, dict[str, Any]] = {
        "/v1/status": {
            "version": "0", "since": "", "rules": status.rules(engine), "servers": status.servers(engine, now),
            "gpus": status.gpus(engine, now), "host": status.entity_signals(engine, HOST, now), "alerts": shown,
            "silences": silences, "blind_spots": blind_spots(engine, now), "state": state,
            "recorder": {"fault": escape(text)},
            "sources": [{"name": escape(text), "health": "failed", "why": escape(text), "remedy": escape(text)}],
            "sinks": [{"name": "journald", "waiting": 1, "fault": escape(text)}],
        },
        "/v1/alerts": {"alerts": shown, "silences": silences},
        "/v1/history": {"transitions": [transition_to_dict(t) for t in transitions], "earlier": None},
        "/v1/why/blind-spot": explain.why(engine, "blind-spot", "", now),
        "/v1/why/server-wedged": explain.why(engine, "server-wedged", "", now),
        "/v1/recordings": {"recordings": [{"name": text, "bytes": 1, "written": None}]},
    }  # fmt: skip
    return {path: json.loads(to_json({"api_version": 1, **answer})) for path, answer in answers.items()}


@pytest.fixture
def own_log() -> Iterator[None]:
    """`sentinel run` sets up sentinel's own log for the whole process."""
    yield
    structlog.reset_defaults()


class Terminal(io.StringIO):
    """Standard output that says it is one."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


_COLOUR = re.compile("\x1b\\[[0-9;]*m")
#: a command among the fixes, and what comes after the end of a line in it
_COMMAND = re.compile(r" {12}(?:\$|  )")


def unsafe(text: str) -> str:
    """What is left of a text that a terminal could act upon, sentinel's own colours and ends of lines aside."""
    plain = _COLOUR.sub("", text)
    return "".join(char for char in plain if char != "\n" and escape(char) != char)


@contextlib.contextmanager
def on_a_terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    with contextlib.redirect_stdout(terminal), contextlib.redirect_stderr(terminal):
        yield terminal


VERBS = [
    ["status"], ["status", "--nagios"], ["status", "--json"], ["alerts"], ["alerts", "--all"], ["why", "blind-spot"],
    ["why", "server-wedged"], ["record", "--list"], ["completion", "--names", "servers"],
]  # fmt: skip


@settings(max_examples=examples(4), deadline=None, phases=[Phase.explicit, Phase.generate])
@given(name=TEXT, text=TEXT)
@example(name=NASTY, text=NASTY)
# A mark that is drawn over the character before it takes no column.
@example(name="", text="\u0301$")
# A name of several words that is longer than a line.
@example(name="\ufeff\u2028\u200f\ufeff words \u202e0\ufeff\\\u200f3 b", text="")
def test_no_verb_draws_with_what_it_shows(name: str, text: str) -> None:
    answers = told_of(name, text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "get", lambda path, _sockets=None: (200, json.loads(json.dumps(answers[path.split("?")[0]]))))
        patch.setenv("COLUMNS", "40")
        for words in VERBS:
            with on_a_terminal() as terminal:
                assert main.main(words) in (0, 1, 2, 3)
            assert unsafe(terminal.getvalue()) == "", words
            terminal.getvalue().encode()
            if words[0] == "why":
                # A command is there to be copied: it is not folded.
                shown = [line for line in _COLOUR.sub("", terminal.getvalue()).splitlines() if not _COMMAND.match(line)]
                long = [line for line in shown if len(line) - sum(unicodedata.combining(c) != 0 for c in line) > 40]
                assert all(len(line.split()) <= 2 for line in long), long


@settings(max_examples=examples(4), deadline=None, phases=[Phase.explicit, Phase.generate])
@given(text=TEXT)
@example(text=NASTY)
def test_what_the_daemon_refuses_and_the_gap_are_escaped(text: str) -> None:
    """A person's own words come back in the sentence; and a stranger may answer at the socket."""
    refusal = (404, {"error": {"code": 404, "message": f"there is no rule '{text}'"}})
    events = [("hello", {}), ("gap", {"why": text})]

    class Stream:
        last_event_id = ""

        def __init__(self, _sockets: object) -> None: ...

        def __iter__(self) -> Iterator[tuple[str, dict[str, str]]]:
            yield from events
            raise client.DaemonUnreachable("gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "get", lambda _path, _sockets=None: refusal)
        patch.setattr(client, "post", lambda _path, _body, _sockets=None: refusal)
        patch.setattr(client, "delete", lambda _path, _sockets=None: refusal)
        patch.setattr(client, "Stream", Stream)
        for words in (["why", "x"], ["unsilence", "x"], ["silence", "x", "--for", "1h", "--reason", "x"], ["watch"], ["status"]):
            with on_a_terminal() as terminal:
                main.main(words)
            assert unsafe(terminal.getvalue()) == "", words


@pytest.mark.parametrize(
    "words",
    [
        ["diagnose", "LOG"], ["diagnose", "MISSING"], ["diagnose", "LOG", "--argv", f"'{NASTY}"], ["replay", "MISSING"],
        ["rules", "lint", "MISSING"], ["rules", "lint", "WRONG"], ["rules", "list", "WRONG"], ["rules", "show", NASTY],
        ["alerts", "--since", NASTY], ["status", "--socket", "MISSING"], ["run", "--config", "MISSING"],
    ],
    ids=lambda words: " ".join(words[:2]) if NASTY not in words else words[0],
)  # fmt: skip
@pytest.mark.usefixtures("own_log")
def test_offline_verbs_and_the_own_log_do_not_either(words: list[str], tmp_path: Path) -> None:
    name = "".join(char for char in NASTY if char not in "/\0")
    files = {word: tmp_path / f"{name}{word}" for word in ("LOG", "MISSING", "WRONG")}
    line = f"main: loading model\nllama_model_load: error loading model: {NASTY}\n"
    files["LOG"].write_bytes(line.encode("utf-8", "surrogateescape"))
    files["WRONG"] = files["WRONG"].with_suffix(".toml")
    files["WRONG"].write_text('schema = 1\nid = "\\u001b[31m\\u202e"\n"\\u001b" = 1\n', encoding="utf-8")
    with on_a_terminal() as terminal, contextlib.suppress(SystemExit):
        main.main([str(files.get(word, word)) for word in words])
    assert terminal.getvalue() != ""
    assert unsafe(terminal.getvalue()) == ""


@settings(max_examples=examples(60), deadline=None)
@given(text=TEXT)
@example(text=NASTY)
def test_the_own_log_has_one_line_for_an_event(text: str) -> None:
    for make in (run._plain_line, run._journal_line):
        said = make(None, "warning", {"event": f"source {text} failed", "why": text})
        assert "\n" not in said
        assert unsafe(said) == ""


@settings(max_examples=examples(60), deadline=None)
@given(text=TEXT, columns=st.integers(40, 100))
def test_the_table_of_doctor_is_safe_and_as_wide_as_the_terminal(text: str, columns: int) -> None:
    rows = [
        Capability(f"log:{text}", "fails", f"{text} cannot be read", f"sudo chmod {text}"),
        Capability("a", "works", "b " * 80),
    ]
    lines = list(report._table(rows, columns))
    assert unsafe("\n".join(lines)) == ""
    assert all(len(line) <= columns for line in lines if set(line) <= set("b "))


def test_the_screen_fits_a_narrow_terminal() -> None:
    """Forty columns: words alone may be longer, and wide characters count twice."""
    answer = told_of("漢字漢字漢字", "/srv/模型/a model with a long name and 漢字漢字 漢字漢字 漢字漢字 漢字漢字 漢字漢字.gguf")[
        "/v1/status"
    ]
    for line in screen.screen(answer, Style(width=40), verbose=True):
        wide = sum(2 if ord(char) > 0x2E80 else 1 for char in line)
        assert wide <= 40 or len(line.split()) <= 2, line


@pytest.mark.parametrize(("locale", "shown"), [("C.UTF-8", "漢"), ("", "\\u6f22")])
def test_a_terminal_that_cannot_show_a_character_gets_its_number(locale: str, shown: str, tmp_path: Path) -> None:
    """At a real terminal, in the C locale and in UTF-8: never a traceback, never half a character."""
    import os
    import pty

    log = tmp_path / "漢.log"
    pid, terminal = pty.fork()
    if pid == 0:
        environ = {"PATH": "/usr/bin:/bin", "TERM": "xterm", **({"LC_ALL": locale} if locale else {})}
        os.execve(sys.executable, [sys.executable, "-m", "sentinel", "diagnose", str(log)], environ)
    said = b""
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 4096):
            said += piece
    _, code = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(code) == 2
    assert f"{shown}.log cannot be read: No such file" in " ".join(said.decode().split())
    assert shown == "漢" or said.isascii()


def test_a_silence_is_shown_as_it_was_escaped() -> None:
    """It is made by whoever may change something, and read by all."""
    one = Silence("1", "cpu-fallback", "a\x1b", 0.0, 10.0, "b\x1b", "root")
    assert unsafe(json.dumps(status.silence(one), ensure_ascii=False)) == ""
