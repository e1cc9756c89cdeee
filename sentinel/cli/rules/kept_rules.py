"""Where this user's verbs keep the decoded rule set, so that a verb need not read and check it each time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sentinel.files.own_folder import NotOwn, check_folder
from sentinel.rulefiles.kept import KeptRules


def of_user(environ: Mapping[str, str]) -> KeptRules | None:
    """In this user's cache folder of sentinel, which need not exist. None if there is none, or if others may write it or what
    leads to it: with `sudo` and the home of another user, for example."""
    base = environ.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):
        home = environ.get("HOME", "")
        base = f"{home}/.cache" if home.startswith("/") else ""
    if not base:
        return None
    cache = Path(base) / "sentinel"
    try:
        check_folder(str(next(path for path in (cache, *cache.parents) if path.is_dir())))
    except (NotOwn, OSError):
        return None
    return KeptRules(cache)
