"""The verbs that have actions of their own (`sentinel rules lint`), with the options of each action."""

from __future__ import annotations

import argparse

from sentinel.cli.common_options import add_json, add_rules, add_socket

#: kinds of rule files that have a schema
SCHEMAS = ("rule", "override", "events", "tests", "shared")
_OWN_RULES = "rule files or folders of yours (default: the shipped rules, those in the drop-in folders and in the configuration)"


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
        add_rules(action)
        add_json(action)
        action.set_defaults(call="sentinel.cli.rules.main")
    show = actions.add_parser("show", help="show one rule as loaded: checks, causes, fixes, and the file each part comes from")
    show.add_argument("rule", metavar="RULE", help="rule id, for example cpu-fallback")
    show.add_argument("paths", metavar="PATH", nargs="*", help=_OWN_RULES)
    add_rules(show)
    add_json(show)
    show.set_defaults(call="sentinel.cli.rules.main")
    override = actions.add_parser("override", help="print a file that replaces fields of a rule, to be changed and saved")
    override.add_argument("rule", metavar="RULE", help="rule id, for example cpu-fallback")
    override.add_argument(
        "fields", metavar="FIELD", nargs="*", help="such as severity, alert.for, check.NAME, cause.ID.text (default: lists them)"
    )
    add_rules(override)
    override.set_defaults(call="sentinel.cli.rules.override")
    schema = actions.add_parser("schema", help="print the JSON Schema of a kind of rule file, for editors")
    schema.add_argument("kind", metavar="KIND", choices=SCHEMAS, help="of rule, override, events, tests, shared (fixes, bases)")
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
        add_socket(action)
        add_json(action)
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
    add_json(compare)
    compare.set_defaults(call="sentinel.cli.experts")


def service(verb: argparse.ArgumentParser) -> None:
    """Of `sentinel service`."""
    actions = verb.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text, about in (
        (
            "install",
            "write the units of systemd for this installation; nothing is started",
            "Writes the shipped units (daemon, notify, web, cure) so that they start this very installation, made by pipx or uv, "
            "and says each step. Nothing is enabled or started. `make install` and the Debian package have done that already.",
        ),
        ("uninstall", "stop what it wrote, and remove that", "Stops and removes the units that `install` wrote."),
    ):
        action = actions.add_parser(name, help=text, description=about)
        action.add_argument("--user", action="store_true", help="a service of your own, without root")
        action.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")
        action.set_defaults(call="sentinel.cli.service.main")
