"""A failure of the outside world and its remedy, kept apart until they are shown."""

from __future__ import annotations


class Fault(Exception):
    """`why`: what failed, and where. `remedy`: what to do about it; empty if nothing is known. The text is both."""

    def __init__(self, why: str, remedy: str = "") -> None:
        super().__init__(f"{why}; {remedy}" if remedy else why)
        self.why = why
        self.remedy = remedy
