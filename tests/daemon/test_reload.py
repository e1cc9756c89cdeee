"""When saved rule files are taken, and what becomes of alerts when rules change: times as data, no file is touched."""

from __future__ import annotations

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from switch_rules import SERVER, Story, Switch, rules, text_of

from sentinel.daemon.reload import FILLING, PATIENCE, QUIET, Settling
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.reading import Samples, Tick
from sentinel.rulefiles.load import load
from sentinel.rulefiles.testing.readings import EPOCH

OLD = frozenset({("a.toml", 1, 10, 7), ("b.toml", 1, 10, 8)})
NEW = frozenset({("a.toml", 2, 11, 7), ("b.toml", 1, 10, 8)})
GONE = frozenset({("b.toml", 1, 10, 8)})


def test_nothing_changed_nothing_to_do() -> None:
    assert Settling(OLD).wait(OLD, 100.0) is None


def test_a_saved_file_is_read_when_nothing_has_moved_for_a_moment() -> None:
    settling = Settling(OLD)
    assert settling.wait(NEW, 100.0) == QUIET
    assert settling.wait(NEW, 100.1 + QUIET) == 0
    assert settling.tried(NEW, 100.4, good=True)
    assert settling.wait(NEW, 100.5) is None


def test_a_mistake_is_not_reported_before_the_file_was_left_alone_for_longer() -> None:
    settling = Settling(OLD)
    settling.wait(NEW, 100.0)
    assert not settling.tried(NEW, 100.4, good=False)
    assert settling.wait(NEW, 100.5) == pytest.approx(PATIENCE - 0.5)
    assert settling.wait(NEW, 100.0 + PATIENCE) == 0
    assert settling.tried(NEW, 100.1 + PATIENCE, good=False)
    assert settling.wait(NEW, 200.0) is None


def test_a_file_that_the_shell_has_emptied_is_no_mistake_before_its_command_had_time_to_fill_it() -> None:
    """`sentinel rules override cpu-fallback > FILE` in the folder of rules."""
    settling = Settling(OLD)
    emptied = OLD | {("/rules/b.toml", 2, 0, 2)}
    assert settling.wait(emptied, 100.0) == QUIET
    assert not settling.tried(emptied, 100.0 + QUIET, good=False)
    assert not settling.tried(emptied, 100.0 + 3 * PATIENCE, good=False)
    assert settling.tried(emptied, 100.0 + FILLING, good=False)


def test_a_file_that_went_away_may_come_back_at_once() -> None:
    """Some editors move the old file away and write a new one in its place."""
    settling = Settling(OLD)
    assert settling.wait(GONE, 100.0) == PATIENCE
    assert settling.wait(GONE, 101.0) == PATIENCE - 1
    assert settling.wait(NEW, 101.5) == QUIET
    settling = Settling(OLD)
    settling.wait(GONE, 100.0)
    assert settling.wait(GONE, 100.0 + PATIENCE) == 0


def test_what_comes_back_as_it_was_is_nothing_to_do() -> None:
    settling = Settling(OLD)
    settling.wait(GONE, 100.0)
    assert settling.wait(OLD, 100.5) is None


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.01, 0.2, 0.5, 1.9]), st.integers(0, 6)), max_size=30))
def test_however_an_editor_writes_no_mistake_is_reported_while_it_writes_and_the_end_is_always_taken(
    steps: list[tuple[float, int]],
) -> None:
    """Every third state of the file is a mistake. Time stands still while nothing is asked: the daemon looks when it said."""
    settling = Settling(OLD)
    at, state, since = 100.0, OLD, 0.0

    def look_until(end: float) -> None:
        nonlocal at
        while at < end:
            pause = settling.wait(state, at)
            if pause == 0:
                good = min(mtime for _, mtime, _, _ in state) % 3 != 0
                if settling.tried(state, at, good=good) and not good:
                    assert at - since >= PATIENCE
            at += 0.1 if pause is None else max(pause, 0.1)

    for pause, mtime in steps:
        written = frozenset({("a.toml", mtime + 2, 1, 1)})
        if written != state:
            state, since = written, at
        look_until(at + pause)
    look_until(at + 10)
    assert settling.done == state


# --- what becomes of alerts ---

ON = Switch("on", "server.ctx_requested", hold="3s")


def use(story: Story, ruleset: RuleSet, at: float) -> list[tuple[str, str, str]]:
    found = story.engine.use(ruleset, EPOCH + at)
    story.transitions += found
    return [(t.rule, t.state, t.reason) for t in found]


def firing() -> Story:
    story = Story(ON)
    story.turn(0, on=True)
    story.until(1, 5)
    assert story.told() == [(3.0, "on", "firing")]
    return story


def of(text: str) -> RuleSet:
    found, problems = load({"on.toml": text.encode()}, {})
    assert found is not None, problems
    return found


def test_a_changed_rule_keeps_the_alert_and_when_it_began() -> None:
    story = firing()
    assert use(story, rules(ON._replace(title="other words", keep_firing_for="9s")), 6) == []
    (record,) = story.engine.book.open()
    assert (record.state, record.life.since) == ("firing", EPOCH + 3)


def test_a_hold_time_that_runs_goes_on_and_the_new_length_counts() -> None:
    story = Story(ON)
    story.turn(0, on=True)
    story.until(1, 1)
    assert use(story, rules(ON._replace(hold="10s")), 2) == []
    story.until(3, 12)
    assert story.told() == [(10.0, "on", "firing")]
    story = Story(ON._replace(hold="10s"))
    story.turn(0, on=True)
    story.until(1, 5)
    assert [state for _, state, _ in use(story, rules(ON), 6)] == ["firing"]


def test_an_alert_that_only_the_old_condition_made_ends_with_it() -> None:
    """Whoever rewrites a condition against a false alarm wants that alarm gone, though the old `clear` does not hold."""
    story = firing()
    narrower = text_of(ON).replace('when = "on"', 'when = "on && server.ctx_requested > 5"')
    assert use(story, of(narrower), 6) == [("on", "resolved", "rule-changed")]
    assert list(story.engine.book.open()) == []
    story.transitions += story.engine.step(Samples(EPOCH + 7, "test", SERVER, {"server.ctx_requested": 6}))
    story.until(8, 12)
    assert story.told()[-1] == (10.0, "on", "firing")


def test_an_alert_that_is_kept_after_its_condition_ended_is_not_cut_short_by_a_change() -> None:
    story = Story(ON._replace(keep_firing_for="30s"))
    story.turn(0, on=True)
    story.until(1, 5)
    story.turn(6, on=False)
    assert use(story, rules(ON._replace(keep_firing_for="30s", title="other words")), 7) == []
    assert [record.state for record in story.engine.book.open()] == ["firing"]


def test_what_the_new_rule_cannot_judge_stays() -> None:
    story = firing()
    other = text_of(ON).replace("server.ctx_requested > 0", "server.slots_requested > 0").replace("{server.ctx_requested}", "it")
    assert use(story, of(other), 6) == []
    assert [record.state for record in story.engine.book.open()] == ["firing"]


def test_a_rule_that_judges_another_kind_of_thing_ends_the_alerts_of_the_old_kind() -> None:
    story = firing()
    host = Switch("on", "host.gpu_count")
    assert use(story, rules(host), 6) == [("on", "resolved", "rule-removed")]
    story.transitions += story.engine.step(Tick(EPOCH + 30))
    assert list(story.engine.book.open()) == []
