"""The options of the verbs that run something or act on what runs: the daemon, its recordings, `notify`, `exec`, a shell."""

from __future__ import annotations

import argparse

from sentinel.cli.common_options import add_asking, add_json, add_rules, add_socket

EXEC = """\
Starts a command as if sentinel were not there: same terminal, standard input, process group, signals and exit status. What
it prints goes on to where it went before, and into a log of at most twice 16 MiB that only you may read (where it goes to
the journal, no second log is kept). A running daemon reads that log and learns of the end; without one nothing changes.
"""
COMPLETION = "Prints a script for a shell, to be kept where that looks for it."


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
    add_asking(verb)


def serve(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel serve`."""
    verb.add_argument("--check", action="store_true", help="check options and file, say what would be served to whom, and end")
    where = "where to answer (default: 127.0.0.1:8477; everywhere: :8477)"
    verb.add_argument("--listen", metavar="ADDRESS:PORT", default="127.0.0.1:8477", help=where)
    verb.add_argument("--web-config", metavar="FILE", help="TLS and users, in the form of Prometheus' exporters (docs/web.md)")
    name, frame = "another name under which browsers find this machine", "who may show the page in a frame, http://HOST:PORT"
    verb.add_argument("--name", action="append", default=[], metavar="NAME", help=name)
    verb.add_argument("--frame", action="append", default=[], metavar="ORIGIN", help=frame)
    verb.add_argument("--insecure", action="store_true", help="answer other machines without authentication")
    add_socket(verb)


def mcp(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel mcp`."""
    add_socket(verb)


def cure(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel cure`."""
    what = verb.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="check the configuration, report every mistake, and end")
    what.add_argument("--dry-run", action="store_true", help="say what would be restarted, restart nothing")
    what.add_argument("--polkit", action="store_true", help="print the polkit rule that allows just these restarts, and end")
    verb.add_argument("--user", action="store_true", help="units of your own systemd, beside a daemon of your own")
    verb.add_argument("--config", metavar="FILE", help="configuration (default: the user's, then /etc/sentinel/cure.toml)")
    add_asking(verb)


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
    add_asking(verb)


def record(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel record`."""
    add_asking(verb)
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
