"""Rules as written: immutable, not yet compiled. Decoded from rules/<rule-id>.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sentinel.model.alert import Severity
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
    """Whether an event happened: within the last `over` seconds, or since the server's present run began (`over` is None)."""

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
    """One piece of advice; shown unless `when` is false, if the server's build may lie in `builds`.

    `flags` are appended to the server's command line: the server's runtime decides how, which is added to `do` and `command`.
    `restart` and `stop` append that action for this server to the command, or say that a person has to do it. `unit`, `container`
    and `shell` are a setting as written in each of these places, `env` and `unset` a variable that is set or removed in any.
    An `otherwise` fix is shown if none of the cause's other fixes is: because something is unknown, or because of the build.
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
        """The settings to change where the server is started, by place or kind."""
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
    #: replaces the rule's severity for this cause
    severity: Severity | None = None
    #: less likely causes of the rule: the first that is true as well is named with it
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExpectDef:
    """What an inline test expects at a time."""

    state: Literal["firing", "quiet", "pending", "unknown", "resolved"]
    cause: str = ""
    summary_contains: str = ""
    #: each of these occurs in one of the fixes shown
    fix_contains: tuple[str, ...] = ()
    #: none of these occurs in any
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
    #: values that change during the test: from when on, and which
    later: tuple[tuple[float, Mapping[str, Value]], ...] = ()
    #: values over time, one per step: a value, Unknown if it cannot be read, or None if it is not read
    series: Mapping[str, tuple[Value | Unknown | None, ...]] = field(default_factory=dict)
    #: seconds per step of the series
    step: float = 1.0
    log: tuple[tuple[float, str], ...] = ()
    kernel: tuple[tuple[float, str], ...] = ()
    #: lines of systemd and other daemons about the unit
    systemd: tuple[tuple[float, str], ...] = ()
    #: when the server's process ends, seconds; None: never
    gone: float | None = None
    #: when a new process of the same server is found, seconds; None: never
    restart: float | None = None
    #: when sentinel itself restarts from its checkpoint, seconds
    sentinel_restarts: tuple[float, ...] = ()
    #: when udev reports that the GPU is removed from the bus, seconds; None: never
    unplugged: float | None = None
    #: expectations before the end with their times, seconds, in order of time
    earlier: tuple[tuple[float, ExpectDef], ...] = ()

    @property
    def expectations(self) -> tuple[tuple[float, ExpectDef], ...]:
        """All expectations, the end last."""
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
    #: the same for a server that somebody started by hand: nothing starts it again, and who did has seen that it failed
    clear_after_by_hand: float | None = None
    keep_firing_for: float = 0.0
    #: the alert outlives the process that it is about (a kill is about exactly that)
    outlives_server: bool = False
    #: while its alert is open, generation is slower than the configuration allows: no baseline is learned
    slows_generation: bool = False
    basis: tuple[Basis, ...] = ()
    references: tuple[str, ...] = ()
    false_positives: tuple[str, ...] = ()
    #: what it costs the people who use the server, in a sentence or two
    impact: str = ""
    #: rules of which an alert is an effect of this one: they wait while it fires
    inhibits: tuple[str, ...] = ()
    windows: tuple[WindowDef, ...] = ()
    events: tuple[EventBinding, ...] = ()
    values: tuple[Named, ...] = ()
    checks: tuple[Named, ...] = ()
    #: by the name of a check, what is true then, as a part of a sentence
    evidence: tuple[Named, ...] = ()
    causes: tuple[CauseDef, ...] = ()
    tests: tuple[CaseDef, ...] = ()
    #: the file it was read from, as given
    path: str = ""
    #: fields that an override replaced, as `lint` names them, with the override's file
    origins: Mapping[str, str] = field(default_factory=dict)

    def severity_of(self, cause: str) -> Severity:
        """The severity, given the id of the reported cause."""
        own = (c.severity for c in self.causes if c.id == cause)
        return next(own, None) or self.severity


@dataclass(frozen=True, slots=True)
class OverrideDef:
    """A file that replaces named fields of a rule, or switches it off."""

    rule: str
    path: str
    #: what it replaces, as `lint` names it: ``alert.for``, ``check.ready``, ``cause 'no-gpu'.text``
    fields: tuple[str, ...]
    #: the rule without any override
    base: RuleDef
    #: digest of the rule that it was written against, as given in the file; empty if the file has none
    against: str = ""
    enabled: bool = True
    #: changes with every byte of the file: a person who saves it has reviewed it
    digest: str = ""
