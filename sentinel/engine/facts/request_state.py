"""What the log of a server has shown of its requests so far: the numbers that its next line is joined with."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class SlotWork:
    """The request that a slot works on, as far as the log showed it."""

    task: int = -1
    similarity: float = -1.0
    forced: bool = False
    evaluated: int = -1
    ms: float = 0.0
    generated: int = -1
    held: int = -1
    #: how far its prompt was read by the last line of progress, and how many lines said the same
    read: int = -1
    repeats: int = 0
    #: nothing of what the slot held was kept for its prompt; None before the line that says from where it is read
    unkept: bool | None = None

    def read_from(self, token: int, held: int) -> None:
        """A batch of its prompt is read from there on: the first says what was kept, and of an empty slot nothing can be."""
        if self.unkept is None:
            self.unkept = token == 0 and held > 0


@dataclass(slots=True)
class ServerWork:
    """All requests of one server."""

    slots: dict[int, SlotWork] = field(default_factory=dict)
    #: the slot of lines that name none, in builds before 2026
    current: int = 0
    #: long prompts re-evaluated without a cached one between; the same for a changed prefix; tokens of the last long prompt
    kept_nothing: int = 0
    grown: int = 0
    long_prompt: int = 0
    others_between: int = 0
    #: tokens of the last answer, which the next prompt of a conversation holds
    answered: int = 0
    #: failures in a row, the time of the last, tasks that failed or were given up, and one that seems to have succeeded
    failures: int = 0
    failed_at: float = 0.0
    ended_ill: deque[int] = field(default_factory=lambda: deque(maxlen=64))
    perhaps: int = -1
    #: tasks that were begun, and those of them that a slot still works on
    begun: deque[int] = field(default_factory=lambda: deque(maxlen=64))
    busy: deque[int] = field(default_factory=lambda: deque(maxlen=64))
    #: clients that gave up since the last work, those in a row that were never begun in an idle server, and when that work was
    given_up: int = 0
    never_begun: int = 0
    worked_at: float = -1.0
    shows_progress: bool = False
    spins: bool = False
    #: tokens in the context of each slot, as the last line that names them has it
    contexts: dict[int, int] = field(default_factory=dict)
