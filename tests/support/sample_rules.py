"""A rule file and an event file without a mistake, small enough to put one in."""

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
