"""The one line for Nagios: sentence, bar, performance data; whatever names hold, it stays one line with one bar."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.cli import nagios
from sentinel.cli.main import main
from sentinel.model.text import escape

#: 'label'=value[UOM];[warn];[crit];[min];[max], monitoring-plugins.org/doc/guidelines.html
_DATUM = re.compile(r"('[^'=|]+'|[^'=|\s]+)=-?[0-9]+(\.[0-9]+)?(s|us|ms|%|B|KB|MB|TB|c)?(;[0-9.:~@-]*){0,4}")


def screen(**changed: Any) -> dict[str, Any]:
    server = {"name": "llama.service", "running": True, "rss_bytes": 4096, "generation_tps": 41.5}
    answer: dict[str, Any] = {
        "alerts": [], "blind_spots": [], "servers": [server], "sources": [{"health": "up"}, {"health": "failed"}],
        "host": {"mem_available_bytes": 10, "mem_total_bytes": 20},
        "gpus": [{"address": "0000:03:00.0", "vram_used_bytes": 5, "vram_total_bytes": 9}],
    }  # fmt: skip
    return {**answer, **changed}


def alert(rule: str, severity: str, **changed: Any) -> dict[str, Any]:
    return {"rule": rule, "severity": severity, "summary": "llama.service runs on the CPU", **changed}


def parsed(line: str) -> tuple[str, dict[str, str]]:
    assert escape(line) == line
    assert len(line.splitlines()) == 1
    assert line.count("|") == 1
    text, data = line.split(" | ")
    found = [match.group() for match in _DATUM.finditer(data)]
    assert " ".join(found) == data
    return text, dict(datum.rsplit("=", 1) for datum in found)


def test_all_is_well() -> None:
    text, data = parsed(nagios.line(screen(), 0))
    assert text == "SENTINEL OK - no alerts, 1 server running"
    assert data == {
        "critical": "0;;0;0", "warning": "0;0;;0", "info": "0;;;0", "silenced": "0;;;0", "servers": "1;;;0",
        "blind_spots": "0;;;0",
        "sources_failed": "1;;;0", "mem_available": "10B;;;0;20", "'vram_used 0000:03:00.0'": "5B;;;0;9",
        "'rss llama.service'": "4096B;;;0", "'tokens_per_second llama.service'": "41.50;;;0",
    }  # fmt: skip


def test_alerts_are_counted_and_the_worst_is_reported() -> None:
    told = [alert("cpu-fallback", "critical"), alert("load-oom", "critical", silenced="1"), alert("mlock-denied", "warning")]
    text, data = parsed(nagios.line(screen(alerts=told, blind_spots=[{}]), 2))
    assert text == ("SENTINEL CRITICAL - 2 alerts, cpu-fallback: llama.service runs on the CPU (1 things cannot be judged)")
    assert (data["critical"], data["warning"], data["silenced"], data["blind_spots"]) == ("1;;0;0", "1;0;;0", "1;;;0", "1;;;0")


def test_what_is_not_known_is_left_out() -> None:
    server = {"name": "a", "running": True, "rss_bytes": None, "generation_tps": None}
    _, data = parsed(nagios.line(screen(servers=[server], host={}, gpus=[{"address": "x"}]), 0))
    assert not any("rss" in label or "mem" in label or "vram" in label for label in data)


@settings(max_examples=examples(150), deadline=None)
@given(name=st.text(max_size=200), summary=st.text(max_size=900))
def test_no_name_ends_the_sentence_or_writes_data(name: str, summary: str) -> None:
    """Bars, quotes, equals signs, newlines, terminal sequences; 400 characters of sentence at most."""
    server = {"name": name, "running": True, "rss_bytes": 1, "generation_tps": 2}
    told = [alert("cpu-fallback", "critical", summary=summary)]
    text, data = parsed(nagios.line(screen(alerts=told, servers=[server], gpus=[{"address": name, "vram_used_bytes": 1}]), 2))
    assert len(text) < 430
    assert len(data) == 11


def test_without_a_daemon_it_is_unknown_on_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--nagios", "--socket", str(tmp_path / "none")]) == 3
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.startswith(f"SENTINEL UNKNOWN - no daemon at {tmp_path}/none; start it")
    assert said.out.count("\n") == 1
