"""Log lines that can be accounted for, and rules that answer to a line at once. Not shipped."""

from __future__ import annotations

from pathlib import Path

SLEEPS = b"0.01.232.363 I srv  handle_sleep: server is entering sleeping state\n"
WAKES = b"0.02.734.703 I srv  handle_sleep: server is exiting sleeping state\n"

#: Each line adds one to a signal and its number to another: both sums are right only if each line was taken once.
_EVENTS = """\
schema = 1
source = "llama-server"

[[event]]
name = "fault_line"
help = "A line of the fault campaign."
fields = { one = "int", n = "int" }
adds = { "server.log_experts" = "one", "server.log_layers" = "n" }
[[event.pattern]]
builds = "any"
regex = '''^fault line (?P<one>1) (?P<n>\\d+)$'''
example = "fault line 1 7"
from = "composed"
"""

_RULE = """\
schema = 1
id = "fault-{number}"
message_id = "{number:032x}"
title = "the server is asleep"
severity = "info"
scope = "server"
basis = ["measured"]
references = ["https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md"]
[check]
asleep = "server.state == 'sleeping'"
[alert]
when = "asleep"{hold}
clear = "!asleep"
summary = "{{server.name}} is asleep {words}"
[[cause]]
id = "idle"
confidence = "high"
text = "no request for as long as --sleep-idle-seconds says"
[[cause.fix]]
do = "Nothing: the next request wakes it"
[[test]]
name = "it says so"
log = ["+1s 0.01.232.363 I srv  handle_sleep: server is entering sleeping state"]
at = "2h"
expect = {{ state = "firing" }}
[[test]]
name = "it serves"
given = {{ "server.state" = "ready" }}
at = "2s"
expect = {{ state = "quiet" }}
[[test]]
name = "nothing is known of it"
unknown = ["server.state"]
at = "2s"
expect = {{ state = "unknown" }}
"""


def numbered(n: int) -> bytes:
    """Line number `n`."""
    return b"fault line 1 %d\n" % n


def rule(number: int, *, words: str = "now", hold: str = "") -> str:
    """A rule that fires with SLEEPS and ends with WAKES."""
    return _RULE.format(number=number, words=words, hold=f'\nfor = "{hold}"' if hold else "")


def write_rules(folder: Path, count: int = 1, *, hold: str = "") -> str:
    """Rules fault-1 ... fault-`count` and the event; returns the line of configuration that names them."""
    (folder / "events").mkdir(parents=True, exist_ok=True)
    (folder / "events" / "faults.toml").write_text(_EVENTS, encoding="utf-8")
    for number in range(1, count + 1):
        (folder / f"fault-{number}.toml").write_text(rule(number, hold=hold), encoding="utf-8")
    return f'rules = ["{folder}"]'


def account(signals: dict[str, float], last: int) -> str:
    """Empty if each of the lines 1 to `last` was taken once, else what is missing or too much."""
    count, total = int(signals.get("server.log_experts", 0)), int(signals.get("server.log_layers", 0))
    if (count, total) == (last, last * (last + 1) // 2):
        return ""
    return f"{last} lines were written, {count} were taken (sum of their numbers {total} for {last * (last + 1) // 2})"
