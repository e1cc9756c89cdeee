"""The options of each verb, in the order of the verbs."""

from __future__ import annotations

import argparse

_OWN_RULES = "rule files or folders of yours (default: the shipped rules, those in the drop-in folders and in the configuration)"

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
    _socket(verb)


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
    _rules(verb)
    _json(verb)


def report(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel report`."""
    _socket(verb)
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
    _json(verb)


def doctor(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel doctor`."""
    verb.add_argument("--config", metavar="FILE", help="configuration file")
    verb.add_argument("--verbose", action="store_true", help="full sentences also for what works and what is not here")
    _json(verb)


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


def run(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel run`."""
    verb.add_argument(
        "--config", metavar="FILE", help="configuration file (default: the user's, then /etc/sentinel/sentinel.toml)"
    )
    _rules(verb)
    verb.add_argument("--verbose", action="store_true", help="log what sentinel itself does in more detail")


def execute(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel exec`."""
    verb.add_argument("command", metavar="COMMAND", nargs="*", help="behind --: llama-server with its flags")
    verb.add_argument("--log", metavar="FILE", default="", help="log file (default: by program and port, in the state folder)")
    verb.add_argument(
        "--log-size", metavar="BYTES", type=int, default=0, help="size at which FILE becomes FILE.1 (default: 16 MiB)"
    )
    _socket(verb)


def rules(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel rules`."""
    actions = verb.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in (
        ("list", "all rules"),
        ("lint", "check rule files: report every error with its line"),
        ("test", "run the inline tests of rule files"),
        ("coverage", "list rules, causes and patterns that no test and no recorded line covers"),
    ):
        action = actions.add_parser(name, help=text, description=f"{text[:1].upper()}{text[1:]}.")
        action.add_argument("paths", metavar="PATH", nargs="*", help=_OWN_RULES)
        _rules(action)
        _json(action)
        action.set_defaults(call="sentinel.cli.rules.main")
    show = actions.add_parser("show", help="show one rule as loaded: checks, causes, fixes, and the file each part comes from")
    show.add_argument("rule", metavar="RULE", help="rule id, for example cpu-fallback")
    show.add_argument("paths", metavar="PATH", nargs="*", help=_OWN_RULES)
    _rules(show)
    _json(show)
    show.set_defaults(call="sentinel.cli.rules.main")
    override = actions.add_parser("override", help="print a file that replaces fields of a rule, to be changed and saved")
    override.add_argument("rule", metavar="RULE", help="rule id, for example cpu-fallback")
    override.add_argument(
        "fields", metavar="FIELD", nargs="*", help="such as severity, alert.for, check.NAME, cause.ID.text (default: lists them)"
    )
    _rules(override)
    override.set_defaults(call="sentinel.cli.rules.override")
    schema = actions.add_parser("schema", help="print the JSON Schema of a kind of rule file, for editors")
    kinds = ("rule", "override", "events", "tests", "shared")
    schema.add_argument("kind", metavar="KIND", choices=kinds, help="of rule, override, events, tests, shared (fixes, bases)")
    schema.set_defaults(call="sentinel.cli.rules.schema")
    new = actions.add_parser("new", help="write a rule skeleton, ID.toml, with its three tests")
    new.add_argument("id", metavar="ID", help="permanent id: lower-case words joined by -")
    new.add_argument(
        "--scope", choices=("server", "host", "gpu"), default="server", help="entities of the rule (default: server)"
    )
    new.add_argument("--to", metavar="FOLDER", default=".", help="where to (default: here); - prints it")
    new.set_defaults(call="sentinel.cli.rules.new")


def quality(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel quality`."""
    actions = verb.add_subparsers(dest="action", metavar="ACTION", required=True)
    learn = actions.add_parser(
        "learn",
        help="ask a running server for one token after each of 104 fixed prefixes, and keep the probabilities as a reference",
        description="Asks a running llama-server for one token after each of 104 fixed prefixes, and keeps the probabilities.",
    )
    learn.add_argument("server", metavar="SERVER", help="port, HOST:PORT, URL, or a name of `sentinel status`")
    learn.add_argument(
        "--as", metavar="LABEL", dest="name", default="", help="name of the reference (default: SERVER as written)"
    )
    check = actions.add_parser(
        "check",
        help="ask again and hold the answers against a reference: same, shifted, broken or not comparable",
        description="Asks a running llama-server again, and holds its answers against a reference. Exit codes: 0 same, 1 "
        "shifted, 2 broken or a mistake in the input, 3 not comparable or no answer.",
    )
    check.add_argument(
        "server", metavar="SERVER", nargs="?", default="", help="port, HOST:PORT, URL, or a name of `sentinel status`"
    )
    check.add_argument("--against", metavar="FILE", default="", help="reference: a file or a name (default: SERVER as written)")
    check.add_argument("--compare", metavar="FILE", nargs=2, default=[], help="compare two references, ask no server")
    for action, passes in ((learn, 3), (check, 1)):
        action.add_argument("-o", metavar="FILE", dest="output", default="", help="write what was measured to this file")
        action.add_argument("--replace", action="store_true", help="replace the reference of that name, or the file")
        action.add_argument(
            "--passes", metavar="N", type=int, help=f"how many times everything is asked, 5 at most (default: {passes})"
        )
        action.add_argument("--api-key-file", metavar="FILE", default="", help="file whose first line is the server's API key")
        action.add_argument("--remote", action="store_true", help="ask a server that is not on the loopback")
        _socket(action)
        _json(action)
        action.set_defaults(call="sentinel.cli.quality")


def experts(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel experts`."""
    actions = verb.add_subparsers(dest="action", metavar="ACTION", required=True)
    compare = actions.add_parser(
        "compare",
        help="shares of each expert by layer, and which are abandoned",
        description="Compares two importance matrices of llama-imatrix, made with the same text from two files of one model. "
        "Exit codes: 0 no expert is abandoned, 1 some are, 2 a mistake in the input.",
    )
    compare.add_argument("reference", metavar="FILE", help="of the better weights (GGUF form)")
    compare.add_argument(
        "current", metavar="FILE", help="of the weights in question; of the older form only unused experts are known"
    )
    compare.add_argument(
        "--share", metavar="PERCENT", type=float, default=10.0, help="abandoned: below this part of its share (default: 10)"
    )
    _json(compare)
    compare.set_defaults(call="sentinel.cli.experts")


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
    _rules(verb)
    verb.add_argument(
        "--diff",
        metavar="OTHER",
        action="append",
        default=[],
        help="compare with these rules: alerts added, removed, changed",
    )
    _json(verb)


def completion(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel completion`."""
    verb.add_argument("shell", metavar="SHELL", choices=("bash", "zsh", "fish"), nargs="?", help="one of bash, zsh, fish")
    verb.add_argument("--names", metavar="KIND", choices=("rules", "servers", "silences", "recordings"), help=argparse.SUPPRESS)


def _json(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--json", action="store_true", help="print JSON")


def _rules(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--rules",
        metavar="PATH",
        action="append",
        default=[],
        help="rule files or folders of yours, with the shipped rules and instead of those in the drop-in folders",
    )


def _socket(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--socket", metavar="PATH", help="the daemon's socket (default: your own daemon's, else the service's)")


def _asking(verb: argparse.ArgumentParser, verbose: str = "") -> None:
    """Of every verb that asks the daemon."""
    _socket(verb)
    if verbose:
        verb.add_argument("--verbose", "-v", action="store_true", help=verbose)
    _json(verb)
