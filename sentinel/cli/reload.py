"""`sentinel reload`: makes the daemon reload its rule files, and prints their problems."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from typing import Any

from sentinel.cli.main import OK
from sentinel.cli.output import NoAnswer, change, complain, emit, warn
from sentinel.daemon.systemd import to_journal
from sentinel.model.problem import Problem
from sentinel.model.text import counted


def main(arguments: argparse.Namespace) -> int:
    """Exit code 0; 2 for mistakes (the old rules stay active) or if not permitted; 3 without a daemon."""
    try:
        answer = change(arguments, "/v1/reload", {})
    except NoAnswer as error:
        if arguments.json and error.error:
            emit({"error": error.error})
        else:
            _tell(error.error.get("problems", ()))
        return complain(error)
    if arguments.json:
        emit(answer)
        return OK
    _tell(answer["problems"])
    for one in answer["overrides_to_look_at"]:
        warn(one["what"])
    news = [f"{', '.join(answer[kind])} {kind}" for kind in ("added", "changed", "removed") if answer[kind]]
    print(f"{counted(answer['rules'], 'rule')} active: {'; '.join(news) or 'the same as before'}")
    return OK


def _tell(problems: Iterable[Mapping[str, Any]]) -> None:
    if to_journal():
        # `systemctl reload sentinel`: the daemon has already logged them there
        return
    for one in problems:
        problem = Problem(one["file"], one["where"], one["what"], one["level"], line=one["line"] or 0)
        warn(str(problem))
