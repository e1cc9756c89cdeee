"""One incident, not five alerts: an effect is inhibited by its cause, however the readings were ordered."""

from __future__ import annotations

import json

import pytest
from switch_rules import GPU, OTHER, SERVER, Story, Switch, overridden, rules

from sentinel.engine.alerts.inhibition import SETTLE, SETTLE_GONE
from sentinel.engine.engine import Engine
from sentinel.model.entity import Entity, Unknown, Value
from sentinel.model.reading import Event, Samples, ServerFound, ServerGone, Tick
from sentinel.rulefiles.testing.readings import EPOCH

CAUSE = Switch("cause", "server.ctx_requested", hold="2s", inhibits=("effect",))
EFFECT = Switch("effect", "server.slots_requested", hold="1s")
#: From the beginning of the effect until it may be told.
WAIT = 2.0 + SETTLE


def test_the_cause_is_reported_and_its_effect_is_not() -> None:
    story = Story(CAUSE, EFFECT)
    story.turn(0, cause=True, effect=True)
    story.until(1, 100)
    assert story.told() == [(2, "cause", "firing")]


@pytest.mark.parametrize("late", [0.5, 1, 3, 4.9])
def test_the_effect_does_not_flash_where_the_cause_is_seen_later(late: float) -> None:
    story = Story(CAUSE, EFFECT)
    story.turn(0, effect=True)
    story.until(1, late)
    story.turn(late, cause=True)
    story.until(late + 1, 100)
    assert [rule for _, rule, _ in story.told()] == ["cause"]


def test_judged_at_the_same_moment_the_cause_comes_first() -> None:
    """One reading tells of both, after the effect's wait; the effect's rule comes first by name."""
    cause = CAUSE._replace(id="z-cause", hold="0s")
    story = Story(cause, EFFECT)
    story.turn(0, effect=True)
    story.turn(2, effect=None)
    story.until(3, 20)
    sample = {EFFECT.signal: 1, cause.signal: 1}
    story.transitions += story.engine.step(Samples(EPOCH + 20.5, "test", SERVER, sample))
    story.until(21, 100)
    assert [rule for _, rule, _ in story.told()] == ["z-cause"]


def test_without_a_cause_the_effect_is_reported_when_its_causes_had_their_time() -> None:
    story = Story(CAUSE, EFFECT)
    story.turn(0, cause=False, effect=True)
    story.until(1, 100)
    assert story.told() == [(WAIT, "effect", "firing")]


def test_a_cause_that_cannot_be_judged_holds_nothing_back() -> None:
    story = Story(CAUSE, EFFECT)
    story.turn(0, cause=None, effect=True)
    story.until(1, 100)
    assert story.told() == [(WAIT, "effect", "firing")]


def test_a_hold_time_of_its_own_that_is_longer_is_not_made_longer_still() -> None:
    story = Story(CAUSE, EFFECT._replace(hold="20s"))
    story.turn(0, effect=True)
    story.until(1, 100)
    assert story.told() == [(20, "effect", "firing")]


def test_a_pending_cause_is_waited_for_until_it_ends() -> None:
    story = Story(CAUSE._replace(hold="10s"), EFFECT)
    story.turn(0, effect=True)
    for second in range(100):
        # Each time it lasts nine seconds of the ten that it needs.
        story.turn(second, cause=second % 10 != 9)
        story.until(second, second)
    assert story.told() == [(19, "effect", "firing")]


def test_a_pending_cause_of_which_no_more_is_known_is_not_waited_for_for_ever() -> None:
    story = Story(CAUSE._replace(hold="10s"), EFFECT)
    story.turn(0, effect=True, cause=True)
    story.turn(1, cause=None)
    story.until(2, 100)
    assert story.told() == [(2 * 10 + SETTLE, "effect", "firing")]


def test_an_effect_that_ends_behind_its_cause_is_reported_neither_as_firing_nor_as_resolved() -> None:
    story = Story(CAUSE, EFFECT)
    story.turn(0, cause=True, effect=True)
    story.until(1, 20)
    story.turn(21, effect=False)
    story.until(22, 30)
    story.turn(31, cause=False)
    story.until(32, 100)
    assert story.told() == [(2, "cause", "firing"), (31, "cause", "resolved")]
    ends = [(t.previous, t.state) for t in story.transitions if t.rule == "effect"]
    assert ends == [("inactive", "pending"), ("pending", "resolved")]


def test_an_effect_that_outlasts_its_cause_is_reported_once() -> None:
    story = Story(CAUSE, EFFECT)
    story.turn(0, cause=True, effect=True)
    story.until(1, 20)
    story.turn(21, cause=False)
    story.until(22, 60)
    story.turn(61, effect=False)
    story.until(62, 100)
    assert story.told() == [
        (2, "cause", "firing"), (21, "cause", "resolved"), (21 + SETTLE, "effect", "firing"), (61, "effect", "resolved"),
    ]  # fmt: skip
    assert next(t.reason for t in story.transitions if t.rule == "effect" and t.state == "firing") == "cause-ended"


def test_an_effect_that_ends_a_moment_after_its_cause_is_not_reported() -> None:
    story = Story(CAUSE, EFFECT)
    story.turn(0, cause=True, effect=True)
    story.until(1, 20)
    story.turn(21, cause=False)
    story.until(22, 24)
    story.turn(24.5, effect=False)
    story.until(25, 100)
    assert [rule for _, rule, _ in story.told()] == ["cause", "cause"]


def test_an_effect_of_which_nothing_is_known_when_the_cause_ends_is_not_reported_before_it_is() -> None:
    story = Story(CAUSE, EFFECT)
    story.turn(0, cause=True, effect=True)
    story.until(1, 20)
    story.turn(21, effect=None)
    story.turn(22, cause=False)
    story.until(23, 50)
    assert [rule for _, rule, _ in story.told()] == ["cause", "cause"]
    story.turn(51, effect=True)
    assert story.told()[-1] == (51, "effect", "firing")


def test_an_effect_that_was_reported_before_its_cause_is_reported_as_over() -> None:
    story = Story(CAUSE, EFFECT)
    story.turn(0, effect=True)
    story.until(1, 20)
    story.turn(21, cause=True)
    story.until(22, 30)
    story.turn(31, effect=False)
    story.until(32, 40)
    assert story.told() == [(WAIT, "effect", "firing"), (23, "cause", "firing"), (31, "effect", "resolved")]


def test_a_chain_of_effects_is_one_alert() -> None:
    middle = Switch("middle", "server.gpu_layers_requested", inhibits=("effect",))
    cause = CAUSE._replace(inhibits=("middle",))
    story = Story(cause, middle, EFFECT)
    story.turn(0, effect=True)
    story.turn(1, middle=True)
    story.turn(2, cause=True)
    story.until(3, 100)
    assert [rule for _, rule, _ in story.told()] == ["cause"]


def test_another_servers_trouble_explains_nothing() -> None:
    story = Story(CAUSE, EFFECT)
    story.turn(0, OTHER, cause=True)
    story.turn(0, effect=True)
    story.until(1, 100)
    assert story.told() == [(2, "cause", "firing"), (WAIT, "effect", "firing")]


@pytest.mark.parametrize("signal", ["host.gpu_count", "gpu.vram_total_bytes"])
def test_the_machines_and_the_only_gpus_trouble_explain_a_servers(signal: str) -> None:
    story = Story(CAUSE._replace(signal=signal), EFFECT)
    story.turn(0, cause=True, effect=True)
    for second in range(1, 40):
        story.until(second, second)
    assert [rule for _, rule, _ in story.told()] == ["cause"]


def test_of_two_gpus_none_explains_a_server_that_is_not_known_to_use_it() -> None:
    story = Story(CAUSE._replace(signal="gpu.vram_total_bytes"), EFFECT)
    story.turn(0, Entity("gpu", "0000:0a:00.0"), cause=False)
    story.turn(0, GPU, cause=True)
    story.turn(0, effect=True)
    story.until(1, 40)
    assert [rule for _, rule, _ in story.told()] == ["cause", "effect"]


def test_a_cause_whose_rule_is_taken_away_frees_its_effect() -> None:
    story = Story(CAUSE, EFFECT)
    story.turn(0, cause=True, effect=True)
    story.until(1, 20)
    story.transitions += story.engine.use(rules(EFFECT), EPOCH + 21)
    story.until(22, 60)
    assert story.told() == [(2, "cause", "firing"), (21, "cause", "resolved"), (21 + SETTLE, "effect", "firing")]


def test_behind_a_cause_a_restart_of_sentinel_changes_nothing() -> None:
    story = Story(CAUSE, EFFECT)
    story.turn(0, cause=True, effect=True)
    story.until(1, 20)
    again = Engine(rules(CAUSE, EFFECT))
    again.load(json.loads(json.dumps(story.engine.dump())))
    story.engine = again
    story.until(21, 40)
    story.turn(41, cause=False)
    story.until(42, 60)
    assert story.told() == [(2, "cause", "firing"), (41, "cause", "resolved"), (41 + SETTLE, "effect", "firing")]


def test_the_end_of_the_server_ends_an_effect_that_did_not_notify() -> None:
    story = Story(CAUSE, EFFECT)
    values = {CAUSE.signal: 1, EFFECT.signal: 1}
    story.transitions += story.engine.step(ServerFound(EPOCH, "process", SERVER, 7, EPOCH, values))
    story.until(1, 20)
    story.transitions += story.engine.step(ServerGone(EPOCH + 21, "process", SERVER, 7))
    story.until(21, 60)
    assert [(rule, state) for _, rule, state in story.told()] == [("cause", "firing"), ("cause", "resolved")]


def test_what_began_before_the_end_of_its_process_waits_no_longer_than_what_began_after_it() -> None:
    """A crash in a loop that starts the server again each second: 14 of 20 were reported 6 to 7 s after the death."""
    story = Story(CAUSE, EFFECT)
    story.engine = Engine(overridden((CAUSE, EFFECT), 'override = "effect"\n[alert]\noutlives_server = true'))
    values: dict[str, Value | Unknown] = {CAUSE.signal: 0, EFFECT.signal: 1}
    for start in range(3):
        at = EPOCH + start
        story.transitions += story.engine.step(ServerFound(at, "process", SERVER, 7 + start, at, values))
        story.transitions += story.engine.step(ServerGone(at + 0.5, "process", SERVER, 7 + start))
    story.until(3, 20)
    ((second, rule, state),) = story.told()
    assert (rule, state) == ("effect", "firing")
    assert 0.5 + 2.0 + SETTLE_GONE <= second < WAIT - 2


def test_of_a_process_that_nobody_saw_systemds_word_is_its_end(engine: Engine) -> None:
    """In a container the kernel reports no starts: a crash of 0.7 s in a unit was reported after 6 s, by the shipped rules."""
    fields: dict[str, Value] = {"unit": "llama.service", "code": "dumped", "status": "4/ILL"}
    told = list(engine.step(Samples(EPOCH, "logs", SERVER, {"server.log_readable": True})))
    told += engine.step(Event(EPOCH, "main_process_exited", SERVER, fields, "journal"))
    for second in range(1, 10):
        told += engine.step(Tick(EPOCH + second))
    (found,) = [t for t in told if t.state == "firing"]
    assert (found.rule, found.cause and found.cause.id) == ("server-crashed", "illegal-instruction")
    assert (found.at or 0.0) - EPOCH <= 4.0


def test_a_checkpoint_of_a_version_that_reported_everything_counts_as_reported() -> None:
    story = Story(CAUSE, EFFECT)
    story.turn(0, effect=True)
    story.until(1, 20)
    old = story.engine.dump()
    for row in old["alerts"]:
        for key in ("gate", "flaps", "hush", "ended"):
            del row[key]
    story.engine = Engine(rules(CAUSE, EFFECT))
    story.engine.load(old)
    story.turn(21, effect=False)
    assert story.told() == [(WAIT, "effect", "firing"), (21, "effect", "resolved")]


def test_what_explains_each_other_in_a_circle_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="forms a cycle"):
        rules(CAUSE, EFFECT._replace(inhibits=("cause",)))
    with pytest.raises(AssertionError, match="forms a cycle"):
        rules(CAUSE._replace(inhibits=("cause",)), EFFECT)
