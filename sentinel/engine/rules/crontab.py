"""What a person sets for a job of cron: in its line of the crontab, and above it. Pure.

A crontab takes `NAME=value` on lines of their own, for the jobs below them (crontab(5)); no shell of a person is above the job.
"""

from __future__ import annotations

from collections.abc import Mapping


def with_flags(flags: str, instead: str) -> str:
    """The text added to a fix that adds flags. `instead` says which of them stand there already."""
    return f" (add `{flags}` to the command line of llama-server in its line of the crontab{instead})"


def with_settings(said: Mapping[str, str], variable: str, removed: str) -> str:
    """The text added to a fix that sets a variable, removes one, or needs a command of the shell before the start."""
    if variable:
        return f" (add the line `{variable}` to the crontab, above its own)"
    if removed:
        return f" (leave {removed} out of the crontab)"
    return f" (write `{said['shell']};` before the command in its line of the crontab)" if "shell" in said else ""
