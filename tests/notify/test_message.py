"""What a message says: short, true, harmless; and what a webhook's template may do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_transitions import FIRING, as_shown, firing, resolved

from sentinel.model.alert import Cause, Fix
from sentinel.model.entity import Entity
from sentinel.model.json_form import to_json, transition_to_dict
from sentinel.model.text import UNSAFE
from sentinel.notify.message import Message, compose, key_of
from sentinel.notify.template import NAMES, filled, mistakes

NOW = FIRING.at or 0.0


def said(*alerts: dict[str, Any], **more: Any) -> Message:
    return compose(alerts, "gpu-1", "k", now=NOW, zone=UTC, **more)


def of(number: int, severity: str = "critical") -> dict[str, Any]:
    one = firing(number, entity=Entity("server", f"s{number}"), severity=severity)
    return as_shown(replace(one, fingerprint=f"f{number}"))


def test_one_alert_is_what_since_when_cause_and_first_fix() -> None:
    one = said(as_shown(FIRING))
    assert one.title == "gpu-1: llama-server.service: 0 of 47 requested layers are on a GPU"
    assert one.text.splitlines() == [
        "CRITICAL cpu-fallback since 16:03",
        "Cause: ROCm did not start: no ROCm-capable device is detected.",
        "Fix: Give the service's user access to the GPU nodes and restart it",
        "  sudo usermod -aG render,video llama && sudo systemctl restart llama-server.service",
    ]
    assert (one.status, one.severity) == ("firing", "critical")


def test_a_cause_that_is_not_certain_says_so() -> None:
    assert "(low confidence)" in said(as_shown(replace(FIRING, cause=Cause("x", "perhaps", "low")))).text


def test_an_end_is_one_line() -> None:
    one = said(transition_to_dict(resolved(at=NOW + 400)) | {"since": "2026-11-23T16:05:12.345Z"})
    assert one.title.startswith("gpu-1: over: ")
    assert one.text == "OVER cpu-fallback after 7 min (cleared): llama-server.service: 0 of 47 requested layers are on a GPU"
    assert one.status == "resolved"


def test_a_burst_is_counted_in_the_title_and_listed_worst_first() -> None:
    one = said(of(1, "warning"), of(2), of(3), *(of(n, "warning") for n in range(4, 40)))
    assert one.title == "gpu-1: 39 alerts (2 critical, 37 warning)"
    heads = [line for line in one.text.splitlines() if line.startswith(("CRITICAL", "WARNING"))]
    assert [line.split()[0] for line in heads] == ["CRITICAL"] * 2 + ["WARNING"] * 18
    assert "... and 19 more: sentinel alerts" in one.text


def test_the_last_word_on_each_alert_counts() -> None:
    """It fired and ended within the burst."""
    over = transition_to_dict(resolved(at=NOW + 3)) | {"since": as_shown(FIRING)["at"]}
    one = said(as_shown(FIRING), over)
    assert one.status == "resolved"
    assert one.text.startswith("OVER cpu-fallback after 3 s")
    assert len(one.alerts) == 2


def test_a_digest_a_repeat_and_what_is_lost_are_said() -> None:
    one = said(of(1), digest=True, repeat=True, lost=3)
    assert "while it was quiet: 1 alert" in one.title
    assert "3 earlier alerts could not be delivered" in one.text
    assert "sent again: it is not known whether it arrived" in one.text


def test_a_key_is_of_a_channel_and_its_alerts() -> None:
    keys = {key_of("a", "x", (1, 2)), key_of("a", "x", (1, 2, 3)), key_of("a", "y", (1, 2)), key_of("b", "x", (1, 2))}
    assert len(keys) == 4
    assert key_of("a", "x", (1, 2)) == key_of("a", "x", [1, 2])


def test_half_a_command_is_not_shown() -> None:
    long = replace(FIRING, fixes=(Fix("do", "x" * 5000),))
    assert "xx" not in said(as_shown(long)).text


def test_a_burst_of_long_causes_cuts_no_command_and_none_of_the_notes() -> None:
    command = "sudo rm -r /srv/models/old && " + "x" * 500
    long = [of(n) | {"fixes": [{"do": "do " * 90, "command": command}]} for n in range(1, 9)]
    text = said(*long, repeat=True, lost=3).text
    assert len(text) <= 3500
    assert "and more: sentinel alerts\n3 earlier alerts could not be delivered" in text
    assert "(sent again" in text
    shown = [line.strip() for line in text.splitlines() if "rm -r" in line]
    assert shown
    assert set(shown) == {command}


@given(st.text(), st.text(), st.text())
def test_whatever_a_name_or_a_line_holds_the_text_is_bounded_and_harmless(name: str, cause: str, do: str) -> None:
    """Control characters, directions, a million characters."""
    bad = replace(
        FIRING,
        entity=Entity("server", name),
        summary=name * 50,
        cause=Cause("x", cause * 100, "high"),
        fixes=(Fix(do * 100, do),),
    )
    one = said(as_shown(bad))
    assert len(one.title) <= 200
    assert len(one.text) <= 3500
    assert not UNSAFE.search(one.title)
    assert not UNSAFE.search(one.text.replace("\n", ""))


TEMPLATE = {"text": "{title}\n{text}", "list": ["{alerts}", "{count} of them", 3, True], "deep": {"{title}": "{{not}} {rule}"}}


def test_a_template_keeps_its_shape() -> None:
    one = said(as_shown(FIRING))
    got = filled(TEMPLATE, one)
    assert isinstance(got, dict)
    assert got["text"] == f"{one.title}\n{one.text}"
    assert got["list"][0][0]["rule"] == "cpu-fallback"
    assert got["list"][1:] == ["1 of them", 3, True]
    # Names of a template's keys are not filled: what an alert says never becomes a key.
    assert got["deep"] == {"{title}": "{not} cpu-fallback"}


@given(st.text())
def test_what_an_alert_says_stays_text(summary: str) -> None:
    """Quotes, braces and other templates in it change nothing else."""
    got = filled({"a": "<{summary}>"}, said(as_shown(replace(FIRING, summary=summary))))
    assert got == {"a": f"<{summary}>"}
    to_json(got)


@pytest.mark.parametrize("template", ["{title.__class__}", "{title!r}", "{0}", "{alerts[0]}", "{__import__}", "{}", "{titel}"])
def test_there_is_no_code_in_a_template(template: str) -> None:
    """What is no name stays as it is, or is a mistake of the configuration."""
    found = list(mistakes({"a": template}))
    if found:
        assert found[0].startswith("there is no {")
    else:
        assert filled({"a": template}, said(as_shown(FIRING))) == {"a": template}


def test_a_name_that_is_nearly_right_is_recognised() -> None:
    assert next(mistakes({"a": "{Title}"})).startswith("there is no {Title}")
    assert list(mistakes({"a": ["{titel}"]})) == ["there is no {titel}; did you mean 'title'"]


def test_every_name_has_a_value() -> None:
    body = {name: f"{{{name}}}" for name in NAMES}
    got = filled(body, said(as_shown(FIRING)))
    assert isinstance(got, dict)
    assert "" not in got.values()
    assert list(mistakes(body)) == []
