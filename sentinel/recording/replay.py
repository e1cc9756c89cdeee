"""Replays a recording on the engine: the same rules give the same transitions, byte for byte; other rules, theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from sentinel.engine.alerts.silences import Silence
from sentinel.engine.engine import Engine
from sentinel.engine.log.claims import claim_of
from sentinel.engine.log.extractor import Extractor
from sentinel.engine.log.match import Match
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.alert import Transition
from sentinel.model.input_limits import MOST_TRANSITIONS
from sentinel.model.json_form import transition_to_dict
from sentinel.model.reading import Claim, ClaimedLines, Reading
from sentinel.recording import Recording, RecordingError, RulesChanged, SilenceChanged, builtins
from sentinel.rulefiles.digest import event_digests, rule_digests


@dataclass(frozen=True, slots=True)
class Replay:
    """The result of a replay."""

    transitions: tuple[Transition, ...]
    #: alerts that were open when the recording begins, as they were
    standing: tuple[Transition, ...]
    #: times of the first and the last reading, seconds since the epoch; None: there is none
    begin: float | None
    end: float | None
    readings: int
    #: the end line is missing: the file was truncated
    complete: bool
    #: rules that changed or were added since the recording began; None: the recording has no digests
    changed: tuple[str, ...] | None
    #: times at which the daemon loaded rules
    reloads: tuple[float, ...]


def replay(recording: Recording, ruleset: RuleSet, late: Callable[[], str] = lambda: "") -> Replay:
    """Run a recording on these rules. Raises RecordingError where it is damaged, or costs more than any that a daemon wrote:
    `late` says so between two readings, with the limit."""
    then = recording.header.rules
    changed = tuple(rule for rule, digest in rule_digests(ruleset).items() if then.get(rule) != digest) if then else None
    engine = Engine(ruleset)
    if recording.state is not None:
        try:
            engine.resume(recording.state, changed or ())
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise RecordingError(f"line {recording.line}: the state cannot be used ({type(error).__name__}: {error})") from error
    standing = tuple(
        engine.standing(ruleset.rules[record.rule], record) for record in engine.book.open() if record.state == "firing"
    )
    claimed = _Claimed(recording, ruleset)
    transitions: list[Transition] = []
    begin = end = None
    reloads: list[float] = []
    for found in recording:
        if isinstance(found, RulesChanged):
            reloads.append(found.at)
            # As the daemon did then: everything is evaluated again.
            transitions += engine.use(ruleset, found.at)
            continue
        if isinstance(found, SilenceChanged):
            engine.silences.load(builtins(found.silences))
            transitions += engine.silence(Silence(**builtins(found.silence)), found.at)
            continue
        begin, end = found.at if begin is None else begin, found.at
        transitions += engine.step(claimed.of(found))
        if limit := late():
            raise RecordingError(f"line {recording.line}: {limit}")
        if len(transitions) > MOST_TRANSITIONS:
            raise RecordingError(f"line {recording.line}: more than {MOST_TRANSITIONS} transitions")
    return Replay(
        tuple(transitions), standing, begin, end, recording.readings, recording.complete, changed, tuple(reloads)
    )  # fmt: skip


class _Claimed:
    """Matches events whose definition has changed again, in the part of the line that was kept."""

    def __init__(self, recording: Recording, ruleset: RuleSet) -> None:
        then = recording.header.events
        digests = event_digests(ruleset) if then else {}
        self._others = {name for name, digest in digests.items() if then.get(name) != digest}
        self._gone = then.keys() - digests.keys()
        others = [ruleset.events[name] for name in sorted(self._others)]
        self._extractors = {s: Extractor([e for e in others if e.source == s]) for s in sorted({e.source for e in others})}

    def of(self, reading: Reading) -> Reading:
        """The reading as the present definitions would have produced it, as far as the kept parts allow."""
        if not isinstance(reading, ClaimedLines) or not (self._others or self._gone):
            return reading
        extractor = self._extractors.get(reading.kind)
        claims: list[Claim] = []
        seen: set[tuple[int, str]] = set()
        for claim in reading.claims:
            if extractor is not None:
                for match in extractor.events(claim.text.replace("\n", " ").encode("utf-8", "replace")):
                    if (claim.line_index, match.event.name) not in seen:
                        seen.add((claim.line_index, match.event.name))
                        claims.append(_again(match, claim))
            if claim.event not in self._others and claim.event not in self._gone:
                claims.append(claim)
        return replace(reading, claims=tuple(claims))


def _again(match: Match, kept: Claim) -> Claim:
    return replace(claim_of(match), line_index=kept.line_index, elapsed=kept.elapsed, wall=kept.wall, port=kept.port)


@dataclass(frozen=True, slots=True)
class Difference:
    """A transition that other rules add (`before` is None), remove (`after` is None) or change."""

    before: Transition | None
    after: Transition | None

    @property
    def kind(self) -> str:
        """Added, removed or changed."""
        return "added" if self.before is None else "removed" if self.after is None else "changed"

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that differ, by the names of the JSON form; empty unless changed."""
        if self.before is None or self.after is None:
            return ()
        old, new = transition_to_dict(self.before), transition_to_dict(self.after)
        return tuple(key for key in old if old[key] != new[key])


def difference(before: Replay, after: Replay) -> list[Difference]:
    """Transitions that differ under the second rules, in order of time."""
    old, new = _by_alert(before), _by_alert(after)
    out: list[Difference] = []
    for key in sorted(old.keys() | new.keys()):
        out += [d for d in _pair(old.get(key, []), new.get(key, [])) if d.before is None or d.after is None or d.keys]
    return sorted(out, key=_when)


def _by_alert(found: Replay) -> dict[tuple[str, str, str, str], list[Transition]]:
    out: dict[tuple[str, str, str, str], list[Transition]] = {}
    for transition in found.transitions:
        key = (transition.rule, transition.entity.scope, transition.entity.name, transition.state)
        out.setdefault(key, []).append(transition)
    return out


def _pair(old: list[Transition], new: list[Transition]) -> Iterator[Difference]:
    """Pair transitions at the same time; then the rest in order."""
    waiting: dict[float | None, list[Transition]] = {}
    for transition in new:
        waiting.setdefault(transition.at, []).append(transition)
    rest: list[Transition] = []
    for transition in old:
        same = waiting.get(transition.at)
        if same:
            yield Difference(transition, same.pop(0))
        else:
            rest.append(transition)
    left = [t for same in waiting.values() for t in same]
    for number in range(max(len(rest), len(left))):
        yield Difference(rest[number] if number < len(rest) else None, left[number] if number < len(left) else None)


def _when(found: Difference) -> tuple[float, str, str, str]:
    one = found.before or found.after
    assert one is not None
    return (one.at or 0.0, one.rule, one.entity.name, one.state)
