"""Starts that fail for lack of something, provoked on the real llama-server; the first fix is applied, and the alert is over."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from live import PROMISE, Sentinel, first_flags, over, wait_for
from real_server import ServerDied, free_port, request, server

pytestmark = [pytest.mark.real_server, pytest.mark.timeout(200)]


class Starting:
    """A server that is known, for it ran once as it should. What it is started with next decides whether it starts again."""

    def __init__(self, sentinel: Sentinel, model: Path, log: Path) -> None:
        self.sentinel = sentinel
        self.right = ["-c", "512", "-np", "1", "--no-warmup"]
        self.log = log
        self.port = free_port()
        self.name = f"127.0.0.1:{self.port}"
        self.starts(["-m", str(model)])

    def starts(self, words: Sequence[str], *, rule: str = "start-failed") -> None:
        """It comes to serving, and nothing is open about its start any more."""
        with server(*self.right, *words, log=self.log, port=self.port) as running:
            pid = running.process.pid
            assert self.sentinel.name_of(pid) == self.name
            over(self.sentinel, rule, self.name)
        # What was printed half a second before the next process began counts as its own, unless the end before that was seen.
        wait_for(lambda: (self.sentinel.server(pid) or {"state": "exited"})["state"] == "exited", "its end is seen", PROMISE)

    def fails(self, words: Sequence[str], cause: str, *, rule: str = "start-failed") -> dict[str, Any]:
        """The alert with this cause: the end of the process is known before the last lines are read, and those say more."""
        for _ in range(5):
            before = self.log.stat().st_size
            with pytest.raises(ServerDied), server(*self.right, *words, log=self.log, port=self.port):
                pass
            # Its logger is not waited for: at a load of 20, two starts of thirty-one lost all but their first lines.
            if re.search(rb"error|fail|couldn't", self.log.read_bytes()[before:], re.IGNORECASE):
                break
        found: list[dict[str, Any]] = []

        def named() -> bool:
            alert = self.sentinel.alert(rule, self.name)
            found[:] = [] if alert is None else [alert]
            return bool(found) and found[0]["cause"]["id"] == cause

        wait_for(named, lambda: f"{cause} is named: {found}; {self.sentinel.ask('why', rule, self.name)}", PROMISE)
        told = [a["rule"] for a in self.sentinel.ask("alerts")["alerts"] if a["entity"]["name"] == self.name]
        assert told == [rule]
        return found[0]


@pytest.fixture
def one(sentinel: Sentinel, models: Path, tmp_path: Path) -> Iterator[Starting]:
    yield Starting(sentinel, models / "dense.gguf", tmp_path / "log")


def test_a_model_that_is_not_there(one: Starting, models: Path, tmp_path: Path) -> None:
    file = tmp_path / "models" / "dense.gguf"
    alert = one.fails(["-m", str(file)], "file-missing")
    assert f"ls -l {file}" in alert["fixes"][0]["command"]
    assert "put the file there" in alert["fixes"][0]["do"]

    file.parent.mkdir()
    shutil.copy(models / "dense.gguf", file)
    one.starts(["-m", str(file)])


def test_a_part_that_was_not_fetched(one: Starting, tmp_path: Path) -> None:
    from make_models import write_moe

    write_moe(tmp_path / "parts.gguf", experts=0, split=15)
    parts = sorted(tmp_path.glob("parts-*.gguf"))
    parts[1].rename(tmp_path / "elsewhere")
    alert = one.fails(["-m", str(parts[0])], "split-missing")
    assert f"part 2 of {len(parts)}" in alert["summary"]
    assert str(parts[1]) in alert["fixes"][0]["command"]

    (tmp_path / "elsewhere").rename(parts[1])
    one.starts(["-m", str(parts[0])])


def test_a_port_that_is_taken(one: Starting, models: Path) -> None:
    words = ["-m", str(models / "dense.gguf")]
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", one.port))
        holder.listen()
        alert = one.fails(words, "port-taken")
        command = alert["fixes"][0]["command"]
        if shutil.which("ss"):
            assert (
                f"127.0.0.1:{one.port}" in subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout
            )
    one.starts(words)


def test_the_projector_of_another_model(one: Starting, models: Path, tmp_path: Path) -> None:
    from make_models import write_projector

    wrong, fitting = write_projector(tmp_path / "wrong.gguf", 512), write_projector(tmp_path / "fitting.gguf")
    words = ["-m", str(models / "dense.gguf"), "--mmproj"]
    alert = one.fails([*words, str(wrong)], "projector-of-another-model")
    assert "512 numbers, and the model takes 256" in alert["cause"]["text"]
    assert f"in place of {wrong}" in alert["fixes"][0]["do"]

    one.starts([*words, str(fitting)])


def test_a_draft_model_that_the_build_does_not_know(one: Starting, models: Path, tmp_path: Path) -> None:
    file = tmp_path / "draft.gguf"
    # An architecture of tomorrow, with its own keys: the same file with another name in all of them, as long as the old one.
    file.write_bytes((models / "dense.gguf").read_bytes().replace(b"llama", b"llamx"))
    words = ["-m", str(models / "dense.gguf")]
    alert = one.fails([*words, "-md", str(file)], "draft-unfit")
    assert "'llamx'" in alert["cause"]["text"]
    assert alert["fixes"][0]["do"].startswith("Start without the draft model (leave out -md)")

    one.starts(words)


def test_a_grammar_that_ends_the_server_with_an_exception(one: Starting, models: Path) -> None:
    """This build throws where it could say so, and nothing catches that: its end is a crash by all signs."""
    words = ["-m", str(models / "dense.gguf"), "--grammar"]
    alert = one.fails([*words, 'root ::= ("yes"'], "grammar-of-the-command-line", rule="server-crashed")
    assert alert["fixes"][0]["do"].startswith("Correct the grammar, or start without it")

    one.starts([*words, 'root ::= ("yes")'], rule="server-crashed")


def test_a_template_of_the_model_that_does_not_parse(one: Starting, models: Path, tmp_path: Path) -> None:
    from make_models import with_template

    words = ["-m", str(with_template(models / "dense.gguf", tmp_path / "bad.gguf", "{% for m in messages %}{{ m.content "))]
    alert = one.fails(words, "template-of-the-model")
    assert "Expected }}" in alert["cause"]["text"]

    one.starts([*words, *first_flags(alert)])


def test_a_template_that_was_given_and_does_not_parse(one: Starting, models: Path, tmp_path: Path) -> None:
    template = tmp_path / "chat.jinja"
    template.write_text("{% if x %}")
    words = ["-m", str(models / "dense.gguf"), "--chat-template-file", str(template)]
    alert = one.fails(words, "template-given")
    assert alert["fixes"][0]["do"].startswith("Correct the template")

    template.write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    one.starts(words)


def test_a_preset_without_a_model(sentinel: Sentinel, models: Path, tmp_path: Path) -> None:
    """The router says that the load went well; its child is a router itself, and what was asked for stays 'loading' for ever."""
    preset, log, port = tmp_path / "models.ini", tmp_path / "log", free_port()
    preset.write_text("[mine]\nctx-size = 512\n")
    words = ["--models-preset", str(preset), "--models-max", "1"]

    def load(url: str) -> None:
        request(f"{url}/models/load", json.dumps({"model": "mine"}).encode())

    with server(*words, log=log, port=port) as router:
        load(router.url)
        wait_for(lambda: bool(told(sentinel, port, log)), "the child is told", PROMISE)
        (alert,) = told(sentinel, port, log)
        assert alert["cause"]["id"] == "preset-without-model"
        assert "[mine]" in alert["fixes"][0]["do"]
        assert "`model = /whole/path.gguf`" in alert["fixes"][0]["do"]

    preset.write_text(f"[mine]\nctx-size = 512\nmodel = {models / 'dense.gguf'}\n")
    with server(*words, log=log, port=port) as router:
        load(router.url)
        wait_for(lambda: b'"status":"ok"' in health_of_child(log), "the child has a model", PROMISE)
        wait_for(lambda: not told(sentinel, port, log), "the alert is over", PROMISE)


def told(sentinel: Sentinel, router: int, log: Path) -> list[dict[str, Any]]:
    """Open alerts of starts that failed, of this router and its children: other tests' servers are seen as well."""
    ports = [str(router), *ports_of_children(log)]
    found = [a for a in sentinel.ask("alerts")["alerts"] if a["rule"] == "start-failed"]
    return [a for a in found if set(ports) & set(re.findall(r"\d+", a["entity"]["name"]))]


def ports_of_children(log: Path) -> list[str]:
    """The ports that the router's log names, the last one last."""
    return re.findall(r"spawning server instance with name=mine on port (\d+)", log.read_text(errors="replace"))


def health_of_child(log: Path) -> bytes:
    """What the router's child answers on the port that the router's log names; nothing while it does not."""
    found = ports_of_children(log)
    try:
        return request(f"http://127.0.0.1:{found[-1]}/health") if found else b""
    except OSError:
        return b""
