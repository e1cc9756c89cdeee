"""The child: what it asks a server, when it stops, and what it makes of servers that misbehave."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_llama import Fake, running

from sentinel.quality.daily.errand import Errand
from sentinel.quality.daily.order import Order
from sentinel.quality.daily.outcome import Outcome
from sentinel.quality.reference import decode
from sentinel.sources.fs import Roots
from sentinel.sources.processes.procfs import Stat, read_stat


@pytest.fixture
def fake() -> Iterator[Fake]:
    with running(Fake()) as one:
        yield one


def order(fake: Fake, folder: Path, **changed: Any) -> Order:
    """To ask the fake, which is this very process."""
    stat = read_stat(Roots(), os.getpid())
    assert isinstance(stat, Stat)
    made = Order(
        host="127.0.0.1", port=fake.port, pid=os.getpid(), ticks=stat.start_ticks, parent=os.getppid(), budget=1_000_000,
        left=600.0, patience=0.3, seconds=5.0,
        past=str(folder / "past.json"), partial=str(folder / "partial.json"),
    )  # fmt: skip
    return replace(made, **changed)


def check(fake: Fake, folder: Path, **changed: Any) -> Outcome:
    return Errand(order(fake, folder, **changed)).run()


def completions(fake: Fake) -> int:
    return sum(path == "/completion" for path, _ in fake.asked)


def test_the_first_check_learns_in_three_passes(fake: Fake, tmp_path: Path) -> None:
    found = check(fake, tmp_path)
    assert (found.end, found.learned, found.past.verdict) == ("done", True, "learned")
    assert completions(fake) == 3 * 104
    assert len(decode((tmp_path / "past.json").read_bytes()).passes) == 3
    assert found.tokens > 0


def test_the_same_answers_are_the_same_after_one_pass(fake: Fake, tmp_path: Path) -> None:
    check(fake, tmp_path)
    fake.asked.clear()
    found = check(fake, tmp_path)
    assert (found.past.verdict, completions(fake)) == ("same", 104)
    assert found.past.divergence == pytest.approx(0.0, abs=1e-6)


def test_other_answers_are_shifted_after_a_second_pass(fake: Fake, tmp_path: Path) -> None:
    check(fake, tmp_path)
    fake.asked.clear()
    fake.moved = 2.0
    found = check(fake, tmp_path)
    assert (found.past.verdict, completions(fake)) == ("shifted", 2 * 104)
    assert found.past.divergence is not None
    assert found.past.divergence > 0.007
    assert not found.learned


def test_what_disturbs_one_pass_alone_is_no_shift(fake: Fake, tmp_path: Path) -> None:
    check(fake, tmp_path)
    fake.asked.clear()

    def settles(body: dict[str, Any]) -> tuple[int, Any]:
        fake.moved = 2.0 if completions(fake) <= 104 else 0.0
        return fake.completion(body)

    fake.instead["/completion"] = settles
    found = check(fake, tmp_path)
    assert completions(fake) == 2 * 104
    assert found.past.verdict == "same"


def test_another_vocabulary_is_learned_anew(fake: Fake, tmp_path: Path) -> None:
    check(fake, tmp_path)
    fake.instead["/tokenize"] = lambda body: (200, {"tokens": [len(word) for word in body["content"].split(" ")]})
    found = check(fake, tmp_path)
    assert (found.past.verdict, found.learned) == ("learned", True)


def test_another_vocabulary_of_the_same_file_is_a_shift_that_costs_nothing(fake: Fake, tmp_path: Path) -> None:
    check(fake, tmp_path)
    fake.asked.clear()
    fake.instead["/tokenize"] = lambda body: (200, {"tokens": [len(word) for word in body["content"].split(" ")]})
    found = check(fake, tmp_path, same_model=True)
    assert (found.past.verdict, found.tokens, completions(fake)) == ("shifted", 0, 0)
    assert "tokenizer" in found.past.why


@pytest.mark.parametrize("kind", ["nan", "flat", "constant"])
def test_a_broken_model_is_broken_and_not_learned(kind: str, fake: Fake, tmp_path: Path) -> None:
    def broken(body: dict[str, Any]) -> tuple[int, Any]:
        rows = fake.probabilities("x" if kind == "constant" else body["prompt"])
        value = {"nan": None, "flat": -4.0}.get(kind)
        made = [{"id": n, "token": t, "logprob": v if kind == "constant" else value} for n, t, v in rows]
        return 200, {"content": "", "completion_probabilities": [{"top_logprobs": made}]}

    fake.instead["/completion"] = broken
    found = check(fake, tmp_path)
    assert (found.end, found.past.verdict, found.past.broken, found.learned) == ("done", "broken", kind, False)
    assert not (tmp_path / "past.json").exists()


def test_a_slot_that_works_before_is_left_alone(fake: Fake, tmp_path: Path) -> None:
    fake.busy = 1
    assert check(fake, tmp_path).end == "busy"
    assert completions(fake) == 0


def test_a_slot_that_begins_to_work_stops_the_check_before_the_next_question(fake: Fake, tmp_path: Path) -> None:
    def busy_after_ten(body: dict[str, Any]) -> tuple[int, Any]:
        fake.busy = 1 if completions(fake) >= 10 else 0
        return fake.completion(body)

    fake.instead["/completion"] = busy_after_ten
    found = check(fake, tmp_path)
    assert (found.end, found.partial, completions(fake)) == ("request", True, 10)


def test_a_new_connection_ends_the_question_at_hand(fake: Fake, tmp_path: Path) -> None:
    asked, over = threading.Event(), threading.Event()

    def slow(body: dict[str, Any]) -> tuple[int, Any]:
        asked.set()
        over.wait(20)
        return fake.completion(body)

    fake.instead["/completion"] = slow
    found: list[tuple[Outcome, float]] = []
    thread = threading.Thread(target=lambda: found.append((check(fake, tmp_path, seconds=20.0), time.monotonic())))
    thread.start()
    assert asked.wait(20)
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", fake.port)):
        thread.join(15)
    over.set()
    (outcome, ended) = found[0]
    assert (outcome.end, str(outcome.why)) == ("request", "a request came")
    assert ended - began < 5.0


def test_no_question_is_asked_after_the_seconds_of_the_day(fake: Fake, tmp_path: Path) -> None:
    found = check(fake, tmp_path, left=0.0)
    assert (found.end, found.why, completions(fake)) == ("budget", "the day's seconds are spent", 0)


def test_a_stopped_check_goes_on_where_it_was(fake: Fake, tmp_path: Path) -> None:
    spent = check(fake, tmp_path, budget=500)
    assert (spent.end, spent.partial) == ("budget", True)
    assert 0 < spent.tokens <= 500
    before = completions(fake)
    found = check(fake, tmp_path, resume=True)
    assert (found.end, found.learned) == ("done", True)
    assert completions(fake) == 3 * 104
    assert completions(fake) > before


def test_another_process_does_not_go_on_with_it(fake: Fake, tmp_path: Path) -> None:
    check(fake, tmp_path, budget=500)
    before = completions(fake)
    check(fake, tmp_path, resume=False)
    assert completions(fake) == before + 3 * 104


def test_a_server_that_sleeps_is_not_woken(fake: Fake, tmp_path: Path) -> None:
    fake.instead["/props"] = lambda _: (200, {"is_sleeping": True, "default_generation_settings": {"n_ctx": 4096}})
    assert check(fake, tmp_path).end == "asleep"
    assert [path for path, _ in fake.asked] == ["/props"]


def test_a_process_that_is_not_the_one_found_is_not_asked_on(fake: Fake, tmp_path: Path) -> None:
    pause = threading.Event()
    fake.instead["/completion"] = lambda body: (pause.wait(0.01), fake.completion(body))[1]
    assert check(fake, tmp_path, ticks=1).end == "gone"


def test_a_daemon_that_was_gone_before_the_first_question_ends_it(fake: Fake, tmp_path: Path) -> None:
    """Killed while its child started: the parent that the child finds is not the one who ordered."""
    pause = threading.Event()
    fake.instead["/completion"] = lambda body: (pause.wait(0.01), fake.completion(body))[1]
    found = check(fake, tmp_path, parent=os.getpid())
    assert (found.end, found.why) == ("gone", "the daemon has ended")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"/slots": lambda _: (501, {"error": {"message": "no slots"}})}, "/slots is off"),
        ({"/slots": lambda _: (200, {"no": "list"})}, "not llama-server"),
        ({"/props": lambda _: (200, [1])}, "refused /props"),
        ({"/completion": lambda _: (200, {"content": "x" * (5 << 20)})}, "more than 4 MiB"),
        ({"/completion": lambda _: (200, b"no json")}, "no JSON"),
        # 137 MB in the child, and the unit has 128 for the daemon and all that it starts.
        ({"/props": lambda _: (200, b"[" + b"[]," * 1_300_000 + b"[]]")}, "more values than llama-server has"),
        ({"/tokenize": lambda _: (200, {"tokens": ["a"]})}, "no token numbers"),
        (
            {"/v1/models": lambda _: (200, {"data": [{"id": "m", "meta": {"n_vocab": 3}}]})},
            "says that it has 3 tokens, and answers with token",
        ),
    ],
    ids=[
        "no slots",
        "slots of another kind",
        "no llama.cpp",
        "too much",
        "no json",
        "too many values",
        "no tokens",
        "lies about its vocabulary",
    ],
)
def test_whatever_is_no_llama_server_is_said_in_a_sentence(
    changed: dict[str, Any], said: str, fake: Fake, tmp_path: Path
) -> None:
    fake.instead |= changed
    found = check(fake, tmp_path)
    assert found.end == "trouble"
    assert said in found.why
    assert not (tmp_path / "past.json").exists()


def test_a_server_that_ends_amid_the_check_is_said(fake: Fake, tmp_path: Path) -> None:
    fake.ends_after = 20
    found = check(fake, tmp_path)
    assert (found.end, completions(fake)) == ("trouble", 21)


def test_a_server_that_answers_too_slowly_is_given_up(fake: Fake, tmp_path: Path) -> None:
    over = threading.Event()
    fake.instead["/completion"] = lambda body: (over.wait(20), fake.completion(body))[1]
    found = check(fake, tmp_path, seconds=0.3)
    over.set()
    assert "did not answer /completion within 0.3 s" in found.why


def test_a_key_is_sent_and_never_written(tmp_path: Path) -> None:
    with running(Fake(key="s3cret")) as fake:
        assert "wants an API key" in check(fake, tmp_path).why
        assert check(fake, tmp_path, key="s3cret").learned
    assert not any("s3cret" in path.read_text() for path in tmp_path.iterdir())


def reference(fake: Fake, folder: Path, text: bytes = b"") -> int:
    """A descriptor of another measurement, or of the text."""
    (folder / "better").mkdir()
    check(fake, folder / "better")
    path = folder / "better" / "past.json"
    if text:
        path.write_bytes(text)
    return os.open(path, os.O_RDONLY)


def test_the_named_reference_is_held_against_too(fake: Fake, tmp_path: Path) -> None:
    better = reference(fake, tmp_path)
    fake.moved = 2.0
    found = check(fake, tmp_path, reference_fd=better)
    assert (found.past.verdict, found.better.verdict) == ("learned", "shifted")
    assert found.better.divergence is not None


@pytest.mark.parametrize(
    "text", [b"{", b"\xff" * 5000, b"[" * 100_000, b'{"format": "sentinel quality reference", "version": 9}']
)
def test_a_hostile_reference_costs_a_sentence(text: bytes, fake: Fake, tmp_path: Path) -> None:
    better = reference(fake, tmp_path, text)
    found = check(fake, tmp_path, reference_fd=better)
    assert (found.past.verdict, found.better.verdict) == ("learned", "none")
    assert found.better.why.startswith("the reference is ")


def test_a_damaged_past_is_learned_anew(fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "past.json").write_bytes(b"\0" * 100)
    assert check(fake, tmp_path).learned
