"""An alert on a terminal: the whole of it, hostile text in it, colour, narrow and wide characters."""

from __future__ import annotations

import io
import os
import pty
import re
from dataclasses import replace
from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_transitions import FIRING, as_shown, resolved

from sentinel.model.alert import CheckResult, Fix, LineEvidence, Transition
from sentinel.terminal.alert import render
from sentinel.terminal.names import about, label
from sentinel.terminal.style import Style, style_for, wrap

PLAIN = Style(width=80, zone=UTC)
#: 140 s after it fired
NOW = 1795450052.0


def shown(transition: Transition, style: Style = PLAIN, *, verbose: bool = False, **more: object) -> str:
    return render(as_shown(transition) | more, style, NOW, verbose=verbose)


def test_a_firing_alert_shows_what_why_and_the_first_thing_to_do_on_one_screen() -> None:
    """The whole of it, as documented: cause before fix before evidence, 24 lines at most."""
    assert (
        shown(FIRING)
        == """\
● CRITICAL  llama-server.service: 0 of 47 requested layers are on a GPU
            cpu-fallback · since 16:03:32 (4 min)

  Cause     ROCm did not start: no ROCm-capable device is detected.

  Fix       Give the service's user access to the GPU nodes and restart it
            $ sudo usermod -aG render,video llama && sudo systemctl restart llama-server.service
            risk: restarts the server
            then check: sentinel why cpu-fallback

  Evidence  server.log:41: ggml_cuda_init: failed to initialize ROCm: no
            ROCm-capable device is detected

            (1 more fix: --verbose)
"""
    )


def test_every_fix_is_there_on_demand() -> None:
    said = shown(FIRING, verbose=True)

    assert "Fix 1/2   Give the service's user access" in said
    assert "Fix 2/2   Run it as a user that may\\nopen /dev/kfd\n            $ sudo systemctl edit llama-server.service" in said
    assert "--verbose" not in said


def test_what_is_over_or_pending_takes_a_line() -> None:
    """What is over needs no advice, and what is pending may never fire."""
    assert shown(resolved()) == "✓ RESOLVED  16:05:12 cpu-fallback of llama-server.service after 100 s (cleared)\n"
    assert (
        shown(replace(FIRING, state="pending")) == "● PENDING   16:05:12 cpu-fallback: llama-server.service: 0 of 47 requested\n"
        "                     layers are on a GPU\n"
    )


def test_a_server_is_called_by_its_model() -> None:
    """Its address is its identity; people know which model it is."""
    address = FIRING.entity._replace(name="127.0.0.1:8080")
    one = as_shown(replace(FIRING, entity=address, summary="127.0.0.1:8080 runs on the CPU")) | {"called": "gemma-3, port 8080"}

    assert about(one) == "gemma-3 :8080 runs on the CPU"
    assert "cpu-fallback · 127.0.0.1:8080 · since" in render(one, PLAIN, NOW)
    assert about({**one, "summary": "127.0.0.1:80801 is another"}) == "127.0.0.1:80801 is another"
    assert label("llama.service", "gemma-3, port 8080") == "gemma-3 (llama.service)"
    assert label("127.0.0.1:8080", "") == label("127.0.0.1:8080", "port 8080") == "127.0.0.1:8080"
    assert label("127.0.0.1:8080@1000", "a, port b, port 8080") == "a, port b :8080"


@pytest.mark.parametrize("severity", ["high", "medium"])
def test_how_sure_a_cause_is_is_said_where_it_is_not_sure(severity: str) -> None:
    one = as_shown(FIRING)
    one["cause"]["confidence"] = severity

    assert ("(medium confidence)" in " ".join(render(one, PLAIN, NOW).split())) == (severity == "medium")


@pytest.mark.parametrize(
    ("marked", "said"),
    [
        (replace(FIRING, flapping=True), "flapping: no further notification until it is stable"),
        (replace(FIRING, silenced="3"), "silenced by #3"),
        (replace(FIRING, inhibited_by="gpu-reset"), "inhibited by gpu-reset"),
        (replace(FIRING, reason="cause-ended"), "still firing after its cause ended"),
        (replace(FIRING, reason="silence-ended"), "still firing after its silence ended"),
    ],
)
def test_what_is_not_as_usual_about_an_alert_is_said(marked: Transition, said: str) -> None:
    assert said in " ".join(shown(marked).split())
    assert said not in " ".join(shown(FIRING).split())


def test_colour_changes_no_word() -> None:
    """Without its colours the coloured form is the plain one, and a stream without Unicode gets ASCII."""
    coloured = shown(FIRING, PLAIN._replace(colour=True))

    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == shown(FIRING)
    assert coloured.count("\x1b[0m") * 2 == coloured.count("\x1b[")
    assert shown(FIRING, PLAIN._replace(unicode=False)).isascii()


@given(st.text(max_size=300), st.integers(40, 100))
def test_no_text_reaches_the_terminal_as_a_command(text: str, width: int) -> None:
    """Every character of an alert may be hostile; none of them moves the cursor, ends the line or turns it around."""
    hostile = replace(
        FIRING, summary=text, title=text, rule=text, entity=FIRING.entity._replace(name=text),
        fixes=(Fix(text, text.replace("\n", " "), text, text),), evidence=(LineEvidence(text, text, 1),),
    )  # fmt: skip
    said = shown(hostile, Style(width=width, zone=UTC), verbose=True, called=text)

    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", said)


def test_a_newline_in_a_command_does_not_look_like_another_command() -> None:
    """There is one prompt: a quoted file name cannot smuggle in a line to copy."""
    said = shown(replace(FIRING, fixes=(Fix("look", "cat 'a\nsudo rm -rf /'"),)))

    assert said.count("$ ") == 1
    assert "              sudo rm -rf /'" in said


def test_what_proves_it_comes_before_what_is_merely_true() -> None:
    """The line first, then what is true in the rule's words; what is false proves nothing to a reader."""
    noes = tuple(CheckResult(f"no_{n}", False, {}) for n in range(9))
    line = LineEvidence("Out of memory: Killed process 77 (llama-server)", "kernel", 9)
    said = shown(replace(FIRING, evidence=(*noes, CheckResult("is_so", True, {}, text="memory ran out"), line)))

    assert said.index("Killed process 77") < said.index("memory ran out")
    assert "no_0" not in said
    assert "no 0" not in said


def test_evidence_is_the_rules_own_sentence_where_it_has_one() -> None:
    pieces = (CheckResult("ready", True, {}), CheckResult("gpu_asked", True, {}, text="-ngl 99 was requested"))

    assert "Evidence  -ngl 99 was requested\n" in shown(replace(FIRING, evidence=pieces))
    assert "ready" not in shown(replace(FIRING, evidence=pieces))


def test_wide_characters_count_twice() -> None:
    """Lines stay inside the terminal in Japanese too."""
    said = shown(replace(FIRING, summary="モデル が 遅い " * 20))

    assert all(len(line) <= 60 for line in said.splitlines() if "モデル" in line)


def test_colour_is_for_terminals() -> None:
    """And there for those who did not say NO_COLOR."""
    leader, follower = pty.openpty()
    with os.fdopen(leader), os.fdopen(follower, "w", encoding="utf-8") as terminal:
        assert style_for(terminal, {"TERM": "xterm"}).colour
        assert not style_for(terminal, {"TERM": "xterm", "NO_COLOR": "1"}).colour
        assert not style_for(terminal, {"TERM": "dumb"}).colour
        assert style_for(terminal, {}).unicode
    assert not style_for(io.StringIO(), {"TERM": "xterm"}).colour


def test_a_long_path_stays_with_its_bullet() -> None:
    """The bullet stood alone, and the path below it."""
    path = "/opt/" + "folder/" * 12 + "llama-server"

    assert wrap(f"- {path} is not there", 40, "  ", "  ") == [f"  - {path}", "    is not there"]
