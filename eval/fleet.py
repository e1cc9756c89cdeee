"""A fleet: daemons on machines of their own, one real Prometheus, one real Alertmanager, and a webhook that people would read.

make fleet

Grows to 1, 10, 25 and 50 machines. At each size: what a scrape costs, series, memory, processor time; then servers fail, and for
each the time until the webhook has the alert with cause, fix and host. In the end every machine has a failure, and runs `sentinel
notify` beside, which sends to the same Alertmanager without Prometheus. The alerts are those shipped, at their own pace.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
for folder in (ROOT, ROOT / "demo", ROOT / "tests/support"):
    sys.path.insert(0, str(folder))

from eval.fleet_host import Host, cpu, rss  # noqa: E402

#: A failure must have reached the webhook by then. Seconds.
PROMISE = 15.0
SIZES = (1, 10, 25, 50)
#: As docs/fleet.md recommends them.
SCRAPE = EVALUATE = "3s"
ROUTE = "{receiver: us, group_by: [alertname, instance, entity], group_wait: 1s, group_interval: 10s, repeat_interval: 4h}"
#: Until a program is at work, beside fifty others on two cores. Seconds.
_STARTED = 600.0
#: Of one machine, to learn what one costs.
_SCRAPES = 40
#: Programs that start at the same time.
_AT_ONCE = 4
#: Seconds between two failures, so that none hides behind another.
_APART = 0.7
#: Of the sizes before the last: so many machines have a failure.
_SOME = 5


@dataclass
class Row:
    """One size."""

    hosts: int
    series: int
    head: int
    kilobytes: float
    #: processor time of a daemon for one scrape: beside so many other programs, how long it takes says little
    scrape_cpu_ms: float
    scrape_ms: float
    slowest_ms: float
    daemon_mb: float
    serve_mb: float
    prometheus_mb: float
    daemon_cpu: float
    serve_cpu: float
    prometheus_cpu: float
    #: load average of the machine that all of them share
    load: float
    #: from the failure to the webhook, by way of Prometheus and by `sentinel notify`
    delays: list[float] = field(default_factory=list)
    direct: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Fleet:
    """Machines, and who watches them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        from alertmanager import alertmanager
        from receivers import http_receiver

        from prometheus import running

        self.folder = folder
        self.hosts: list[Host] = []
        self._ports: dict[str, int] = {}
        self._targets = folder / "targets.json"
        self._targets.write_text("[]")
        self.receiver = stack.enter_context(http_receiver())
        self.alertmanager = stack.enter_context(alertmanager(folder, self.receiver, ROUTE))
        config = [
            f"global: {{scrape_interval: {SCRAPE}, evaluation_interval: {EVALUATE}}}",
            f"rule_files: ['{ROOT / 'prometheus/alerts.yml'}']",
            f"alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{self.alertmanager.url.removeprefix('http://')}']}}]}}]}}",
            f"scrape_configs: [{{job_name: sentinel, file_sd_configs: [{{files: ['{self._targets}']}}]}}]",
        ]
        self.prometheus = stack.enter_context(running(folder, "\n".join(config) + "\n"))
        stack.callback(self._stop)

    def _stop(self) -> None:
        for host in self.hosts:
            host.stop()

    def grow(self, size: int) -> None:
        """Start machines, a few at a time, until there are so many and Prometheus has all of them."""
        from live import wait_for

        while len(self.hosts) < size:
            number = len(self.hosts)
            new = [Host(self.folder / f"h{n}", f"gpu-{n + 1:02}") for n in range(number, min(size, number + _AT_ONCE))]
            self.hosts += new
            for host in new:
                wait_for(host.ready, f"the daemon of {host.name} answers", _STARTED)
                self._ports[host.name] = host.open_port()
        known = [{"targets": [f"127.0.0.1:{port}"], "labels": {"instance": name}} for name, port in self._ports.items()]
        fresh = self._targets.with_suffix(".new")
        fresh.write_text(json.dumps(known))
        fresh.replace(self._targets)
        wait_for(lambda: len(self.prometheus.ask("sentinel_build_info")) == size, "Prometheus has all", _STARTED)
        healthy = size * 2
        wait_for(lambda: self.number("count(sentinel_server_info)") >= healthy, "every daemon has its servers", _STARTED)

    def number(self, expression: str) -> float:
        """The value of a query; 0 where there is none."""
        found = self.prometheus.ask(expression)
        return float(found[0]["value"][1]) if found else 0.0

    def measure(self, seconds: float) -> Row:
        """What it costs while nothing happens."""
        self._settle()
        pids = {verb: [host.processes[verb] for host in self.hosts] for verb in ("run", "serve")}
        pids["prometheus"] = [self.prometheus.process.pid]
        before = {name: sum(map(cpu, some)) for name, some in pids.items()}
        begun = time.monotonic()
        time.sleep(seconds)
        elapsed = time.monotonic() - begun
        used = {name: (sum(map(cpu, some)) - before[name]) / elapsed * 100 for name, some in pids.items()}
        size = len(self.hosts)
        window = f"[{int(seconds)}s]"
        return Row(
            hosts=size,
            series=int(self.number("max(scrape_samples_scraped)")),
            head=int(self._own("prometheus_tsdb_head_series")),
            scrape_cpu_ms=self._processor(self.hosts[-1]),
            kilobytes=max(map(self._bytes, self._ports.values())) / 1e3,
            scrape_ms=self.number(f"avg(avg_over_time(scrape_duration_seconds{window}))") * 1e3,
            slowest_ms=self.number(f"max(max_over_time(scrape_duration_seconds{window}))") * 1e3,
            daemon_mb=statistics.mean(map(rss, pids["run"])),
            serve_mb=statistics.mean(map(rss, pids["serve"])),
            prometheus_mb=rss(self.prometheus.process.pid),
            daemon_cpu=used["run"] / size,
            serve_cpu=used["serve"] / size,
            prometheus_cpu=used["prometheus"],
            load=os.getloadavg()[0],
        )

    def _settle(self) -> None:
        """Each daemon has been scraped a few times since it came."""
        from live import wait_for

        wait_for(lambda: self.number("min(count_over_time(up[1m]))") >= 3, "all were scraped three times", _STARTED)

    def _own(self, name: str) -> float:
        text = _get(f"{self.prometheus.url}/metrics").decode()
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))

    @staticmethod
    def _bytes(port: int) -> int:
        return len(_get(f"http://127.0.0.1:{port}/metrics"))

    @staticmethod
    def _processor(host: Host) -> float:
        """Of the daemon itself: `serve` keeps an answer for a second."""
        pid = host.processes["run"]
        before = cpu(pid)
        for _ in range(_SCRAPES):
            with closing(socket.socket(socket.AF_UNIX)) as line:
                line.connect(str(host.socket))
                line.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                while line.recv(1 << 16):
                    pass
        return (cpu(pid) - before) / _SCRAPES * 1e3

    def fail(self, hosts: Sequence[Host], row: Row, *, direct: bool = False) -> None:
        """A failure on each of these machines, one after the other; how long each took goes into the row."""
        begun: dict[tuple[str, str], float] = {}
        for host in hosts:
            name, at = host.fail()
            begun[host.name, name] = at
            time.sleep(_APART)
        deadline = time.monotonic() + 2 * PROMISE
        ways = [("SentinelCritical", row.delays), *([("cpu-fallback", row.direct)] if direct else [])]
        while time.monotonic() < deadline and any(begun.keys() - self._told(way).keys() for way, _ in ways):
            time.sleep(0.1)
        for way, delays in ways:
            told = self._told(way)
            for mark, at in begun.items():
                if mark not in told:
                    row.wrong.append(f"{way} of {mark[1]} on {mark[0]} did not reach the webhook")
                    continue
                arrived, alert = told[mark]
                delays.append(arrived - at)
                row.wrong += _lacks(way, mark[0], alert)

    def _told(self, alertname: str) -> dict[tuple[str, str], tuple[float, dict[str, Any]]]:
        """What the webhook has, by machine and server: when it came first, and how."""
        found: dict[tuple[str, str], tuple[float, dict[str, Any]]] = {}
        for got in list(self.receiver.taken):
            for alert in got.body["alerts"]:
                labels = alert["labels"]
                if labels["alertname"] == alertname and alert["status"] == "firing":
                    found.setdefault((labels["instance"], labels.get("entity", "")), (got.at, alert))
        return found


def _lacks(way: str, host: str, alert: dict[str, Any]) -> Iterator[str]:
    """What a person would miss."""
    said = alert["annotations"]
    if "no GPU that llama-server could use" not in said.get("cause", ""):
        yield f"{way} on {host}: no cause: {said}"
    if "look for the GPU on the bus" not in said.get("fix", "") or "lspci" not in said.get("command", ""):
        yield f"{way} on {host}: no fix: {said}"
    # The name of the machine: the label of the target, and what the daemon itself has for it.
    if way == "SentinelCritical" and not said.get("host"):
        yield f"{way} on {host}: no host: {said}"


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as answer:
        body: bytes = answer.read()
    return body


@contextmanager
def fleet() -> Iterator[Fleet]:
    """One without machines, while the block lasts."""
    with tempfile.TemporaryDirectory(prefix="fleet-") as name, ExitStack() as stack:
        yield Fleet(Path(name), stack)


def tried(sizes: Sequence[int], seconds: float) -> Iterator[Row]:
    """A row for each size."""
    from live import wait_for

    with fleet() as one:
        for size in sizes:
            one.grow(size)
            row = one.measure(seconds)
            last = size == sizes[-1]
            if last:
                for at in range(0, size, _AT_ONCE):
                    some = one.hosts[at : at + _AT_ONCE]
                    for host in some:
                        host.report_to(one.alertmanager.url)
                    for host in some:
                        wait_for(host.follows, f"notify of {host.name} follows", _STARTED)
            some = one.hosts if last else one.hosts[:: max(1, size // _SOME)]
            one.fail(some, row, direct=last)
            yield row


def table(rows: Sequence[Row]) -> Iterator[str]:
    """For docs/fleet.md."""
    heads = ["machines", "a scrape: processor; mean / slowest", "bytes", "series of a machine", "all series"]
    heads += ["daemon", "serve", "Prometheus"]
    yield f"| {' | '.join(heads)} | CPU: a daemon, a serve, Prometheus | load | failure to webhook: median / slowest |"
    yield f"|{'---|' * (len(heads) + 3)}"
    for row in rows:
        cells = [
            str(row.hosts),
            f"{row.scrape_cpu_ms:.0f} ms; {row.scrape_ms:.0f} / {row.slowest_ms:.0f} ms",
            f"{row.kilobytes:.0f} kB",
            str(row.series),
            f"{row.head:,}",
            f"{row.daemon_mb:.0f} MB",
            f"{row.serve_mb:.0f} MB",
            f"{row.prometheus_mb:.0f} MB",
            f"{row.daemon_cpu:.1f}, {row.serve_cpu:.1f}, {row.prometheus_cpu:.1f} %",
            f"{row.load:.0f}",
            f"{_spread(row.delays)} of {len(row.delays)}" + (f"; direct {_spread(row.direct)}" if row.direct else ""),
        ]
        yield f"| {' | '.join(cells)} |"


def _spread(delays: Sequence[float]) -> str:
    return f"{statistics.median(delays):.1f} / {max(delays):.1f} s" if delays else "-"


def main() -> int:
    """Print the table; 1 where a failure did not arrive in time, or without its words."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", default=",".join(map(str, SIZES)), help="sizes, ascending")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to measure at each size")
    arguments = parser.parse_args()
    for program, package in (("prometheus", "prometheus"), ("promtool", "prometheus")):
        if shutil.which(program) is None:
            print(f"{program} is not installed: apt-get install {package} prometheus-alertmanager", file=sys.stderr)
            return 2
    rows = []
    for row in tried([int(size) for size in arguments.hosts.split(",")], arguments.seconds):
        rows.append(row)
        print("\n".join(table([row]) if len(rows) == 1 else list(table([row]))[2:]), flush=True)
    wrong = [text for row in rows for text in row.wrong]
    late = [delay for row in rows for delay in (*row.delays, *row.direct) if delay > PROMISE]
    for text in wrong[:20]:
        print(text, file=sys.stderr)
    if late:
        print(f"{len(late)} took longer than {PROMISE:g} s: {max(late):.1f} s", file=sys.stderr)
    return 1 if wrong or late else 0


if __name__ == "__main__":
    sys.exit(main())
