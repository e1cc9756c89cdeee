"""Which rules, causes and patterns the inline tests and the examples exercise, and which they do not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from sentinel.engine.log.extractor import Extractor
from sentinel.engine.rules.ruleset import CompiledRule, RuleSet
from sentinel.model.event import EventDef
from sentinel.model.rule import CaseDef
from sentinel.rulefiles.testing.readings import Outcome, compare

#: One inline test with its outcome.
TriedCase = tuple[CompiledRule, CaseDef, Outcome]


@dataclass(frozen=True, slots=True)
class Gap:
    """A rule, a cause or a pattern that nothing tests: its file, its position, and what would test it."""

    file: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {self.where}: {self.what}"


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many of each kind are tested, of how many, and the gaps in file order."""

    tried: Mapping[str, int]
    there: Mapping[str, int]
    gaps: tuple[Gap, ...]


def coverage(ruleset: RuleSet, trials: Iterable[TriedCase], files: Collection[str]) -> Coverage:
    """The tested rules and patterns in `files`.

    A rule counts with a passing test in which it fires, a cause with a passing test that expects it by name: a test that does
    not name its cause would not notice another one. A pattern counts with a line of a passing test, or with its own
    example if that was recorded or is from llama.cpp's source or a report; an example that the author of the pattern
    composed proves nothing.
    """
    fired: set[str] = set()
    causes: set[tuple[str, str]] = set()
    patterns: set[tuple[str, int]] = set()
    for compiled, case, outcome in trials:
        if compare(compiled.rule, case, outcome) is not None:
            continue
        rule = compiled.rule.id
        if any(came.state == "firing" for came in (*outcome.earlier, outcome)):
            fired.add(rule)
        causes |= {(rule, expect.cause) for _, expect in case.expectations if expect.cause}
        patterns |= set(_seen(case, ruleset.extractors))
    for event in ruleset.events.values():
        patterns |= {(event.name, i) for i, p in enumerate(event.patterns) if p.origin not in ("", "composed")}
    rules = [r.rule for r in ruleset.rules.values() if r.rule.path in files]
    events = [e for e in ruleset.events.values() if e.path in files]
    gaps = [
        Gap(r.path, f"rule '{r.id}'", "no passing test expects that it fires; add one with state = 'firing'")
        for r in rules
        if r.id not in fired
    ]
    gaps += [
        Gap(r.path, f"cause '{c.id}'", f"no passing test expects it; add one with cause = '{c.id}'")
        for r in rules
        for c in r.causes
        if (r.id, c.id) not in causes
    ]
    gaps += [gap for e in events for gap in _untried(e, patterns)]
    there = {"rules": len(rules), "causes": sum(len(r.causes) for r in rules), "patterns": sum(len(e.patterns) for e in events)}
    missing = {
        kind: sum(gap.where.startswith(word) for gap in gaps)
        for kind, word in (("rules", "rule"), ("causes", "cause"), ("patterns", "event"))
    }
    order = sorted(gaps, key=lambda gap: gap.file)
    return Coverage({kind: there[kind] - missing[kind] for kind in there}, there, tuple(order))


def _untried(event: EventDef, patterns: Collection[tuple[str, int]]) -> Iterator[Gap]:
    for i in range(len(event.patterns)):
        if (event.name, i) not in patterns:
            what = "its example is composed and no test has such a line; record one, or write it into a test"
            yield Gap(event.path, f"event '{event.name}'.pattern[{i + 1}]", what)


def _seen(case: CaseDef, extractors: Mapping[str, Extractor]) -> Iterator[tuple[str, int]]:
    """Event and pattern of each line of a test that is an event."""
    for kind, lines in (("llama-server", case.log), ("kernel", case.kernel), ("systemd", case.systemd)):
        if kind in extractors:
            data = "".join(line.replace("\n", " ") + "\n" for _, line in lines)
            for match in extractors[kind].events(data.encode("utf-8", "replace")):
                yield match.event.name, match.pattern_index
