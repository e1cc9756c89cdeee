"""What an attacker names in size and number: command lines, flags, ports in a log, servers."""

from __future__ import annotations

from attacks.ground import ATTACKER, ground
from attacks.outcome import Attack


def long_hosts(*, short: bool) -> Attack:
    """Idle processes with a very long --host."""
    count = 5 if short else 15
    with ground(f"{count} idle processes, each with a --host of 100 KB") as here:
        for number in range(count):
            here.server("--host", f"{number:04d}" + "h" * 100_000, "--port", "8080")
        here.endure(4)
        here.row.said = here.said("cut")
        size = len(str(here.daemon.get("/v1/signals")))
        here.row.notes.append(f"/v1/signals: {size / 1e6:.1f} MB")
        here.row.expect(size < 4_000_000, f"/v1/signals has {size / 1e6:.1f} MB")
    return here.row


def unknown_flags(*, short: bool) -> Attack:
    """Idle processes with thousands of unknown flags."""
    count = 8 if short else 30
    with ground(f"{count} processes with 12,000 unknown flags each") as here:
        for number in range(count):
            here.server(*(f"--never-heard-of-{n}" for n in range(12_000)), "--port", str(20_000 + number))
        here.endure(4)
        here.row.said = here.said("cut")
    return here.row


def ports_in_a_log(*, short: bool) -> Attack:
    """One log with a prefix of each port."""
    count = 2_000 if short else 20_000
    with ground(f"a log with {count:,} different port prefixes, each before a load that failed") as here:
        log = here.file("router.log")
        here.server("--log-file", str(log), "--models-dir", "/models")
        lines = b"".join(
            b"[%5d] 0.00.100.000 E srv  llama_server: exiting due to model loading error\n" % (n + 10_000) for n in range(count)
        )
        log.write_bytes(lines)
        here.endure(4)
        size = len(str(here.daemon.get("/v1/status")))
        here.row.notes.append(f"/v1/status: {size / 1e6:.2f} MB")
        here.row.expect(size < 1_000_000, f"/v1/status has {size / 1e6:.1f} MB")
        here.row.said = here.said("router.log") or here.said("child")
    return here.row


def many_servers(*, short: bool) -> Attack:
    """Thousands of processes that pass for llama-servers."""
    count = 200 if short else 2_000
    with ground(f"{count:,} processes that pass for llama-servers, each with a port of its own") as here:
        for number in range(count):
            here.server("--port", str(10_000 + number))
        here.endure(10)
        servers = (here.daemon.get("/v1/status") or {}).get("servers", [])
        here.row.notes.append(f"{len(servers)} servers in the status")
        here.row.expect(any(s["name"] == here.honest for s in servers), "the honest server is not in the status")
        here.row.said = here.said("servers")
    return here.row


def brief_servers(*, short: bool) -> Attack:
    """Processes that pass for llama-servers and end at once, each with a port of its own."""
    count = 300 if short else 5_000
    with ground(
        f"{count:,} processes that pass for llama-servers, each with a port of its own, one after the other, ended at once"
    ) as here:
        program = here.program(ATTACKER)
        loop = f"i=0; while [ $i -lt {count} ]; do {program} -c : llama-server --port $((10000 + i)) -m /none; i=$((i + 1)); done"
        driver = here.run("/bin/sh", "-c", loop)
        driver.wait(120)
        here.endure(4)
        size = len(str(here.daemon.get("/v1/status")))
        here.row.notes.append(f"/v1/status: {size / 1e6:.2f} MB")
        here.row.expect(size < 1_000_000, f"/v1/status has {size / 1e6:.1f} MB")
        here.row.said = here.said("servers") or here.said("share")
    return here.row
