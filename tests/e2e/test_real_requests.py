"""Requests that come to nothing on the real llama-server: told, and over once the first fix is followed by whoever asks."""

from __future__ import annotations

import contextlib
import json
import urllib.error
from pathlib import Path
from typing import Any

import pytest
from live import Sentinel, over
from real_server import model, request, server

pytestmark = [pytest.mark.real_server, pytest.mark.timeout(600)]


def complete(url: str, **body: object) -> dict[str, Any] | None:
    """The answer; None for an error."""
    with contextlib.suppress(urllib.error.HTTPError):
        answer: dict[str, Any] = json.loads(request(f"{url}/completion", json.dumps(body).encode(), timeout=300.0))
        return answer
    return None


def test_requests_that_all_fail_succeed_as_the_first_fix_says(sentinel: Sentinel, models: Path, tmp_path: Path) -> None:
    """A grammar of one word allows the end of the text after it, and nothing else: who forbids the end gets status 500."""
    arguments = ["-m", str(models / "dense.gguf"), "-c", "512", "-np", "1"]
    with server(*arguments, log=tmp_path / "log") as running:
        name = sentinel.name_of(running.process.pid)
        question: dict[str, object] = {"prompt": "word", "n_predict": 20, "grammar": 'root ::= "yes"'}
        assert [complete(running.url, **question, ignore_eos=True) for _ in range(4)] == [None] * 4
        alert = sentinel.await_alert("requests-failing", name)
        assert alert["cause"]["id"] == "grammar-fails"
        assert alert["fixes"][0]["do"].startswith("Let the client allow the end of the text (no ignore_eos)")

        assert complete(running.url, **question) is not None
        over(sentinel, "requests-failing", name)


def _lines(number: int, begin: int = 0) -> str:
    return " ".join(f"Line {n}: the quick brown fox jumps over dog {n * 7 % 89}." for n in range(begin, begin + number))


@pytest.mark.long
def test_a_conversation_read_again_each_turn_comes_from_the_cache_after_the_first_fix(sentinel: Sentinel, tmp_path: Path) -> None:
    """gemma-3 has a sliding window: what changes before the end of a prompt has all of it read again. A client that only adds
    is answered from the cache."""
    arguments = ["-m", str(model()), "-c", "16384", "-np", "1", "-t", "1", "-b", "32", "-ub", "32"]
    with server(*arguments, log=tmp_path / "log") as running:
        name = sentinel.name_of(running.process.pid)
        # How fast it reads depends on the machine, so that the length of the prompts has to follow it: 14 s each.
        tried = complete(running.url, prompt=_lines(20), n_predict=2)
        assert tried is not None
        timings = tried["timings"]
        lines = int(14_000 / (timings["prompt_ms"] / timings["prompt_n"]) / (timings["prompt_n"] / 20)) + 1
        # What follows the change is longer than the window of 512 tokens: within it the cache can go back.
        front, end = _lines(lines, begin=1000), _lines(50, begin=9000)
        for turn in range(4):
            # The client drops what the model thought in the turn before, and puts what it thinks now.
            conversation = f"{front} thought {turn * 131} {end} {_lines(turn, begin=70)}"
            assert complete(running.url, prompt=conversation, n_predict=2) is not None
        alert = sentinel.await_alert("prompt-reprocessing", name)
        assert alert["cause"]["id"] == "memory-cannot-go-back"
        assert alert["fixes"][0]["do"].startswith("Let the client leave the prompt as it was and only add to it")

        assert complete(running.url, prompt=f"{conversation} {_lines(3)}", n_predict=2) is not None
        over(sentinel, "prompt-reprocessing", name)
