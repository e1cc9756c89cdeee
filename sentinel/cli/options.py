"""The options of each verb, in the order of the verbs; those of the verbs with actions are in `actions.py`."""

from __future__ import annotations

import argparse

EXEC = """\
Starts a command as if sentinel were not there: same terminal, standard input, process group, signals and exit status. What
it prints goes on to where it went before, and into a log of at most twice 16 MiB that only you may read (where it goes to
the journal, no second log is kept). A running daemon reads that log and learns of the end; without one nothing changes.
"""
COMPLETION = "Prints a script for a shell, to be kept where that looks for it."


def status(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel status`."""
    _asking(verb, verbose="every server's settings, and what sentinel cannot see")
    verb.add_argument(
        "--nagios",
        action="store_true",
        help="print one line with performance data, as a plugin of Nagios, Icinga, Zabbix or checkmk",
    )


def alerts(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel alerts`."""
    _asking(verb, verbose="all fixes and all evidence")
    verb.add_argument("--all", action="store_true", help="a table of all alerts that are kept (90 days), resolved ones too")
    verb.add_argument("--since", metavar="T", help="a table of the alerts since then: 2h, 3d, or 2026-11-23T16:00")


def why(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel why`."""
    _asking(verb, verbose="each check with the signals it reads, their age and source")
    verb.add_argument("rule", metavar="RULE", help="rule id, for example cpu-fallback")
    verb.add_argument("server", metavar="SERVER", nargs="?", default="", help="only this server, by name or port (default: all)")


def watch(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel watch`."""
    _asking(verb, verbose="all fixes and all evidence")


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
    verb.add_argument("--verbose", action="store_true", help="with --why: each check with the signals it reads")
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
    verb.add_argument("--verbose", action="store_true", help="every kind of memory with its bounds, and each limit")
    add_json(verb)


def doctor(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel doctor`."""
    verb.add_argument("--config", metavar="FILE", help="configuration file")
    verb.add_argument("--verbose", action="store_true", help="full sentences also for what works and what is not here")
    add_json(verb)


def silence(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel silence`."""
    _asking(verb)
    verb.add_argument("rule", metavar="RULE", nargs="?", default="", help="rule id, for example cpu-fallback (default: list)")
    verb.add_argument("server", metavar="SERVER", nargs="?", default="", help="only on this server (default: all)")
    verb.add_argument("--all", action="store_true", help="every rule")
    verb.add_argument("--server", metavar="SERVER", dest="only", default="", help="server name")
    verb.add_argument("--for", metavar="T", dest="duration", default="", help="duration: 30m, 2h, 3d")
    verb.add_argument("--reason", metavar="TEXT", default="", help="reason, shown to others")


def unsilence(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel unsilence`."""
    _asking(verb)
    verb.add_argument("id", metavar="ID", nargs="?", default="", help="number or rule of a silence (default: list)")


def ack(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel ack`."""
    _asking(verb)
    verb.add_argument("rule", metavar="RULE", help="rule id, for example start-failed")
    verb.add_argument("server", metavar="SERVER", nargs="?", default="", help="of this server (default: the only one)")


def forget(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel forget`."""
    _asking(verb)
    verb.add_argument("server", metavar="SERVER", help="name, as `sentinel status` or the alert shows it")


def notify(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel notify`."""
    what = verb.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="check the configuration, report every mistake, and end")
    what.add_argument(
        "--test", metavar="CHANNEL", nargs="*", default=None, help="send a test message to these channels (default: all), and end"
    )
    what.add_argument("--dry-run", action="store_true", help="print what would be sent, send nothing, remember nothing")
    what.add_argument("--status", action="store_true", help="show whether each channel delivers, and what waits")
    verb.add_argument("--config", metavar="FILE", help="configuration (default: the user's, then /etc/sentinel/notify.toml)")
    verb.add_argument("--state", metavar="FOLDER", help="where its state is kept (default: the service's or the user's folder)")
    _asking(verb)


def serve(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel serve`."""
    verb.add_argument("--check", action="store_true", help="check options and file, say what would be served to whom, and end")
    where = "where to answer (default: 127.0.0.1:8477; everywhere: :8477)"
    verb.add_argument("--listen", metavar="ADDRESS:PORT", default="127.0.0.1:8477", help=where)
    verb.add_argument("--web-config", metavar="FILE", help="TLS and users, in the form of Prometheus' exporters (docs/web.md)")
    name, frame = "another name under which browsers find this machine", "who may show the page in a frame, http://HOST:PORT"
    verb.add_argument("--name", action="append", default=[], metavar="NAME", help=name)
    verb.add_argument("--frame", action="append", default=[], metavar="ORIGIN", help=frame)
    verb.add_argument("--insecure", action="store_true", help="answer other machines although nobody is asked who he is")
    add_socket(verb)


def run(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel run`."""
    verb.add_argument(
        "--config", metavar="FILE", help="configuration file (default: the user's, then /etc/sentinel/sentinel.toml)"
    )
    add_rules(verb)
    verb.add_argument("--verbose", action="store_true", help="log what sentinel itself does in more detail")


def execute(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel exec`."""
    verb.add_argument("command", metavar="COMMAND", nargs="*", help="behind --: llama-server with its flags")
    verb.add_argument("--log", metavar="FILE", default="", help="log file (default: by program and port, in the state folder)")
    verb.add_argument(
        "--log-size", metavar="BYTES", type=int, default=0, help="size at which FILE becomes FILE.1 (default: 16 MiB)"
    )
    add_socket(verb)


def reload(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel reload`."""
    _asking(verb)


def record(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel record`."""
    _asking(verb)
    verb.add_argument(
        "name", metavar="NAME", nargs="?", default="", help="a recording kept at an alert (default: the current one)"
    )
    verb.add_argument("--list", action="store_true", help="list recordings kept at alerts, oldest first")
    verb.add_argument(
        "--out", metavar="FILE", default="", help="output file (default: named by the time, in this folder); - is stdout"
    )


def replay(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel replay`."""
    verb.add_argument("file", metavar="FILE", help="from `sentinel record`; - is standard input")
    add_rules(verb)
    verb.add_argument(
        "--diff",
        metavar="OTHER",
        action="append",
        default=[],
        help="compare with these rules: alerts added, removed, changed",
    )
    add_json(verb)


def completion(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel completion`."""
    verb.add_argument("shell", metavar="SHELL", choices=("bash", "zsh", "fish"), nargs="?", help="one of bash, zsh, fish")
    verb.add_argument("--names", metavar="KIND", choices=("rules", "servers", "silences", "recordings"), help=argparse.SUPPRESS)


def add_json(verb: argparse.ArgumentParser) -> None:
    """Of every verb that prints data."""
    verb.add_argument("--json", action="store_true", help="print JSON")


def add_rules(verb: argparse.ArgumentParser) -> None:
    """Of every verb that loads rules."""
    verb.add_argument(
        "--rules",
        metavar="PATH",
        action="append",
        default=[],
        help="rule files or folders of yours, with the shipped rules and instead of those in the drop-in folders",
    )


def add_socket(verb: argparse.ArgumentParser) -> None:
    """Of every verb that may ask the daemon."""
    verb.add_argument("--socket", metavar="PATH", help="the daemon's socket (default: your own daemon's, else the service's)")


def _asking(verb: argparse.ArgumentParser, verbose: str = "") -> None:
    """Of every verb that asks the daemon."""
    add_socket(verb)
    if verbose:
        verb.add_argument("--verbose", "-v", action="store_true", help=verbose)
    add_json(verb)
