"""Every screen in every state of a machine, at 60, 80 and 120 columns, as it is looked at: `tests/cli/golden`.

`SENTINEL_GOLDEN=write pytest tests/cli/test_screens.py` writes them; the difference is read before it is committed.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from golden import compare, fits
from sample_answers import NOW, STATES, alert, history, why

from sentinel.api import client
from sentinel.cli import main
from sentinel.terminal.alert import render
from sentinel.terminal.style import Style

#: Lines of a terminal: an open alert with summary, cause, first fix and its command fits it.
SCREEN = 24

Shown = Callable[..., str]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Shown]:
    """What a verb prints, with the daemon's answers by path, at a width."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(time, "time", lambda: NOW)

    def run(words: list[str], width: int, answers: dict[str, Any]) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(client, "get", lambda path, _sockets=None: (200, answers[path.split("?")[0]]))
        main.main(words)
        return capsys.readouterr().out

    yield run
    monkeypatch.undo()
    time.tzset()


def answers_of(state: str) -> dict[str, Any]:
    status = STATES[state]
    return {
        "/v1/status": status,
        "/v1/alerts": {"alerts": status["alerts"], "silences": status["silences"]},
        "/v1/silences": {"silences": status["silences"]},
        "/v1/history": {"transitions": history(), "earlier": None},
        "/v1/why/cpu-fallback": why(),
        "/v1/series": {"series": []},
    }


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("verb", ["status", "alerts"])
def test_what_is_and_what_is_wrong(shown: Shown, verb: str, state: str, width: int) -> None:
    text = shown([verb], width, answers_of(state))

    fits(text, width)
    compare(f"{verb}-{state}-{width}", text)


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("status-verbose", ["status", "--verbose"]),
        ("alerts-verbose", ["alerts", "--verbose"]),
        ("alerts-since", ["alerts", "--since", "2d"]),
        ("why", ["why", "cpu-fallback"]),
        ("why-verbose", ["why", "cpu-fallback", "--verbose"]),
        ("silence", ["silence"]),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_the_other_screens_with_three_alerts(shown: Shown, name: str, words: list[str], width: int) -> None:
    text = shown(words, width, answers_of("three-alerts"))

    fits(text, width)
    compare(f"{name}-{width}", text)


def test_a_wide_terminal_shows_the_speed_of_the_last_ten_minutes(shown: Shown) -> None:
    """Gaps where nothing was answered; a server that never answered has none."""
    answers = answers_of("three-alerts")
    first, *_ = [server for server in answers["/v1/status"]["servers"] if server["running"]]
    speeds = [None, None, 20.0, 40.0, None, 80.0]
    entity = {"scope": "server", "name": first["name"]}
    answers["/v1/series"] = {"series": [{"entity": entity, "signal": "server.generation_tps", "mean": speeds}]}

    wide, narrow = (shown(["status"], width, answers) for width in (120, 80))

    fits(wide, 120)
    assert "LAST 10 MINUTES" in wide
    assert [line for line in wide.splitlines() if line.endswith(("▃▅ █", "-+ @"))]
    assert "LAST 10 MINUTES" not in narrow


@pytest.mark.parametrize("width", [60, 72, 80, 100, 120, 200])
@pytest.mark.parametrize("state", STATES)
def test_every_width_is_kept(shown: Shown, state: str, width: int) -> None:
    for words in (["status"], ["status", "--verbose"], ["alerts"], ["alerts", "--all"], ["why", "cpu-fallback"]):
        fits(shown(words, width, answers_of(state)), width)


@pytest.mark.parametrize("words", [["status"], ["alerts"]], ids=" ".join)
def test_an_open_alert_is_on_the_first_screen_with_its_first_command(shown: Shown, words: list[str]) -> None:
    """Summary, cause (of alerts), first fix and its command, without scrolling, on 80x24."""
    lines = shown(words, 80, answers_of("three-alerts")).splitlines()[:SCREEN]
    first = " ".join(" ".join(lines).split())

    assert "runs on the CPU: -ngl 99 was asked for" in first
    assert "sudo usermod -aG render,video llama" in first
    assert words == ["status"] or "it is in neither the group video nor render" in first


def test_the_table_of_what_was_has_one_line_an_alert(shown: Shown) -> None:
    """Seven transitions are three alerts: one that began before, one that is over, one that is open."""
    lines = shown(["alerts", "--since", "2d"], 120, answers_of("healthy")).splitlines()

    assert len([line for line in lines if re.match(r"\d\d:\d\d |before", line)]) == 3
    assert lines[-1] == "3 alerts, 1 still open: sentinel alerts"
    assert "memory-thrash" not in " ".join(lines), "it never fired"


def test_no_signal_name_is_on_a_screen_unless_asked_for(shown: Shown) -> None:
    for words in (["status"], ["alerts"], ["alerts", "--verbose"], ["why", "cpu-fallback"]):
        assert not re.search(r"(server|host|gpu)\.[a-z]+_", shown(words, 100, answers_of("three-alerts"))), words
    assert "server.gpu_layers_requested = 99" in shown(["why", "cpu-fallback", "--verbose"], 100, answers_of("three-alerts"))


def test_why_says_what_fires_in_words_where_no_check_has_a_sentence(shown: Shown) -> None:
    """`- lately`, `- one gpu`, `- segfault` stood there for a crash."""
    answers = answers_of("three-alerts")
    for check in answers["/v1/why/cpu-fallback"]["subjects"][0]["checks"]:
        check.pop("text", None)

    text = shown(["why", "cpu-fallback"], 80, answers)

    assert "\n  - runs on the CPU\n" in text
    assert "gpu asked" not in text.partition("Cause")[0]


def test_a_state_shows_in_colour_and_mark() -> None:
    """Who sees no colour sees the mark and the word."""
    one = alert("cpu-fallback", "runs on the CPU")
    coloured = render(one, Style(colour=True), NOW)

    assert coloured.startswith("\x1b[1;31m● CRITICAL\x1b[0m  \x1b[1mgemma-3-27b-it-Q4_K_M :8080 runs on the CPU")
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render(one, Style(), NOW)


@pytest.mark.parametrize(
    ("words", "meant"),
    [(["stauts"], "'status'"), (["alert"], "'alerts'"), (["status", "--jsno"], "'--json'"), (["rules", "lst"], "'list'")],
    ids=str,
)
def test_a_slip_is_answered_with_what_was_meant(words: list[str], meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(words)

    assert ended.value.code == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert f"did you mean {meant}" in said


def test_a_verb_without_its_action_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.main(["quality"])

    assert "'quality' needs one of learn, check;" in capsys.readouterr().err


def test_a_mistake_is_wrapped_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It was broken in the midst of a word."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    with pytest.raises(SystemExit):
        main.main(["rules"])

    said = capsys.readouterr().err
    assert max(map(len, said.splitlines())) <= 60
    assert " ".join(said.split()).startswith("sentinel: error: 'rules' needs one of list, lint, test,")


def test_what_fires_stands_first_and_many_that_do_not_are_one_sentence(shown: Shown) -> None:
    """Forty servers that do not fire pushed the one that does off the screen."""
    answers = answers_of("three-alerts")
    answer = answers["/v1/why/cpu-fallback"]
    firing, quiet = answer["subjects"][0], answer["subjects"][1]
    many = [quiet | {"entity": f"127.0.0.1:{9000 + n}", "called": None} for n in range(40)]
    answer["subjects"] = [*many, firing]

    text = shown(["why", "cpu-fallback"], 80, answers)

    assert len(text.splitlines()) <= 24
    assert text.index("firing since") < text.index("not firing on 40 others: 127.0.0.1:9000, ")
    assert shown(["why", "cpu-fallback", "--verbose"], 80, answers).count("not firing") == 40


def test_a_silence_is_ended_by_its_number_or_its_rule(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    def delete(path: str, _sockets: object = None) -> tuple[int, dict[str, Any]]:
        ended.append(path)
        return 200, {"silence": STATES["three-alerts"]["silences"][0]}

    monkeypatch.setattr(client, "delete", delete)
    for word in ("3", "#3", "routing-noise"):
        said = shown(["unsilence", word], 80, answers_of("three-alerts"))
        assert said == "Ended silence #3: routing-noise on all servers\n"
    assert ended == ["/v1/silences/3"] * 3

    assert shown(["unsilence", "cpu-fallback"], 80, answers_of("three-alerts")) == ""


def test_a_silence_that_is_not_there_is_answered_with_those_that_are(
    shown: Shown, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "get", lambda _path, _sockets=None: (200, {"silences": STATES["three-alerts"]["silences"]}))

    assert main.main(["unsilence", "cpu-fallback"]) == 2
    assert capsys.readouterr().err == 'sentinel: no silence "cpu-fallback"; active: #3 routing-noise (2.0 h left)\n'
    assert main.main(["silence", "cpu-fallback"]) == 2
    assert "sentinel silence cpu-fallback --for 2h" in capsys.readouterr().err
