"""The life of alerts under any interleaving of readings, reloads, silences and restarts: notifications stay consistent."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from effort import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from switch_rules import SERVER, Switch, narrowed, overridden, rules

from sentinel.engine.alerts.silences import Silence
from sentinel.engine.engine import Engine
from sentinel.model.alert import Transition
from sentinel.model.entity import Unknown, Value
from sentinel.model.json_form import is_news
from sentinel.model.reading import Samples, Tick
from sentinel.rulefiles.testing.readings import EPOCH

CAUSE = Switch("cause", "server.ctx_requested", hold="3s", keep_firing_for="2s", inhibits=("effect",))
EFFECT = Switch("effect", "server.slots_requested", hold="4s", inhibits=())
ALONE = Switch("alone", "server.gpu_layers_requested", keep_firing_for="3s")
SWITCHES = {s.id: s for s in (CAUSE, EFFECT, ALONE)}
FULL = rules(CAUSE, EFFECT, ALONE)
#: The same rules reworded: alerts keep state and timers.
REWORDED = rules(*(s._replace(title="other words") for s in SWITCHES.values()))
WITHOUT_CAUSE = rules(EFFECT, ALONE)
#: Other times: they count from when an alert began.
SLOWER = rules(CAUSE._replace(hold="6s"), EFFECT._replace(hold="2s"), ALONE._replace(hold="5s", keep_firing_for="0s"))
#: A condition that no switch fulfils: what only the old one made ends.
NARROWER = narrowed("alone", SWITCHES.values(), "server.gpu_layers_requested > 5")
#: The same rules, switched off and changed by overrides.
OVERRIDDEN = overridden(
    SWITCHES.values(), 'override = "cause"\nenabled = false', 'override = "alone"\nseverity = "critical"\n[alert]\nfor = "2s"'
)
SETS = (FULL, REWORDED, WITHOUT_CAUSE, SLOWER, NARROWER, OVERRIDDEN)


@dataclass
class Run:
    """An engine under test, and beside it what is simply so."""

    restarts: bool = True
    engine: Engine = field(default_factory=lambda: Engine(FULL))
    at: float = EPOCH
    told: list[Transition] = field(default_factory=list)
    #: since when each condition has been true without a break, as readings said
    true_since: dict[str, float] = field(default_factory=dict)
    #: the shortest hold time that was in force since then
    least: dict[str, float] = field(default_factory=dict)
    #: told as firing, and not yet as over
    open: set[str] = field(default_factory=set)
    #: silences in force, by the moments at which the engine heard of them
    silences: dict[str, Silence] = field(default_factory=dict)

    def switch(self, rule: str, on: bool | None) -> None:
        value: Value | Unknown = Unknown("not readable") if on is None else int(on)
        if on is False:
            self.true_since.pop(rule, None)
        elif on:
            if rule not in self.true_since:
                self.least[rule] = self.hold(rule)
            self.true_since.setdefault(rule, self.at)
        self.take(self.engine.step(Samples(self.at, "test", SERVER, {SWITCHES[rule].signal: value})))

    def hold(self, rule: str) -> float:
        """In force at present; a rule that is not there has none and fires not at all."""
        there = self.engine.ruleset.rules.get(rule)
        return float("inf") if there is None else there.rule.hold

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.at += 1.0
            self.take(self.engine.step(Tick(self.at)))

    def use(self, which: int) -> None:
        ruleset = SETS[which]
        told = self.engine.use(ruleset, self.at)
        self.least = {rule: min(least, self.hold(rule)) for rule, least in self.least.items()}
        self.take(told)
        for record in self.engine.book.open():
            assert record.rule in ruleset.rules, "an alert of a rule that is gone"
        ended = {t.rule for t in told if t.reason in ("rule-removed", "rule-changed")}
        assert ended <= {"cause", "alone"}, "a reload ended what it had no reason to end"

    def restart(self) -> None:
        if not self.restarts:
            return
        before = self.engine
        self.engine = Engine(before.ruleset)
        self.engine.load(json.loads(json.dumps(before.dump())))
        self.engine.silences.load(json.loads(json.dumps(before.silences.dump())))

    def silence(self, rule: str, seconds: int) -> None:
        made = self.engine.silences.add(rule, "", self.at, float(seconds), "test", "root")
        self.silences[made.id] = made
        self.take(self.engine.silence(made, self.at))

    def unsilence(self) -> None:
        if self.silences:
            gone = self.silences.pop(min(self.silences))
            self.engine.silences.end(gone.id)
            self.take(self.engine.silence(gone, self.at))

    def quiet(self, rule: str) -> bool:
        return any(s.rule in ("", rule) and self.at < s.until for s in self.silences.values())

    def take(self, transitions: list[Transition]) -> None:
        for t in transitions:
            if not is_news(t):
                continue
            self.told.append(t)
            if t.state == "resolved":
                assert t.rule in self.open, "told as over without having been told as firing"
                self.open.discard(t.rule)
                continue
            assert not self.quiet(t.rule), "told while it is silenced"
            # A condition of which nothing is known any more is still the one that began then.
            assert t.rule in self.true_since, "reported although it is false"
            if t.reason != "silence-ended":
                # At the end of a silence an alert that fired before is reported again, however short it is true again.
                assert t.rule not in self.open, "reported twice without an end between"
                assert self.at - self.true_since[t.rule] >= self.least[t.rule], "reported before its hold time"
            assert not (self.engine.ruleset is NARROWER and t.rule == "alone"), "told by a condition that is not in force"
            if t.rule == "effect" and t.reason != "silence-ended":
                cause = self.engine.book.peek("cause", SERVER)
                assert cause is None or cause.life.state != "firing", "told beside its cause"
            self.open.add(t.rule)


STEPS = st.one_of(
    st.tuples(st.just("switch"), st.sampled_from(sorted(SWITCHES)), st.sampled_from([True, True, False, None])),
    st.tuples(st.just("wait"), st.integers(1, 12)),
    st.tuples(st.just("use"), st.integers(0, len(SETS) - 1)),
    st.tuples(st.just("restart")),
    st.tuples(st.just("silence"), st.sampled_from(["", *sorted(SWITCHES)]), st.integers(1, 30)),
    st.tuples(st.just("unsilence")),
)
STORIES = st.lists(STEPS, max_size=60)


def play(run: Run, story: list[tuple[object, ...]]) -> Run:
    for name, *arguments in story:
        getattr(run, str(name))(*arguments)
    return run


@settings(max_examples=examples(300), deadline=None)
@given(STORIES)
def test_nothing_is_reported_before_its_time_or_twice_or_beside_its_cause_or_against_a_silence(
    story: list[tuple[object, ...]],
) -> None:
    play(Run(), story)


@settings(max_examples=examples(150), deadline=None)
@given(STORIES)
def test_after_a_restart_sentinel_reports_the_same(story: list[tuple[object, ...]]) -> None:
    assert play(Run(), story).told == play(Run(restarts=False), story).told


@settings(max_examples=examples(150), deadline=None)
@given(STORIES)
@example(
    [
        ("switch", "alone", True),
        ("use", 5),
        ("switch", "alone", False),
        ("silence", "", 1),
        ("switch", "alone", True),
        ("unsilence",),
    ]
)
def test_in_the_end_what_is_true_is_reported_and_what_is_not_is_over(story: list[tuple[object, ...]]) -> None:
    """Long after the last change: no rule hidden, silenced, flapping or waiting any more."""
    run = play(Run(), story)
    run.use(0)
    for rule in SWITCHES:
        run.switch(rule, rule in run.true_since)
    run.wait(400)
    expected = set(run.true_since)
    if "cause" in expected and "effect" in expected and "effect" not in run.open:
        expected.discard("effect")
    assert run.open == expected
    for rule in SWITCHES:
        run.switch(rule, False)
    run.wait(700)
    assert not run.open
