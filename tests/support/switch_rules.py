"""Rules that are true while a number is above zero: for tests of what becomes of an alert, whatever it is about."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from sentinel.engine.engine import Engine
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.alert import Transition
from sentinel.model.entity import HOST, Entity, Unknown
from sentinel.model.json_form import is_news
from sentinel.model.reading import Samples, Tick
from sentinel.rulefiles.load import load
from sentinel.rulefiles.testing.readings import EPOCH

SERVER = Entity("server", "llama.service")
OTHER = Entity("server", "other.service")
GPU = Entity("gpu", "0000:03:00.0")


class Switch(NamedTuple):
    """A rule: fires while its signal is above zero."""

    id: str
    signal: str
    hold: str = "0s"
    keep_firing_for: str = "0s"
    inhibits: tuple[str, ...] = ()
    title: str = "a switch"


def entity_of(switch: Switch) -> Entity:
    """What the rule judges in these tests."""
    return {"server": SERVER, "host": HOST, "gpu": GPU}[switch.signal.partition(".")[0]]


def text_of(switch: Switch) -> str:
    """The rule file."""
    scope = switch.signal.partition(".")[0]
    tests = "\n".join(
        f'[[test]]\nname = "{state}"\nat = "1s"\nexpect = {{ state = "{state}" }}' for state in ("firing", "quiet", "unknown")
    )
    return f"""
schema = 1
id = "{switch.id}"
message_id = "{hashlib.md5(switch.id.encode(), usedforsecurity=False).hexdigest()}"
title = "{switch.title}"
severity = "warning"
scope = "{scope}"
basis = ["measured"]
references = ["https://example.org"]
false_positives = ["none"]
inhibits = {list(switch.inhibits)!r}
[check]
on = "{switch.signal} > 0"
[alert]
when = "on"
for = "{switch.hold}"
clear = "!on"
keep_firing_for = "{switch.keep_firing_for}"
summary = "{{{switch.signal}}} is on"
[[cause]]
id = "switched"
confidence = "high"
text = "somebody switched it on"
[[cause.fix]]
do = "switch it off"
{tests}
"""


def rules(*switches: Switch) -> RuleSet:
    """A rule set of these alone."""
    ruleset, problems = load({f"{s.id}.toml": text_of(s).encode() for s in switches}, {})
    assert ruleset is not None, [str(p) for p in problems]
    return ruleset


def narrowed(rule_id: str, switches: Iterable[Switch], condition: str) -> RuleSet:
    """A rule set of these with another condition for one rule; what it is over by stays."""
    return overridden(switches, f'override = "{rule_id}"\n[alert]\nwhen = "{condition}"')


def overridden(switches: Iterable[Switch], *overrides: str) -> RuleSet:
    """A rule set of these under overrides."""
    files = {f"{s.id}.toml": text_of(s).encode() for s in switches}
    files |= {f"over{number}.toml": f"schema = 1\n{text}\n".encode() for number, text in enumerate(overrides)}
    found, problems = load(files, {})
    assert found is not None, [str(p) for p in problems]
    return found


class Story:
    """An engine, its switches, and what people were notified of."""

    def __init__(self, *switches: Switch) -> None:
        self.switches = {s.id: s for s in switches}
        self.engine = Engine(rules(*switches))
        self.transitions: list[Transition] = []

    def turn(self, at: float, entity: Entity | None = None, /, **to: bool | None) -> None:
        """Switch rules on or off, None: their signal cannot be read."""
        for name, on in to.items():
            switch = self.switches[name.replace("_", "-")]
            value = Unknown("not readable") if on is None else int(on)
            sample = Samples(EPOCH + at, "test", entity or entity_of(switch), {switch.signal: value})
            self.transitions += self.engine.step(sample)

    def until(self, start: float, end: float) -> None:
        """A tick a second."""
        for second in range(int(start), int(end) + 1):
            self.transitions += self.engine.step(Tick(EPOCH + second))

    def news(self) -> list[Transition]:
        """What people were notified of."""
        return [t for t in self.transitions if is_news(t)]

    def told(self) -> list[tuple[float, str, str]]:
        """The same, short: when, which rule, which state."""
        return [((t.at or 0.0) - EPOCH, t.rule, t.state) for t in self.news()]
