"""Parses the command line and calls the verb."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NoReturn, TextIO

import sentinel

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3
_OWN_RULES = "rule files or folders of yours (default: the shipped rules, those in the drop-in folders and in the configuration)"

_EPILOG = """\
exit codes: 0 ok, 1 warning, 2 critical or a mistake in the input, 3 unknown or no daemon

  sentinel run                     watch every llama-server on this machine, in the foreground
  sentinel status                  show what the daemon sees now
  sentinel diagnose server.log     check a log file offline, no daemon needed
"""
_EXEC = """\
Starts a command as if sentinel were not there: same terminal, standard input, process group, signals and exit status. What
it prints goes on to where it went before, and into a log of at most twice 16 MiB that only you may read (where it goes to
the journal, no second log is kept). A running daemon reads that log and learns of the end; without one nothing changes.

  sentinel exec -- llama-server -m model.gguf
  ExecStart=sentinel exec -- llama-server -m model.gguf       in a unit, with KillMode=mixed
"""
_COMPLETION = """\
Prints a script for a shell, to be kept where that looks for it:

  sentinel completion bash > ~/.local/share/bash-completion/completions/sentinel
  sentinel completion fish > ~/.config/fish/completions/sentinel.fish
  sentinel completion zsh > FOLDER/_sentinel        a folder of $fpath; or in .zshrc, after compinit:
  eval "$(sentinel completion zsh)"
"""


def parser() -> argparse.ArgumentParser:
    """The parser, with every verb and its options."""
    top = argparse.ArgumentParser(
        prog="sentinel",
        description="Detects llama-server failures and explains their cause and fix.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"sentinel {sentinel.__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)

    run = verbs.add_parser("run", help="run the daemon in the foreground (what the systemd unit starts)")
    run.add_argument(
        "--config", metavar="FILE", help="configuration file (default: the user's, then /etc/sentinel/sentinel.toml)"
    )
    _rules_option(run)
    run.add_argument("--verbose", action="store_true", help="log what sentinel itself does in more detail")
    run.set_defaults(call="sentinel.cli.run")

    doctor = verbs.add_parser("doctor", help="show what sentinel can read on this machine, and how to enable the rest")
    doctor.add_argument("--config", metavar="FILE", help="configuration file")
    _json_option(doctor)
    doctor.set_defaults(call="sentinel.cli.doctor.report")

    status = _asking(verbs, "status", "show servers, GPUs, host, alerts and blind spots on one screen")
    status.add_argument(
        "--nagios",
        action="store_true",
        help="print one line with performance data, as a plugin of Nagios, Icinga, Zabbix or checkmk",
    )
    status.set_defaults(call="sentinel.cli.status")

    alerts = _asking(verbs, "alerts", "show open alerts with cause, evidence and fixes; or the history")
    alerts.add_argument("--all", action="store_true", help="include resolved alerts")
    alerts.add_argument("--since", metavar="T", help="history since then: 2h, 3d, or 2026-11-23T16:00")
    alerts.set_defaults(call="sentinel.cli.alerts")

    watch = _asking(verbs, "watch", "follow alerts live")
    watch.set_defaults(call="sentinel.cli.watch")

    why = _asking(verbs, "why", "show each check of a rule with its current value, what is unknown and how to provide it")
    why.add_argument("rule", metavar="RULE", help="rule id, for example cpu-fallback")
    why.add_argument("server", metavar="SERVER", nargs="?", default="", help="only this server (default: all)")
    why.set_defaults(call="sentinel.cli.why")

    silence = _asking(verbs, "silence", "stop notifications of a rule for a while; its alerts stay in status and history")
    silence.add_argument("rule", metavar="RULE", nargs="?", default="", help="rule id, for example cpu-fallback")
    silence.add_argument("server", metavar="SERVER", nargs="?", default="", help="only on this server (default: all)")
    silence.add_argument("--all", action="store_true", help="every rule")
    silence.add_argument("--server", metavar="SERVER", dest="only", default="", help="server name")
    silence.add_argument("--for", metavar="T", dest="duration", required=True, help="duration: 30m, 2h, 3d")
    silence.add_argument("--reason", metavar="TEXT", required=True, help="reason, shown to others")
    silence.set_defaults(call="sentinel.cli.silence")

    unsilence = _asking(verbs, "unsilence", "expire a silence early; alerts still firing are notified again")
    unsilence.add_argument("id", metavar="ID", help="silence id, as printed by `sentinel silence` and `sentinel alerts`")
    unsilence.set_defaults(call="sentinel.cli.silence")

    ack = _asking(verbs, "ack", "acknowledge an alert about something that happened once; it fires again if it happens again")
    ack.add_argument("rule", metavar="RULE", help="rule id, for example start-failed")
    ack.add_argument("server", metavar="SERVER", nargs="?", default="", help="of this server (default: the only one)")
    ack.set_defaults(call="sentinel.cli.ending")

    forget = _asking(verbs, "forget", "forget a server that has ended: its alerts end, and it leaves status and metrics")
    forget.add_argument("server", metavar="SERVER", help="name, as `sentinel status` or the alert shows it")
    forget.set_defaults(call="sentinel.cli.ending")

    execute = verbs.add_parser(
        "exec",
        help="start llama-server, keep what it prints in a bounded log, report how it ended",
        description=_EXEC,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    execute.add_argument("command", metavar="COMMAND", nargs="*", help="behind --: llama-server with its flags")
    execute.add_argument("--log", metavar="FILE", default="", help="log file (default: by program and port, in the state folder)")
    execute.add_argument(
        "--log-size", metavar="BYTES", type=int, default=0, help="size at which FILE becomes FILE.1 (default: 16 MiB)"
    )
    execute.add_argument("--socket", metavar="PATH", help="the daemon's socket (default: your own daemon's, else the service's)")
    execute.set_defaults(call="sentinel.cli.exec.main")

    diagnose = verbs.add_parser("diagnose", help="check log files offline with the same rules; no daemon needed")
    diagnose.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="a llama-server log of any era: plain, coloured, JSON lines or from the journal; - is standard input",
    )
    diagnose.add_argument(
        "--kernel-log",
        metavar="FILE",
        action="append",
        default=[],
        help="dmesg, journalctl -k or /dev/kmsg output of the same time",
    )
    diagnose.add_argument("--argv", metavar="COMMAND", help="the server's command line, quoted as one word")
    diagnose.add_argument(
        "--why", metavar="RULE", default="", help="explain one rule: each check, what it read and what is unknown"
    )
    diagnose.add_argument(
        "--share",
        action="store_true",
        help="a bundle for a public issue: answer, command line and logs without paths, names, addresses, keys and prompts",
    )
    diagnose.add_argument(
        "-o", metavar="FILE", dest="output", default="", help="where --share writes to (default: standard output)"
    )
    _rules_option(diagnose)
    _json_option(diagnose)
    diagnose.set_defaults(call="sentinel.cli.diagnose")

    preflight = verbs.add_parser("preflight", help="check a command line before the start: memory, verdict, flags that fit")
    preflight.add_argument("command", metavar="COMMAND", nargs="*", help="behind --: llama-server with its flags")
    preflight.add_argument("--pid", metavar="PID", type=int, help="a running llama-server, as if it were restarted")
    preflight.add_argument(
        "--unit", metavar="NAME", default="", help="what a systemd unit would start, as its user, in its limits"
    )
    preflight.add_argument(
        "--verify",
        metavar="SHA256",
        nargs="?",
        const="",
        help="read the whole model and compare its checksum with this one, or with the one stored for the same file",
    )
    preflight.add_argument(
        "--ask-build",
        action="store_true",
        help="run the llama-server to ask it for its flags and devices even if others than root and you could have written it",
    )
    _json_option(preflight)
    preflight.set_defaults(call="sentinel.cli.preflight")

    rules = verbs.add_parser("rules", help="list, show, check and test rule files")
    actions = rules.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in (
        ("list", "all rules"),
        ("lint", "check rule files: report every error with its line"),
        ("test", "run the inline tests of rule files"),
        ("coverage", "list rules, causes and patterns that no test and no recorded line covers"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument("paths", metavar="PATH", nargs="*", help=_OWN_RULES)
        _rules_option(action)
        _json_option(action)
        action.set_defaults(call="sentinel.cli.rules.main")
    show = actions.add_parser("show", help="show one rule as loaded: checks, causes, fixes, and the file each part comes from")
    show.add_argument("rule", metavar="RULE")
    show.add_argument("paths", metavar="PATH", nargs="*", help=_OWN_RULES)
    _rules_option(show)
    _json_option(show)
    show.set_defaults(call="sentinel.cli.rules.main")
    override = actions.add_parser("override", help="print a file that replaces fields of a rule, to be changed and saved")
    override.add_argument("rule", metavar="RULE")
    override.add_argument(
        "fields", metavar="FIELD", nargs="*", help="severity, alert.for, check.NAME, cause.ID.text (default: lists them)"
    )
    _rules_option(override)
    override.set_defaults(call="sentinel.cli.rules.override")

    schema = actions.add_parser("schema", help="print the JSON Schema of a kind of rule file, for editors")
    kinds = ("rule", "override", "events", "tests", "shared")
    schema.add_argument("kind", metavar="KIND", choices=kinds, help="rule, override, events, tests or shared (fixes and bases)")
    schema.set_defaults(call="sentinel.cli.rules.schema")
    new = actions.add_parser("new", help="write a rule skeleton, ID.toml, with its three tests")
    new.add_argument("id", metavar="ID", help="permanent id: lower-case words joined by -")
    new.add_argument(
        "--scope", choices=("server", "host", "gpu"), default="server", help="entities of the rule (default: server)"
    )
    new.add_argument("--to", metavar="FOLDER", default=".", help="where to (default: here); - prints it")
    new.set_defaults(call="sentinel.cli.rules.new")

    reload = _asking(verbs, "reload", "make the daemon reload its rule files; on errors the old rules stay active")
    reload.set_defaults(call="sentinel.cli.reload")

    record = _asking(verbs, "record", "save the daemon's flight recorder: the last readings, without prompts")
    record.add_argument(
        "name", metavar="NAME", nargs="?", default="", help="a recording kept at an alert (default: the current one)"
    )
    record.add_argument("--list", action="store_true", help="list recordings kept at alerts, oldest first")
    record.add_argument(
        "--out",
        metavar="FILE",
        default="",
        help="output file (default: named by the time, in this folder); - is stdout",
    )
    record.set_defaults(call="sentinel.cli.record")

    replay = verbs.add_parser("replay", help="run rules over a recording, offline; same rules, same alerts, byte for byte")
    replay.add_argument("file", metavar="FILE", help="from `sentinel record`; - is standard input")
    _rules_option(replay)
    replay.add_argument(
        "--diff",
        metavar="OTHER",
        action="append",
        default=[],
        help="compare with these rules: alerts added, removed, changed",
    )
    _json_option(replay)
    replay.set_defaults(call="sentinel.cli.replay")

    completion = verbs.add_parser(
        "completion",
        help="print a completion script for bash, zsh or fish",
        description=_COMPLETION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    completion.add_argument("shell", metavar="SHELL", choices=("bash", "zsh", "fish"), nargs="?", help="bash, zsh or fish")
    completion.add_argument(
        "--names", metavar="KIND", choices=("rules", "servers", "silences", "recordings"), help=argparse.SUPPRESS
    )
    completion.set_defaults(call="sentinel.cli.completion")
    return top


def _json_option(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--json", action="store_true", help="print JSON")


def _rules_option(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--rules",
        metavar="PATH",
        action="append",
        default=[],
        help="rule files or folders of yours, beside the shipped rules and instead of those in the drop-in folders",
    )


def _asking(verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=text, description=text)
    verb.add_argument("--socket", metavar="PATH", help="the daemon's socket (default: your own daemon's, else the service's)")
    _json_option(verb)
    return verb


def _speak_what_it_can(stream: TextIO, environ: Mapping[str, str]) -> None:
    """Escape characters that a stream cannot encode, instead of ending in a traceback.

    In the C locale Python writes UTF-8 (PEP 540), whatever the terminal shows; only ASCII is safe there.
    """
    if not isinstance(stream, io.TextIOWrapper):
        return
    locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or "C"
    if locale == "C.UTF-8" and not environ.get("LC_ALL"):
        # Python sets LC_CTYPE to this if no locale is set (PEP 538).
        locale = environ.get("LANG") or "C"
    chosen = environ.get("PYTHONUTF8") or environ.get("PYTHONIOENCODING")
    plain = locale in ("C", "POSIX") and not chosen and stream.isatty()
    stream.reconfigure(encoding="ascii" if plain else None, errors="backslashreplace")


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point. Returns the exit code."""
    arguments = parser().parse_args(argv)
    # An empty or relative part is the current folder, where anybody may have put a `systemctl`.
    os.environ["PATH"] = ":".join(part for part in os.environ.get("PATH", os.defpath).split(":") if part.startswith("/"))
    for stream in (sys.stdout, sys.stderr):
        _speak_what_it_can(stream, os.environ)
    verb = importlib.import_module(arguments.call)
    try:
        code: int = verb.main(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader closed the pipe (| head); Python would report it once more while closing the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        return 130
    return code


def program() -> NoReturn:
    """The program `sentinel`: runs `main`, then ends the process without taking the interpreter apart.

    A thread that waits for a hung driver outlives `main`, and Python ends such a thread when it next wants the interpreter's
    lock. Inside RE2's binding that is `terminate called without an active exception`: SIGABRT after an orderly stop (seen once
    in a run of the tests, and in one of three ends of a program with two threads that search).
    """
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    program()
