"""A rule file and an event file without a mistake, small enough to put one in; and what a rule set holds, as text."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

GOOD = """
schema = 1
id = "too-slow"
message_id = "00000000000000000000000000000001"
title = "generation is slow"
severity = "warning"
scope = "server"
[window]
speed = { signal = "server.generation_tps", over = "30s", take = "mean" }
[event]
failed = { name = "backend_init_failed", since = "server.start" }
[value]
share = "double(server.rss_bytes) / double(host.mem_total_bytes)"
[check]
slow = "speed < 1.0"
[alert]
when = "slow"
for = "5s"
clear = "!slow"
summary = "{server.name}: {speed:.1f} tokens/s"
[[cause]]
id = "no-gpu"
when = "failed.count > 0"
text = "{failed.fields.api} did not start"
[[cause]]
id = "other"
text = "not known"
[[cause.fix]]
do = "look"
[[test]]
name = "slow"
given = { "server.generation_tps" = 0.4 }
at = "20s"
expect = { state = "firing", cause = "other" }
[[test]]
name = "fast"
given = { "server.generation_tps" = 20.0 }
at = "20s"
expect = { state = "quiet" }
[[test]]
name = "nothing measured"
at = "20s"
expect = { state = "unknown", missing = ["server.generation_tps"] }
"""

EVENT = """
schema = 1
source = "llama-server"
[[event]]
name = "new_event"
sets = { "server.slots" = "n" }
fields = { n = "int" }
[[event.pattern]]
builds = "b9000-"
regex = '''^slots: (?P<n>\\d+)'''
example = "slots: 4"
"""

EVENTS = """
schema = 1
source = "llama-server"
[[event]]
name = "backend_init_failed"
fields = { api = "text" }
help = "a backend did not start"
[[event.pattern]]
builds = "any"
regex = "^init of (?P<api>\\\\w{1,20}) failed$"
example = "init of cuda failed"
from = "composed"
"""


def plain(value: Any) -> Any:
    """All that a rule set holds, as text: what is computed on first use is computed now."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(inner) for inner in value]
    if isinstance(value, frozenset):
        return sorted(value)
    if type(value).__name__ == "Deferred":
        return plain(value.get())
    if type(value).__name__ == "QuickNo":
        return plain(value._parts)
    if type(value).__name__ == "Condition":
        return [value.source, value.paths, [sorted(kind) for kind in value._kinds]]
    if type(value).__name__ == "Extractor":
        return [plain(value._events), [one.filter for one in value._patterns], list(value._nets)]
    return value
