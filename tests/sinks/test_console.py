"""What a person sees on a terminal, and that a terminal can go away."""

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
from sample_transitions import FIRING, resolved

from sentinel.model.alert import CheckResult, Fix, LineEvidence, Transition
from sentinel.sinks import SINKS, ConsoleSink, SinkDown
from sentinel.sinks.render import Style, render_alert, style_for

PLAIN = Style(width=80, zone=UTC)


def test_a_firing_alert_says_what_why_how_known_and_what_to_do() -> None:
    """The whole screen, as documented."""
    assert (
        render_alert(FIRING, PLAIN)
        == """\
● CRITICAL  llama-server runs on the CPU although GPU layers were asked for
            llama-server.service · cpu-fallback · 2026-11-23 16:05:12 UTC ·
            began 100 s earlier

  llama-server.service: 0 of 47 requested layers are on a GPU

  Cause     ROCm did not start: no ROCm-capable device is detected. (high
            confidence)

  Evidence  server.log:41: ggml_cuda_init: failed to initialize ROCm: no
            ROCm-capable device is detected
            gpu_asked: yes (server.gpu_layers_requested = 47)
            none_on_gpu: yes (server.gpu_memory_bytes = 3145728)

  Fix 1/2   Give the service's user access to the GPU nodes and restart it
            $ sudo usermod -aG render,video llama && sudo systemctl restart llama-server.service
            risk: restarts the server
            then check: sentinel why cpu-fallback

  Fix 2/2   Run it as a user that may\\nopen /dev/kfd
            $ sudo systemctl edit llama-server.service
"""
    )


def test_a_resolved_alert_is_short() -> None:
    """What is over needs no advice."""
    assert (
        render_alert(resolved(), PLAIN)
        == """\
✓ RESOLVED  llama-server runs on the CPU although GPU layers were asked for
            llama-server.service · cpu-fallback · 2026-11-23 16:05:12 UTC ·
            after 100 s · cleared
"""
    )


@pytest.mark.parametrize(
    ("marked", "said"),
    [
        (replace(FIRING, flapping=True), "flapping: no further notification until it is stable"),
        (replace(FIRING, silenced="3"), "silenced (3)"),
        (replace(FIRING, inhibited_by="gpu-reset"), "inhibited by gpu-reset"),
        (replace(FIRING, reason="cause-ended"), "its cause has ended, it has not"),
        (replace(FIRING, reason="silence-ended"), "its silence has ended, it has not"),
    ],
)
def test_what_is_not_as_usual_about_an_alert_is_said(marked: Transition, said: str) -> None:
    assert said in " ".join(render_alert(marked, Style(zone=UTC)).split())
    assert said not in " ".join(render_alert(FIRING, Style(zone=UTC)).split())


def test_colour_changes_no_word() -> None:
    """Without its colours the coloured form is the plain one, and a stream without Unicode gets ASCII."""
    coloured = render_alert(FIRING, replace(PLAIN, colour=True))

    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render_alert(FIRING, PLAIN)
    assert coloured.count("\x1b[0m") * 2 == coloured.count("\x1b[")
    assert render_alert(FIRING, replace(PLAIN, unicode=False)).isascii()


@given(st.text(max_size=300), st.integers(40, 100))
def test_no_text_reaches_the_terminal_as_a_command(text: str, width: int) -> None:
    """Every character of an alert may be hostile; none of them moves the cursor, ends the line or turns it around."""
    hostile = replace(
        FIRING, summary=text, title=text, rule=text, entity=FIRING.entity._replace(name=text),
        fixes=(Fix(text, text.replace("\n", " "), text, text),), evidence=(LineEvidence(text, text, 1),),
    )  # fmt: skip
    shown = render_alert(hostile, Style(width=width, zone=UTC))

    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown)


def test_a_newline_in_a_command_does_not_look_like_another_command() -> None:
    """There is one prompt: a quoted file name cannot smuggle in a line to copy."""
    shown = render_alert(replace(FIRING, fixes=(Fix("look", "cat 'a\nsudo rm -rf /'"),)), PLAIN)

    assert shown.count("$ ") == 1
    assert "              sudo rm -rf /'" in shown


def test_what_proves_it_is_never_hidden_behind_more() -> None:
    """The line first, then what is so, then what is not so, as far as there is room."""
    noes = tuple(CheckResult(f"no_{n}", False, {}) for n in range(9))
    line = LineEvidence("Out of memory: Killed process 77 (llama-server)", "kernel", 9)
    shown = render_alert(replace(FIRING, evidence=(*noes, CheckResult("it_is_so", True, {}), line)), PLAIN)

    assert shown.index("Killed process 77") < shown.index("it_is_so: yes") < shown.index("no_0: no")
    assert "and 3 more, shown with --json" in shown


def test_wide_characters_count_twice() -> None:
    """Lines stay inside the terminal in Japanese too."""
    shown = render_alert(replace(FIRING, summary="モデル が 遅い " * 20), PLAIN)

    assert all(len(line) <= 60 for line in shown.splitlines() if "モデル" in line)


def test_the_sink_says_once_why_it_prints() -> None:
    """A terminal that stands in for the journal says so before the first alert."""
    stream = io.StringIO()
    sink = ConsoleSink(stream, PLAIN, because="no journal at /run/systemd/journal/socket")
    sink.deliver(FIRING)
    sink.deliver(FIRING)

    assert stream.getvalue().startswith("sentinel: no journal at /run/systemd/journal/socket; alerts are printed here\n\n●")
    assert stream.getvalue().count("alerts are printed here") == 1
    assert stream.getvalue().count("● CRITICAL") == 2


def test_a_stream_without_unicode_gets_what_it_can_show() -> None:
    """A summary in another script is escaped where the encoding has no word for it."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, "ascii", write_through=True)
    ConsoleSink(stream).deliver(replace(FIRING, documentation="", summary="モデル"))

    assert b"\\u30e2" in raw.getvalue()
    stream.close()


def test_a_broken_pipe_turns_the_sink_down() -> None:
    """`sentinel run | head` ends the printing, not the watching."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    with pytest.raises(SinkDown, match="cannot print alerts"), os.fdopen(write_end, "w") as stream:
        try:
            ConsoleSink(stream).deliver(FIRING)
        finally:
            os.dup2(os.open(os.devnull, os.O_WRONLY), write_end)

    closed = io.StringIO()
    closed.close()
    with pytest.raises(SinkDown, match="closed file"):
        ConsoleSink(closed).deliver(FIRING)


def test_colour_is_for_terminals() -> None:
    """And there for those who did not say NO_COLOR."""
    leader, follower = pty.openpty()
    with os.fdopen(leader), os.fdopen(follower, "w", encoding="utf-8") as terminal:
        assert style_for(terminal, {"TERM": "xterm"}).colour
        assert not style_for(terminal, {"TERM": "xterm", "NO_COLOR": "1"}).colour
        assert not style_for(terminal, {"TERM": "dumb"}).colour
        assert style_for(terminal, {}).unicode
    assert not style_for(io.StringIO(), {"TERM": "xterm"}).colour


def test_every_sink_is_in_the_table() -> None:
    """By the name it gives itself."""
    assert {name: sink.name for name, sink in SINKS.items()} == {"journald": "journald", "console": "console"}
