"""Transitions written down: the contract's JSON, the storage record, the one line, and text that is safe to show."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_transitions import FIRING, resolved

from sentinel.model.alert import CheckResult, LineEvidence
from sentinel.model.entity import Entity, Unknown
from sentinel.model.json_form import (
    evidence_line,
    is_news,
    iso,
    message,
    to_json,
    transition_from_record,
    transition_to_dict,
    transition_to_record,
)
from sentinel.model.text import escape


def test_the_json_form_is_the_contract() -> None:
    """Keys, their order and their forms; programs of other people read this."""
    small = replace(FIRING, fixes=FIRING.fixes[:1], evidence=(FIRING.evidence[1], FIRING.evidence[2]))

    assert to_json(transition_to_dict(small)) == (
        '{"at": "2026-11-23T16:05:12.345Z", "rule": "cpu-fallback", "state": "firing", "previous": "pending", '
        '"reason": "hold-elapsed", "severity": "critical", '
        '"entity": {"scope": "server", "name": "llama-server.service"}, "fingerprint": "6bdbd461f3c9385e", '
        '"summary": "llama-server.service: 0 of 47 requested layers are on a GPU", '
        '"cause": {"id": "backend-init-failed", "text": "ROCm did not start: no ROCm-capable device is detected.", '
        '"confidence": "high"}, "fixes": [{"do": "Give the service\'s user access to the GPU nodes and restart it", '
        '"command": "sudo usermod -aG render,video llama && sudo systemctl restart llama-server.service", '
        '"risk": "restarts the server", "verify": "sentinel why cpu-fallback"}], '
        '"evidence": [{"check": "none_on_gpu", "value": true, "reads": {"server.gpu_memory_bytes": 3145728.0}}, '
        '{"line": "ggml_cuda_init: failed to initialize ROCm: no ROCm-capable device is detected", '
        '"source": "server.log", "n": 41}]}'
    )


def test_what_is_not_known_is_null() -> None:
    """An undated transition without a cause, and a check that could not be judged, with what it lacked."""
    unknown = CheckResult("slow", None, {"server.generation_tps": None}, {"server.generation_tps": Unknown("no log")})
    told = transition_to_dict(replace(FIRING, at=None, cause=None, fixes=(), evidence=(unknown,)))

    assert (told["at"], told["cause"], told["fixes"]) == (None, None, [])
    assert told["evidence"] == [
        {"check": "slow", "value": None, "reads": {"server.generation_tps": None},
         "missing": {"server.generation_tps": "no log"}}
    ]  # fmt: skip


def test_a_record_gives_the_transition_back() -> None:
    """Also names that are no UTF-8, and evidence of both kinds."""
    strange = replace(FIRING, entity=Entity("gpu", "a\udcffb\n\0"), at=None, cause=None)

    for transition in (FIRING, strange, resolved()):
        assert transition_from_record(json.loads(json.dumps(transition_to_record(transition)))) == transition


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1795449912.3454, "2026-11-23T16:05:12.345Z"),
        (1795449912.9996, "2026-11-23T16:05:13.000Z"),
        (-0.5, "1969-12-31T23:59:59.500Z"),
        (None, None),
        (float("nan"), None),
        (float("inf"), None),
        (1e300, None),
        (1e12, None),
    ],
)
def test_times_are_utc_with_milliseconds(at: float | None, text: str | None) -> None:
    """And null where no calendar has the moment."""
    assert iso(at) == text


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    )
)
def test_json_is_one_safe_line_that_anyone_can_read(value: object) -> None:
    """Valid strict JSON in valid UTF-8, nothing in it moves a cursor; numbers that JSON has no word for are null."""
    text = to_json(value)

    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", text)
    json.loads(text.encode(), parse_constant=pytest.fail)
    assert to_json(json.loads(text)) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, größer, モデル, 👍🏽, C:\\x", "plain, größer, モデル, 👍🏽, C:\\x"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("a\nb\r\tc\0\x7f", "a\\nb\\r\\tc\\x00\\x7f"),
        ("\x9b2J", "\\x9b2J"),
        ("\u202egnp.exe\u2066", "\\u202egnp.exe\\u2066"),
        ("\u200b\ufeff\u2028\U000e0041", "\\u200b\\ufeff\\u2028\\U000e0041"),
        ("caf\udce9", "caf\\xe9"),
        ("می\u200cخواهم", "می\u200cخواهم"),
    ],
)
def test_escape_shows_what_would_act(text: str, shown: str) -> None:
    """Printable text of every script is left alone."""
    assert escape(text) == shown


def test_the_line_for_people() -> None:
    """What, why and the first thing to do; the end of an alert says how it ended."""
    assert message(FIRING) == (
        "critical cpu-fallback: llama-server.service: 0 of 47 requested layers are on a GPU; "
        "cause: ROCm did not start: no ROCm-capable device is detected; "
        "fix: Give the service's user access to the GPU nodes and restart it"
    )
    assert message(resolved(summary="all\nwell")) == "resolved cpu-fallback: all\\nwell (cleared)"


def test_evidence_on_one_line() -> None:
    """A check with what it read and is known, a line with where it stands."""
    check = CheckResult("few", True, {"a": None, "b": 1.5, "c": True, "d": "x\n", "e": 3e20})

    assert evidence_line(check) == "few = true (b = 1.5, c = true, d = x\\n, e = 3e+20)"
    assert evidence_line(LineEvidence("\x1bc", "a.log", 3)) == "a.log:3: \\x1bc"


def test_news_is_what_fired() -> None:
    """Pending is not, and neither is the end of what never fired."""
    pending = replace(FIRING, state="pending", previous="inactive")

    assert [is_news(one) for one in (FIRING, resolved(), pending, resolved(previous="pending"))] == [True, True, False, False]
    assert not is_news(replace(FIRING, silenced="1"))
    assert not is_news(resolved(silenced="1"))


def test_marks_are_keys_only_where_they_say_something() -> None:
    """The contract's form is the same for every alert that is as usual."""
    marked = replace(FIRING, silenced="1", inhibited_by="gpu-reset", flapping=True)
    more = {"silenced": "1", "inhibited_by": "gpu-reset", "explained_by": "gpu-reset", "flapping": True}

    assert transition_to_dict(marked) == transition_to_dict(FIRING) | more
    assert not more.keys() & transition_to_dict(FIRING).keys()
