"""What the daemon answers, asked once however many want to know it, and remembered for a moment. Blocks: called on threads."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from typing import Any

from sentinel.api import client
from sentinel.model.fault import Fault

#: Seconds for which an answer holds, where whoever asks does not say.
_FRESH = 1.0
#: Bytes of answers that are remembered, and of one that is taken: a thousand alerts are 3 MB.
_MOST_KEPT, _MOST_BYTES = 8 << 20, 16 << 20


class Refused(Fault):
    """The daemon answered, and said no: its status code, and what it said."""

    def __init__(self, code: int, answer: dict[str, Any]) -> None:
        super().__init__(client.refusal(code, answer))
        self.code = code
        self.answer = answer


class Answers:
    """One question at a time goes to the daemon: a hundred open pages cost it as much as one."""

    def __init__(self, sockets: Sequence[str] | None) -> None:
        self.sockets = sockets
        self._turn = threading.Lock()
        self._kept: dict[str, tuple[float, bytes]] = {}
        self._gone: tuple[float, Fault] | None = None

    def body(self, path: str, fresh: float = _FRESH) -> bytes:
        """The answer as it came, at most so many seconds old. Raises Refused, and Fault if there is no daemon."""
        with self._turn:
            now = time.monotonic()
            kept = self._kept.get(path)
            if kept is not None and now - kept[0] < fresh:
                return kept[1]
            # Whoever waited while it hung does not wait for it again.
            if self._gone is not None and now - self._gone[0] < _FRESH:
                raise self._gone[1]
            try:
                body = self._ask(path)
            except client.DaemonUnreachable as gone:
                self._gone = (time.monotonic(), gone)
                raise
            self._gone = None
            self._keep(path, body)
            return body

    def json(self, path: str, fresh: float = _FRESH) -> dict[str, Any]:
        """The answer as data. Raises as `body`."""
        answer: dict[str, Any] = json.loads(self.body(path, fresh))
        return answer

    def _ask(self, path: str) -> bytes:
        body = bytearray()

        def take(piece: bytes) -> None:
            body.extend(piece)
            if len(body) > _MOST_BYTES:
                raise Fault(f"the answer of the daemon is larger than {_MOST_BYTES >> 20} MiB", "ask for less")

        code, answer = client.fetch(path, take, self.sockets)
        if code != 200:
            raise Refused(code, answer)
        return bytes(body)

    def _keep(self, path: str, body: bytes) -> None:
        self._kept.pop(path, None)
        self._kept[path] = (time.monotonic(), body)
        # The oldest go first, this one too where it is too large.
        while sum(len(kept) for _, kept in self._kept.values()) > _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
