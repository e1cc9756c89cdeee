"""What an alert says, as labels of `sentinel_alert_info`: who scrapes gets cause and first fix without a second way. Pure."""

from __future__ import annotations

from sentinel.model.alert import Conclusion
from sentinel.model.text import escape

#: Names of the labels, in the order of `words`.
WORDS = ("summary", "cause_text", "fix", "command")
#: Characters of a sentence. A command that is longer is left out: half a command is useless, or does harm.
_LONGEST, _LONGEST_COMMAND = 600, 1000


def words(says: Conclusion) -> tuple[str, ...]:
    """Summary, cause, first fix and its command; empty where there is none."""
    fix = says.fixes[0] if says.fixes else None
    command = escape(fix.command) if fix is not None else ""
    return (
        _sentence(says.summary),
        _sentence(says.cause.text) if says.cause is not None else "",
        _sentence(fix.do) if fix is not None else "",
        command if len(command) <= _LONGEST_COMMAND else "",
    )


def _sentence(text: str) -> str:
    shown = escape(text)
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 3] + "..."
