"""The options of the verbs with which people look at servers and alerts, in the order of the verbs; actions have `actions.py`."""

from __future__ import annotations

import argparse

from sentinel.cli.common_options import add_asking, add_json, add_rules, add_socket


def status(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel status`."""
    add_asking(verb, verbose="every server's settings, and what sentinel cannot see")
    how = verb.add_mutually_exclusive_group()
    how.add_argument("--host", metavar="HOST,...", help="a table of other machines, asked over SSH, each with sentinel installed")
    how.add_argument(
        "--nagios",
        action="store_true",
        help="print one line with performance data, as a plugin of Nagios, Icinga, Zabbix or checkmk",
    )


def alerts(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel alerts`."""
    add_asking(verb, verbose="all fixes and all evidence")
    verb.add_argument("--all", action="store_true", help="a table of all alerts that are kept (90 days), resolved ones too")
    verb.add_argument("--since", metavar="T", help="a table of the alerts since then: 2h, 3d, or 2026-11-23T16:00")


def why(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel why`."""
    add_asking(verb, verbose="each check with the signals it reads, their age and source")
    verb.add_argument("rule", metavar="RULE", help="rule id, for example cpu-fallback")
    verb.add_argument("server", metavar="SERVER", nargs="?", default="", help="only this server, by name or port (default: all)")


def watch(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel watch`."""
    add_asking(verb, verbose="all fixes and all evidence")


def top(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel top`."""
    add_socket(verb)


def diagnose(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel diagnose`."""
    verb.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="a llama-server log of any era: plain, coloured, JSON lines or from the journal; - is standard input",
    )
    verb.add_argument(
        "--kernel-log",
        metavar="FILE",
        action="append",
        default=[],
        help="output of dmesg, journalctl -k or /dev/kmsg, of the same time",
    )
    verb.add_argument("--argv", metavar="COMMAND", help="the server's command line, quoted as one word")
    verb.add_argument("--why", metavar="RULE", default="", help="explain one rule: each check, what it read and what is unknown")
    verb.add_argument(
        "--verbose",
        "-v",
        action="store_true",
        help="all fixes, and all that would settle the rest; with --why each check with the signals it reads",
    )
    verb.add_argument(
        "--share",
        action="store_true",
        help="a bundle for a public issue: answer, command line and logs without paths, names, addresses, keys and prompts",
    )
    verb.add_argument("-o", metavar="FILE", dest="output", default="", help="where --share writes to (default: standard output)")
    verb.add_argument(
        "--html", metavar="FILE", default="", help="write the answer as one HTML page; with --share without names and paths"
    )
    add_rules(verb)
    add_json(verb)


def report(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel report`."""
    add_socket(verb)
    verb.add_argument("--since", metavar="T", default="24h", help="from then on: 2h, 3d, at most 31d, or a date (default: 24h)")
    verb.add_argument(
        "-o",
        metavar="FILE",
        dest="output",
        default="",
        help="where to; an earlier page is replaced (default: named by the time, in this folder); - is standard output",
    )
    verb.add_argument(
        "--redact", action="store_true", help="replace names of users and hosts, paths, addresses and keys: a page to publish"
    )


def preflight(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel preflight`."""
    verb.add_argument("command", metavar="COMMAND", nargs="*", help="behind --: llama-server with its flags")
    verb.add_argument("--pid", metavar="PID", type=int, help="a running llama-server, as if it were restarted")
    verb.add_argument("--unit", metavar="NAME", default="", help="what a systemd unit would start, as its user, in its limits")
    verb.add_argument(
        "--verify",
        metavar="SHA256",
        nargs="?",
        const="",
        help="read the whole model and compare its checksum with this one, or with the one stored for the same file",
    )
    verb.add_argument(
        "--ask-build",
        action="store_true",
        help="run the llama-server to ask it for its flags and devices even if others than root and you could have written it",
    )
    verb.add_argument("--verbose", "-v", action="store_true", help="every kind of memory with its bounds, and each limit")
    add_json(verb)


def doctor(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel doctor`."""
    verb.add_argument("--config", metavar="FILE", help="configuration file")
    verb.add_argument("--verbose", "-v", action="store_true", help="full sentences also for what works and what is not here")
    add_json(verb)


def silence(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel silence`."""
    add_asking(verb)
    verb.add_argument("rule", metavar="RULE", nargs="?", default="", help="rule id, for example cpu-fallback (default: list)")
    verb.add_argument("server", metavar="SERVER", nargs="?", default="", help="only on this server (default: all)")
    verb.add_argument("--all", action="store_true", help="every rule")
    verb.add_argument("--server", metavar="SERVER", dest="only", default="", help="server name")
    verb.add_argument("--for", metavar="T", dest="duration", default="", help="duration: 30m, 2h, 3d")
    verb.add_argument("--reason", metavar="TEXT", default="", help="reason, shown to others")


def unsilence(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel unsilence`."""
    add_asking(verb)
    verb.add_argument("id", metavar="ID", nargs="?", default="", help="number or rule of a silence (default: list)")


def ack(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel ack`."""
    add_asking(verb)
    verb.add_argument("rule", metavar="RULE", help="rule id, for example start-failed")
    verb.add_argument("server", metavar="SERVER", nargs="?", default="", help="of this server (default: the only one)")


def forget(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel forget`."""
    add_asking(verb)
    verb.add_argument("server", metavar="SERVER", help="name, as `sentinel status` or the alert shows it")
