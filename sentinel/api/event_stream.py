"""Server-sent events: each client gets every published event, or is disconnected.

A client that does not read is dropped when its queue is full, so it never blocks the daemon and never costs more than the
queue. After reconnecting it gets the events it missed from the history, by the Last-Event-ID that the HTML standard has it send
(9.2.4), also across a restart of the daemon. An event ``gap`` reports what is no longer stored. Frames are `id`, `event` and
one line of `data`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sentinel.api.routes import API_VERSION
from sentinel.model.json_form import to_json

#: Frames that a client may be behind. The alerts of a bad day fit.
QUEUE = 256
#: Events per read from the history, for a client that reconnects: some 4 ms.
_PAGE = 50

Published = tuple[int, Mapping[str, Any]]


def _nothing(_number: int, _limit: int) -> Sequence[Published]:
    return ()


@dataclass(frozen=True, slots=True)
class Past:
    """Published events by ascending number. `following(number, limit)` returns that one, if it is kept, and those after it.

    `epoch` identifies the sequence of numbers: letters and digits.
    """

    epoch: str = "0"
    last: int = 0
    following: Callable[[int, int], Sequence[Published]] = _nothing


class Subscription:
    """One client's queue. `next` waits for a frame; None: the client was dropped, or the daemon stops."""

    def __init__(self, size: int, missed: Iterator[bytes]) -> None:
        self._frames: asyncio.Queue[bytes | None] = asyncio.Queue(size + 1)
        self._size = size
        #: earlier frames from the history, read lazily
        self.missed = missed
        self.dropped = False

    def offer(self, frame: bytes) -> bool:
        """Queue a frame. Returns False, and drops the client, if the queue is full."""
        if self._frames.qsize() >= self._size:
            self.drop()
            return False
        self._frames.put_nowait(frame)
        return True

    def drop(self) -> None:
        """End the subscription and discard its queue: the client does not read."""
        self.dropped = True
        while not self._frames.empty():
            self._frames.get_nowait()
        self._frames.put_nowait(None)

    @property
    def waiting(self) -> int:
        """Frames that the client has not read yet."""
        return self._frames.qsize()

    async def next(self) -> bytes | None:
        """The next frame, or None at the end."""
        return await self._frames.get()


class Broadcaster:
    """Publishes frames to all subscriptions. Each frame is encoded once."""

    def __init__(self, past: Past | None = None, queue: int = QUEUE) -> None:
        self._past = Past() if past is None else past
        self._queue = queue
        self._subscriptions: set[Subscription] = set()
        self._last = self._past.last

    def publish(self, event: str, data: Mapping[str, Any], number: int) -> None:
        """Send to every client. `event` is a name of ours, `data` a JSON object (for a transition: its documented form)."""
        self._last = number
        sent = frame(event, data, self._id(number))
        self._subscriptions = {one for one in self._subscriptions if one.offer(sent)}

    def subscribe(self, last_event_id: str = "") -> Subscription:
        """Add a client; its first frame is ``hello`` with the api_version. `last_event_id`: the last it received, else empty."""
        subscription = Subscription(self._queue, self._missed(last_event_id))
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a client that disconnected."""
        self._subscriptions.discard(subscription)

    def close(self) -> None:
        """End every client's stream: the daemon stops."""
        for subscription in self._subscriptions:
            subscription.drop()
        self._subscriptions.clear()

    def idle(self) -> bool:
        """Whether every client has read everything."""
        return all(one.waiting == 0 for one in self._subscriptions)

    def __len__(self) -> int:
        return len(self._subscriptions)

    def _id(self, number: int) -> str:
        return f"{self._past.epoch}-{number}"

    def _missed(self, last_event_id: str) -> Iterator[bytes]:
        """The events before the live ones. Where they end is fixed now, when the queue starts, not when they are read."""
        upto = self._last
        hello = {"api_version": API_VERSION}
        if not last_event_id:
            return iter((frame("hello", hello, self._id(upto)),))
        return self._resumed(last_event_id, upto, frame("hello", hello))

    def _resumed(self, last_event_id: str, upto: int, hello: bytes) -> Iterator[bytes]:
        # Without an id: a client that disconnects here resumes from its earlier id.
        yield hello
        number = self._number(last_event_id)
        if number is None or number > upto:
            yield _gap("that id is not of the history that is kept now", self._id(upto))
            return
        page = self._past.following(number, _PAGE) if number < upto else ()
        if number < upto and (not page or page[0][0] != max(number, 1)):
            yield _gap("the oldest that followed are not kept any more", self._id(number))
        while page:
            for one, data in page:
                if number < one <= upto:
                    yield frame("transition", data, self._id(one))
            number = page[-1][0]
            page = self._past.following(number + 1, _PAGE) if number < upto else ()

    def _number(self, last_event_id: str) -> int | None:
        epoch, _, number = last_event_id.rpartition("-")
        # 18 digits: SQLite's integers can hold them.
        if epoch != self._past.epoch or not (number.isascii() and number.isdigit() and len(number) <= 18):
            return None
        return int(number)


def _gap(why: str, number: str) -> bytes:
    return frame("gap", {"api_version": API_VERSION, "why": f"{why}; /v1/history has what there is"}, number)


def frame(event: str, data: Mapping[str, Any], number: str = "") -> bytes:
    """One server-sent event. The JSON is on one line, so a newline in a value cannot start another field."""
    head = f"id: {number}\n" if number else ""
    return f"{head}event: {event}\ndata: {to_json(data)}\n\n".encode()
