"""What a page holds, in the order in which it is read. Times are seconds since the epoch. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Fix(NamedTuple):
    """What to do."""

    do: str
    command: str
    risk: str
    verify: str


class LogLine(NamedTuple):
    """A line of a log, and where it stands. Apart, so that what redacts it sees its beginning."""

    where: str
    line: str


class Alert(NamedTuple):
    """An alert from the time it fired to the time it was over."""

    severity: str
    rule: str
    #: what people call the server, and its name or the GPU's address
    who: str
    entity: str
    scope: str
    summary: str
    #: None: before the time of the page, or not known
    began: float | None
    #: None: it is open
    ended: float | None
    open: bool
    silenced: bool
    #: silenced by what, flapping, ...
    marks: Sequence[str]
    cause: str
    fixes: Sequence[Fix]
    evidence: Sequence[str]
    lines: Sequence[LogLine]
    #: how many fixes, sentences and lines are left out
    left_out: int = 0


class Verdict(NamedTuple):
    """Is all well: one sentence, and what belongs to it."""

    state: str
    headline: str
    beside: Sequence[str] = ()


Values = Sequence[float | None]


class Line(NamedTuple):
    """A value over time: least, mean and largest of each step; and the same in words."""

    label: str
    least: Values
    mean: Values
    most: Values
    words: str


class Plot(NamedTuple):
    """One or a few values of one unit. `top` is the end of the scale where that is known."""

    title: str
    unit: str
    begin: float
    step: float
    lines: Sequence[Line]
    top: float | None = None
    #: what the end of the scale is
    top_words: str = ""


class Panel(NamedTuple):
    """The plots of a server, a GPU or the host."""

    name: str
    entity: str
    scope: str
    plots: Sequence[Plot]


class Fact(NamedTuple):
    """A row of a table of the machine."""

    name: str
    value: str


class Command(NamedTuple):
    """A command line of a server."""

    name: str
    line: str


class Page(NamedTuple):
    """Everything. `begin` None: the log has no times."""

    title: str
    made: float
    #: seconds east of Greenwich and the zone's name: the machine's, wherever the page is read
    offset: int
    zone: str
    begin: float | None
    end: float
    #: what the page is about, in words: "the last 24 h", "server.log"
    about: str
    verdict: Verdict
    alerts: Sequence[Alert]
    #: those whose first fix stands in the verdict, as places in `alerts`
    first: Sequence[int]
    alerts_left_out: int
    panels: Sequence[Panel]
    #: why there are no plots, or not all
    plots_missing: str
    facts: Sequence[Fact]
    commands: Sequence[Command]
    #: whether names, paths and addresses were replaced
    redacted: bool
    #: what else is to be known
    notes: Sequence[str] = ()
    #: times are counted from `begin`: the log has no others
    relative: bool = False
    #: what `facts` are about
    facts_title: str = "The machine"
    #: the command that makes the page without names
    to_share: str = "sentinel report --redact"

    @property
    def dated(self) -> bool:
        """Whether its times are those of a calendar."""
        return self.begin is not None and not self.relative
