"""Rules as written: immutable, not yet compiled. Decoded from rules/<rule-id>.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sentinel.model.alert import Cause, Severity
from sentinel.model.builds import BuildRange
from sentinel.model.entity import Scope, Unknown, Value

Take = Literal["mean", "min", "max", "last", "delta", "rate", "count"]
Basis = Literal["seed", "source", "thread", "measured"]
Confidence = Literal["high", "medium", "low"]


@dataclass(frozen=True, slots=True)
class WindowDef:
    """Numbers of one signal over the last `over` seconds, reduced by `take` (``rate`` is per second)."""

    name: str
    signal: str
    over: float
    take: Take


@dataclass(frozen=True, slots=True)
class EventBinding:
    """Did an event happen: within the last `over` seconds, or since the server's present run began (`over` is None)."""

    name: str
    event: str
    over: float | None


@dataclass(frozen=True, slots=True)
class Named:
    """A named expression."""

    name: str
    expression: str


@dataclass(frozen=True, slots=True)
class FixDef:
    """One piece of advice; shown where `when` is not false and the server's build may lie in `builds`.

    `flags` go to the end of the server's command line: how, is added to `do` and `command` by what starts the server.
    `restart` and `stop` end its command with what does that to this server, or say that a person has to. `unit`, `container` and
    `shell` are a setting as it is written in each of these places, `env` and `unset` a variable that is set or removed in any.
    An `otherwise` fix is shown where none of the cause's other fixes is: because of what is not known, or of the build.
    """

    do: str
    command: str = ""
    risk: str = ""
    verify: str = ""
    builds: BuildRange | None = None
    when: str = ""
    flags: str = ""
    otherwise: bool = False
    restart: bool = False
    stop: bool = False
    unit: str = ""
    container: str = ""
    shell: str = ""
    env: str = ""
    unset: str = ""

    @property
    def settings(self) -> dict[str, str]:
        """What is to be set where the server is started, by the place or the kind of setting."""
        each = {"unit": self.unit, "container": self.container, "shell": self.shell, "env": self.env, "unset": self.unset}
        return {place: text for place, text in each.items() if text}


@dataclass(frozen=True, slots=True)
class CauseDef:
    """Why it happens; the first cause whose `when` is true wins, an empty `when` is always true."""

    id: str
    text: str
    confidence: Confidence
    when: str = ""
    fixes: tuple[FixDef, ...] = ()
    #: where it is told, instead of the rule's
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class ExpectDef:
    """What an inline test expects at a time."""

    state: Literal["firing", "quiet", "pending", "unknown", "resolved"]
    cause: str = ""
    summary_contains: str = ""
    #: each of these stands in one of the fixes told
    fix_contains: tuple[str, ...] = ()
    #: none of these stands in any
    fix_lacks: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    #: of the last change, as in a transition: ``hold-elapsed``, ``cleared``, ``server-gone``
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CaseDef:
    """An inline test: facts, log lines and kernel lines on a virtual clock that starts at 0 s."""

    name: str
    at: float
    expect: ExpectDef
    given: Mapping[str, Value] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    #: values that change while the test runs: from when on, and which
    later: tuple[tuple[float, Mapping[str, Value]], ...] = ()
    #: values over time, one a step: a value, that it cannot be read, or None: nobody reads it
    series: Mapping[str, tuple[Value | Unknown | None, ...]] = field(default_factory=dict)
    #: how long a step of the series is, seconds
    step: float = 1.0
    log: tuple[tuple[float, str], ...] = ()
    kernel: tuple[tuple[float, str], ...] = ()
    #: what systemd and other daemons say of the unit
    systemd: tuple[tuple[float, str], ...] = ()
    #: when the server's process ends, seconds; None: it lives on
    gone: float | None = None
    #: when a new process of the same server is found, seconds; None: never
    restart: float | None = None
    #: when sentinel itself is started anew, from its checkpoint, seconds
    sentinel_restarts: tuple[float, ...] = ()
    #: when udev tells that the card is taken off the bus, seconds; None: never
    unplugged: float | None = None
    #: what is expected before the end, and when, seconds, in the order of time
    earlier: tuple[tuple[float, ExpectDef], ...] = ()

    @property
    def expectations(self) -> tuple[tuple[float, ExpectDef], ...]:
        """All that is expected, the end last."""
        return (*self.earlier, (self.at, self.expect))


@dataclass(frozen=True, slots=True)
class RuleDef:
    """One failure: is it happening, why, and what to do."""

    id: str
    message_id: str
    title: str
    severity: Severity
    scope: Scope
    summary: str
    when: str
    hold: float = 0.0
    clear: str = ""
    clear_after: float | None = None
    keep: float = 0.0
    #: the alert stays when the process it is about has ended (a kill is about exactly that)
    outlives_server: bool = False
    #: while its alert is open, answers are slower than the configuration makes them: no baseline is learned from them
    slows_generation: bool = False
    basis: tuple[Basis, ...] = ()
    references: tuple[str, ...] = ()
    false_positives: tuple[str, ...] = ()
    explains: tuple[str, ...] = ()
    windows: tuple[WindowDef, ...] = ()
    events: tuple[EventBinding, ...] = ()
    values: tuple[Named, ...] = ()
    checks: tuple[Named, ...] = ()
    causes: tuple[CauseDef, ...] = ()
    tests: tuple[CaseDef, ...] = ()
    #: the file it was read from, as given
    path: str = ""
    #: fields that an override replaced, as `lint` names them, with the override's file
    origins: Mapping[str, str] = field(default_factory=dict)

    def severity_of(self, cause: Cause | None) -> Severity:
        """How bad it is, for the cause that is told."""
        own = (c.severity for c in self.causes if cause is not None and c.id == cause.id)
        return next(own, None) or self.severity


@dataclass(frozen=True, slots=True)
class OverrideDef:
    """A file that replaces named fields of a rule, or switches it off."""

    rule: str
    path: str
    #: what it replaces, as `lint` names it: ``alert.for``, ``check.ready``, ``cause 'no-gpu'.text``
    fields: tuple[str, ...]
    #: the rule as it is without any override
    base: RuleDef
    #: digest of the rule that it was written against, as the file says; empty if it does not
    against: str = ""
    enabled: bool = True
    #: changes with every byte of the file: whoever saves it has looked at it
    digest: str = ""
