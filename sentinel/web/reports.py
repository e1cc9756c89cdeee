"""The page of `sentinel report`, made here without command lines and keys. Blocks: called on threads."""

from __future__ import annotations

import threading
import time

from sentinel.diagnose.share import Redactor
from sentinel.report.collect import collect
from sentinel.report.of_daemon import page
from sentinel.report.page import page_policy, render
from sentinel.report.redaction import without_keys
from sentinel.web.answers import Answers

#: A report of a week of 64 servers takes seconds to make: it holds for half a minute, and one is made at a time.
_FRESH = 30.0


class Reports:
    """Makes them, and keeps the last of each length."""

    def __init__(self, answers: Answers, host: str) -> None:
        self._answers = answers
        self._host = host
        self._turn = threading.Lock()
        self._kept: dict[int, tuple[float, bytes]] = {}

    def page(self, seconds: int) -> tuple[bytes, str]:
        """The file, and the policy under which it is shown. Raises Fault."""
        with self._turn:
            made, body = self._kept.get(seconds, (0.0, b""))
            if not body or time.monotonic() - made > _FRESH:
                now = time.time()
                # Command lines are of users whose processes this program may not see, and must not show.
                found = collect(self._answers.json, now - seconds, now, machine=self._host, with_commands=False)
                body = render(without_keys(page(found), Redactor([]))).encode("utf-8", "replace")
                self._kept[seconds] = (time.monotonic(), body)
            return body, page_policy()
