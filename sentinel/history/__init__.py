"""What happened, kept over restarts: transitions, what each sink still has to get, and where every reader stood."""

from __future__ import annotations

from sentinel.history.database import Database, HistoryFault
from sentinel.history.history import History

__all__ = ["Database", "History", "HistoryFault"]
