"""`sentinel ack` and `sentinel forget`: end what is over."""

from __future__ import annotations

import argparse
from urllib.parse import quote

from sentinel.cli.main import OK
from sentinel.cli.output import NoAnswer, change, complain, emit, say
from sentinel.model.text import counted


def main(arguments: argparse.Namespace) -> int:
    """End an alert, or all that is known of a server. Exit code 0; 2 for a mistake or if not permitted; 3 without a daemon."""
    try:
        if arguments.verb == "ack":
            answer = change(arguments, "/v1/acknowledgements", {"rule": arguments.rule, "server": arguments.server})
        else:
            answer = change(arguments, f"/v1/servers/{quote(arguments.server, safe='')}", None)
    except NoAnswer as error:
        return complain(error)
    if arguments.json:
        emit(answer)
        return OK
    ended = answer["ended"]
    for one in ended:
        say(f"Ended {one['rule']} of {one['entity']['name']}")
    if arguments.verb == "forget":
        say(f"Forgot {arguments.server} ({counted(len(ended), 'alert')} ended)")
    return OK
