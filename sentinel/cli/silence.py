"""`sentinel silence` and `sentinel unsilence`: stop notifications for a while."""

from __future__ import annotations

import argparse
from urllib.parse import quote

from sentinel.cli.main import CRITICAL, OK
from sentinel.cli.output import NoAnswer, change, complain, emit, local, say, warn


def main(arguments: argparse.Namespace) -> int:
    """Set or expire a silence. Exit code 0; 2 for a mistake or if not permitted; 3 without a daemon."""
    try:
        if arguments.verb == "unsilence":
            answer = change(arguments, f"/v1/silences/{quote(arguments.id, safe='')}", None)
        else:
            if arguments.server and arguments.only:
                warn("name the server once, as SERVER or with --server")
                return CRITICAL
            body = {"rule": arguments.rule, "server": arguments.server or arguments.only, "all": arguments.all}
            answer = change(arguments, "/v1/silences", body | {"for": arguments.duration, "reason": arguments.reason})
    except NoAnswer as error:
        return complain(error)
    if arguments.json:
        emit(answer)
        return OK
    one = answer["silence"]
    what = f"{one['rule'] or 'all rules'} on {one['entity'] or 'everything'}"
    if arguments.verb == "unsilence":
        say(f"Expired silence {one['id']} ({what})")
    else:
        say(f"Silenced {what} until {local(one['until'])}. Undo: sentinel unsilence {one['id']}")
    return OK
