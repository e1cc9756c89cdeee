"""What becomes of requests, joined from their lines."""

from __future__ import annotations

import json
from collections.abc import Iterable

from sentinel.engine.facts.requests import Requests
from sentinel.model.entity import Entity, Value

SERVER = Entity("server", "llama.service")

Line = tuple[str, dict[str, Value]]


def told(
    requests: Requests, lines: Iterable[Line], at: float = 0.0, entity: Entity = SERVER
) -> list[tuple[str, dict[str, Value]]]:
    """Events that the lines complete, one second after another."""
    return [event for n, (name, fields) in enumerate(lines) for event in requests.line(name, fields, entity, at + n)]


def turn(task: int, evaluated: int, total: int, similarity: float, ms: float = 12_000.0, *, old: bool = False) -> list[Line]:
    """The lines of one request; old builds release the slot before they print its timing."""
    chosen: dict[str, Value] = {"slot": 0, "similarity": similarity} if similarity else {"slot": 0, "by": "LRU"}
    released: Line = ("request_finished", {"slot": 0, "task": task, "n_tokens": total + 10, "truncated": False})
    timing: list[Line] = [
        ("prompt_timing", {"slot": 0, "task": task, "n": evaluated, "ms": ms}),
        ("generation_timing", {"slot": 0, "task": task, "n": 10, "ms": 500.0}),
    ]
    end = [released, *timing] if old else [*timing, released]
    return [("slot_selected", chosen), ("request_started", {"slot": 0, "task": task}), *end]


def rows(events: list[tuple[str, dict[str, Value]]]) -> list[tuple[str, Value, Value]]:
    return [(name, fields["in_a_row"], fields.get("why", "")) for name, fields in events]


def test_a_prompt_evaluated_again_counts_until_one_comes_from_the_cache() -> None:
    requests = Requests()
    lines = [*turn(1, 9000, 9000, 0.0), *turn(2, 9500, 9500, 0.94), *turn(3, 9900, 9900, 0.95), *turn(4, 200, 10100, 0.98, 900.0)]
    assert rows(told(requests, lines)) == [
        ("prompt_turn", 1, "kept-nothing"),
        ("prompt_turn", 2, "kept-nothing"),
        ("prompt_turn", 0, ""),
    ]


def test_the_order_of_old_builds_comes_to_the_same() -> None:
    lines = [*turn(1, 9000, 9000, 0.0, old=True), *turn(2, 9500, 9500, 0.94, old=True)]
    assert rows(told(Requests(), lines)) == [("prompt_turn", 1, "kept-nothing")]


def test_a_prompt_that_takes_less_than_ten_seconds_troubles_nobody() -> None:
    lines = [*turn(1, 900, 900, 0.0, 900.0), *turn(2, 950, 950, 0.94, 900.0), *turn(3, 990, 990, 0.95, 900.0)]
    assert told(Requests(), lines) == []


def test_a_failure_after_the_release_is_no_success() -> None:
    """b6940 prints the release first."""
    requests = Requests()
    released: dict[str, Value] = {"slot": 3, "n_tokens": 4096, "truncated": False}
    lines: list[Line] = []
    for task in (900, 903, 907):
        lines += [
            ("request_started", {"slot": 3, "task": task}),
            ("request_finished", {**released, "task": task}),
            ("request_failed", {"task": task, "why": "context shift is disabled"}),
        ]
    assert [row for _, row, _ in rows(told(requests, lines))] == [1, 2, 3]


def test_an_embedding_that_succeeds_between_ends_the_series() -> None:
    requests = Requests()
    lines: list[Line] = [
        ("request_failed", {"task": 1, "why": "Compute error."}),
        ("request_started", {"slot": 0, "task": 2}),
        ("request_finished", {"slot": 0, "task": 2, "n_tokens": 20, "truncated": False}),
        ("request_started", {"slot": 0, "task": 3}),
        ("request_failed", {"task": 3, "why": "Compute error."}),
    ]
    assert rows(told(requests, lines)) == [
        ("request_outcome", 1, "Compute error."),
        ("request_outcome", 0, ""),
        ("request_outcome", 1, "Compute error."),
    ]


def test_a_refusal_for_its_size_is_neither_failure_nor_success() -> None:
    lines: list[Line] = [
        ("request_failed", {"task": 1, "why": "Compute error."}),
        ("request_overflow", {"task": 2, "n_prompt": 9000, "n_ctx": 4096}),
        ("request_finished", {"slot": 0, "task": 2, "n_tokens": 0, "truncated": False}),
        ("request_failed", {"task": 3, "why": "Compute error."}),
    ]
    assert [row for _, row, _ in rows(told(Requests(), lines))] == [1, 2]


def test_a_request_that_was_never_begun_in_an_idle_server_is_distinguished_from_one_in_a_queue() -> None:
    idle, busy = Requests(), Requests()
    begun: list[Line] = [("request_started", {"slot": 0, "task": 1})]
    over: list[Line] = [("request_finished", {"slot": 0, "task": 1, "n_tokens": 9, "truncated": False})]
    cancelled: list[Line] = [("request_cancelled", {"task": 7})]
    (_, of_idle), (_, of_busy) = told(idle, begun + over + cancelled)[-1], told(busy, begun + cancelled)[-1]
    assert (of_idle["never_begun"], of_busy["never_begun"]) == (1, 0)


def test_a_server_that_prints_no_work_is_not_judged_by_its_silence() -> None:
    assert told(Requests(), [("request_cancelled", {"task": n}) for n in range(20)]) == []


def test_half_a_turn_survives_a_snapshot_and_a_new_name() -> None:
    lines = [*turn(1, 9000, 9000, 0.0), *turn(2, 9500, 9500, 0.94), *turn(3, 9900, 9900, 0.95)]
    whole = Requests()
    expected = told(whole, lines)
    for cut in range(len(lines)):
        before, after = Requests(), Requests()
        first = told(before, lines[:cut])
        after.load(json.loads(json.dumps(before.dump())))
        other = Entity("server", "127.0.0.1:8080")
        after.rename(SERVER, other)
        assert first + told(after, lines[cut:], cut, other) == expected


def test_a_new_run_forgets_the_one_before() -> None:
    requests = Requests()
    told(requests, [("request_failed", {"task": n, "why": "Compute error."}) for n in range(2)])
    requests.renewed(SERVER)
    assert rows(told(requests, [("request_failed", {"task": 9, "why": "Compute error."})])) == [
        ("request_outcome", 1, "Compute error.")
    ]


def test_each_slot_has_the_tokens_of_its_last_report_and_says_whether_it_works() -> None:
    requests = Requests()
    lines: list[Line] = [
        *turn(1, 9000, 9000, 0.0),
        ("request_started", {"slot": 3, "task": 2}),
        ("prompt_progress", {"slot": 3, "task": 2, "n": 512, "share": 0.5, "tps": 100.0}),
        ("request_started", {"slot": 1, "task": 4}),
    ]
    told(requests, lines)
    known = [(0, 9010, False), (1, 0, True), (3, 512, True)]
    assert requests.contexts(SERVER) == known
    assert requests.contexts(Entity("server", "another")) == []
    # The same after a restart of the engine from its snapshot.
    again = Requests()
    again.load(json.loads(json.dumps(requests.dump())))
    assert again.contexts(SERVER) == known
    told(requests, [("request_finished", {"slot": 3, "task": 2, "n_tokens": 700, "truncated": False})])
    assert requests.contexts(SERVER)[2] == (3, 700, False)
    # A model that is loaded again holds nothing.
    told(requests, [("model_loading", {})])
    assert requests.contexts(SERVER) == []


def unasked(task: int, evaluated: int, answer: int, *, at: int = 0) -> list[Line]:
    """The lines of one request of 2024: its prompt is read from `at` on, in batches, and the slot is released last."""
    return [
        ("request_started", {"slot": 0, "task": task}),
        ("prompt_read_from", {"slot": 0, "task": task, "n": at}),
        ("prompt_read_from", {"slot": 0, "task": task, "n": at + 2048}),
        ("prompt_timing", {"n": evaluated, "ms": 24_000.0}),
        ("generation_timing", {"n": answer, "ms": 9_000.0}),
        ("request_finished", {"slot": 0, "task": task, "n_tokens": at + evaluated + answer, "truncated": False}),
    ]


def test_a_conversation_of_which_not_even_the_first_token_is_kept_was_not_asked_for() -> None:
    lines = [*unasked(0, 4000, 200), *unasked(1, 4300, 250), *unasked(2, 4700, 200)]
    assert rows(told(Requests(), lines)) == [("prompt_turn", 1, "not-asked"), ("prompt_turn", 2, "not-asked")]


def test_questions_that_hold_no_answer_before_them_are_no_conversation() -> None:
    lines = [line for n, length in enumerate((4000, 4100, 4250, 3900, 4000)) for line in unasked(n, length, 400)]
    assert told(Requests(), lines) == []


def test_a_prompt_of_which_a_part_was_kept_is_one_whose_front_changes() -> None:
    lines = [*unasked(0, 4000, 200), *unasked(1, 4290, 250, at=10), *unasked(2, 4690, 200, at=10)]
    assert rows(told(Requests(), lines)) == [("prompt_turn", 1, "front-changed"), ("prompt_turn", 2, "front-changed")]


def test_without_the_line_of_the_answer_the_slot_says_how_long_it_was() -> None:
    lines = [*unasked(0, 4000, 200), *unasked(1, 4300, 250), *unasked(2, 4700, 200)]
    lines = [line for line in lines if line[0] != "generation_timing"]
    assert [fields["why"] for _, fields in told(Requests(), lines)] == ["not-asked", "not-asked"]
