"""State kept across restarts: transitions, what each sink is still owed, and every reader's position."""

from __future__ import annotations

from sentinel.history.database import Database
from sentinel.history.history import History
from sentinel.history.sqlite_file import HistoryFault

__all__ = ["Database", "History", "HistoryFault"]
