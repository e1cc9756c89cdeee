"""`sentinel rules new`: writes a template of a rule, which is valid and passes its tests as it is."""

from __future__ import annotations

import argparse
import uuid
from pathlib import Path

from sentinel.cli.main import CRITICAL, OK
from sentinel.cli.output import warn
from sentinel.model.text import escape
from sentinel.rulefiles.decode import RULE_ID

#: By scope: a check and its condition, the summary, and values of its signal for which it is true and false.
_SUBJECTS = {
    "server": (
        "slow",
        "server.generation_tps",
        "< 10.0",
        "{server.name} generates {server.generation_tps:.1f} tokens/s",
        2.0,
        33.0,
    ),
    "host": (
        "stalled",
        "host.psi_memory_full_avg10",
        "> 10.0",
        "all tasks wait for memory {host.psi_memory_full_avg10:.0f} % of the time",
        40.0,
        0.0,
    ),
    "gpu": ("hot", "gpu.temp_junction_celsius", "> 100.0", "{gpu.name} has {gpu.temp_junction_celsius:.0f} °C", 107.0, 60.0),
}
_RULE = """\
schema = 1
id = "{id}"
message_id = "{message_id}"
title = "{words}"  # the failure in a few words
severity = "warning"                  # critical, warning or info
scope = {quoted:<30}# one alert for each {scope}
basis = ["measured"]                  # where the knowledge comes from: seed, source, thread or measured

[check]                               # named conditions; `sentinel why {id}` shows each with what it read
{check} = "{signal} {limit}"

[alert]
when = {when:<31}# unknown is neither true nor false: it does not fire
for = "10s"                           # so long without a break
clear = {clear:<30}# or clear_after = "15m" for what only happens
summary = "{summary}"

[[cause]]                             # the first whose `when` is true is reported
id = "not-known"
confidence = "low"                    # how sure that is: high, medium or low
text = "what makes it so is not known"
[[cause.fix]]                         # what to do, best first
do = "See what the rule read"
command = "sentinel why {id}"

[[test]]                              # at least one that fires, one that is quiet, one that is unknown
name = "{check} for a minute"
given = {{ "{signal}" = {bad} }}
expect = {{ state = "firing", cause = "not-known" }}

[[test]]
name = "not {check}"
given = {{ "{signal}" = {good} }}
expect = {{ state = "quiet" }}

[[test]]
name = "the value cannot be read"
unknown = ["{signal}"]
expect = {{ state = "unknown" }}
"""


def main(arguments: argparse.Namespace) -> int:
    """Write the file; never overwrites one."""
    rule_id = arguments.id
    if not RULE_ID.match(rule_id):
        return _refuse(f"'{escape(rule_id):.60}' is not a rule id; write lower-case words joined by '-'")
    text = skeleton(rule_id, arguments.scope)
    if arguments.to == "-":
        print(text, end="")
        return OK
    file = Path(arguments.to) / f"{rule_id}.toml"
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        return _refuse(f"{escape(str(file))} is there already; give another id, or remove it first")
    except OSError as error:
        return _refuse(f"{escape(str(file))} cannot be written: {error.strerror}")
    print(
        f"{escape(str(file))}: now change it; `sentinel rules lint {escape(str(file))}` checks it, `sentinel rules test` tries it"
    )
    return OK


def skeleton(rule_id: str, scope: str) -> str:
    """The text of a new rule's file."""
    check, signal, limit, summary, bad, good = _SUBJECTS[scope]
    return _RULE.format(
        id=rule_id,
        message_id=uuid.uuid4().hex,
        words=rule_id.replace("-", " "),
        scope=scope,
        quoted=f'"{scope}"',
        check=check,
        when=f'"{check}"',
        clear=f'"!{check}"',
        signal=signal,
        limit=limit,
        summary=summary,
        bad=bad,
        good=good,
    )


def _refuse(what: str) -> int:
    warn(what)
    return CRITICAL
