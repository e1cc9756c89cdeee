"""`sentinel report` and `diagnose --html`: what is asked, what is written where, and one sentence for each mistake."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from places import TESTS
from sample_answers import NOW, STATES, history
from sample_pages import series

from sentinel.api import client
from sentinel.cli.main import main
from sentinel.model.input_limits import MOST_ARGV_BYTES
from sentinel.model.json_form import iso
from sentinel.report.collect import command_line, words_of
from sentinel.report.page import BEGINS
from sentinel.sources.fs import Roots

Run = Callable[..., int]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The daemon answers; the paths that it is asked for."""
    paths: list[str] = []
    names = {("server", one["name"]) for one in STATES["three-alerts"]["servers"]} | {("gpu", "0000:03:00.0"), ("host", "host")}

    def get(path: str, _sockets: object = None) -> tuple[int, dict[str, Any]]:
        paths.append(path)
        where, query = urlsplit(path).path, parse_qs(urlsplit(path).query)
        if where == "/v1/series":
            entity = query.get("entity", [""])[0]
            known = [key for key in names if key[1] == entity]
            return (200, series(*known[0])) if known else (200, {"begin": iso(NOW), "step": 300, "series": []})
        return 200, {"/v1/status": STATES["three-alerts"], "/v1/history": {"transitions": history(), "earlier": None}}[where]

    monkeypatch.setattr(client, "get", get)
    monkeypatch.setattr(time, "time", lambda: NOW)
    return paths


def test_a_page_of_the_last_day_is_written_for_its_owner_alone(
    asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(["report"]) == 0

    (file,) = tmp_path.iterdir()
    assert file.name.startswith("sentinel-report-2026112")
    assert file.stat().st_mode & 0o777 == 0o600
    text = file.read_text(encoding="utf-8")
    assert text.startswith(BEGINS)
    assert "runs on the CPU: -ngl 99 was asked for" in text
    assert f"{file.name} (" in capsys.readouterr().out
    queries = [path for path in asked if path.startswith("/v1/series") and "entity=" in path]
    assert all("seconds=86400&points=300" in path for path in queries)
    assert {unquote(path.rpartition("=")[2]) for path in queries} >= {"127.0.0.1:8080", "llama.service", "0000:03:00.0", "host"}
    assert f"/v1/history?since={NOW - 86400:.3f}" in asked


def test_an_earlier_page_is_replaced_and_nothing_else_is(
    asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, notes, link = tmp_path / "a.html", tmp_path / "notes.txt", tmp_path / "link.html"
    notes.write_text("mine")
    link.symlink_to(notes)

    assert main(["report", "-o", str(file)]) == 0
    file.write_text(f"{BEGINS}old")
    assert main(["report", "-o", str(file)]) == 0
    assert not file.read_text().endswith("old")
    for taken, why in ((notes, "is no page of sentinel"), (link, "is a link"), (tmp_path, "is no page of sentinel")):
        assert main(["report", "-o", str(taken)]) == 2
        assert why in capsys.readouterr().err
    assert main(["report", "-o", str(tmp_path / "not/there.html")]) == 2
    assert "cannot be written: No such file or directory" in capsys.readouterr().err
    assert notes.read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 3, "nothing half written is left"


@pytest.mark.parametrize(
    ("since", "why"),
    [("soon", "write a duration (2h, 3d) or a date that is over"), ("40d", "31d or less"), ("2199-01-01", "a date that is over")],
)
def test_a_time_that_is_none_is_named(asked: list[str], since: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--since", since]) == 2
    assert why in capsys.readouterr().err
    assert asked == []


def test_without_a_daemon_there_is_one_sentence_and_no_file(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sentinel", "report", "-o", str(tmp_path / "a.html"), "--socket", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"sentinel: no daemon at {tmp_path / 'none'}; start it with `sentinel run` or `systemctl start sentinel`"
    ]
    assert list(tmp_path.iterdir()) == []


def test_redacted_it_names_neither_users_nor_the_machine(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "tannhauser", "1", "1", "x86_64")))
    monkeypatch.setattr("platform.node", lambda: "tannhauser")
    file = tmp_path / "a.html"

    assert main(["report", "--redact", "-o", str(file)]) == 0

    text = file.read_text(encoding="utf-8")
    assert "tannhauser" not in text
    assert "<title>sentinel report</title>" in text
    assert "/srv/models" not in text
    assert "gemma-3-27b-it-Q4_K_M" in text
    assert "read it before you publish it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["a", "--api-key", "it's secret", "-c", "1"], "a --api-key KEY-LEFT-OUT -c 1"),
        (["a", "--api-key=two words", "-hft", "hf_x"], "a --api-key=KEY-LEFT-OUT -hft KEY-LEFT-OUT"),
        (["a", "--api_key", "secret", "--hf_token=x"], "a --api_key KEY-LEFT-OUT --hf_token=KEY-LEFT-OUT"),
        (["a", "--api-key"], "a --api-key"),
        (["a b", "--alias", "x;y"], "'a b' --alias 'x;y'"),
    ],
)
def test_a_command_line_is_shown_without_its_keys(words: list[str], shown: str) -> None:
    assert command_line(words) == shown


def test_of_a_command_line_no_more_is_read_than_the_daemon_reads(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7/cmdline").write_bytes(b"llama-server\0--port\08080\0--alias\0" + b"x" * (8 << 20) + b"\0")
    words = words_of(7, Roots(proc=tmp_path))
    assert words[:4] == ["llama-server", "--port", "8080", "--alias"]
    assert sum(map(len, words)) < MOST_ARGV_BYTES
    (tmp_path / "7/cmdline").write_bytes(b"")
    assert words_of(7, Roots(proc=tmp_path)) == []


LOG = TESTS / "fixtures/logs/b10434-two-slots.log"


def test_a_log_makes_a_page_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.html"

    code = main(["diagnose", str(LOG), "--argv", "llama-server -m a.gguf --api-key abc", "--html", str(file)])

    text = file.read_text(encoding="utf-8")
    assert code == 0
    assert f"sentinel diagnose: {LOG.name}" in text
    assert "To share one: sentinel diagnose --share --html." in text, "a report is of a machine, and there is none"
    assert "no failure is named in" in text
    assert "this one reports no speeds: nothing is plotted" in text, "an answer or two are no course"
    assert "llama-server -m a.gguf" in text
    assert "abc" not in text.partition("<main>")[2].partition("</main>")[0]
    assert "open it in a browser" in capsys.readouterr().out


def _answers(dated: bool) -> bytes:
    """A log of twenty answers that get slower, one every three seconds."""
    lines = ["build_info: b10434-abc", "main: server is listening on http://127.0.0.1:8080"]
    for rate in range(40, 20, -1):
        spent = f"{40000 / rate:9.2f} ms /    40 tokens ({1000 / rate:8.2f} ms per token"
        lines += ["slot print_timing: id  0 | task 7 | ", f"       eval time =   {spent}, {rate:8.2f} tokens per second)"]
    out = []
    for n, line in enumerate(lines):
        minutes, seconds = divmod(3 * (n // 2), 60)
        head = f"2026-11-23T16:{minutes:02}:{seconds:02}+00:00 host llama-server[7]: " if dated else ""
        out.append(f"{head}{minutes}.{seconds:02}.000.000 I {line}")
    return "\n".join(out).encode()


@pytest.mark.parametrize("dated", [True, False], ids=["with dates", "without dates"])
def test_the_speeds_that_a_log_reports_are_plotted(tmp_path: Path, dated: bool) -> None:
    log, file = tmp_path / "x.log", tmp_path / "a.html"
    log.write_bytes(_answers(dated))

    main(["diagnose", str(log), "--html", str(file)])

    text = file.read_text(encoding="utf-8")
    assert "Of a log only the speeds that it reports are plotted" in text
    said = re.search(r"generation: [\d.]+ tokens/s on average, least 21 at (\S+), most 40 at (\S+), last 21", text)
    assert said, text[text.find("<main") :][:3000]
    assert said.groups() == (("16:01:00", "16:00:03") if dated else ("+0:01:00", "+0:00:03"))


def test_a_failure_in_a_log_is_the_verdict_of_its_page(tmp_path: Path) -> None:
    log, file = tmp_path / "x.log", tmp_path / "a.html"
    log.write_bytes((TESTS / "fixtures/logs/b10434-starts-refused.txt").read_bytes())

    plain = subprocess.run([sys.executable, "-m", "sentinel", "diagnose", str(log)], capture_output=True, text=True, check=False)
    code = main(["diagnose", str(log), "--html", str(file)])

    assert code == plain.returncode
    assert " ".join(plain.stdout.splitlines()[0].split()[2:6]) in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("words", [["--json"], ["--why", "cpu-fallback"], ["--share", "-o", "b.md"]])
def test_a_page_is_the_whole_answer(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(LOG), "--html", str(tmp_path / "a.html"), *words]) == 2
    assert "--html" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_shared_page_has_no_names(tmp_path: Path) -> None:
    log, file = tmp_path / "x.log", tmp_path / "a.html"
    log.write_text("main: loading model from /home/annegret/m.gguf\nerror: failed to load /home/annegret/m.gguf\n")

    main(["diagnose", str(log), "--share", "--argv", "llama-server -m /home/annegret/m.gguf", "--html", str(file)])

    text = file.read_text(encoding="utf-8")
    assert "annegret" not in text
    assert "m.gguf" in text
