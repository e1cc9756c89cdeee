"""Server-sent events: everything that is published goes to each client that listens, or the client goes.

A client that does not read is dropped when its queue is full; it never makes the daemon wait and never costs more than the
queue. It can connect again and ask /v1/history for what it missed. Frames are `id`, `event` and one line of `data`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from sentinel.api.routes import API_VERSION
from sentinel.model.wire import to_json

#: Frames one client may be behind. The alerts of a bad day fit.
QUEUE = 256


class Subscription:
    """One client's queue. `next` waits for a frame; None: dropped, or the daemon stops."""

    def __init__(self, size: int) -> None:
        self._frames: asyncio.Queue[bytes | None] = asyncio.Queue(size + 1)
        self._size = size
        self.dropped = False

    def offer(self, frame: bytes) -> bool:
        """Queue a frame. Returns False, and drops the client, when the queue is full."""
        if self._frames.qsize() >= self._size:
            self.drop()
            return False
        self._frames.put_nowait(frame)
        return True

    def drop(self) -> None:
        """End the subscription: what is still queued is not worth sending to a client that does not read."""
        self.dropped = True
        while not self._frames.empty():
            self._frames.get_nowait()
        self._frames.put_nowait(None)

    @property
    def waiting(self) -> int:
        """Frames that the client has not taken yet."""
        return self._frames.qsize()

    async def next(self) -> bytes | None:
        """The next frame, or None at the end."""
        return await self._frames.get()


class Broadcaster:
    """Publishes frames to all subscriptions. Each frame is encoded once."""

    def __init__(self, queue: int = QUEUE) -> None:
        self._queue = queue
        self._subscriptions: set[Subscription] = set()
        self._number = 0

    def publish(self, event: str, data: Mapping[str, Any]) -> None:
        """Tell every client. `event` is a name of ours, `data` a JSON object (for a transition: the contract's form)."""
        self._number += 1
        sent = frame(event, data, self._number)
        self._subscriptions = {one for one in self._subscriptions if one.offer(sent)}

    def subscribe(self) -> Subscription:
        """A new client; its first frame is ``hello`` with the api_version."""
        subscription = Subscription(self._queue)
        subscription.offer(frame("hello", {"api_version": API_VERSION}, self._number))
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """The client went."""
        self._subscriptions.discard(subscription)

    def close(self) -> None:
        """The daemon stops: every client's stream ends."""
        for subscription in self._subscriptions:
            subscription.drop()
        self._subscriptions.clear()

    def idle(self) -> bool:
        """Whether every client has taken everything."""
        return all(one.waiting == 0 for one in self._subscriptions)

    def __len__(self) -> int:
        return len(self._subscriptions)


def frame(event: str, data: Mapping[str, Any], number: int) -> bytes:
    """One server-sent event. JSON on one line, so a newline in a value cannot begin another field."""
    return f"id: {number}\nevent: {event}\ndata: {to_json(data)}\n\n".encode()
