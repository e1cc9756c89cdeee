"""What `sentinel notify` must not forget, in SQLite: how far it has read, what waits, what is under way, what was notified.

Each change is synced before it counts (synchronous=FULL): the cursor moves in the transaction that queues what was read.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentinel.history.sqlite_file import Plan, faults, open_or_replace
from sentinel.model.fault import Fault
from sentinel.model.json_form import to_json
from sentinel.notify.plan import Sending

FILE, _LOCK = "notify.sqlite", "notify.lock"
_PLAN = Plan(
    "state",
    (
        """
        CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
        CREATE TABLE alert (number INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL);
        CREATE TABLE waiting (channel TEXT, number INTEGER, urgent INTEGER, held INTEGER, PRIMARY KEY (channel, number));
        CREATE TABLE sending (channel TEXT PRIMARY KEY, numbers TEXT NOT NULL, digest INTEGER);
        CREATE TABLE reported (channel TEXT, fingerprint TEXT, body TEXT NOT NULL, PRIMARY KEY (channel, fingerprint));
        CREATE TABLE channel (
            name TEXT PRIMARY KEY, counted_until TEXT NOT NULL DEFAULT '', delivered_at REAL, failing_since REAL,
            why TEXT NOT NULL DEFAULT '', lost INTEGER NOT NULL DEFAULT 0, messages INTEGER NOT NULL DEFAULT 0,
            posted TEXT NOT NULL DEFAULT '{}'
        );
        """,
        "ALTER TABLE channel ADD COLUMN aside INTEGER NOT NULL DEFAULT 0;",
    ),
    frozenset({"meta", "alert", "waiting", "sending", "reported", "channel"}),
    1 << 20,
)
#: A whole transition, with all its evidence, is some 4 KB; what is longer is kept without the evidence.
_MOST_BODY = 64 * 1024


@dataclass(frozen=True, slots=True)
class Waiting:
    """One alert that a channel has not delivered."""

    number: int
    urgent: bool
    held: bool
    #: the alert's fingerprint
    mark: str = ""


class Store:
    """Used by one thread. Raises HistoryFault where the disk fails."""

    def __init__(self, folder: Path) -> None:
        with faults(f"cannot keep the state in {folder}"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Fault(f"another `sentinel notify` uses {folder}", "stop it first") from error
        with faults(f"cannot keep the state in {folder}"):
            self._db, self.message = open_or_replace(folder / FILE, _PLAN)
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA busy_timeout=5000")
        if not self.meta("id"):
            with self.changes():
                self._set("id", os.urandom(8).hex())
        self.id = self.meta("id")

    def close(self) -> None:
        """Give it free for another."""
        self._db.close()
        os.close(self._lock)

    def meta(self, key: str) -> str:
        """A value by name; empty if there is none."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else ""

    @contextmanager
    def changes(self) -> Iterator[None]:
        """One transaction: all that is changed within is on disk when it ends, or none of it."""
        with faults("cannot write the state"), self._db:
            yield

    def _set(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    # --- changes, to be made within `changes` ---

    def moved(self, cursor: str) -> None:
        """Everything up to there is queued."""
        self._set("cursor", cursor)

    def noted(self, key: str, value: str) -> None:
        """A value by name."""
        self._set(key, value)

    def add(self, alert: Mapping[str, Any]) -> int:
        """Keep an alert; its number."""
        body = to_json(alert)
        if len(body) > _MOST_BODY:
            body = to_json({**alert, "evidence": []})
        return int(self._db.execute("INSERT INTO alert (body) VALUES (?)", (body,)).lastrowid or 0)

    def queue(self, channel: str, waiting: Waiting) -> None:
        """It waits for a channel."""
        row = (channel, waiting.number, waiting.urgent, waiting.held)
        self._db.execute("INSERT OR REPLACE INTO waiting VALUES (?, ?, ?, ?)", row)

    def reported(self, channel: str, fingerprint: str, body: Mapping[str, Any] | None) -> None:
        """What a channel was notified of; None: it is over."""
        if body is None:
            self._db.execute("DELETE FROM reported WHERE channel = ? AND fingerprint = ?", (channel, fingerprint))
        else:
            self._db.execute("INSERT OR REPLACE INTO reported VALUES (?, ?, ?)", (channel, fingerprint, to_json(body)))

    def sending(self, channel: str, message: Sending | None) -> None:
        """What is under way, or may have arrived."""
        if message is None:
            self._db.execute("DELETE FROM sending WHERE channel = ?", (channel,))
        else:
            row = (channel, json.dumps(message.numbers), message.digest)
            self._db.execute("INSERT OR REPLACE INTO sending VALUES (?, ?, ?)", row)

    def done(self, channel: str, numbers: Sequence[int]) -> None:
        """These do not wait for the channel any more."""
        self._db.executemany("DELETE FROM waiting WHERE channel = ? AND number = ?", [(channel, n) for n in numbers])
        self._db.execute("DELETE FROM alert WHERE number NOT IN (SELECT number FROM waiting)")

    def report(self, channel: str, **values: object) -> None:
        """Set columns of the channel's row."""
        names = ", ".join(f"{name} = ?" for name in values)
        self._db.execute(f"UPDATE channel SET {names} WHERE name = ?", (*values.values(), channel))  # noqa: S608 - names of ours

    def posted(self, channel: str, bodies: Mapping[str, Any]) -> None:
        """What an Alertmanager was sent last."""
        self.report(channel, posted=to_json(bodies))

    def has_channels(self, names: Sequence[str]) -> None:
        """There are these: rows of new ones are made, and what is kept for others is removed."""
        before = {str(row[0]) for row in self._db.execute("SELECT name FROM channel")}
        with self.changes():
            for gone in before - set(names):
                for table in ("waiting", "sending", "reported"):
                    self._db.execute(f"DELETE FROM {table} WHERE channel = ?", (gone,))  # noqa: S608 - names of ours
                self._db.execute("DELETE FROM channel WHERE name = ?", (gone,))
            self._db.executemany("INSERT OR IGNORE INTO channel (name) VALUES (?)", [(name,) for name in names])

    # --- questions ---

    def alerts(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """Alerts by their numbers, oldest first."""
        marks = ",".join("?" * len(numbers))
        rows = self._db.execute(f"SELECT body FROM alert WHERE number IN ({marks}) ORDER BY number", tuple(numbers))  # noqa: S608
        return [json.loads(body) for (body,) in rows]

    def waiting(self, channel: str) -> Iterator[Waiting]:
        """What waits for a channel."""
        select = "SELECT number, urgent, held, body FROM waiting JOIN alert USING (number) WHERE channel = ? ORDER BY number"
        for number, urgent, held, body in self._db.execute(select, (channel,)):
            yield Waiting(number, bool(urgent), bool(held), json.loads(body)["fingerprint"])

    def under_way(self, channel: str) -> Sending | None:
        """What was under way when the last run ended: it may have arrived."""
        row = self._db.execute("SELECT numbers, digest FROM sending WHERE channel = ?", (channel,)).fetchone()
        return Sending(tuple(json.loads(row[0])), bool(row[1]), repeat=True) if row else None

    def open_alerts(self, channel: str) -> dict[str, dict[str, Any]]:
        """What a channel was notified of and that is open."""
        rows = self._db.execute("SELECT fingerprint, body FROM reported WHERE channel = ?", (channel,))
        return {mark: json.loads(body) for mark, body in rows}

    def value(self, channel: str, column: str) -> Any:
        """One column of the channel's row."""
        return self._db.execute(f"SELECT {column} FROM channel WHERE name = ?", (channel,)).fetchone()[0]  # noqa: S608


def read(folder: Path) -> dict[str, Any]:
    """For `--status`: what is there, read beside a service that runs. Raises HistoryFault."""
    with faults(f"cannot read the state in {folder}"):
        uri = f"{(folder / FILE).absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=5.0)) as db:
            meta = dict(db.execute("SELECT key, value FROM meta"))
            rows = db.execute(
                "SELECT name, delivered_at, failing_since, why, lost, messages, aside,"
                " (SELECT count(*) FROM waiting WHERE waiting.channel = channel.name) FROM channel ORDER BY name"
            ).fetchall()
    names = ("name", "delivered_at", "failing_since", "why", "lost", "messages", "aside", "waiting")
    return {"meta": meta, "channels": [dict(zip(names, row, strict=True)) for row in rows], "runs": _runs(folder)}


def _runs(folder: Path) -> bool:
    """Whether somebody holds the state. One that starts in the same microseconds is refused, and tries again."""
    with faults(f"cannot read the state in {folder}"):
        lock = os.open(folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False
