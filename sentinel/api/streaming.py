"""Sends the event stream to one client."""

from __future__ import annotations

import asyncio
import contextlib

from sentinel.api.connection import Connection, Hangup
from sentinel.api.event_stream import Broadcaster

#: A comment frame at this interval detects dead clients, and keeps proxies from closing the stream.
_KEEPALIVE_SECONDS = 15.0


async def stream(events: Broadcaster, connection: Connection, last_event_id: str) -> None:
    """Send what is published, and first what a client that comes again has missed, until one of both ends."""
    subscription = events.subscribe(last_event_id)
    left = asyncio.ensure_future(connection.left())
    try:
        await connection.begin_stream("text/event-stream")
        for missed in subscription.missed:
            await connection.send_part(missed)
            # With a fast client the write never waits; the engine must run all the same.
            await asyncio.sleep(0)
        while not left.done():
            frame = asyncio.ensure_future(subscription.next())
            await asyncio.wait({frame, left}, timeout=_KEEPALIVE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not frame.done():
                frame.cancel()
                await connection.send_part(b": \n\n")
                continue
            part = frame.result()
            if part is None:
                break
            await connection.send_part(part)
        await connection.end_stream()
    finally:
        left.cancel()
        with contextlib.suppress(asyncio.CancelledError, Hangup):
            await left
        events.unsubscribe(subscription)
