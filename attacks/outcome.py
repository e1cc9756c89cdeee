"""What an attack came to, and what none may do."""

from __future__ import annotations

from dataclasses import dataclass

from faults.campaign import Row

#: Megabytes of the daemon at its peak (the unit is killed at 128), seconds of a wait for the API, seconds until an alert of an
#: honest server was notified.
MOST_MB = 100.0
MOST_WAIT = 1.0
MOST_ALERT = 5.0


@dataclass
class Attack(Row):
    """One row of the table of attacks."""

    #: peak of the daemon's resident memory, MB
    peak: float | None = None
    #: longest wait for an answer of the API, seconds
    wait: float | None = None
    #: from the line of the honest server's log to the notification of its alert, seconds
    alert: float | None = None
    #: what the attacker or a reader got that was not theirs
    leaked: str = "nothing"

    def leak(self, what: str) -> None:
        """Something leaked: the row fails."""
        self.leaked = what
        self.wrong.append(f"leaked: {what}")

    @property
    def figures(self) -> tuple[str, ...]:
        """Peak, wait and alert as text."""
        return (
            "-" if self.peak is None else f"{self.peak:.0f} MB",
            "-" if self.wait is None else f"{self.wait:.2f} s",
            "-" if self.alert is None else f"{self.alert:.2f} s",
        )

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        return (("leaked", self.leaked),)
