"""Generates docs/ from the rule files and the signal catalogue: `python -m sentinel.generate.reference FOLDER [--check]`.

One page per rule, one each of all signals, events, metrics, commands and requests, and the first page. The output is
deterministic.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.engine.inspect.metrics import DESCRIBED, Described, of_signal
from sentinel.engine.rules.ruleset import CompiledRule, RuleSet
from sentinel.generate.index_page import index_page
from sentinel.generate.interfaces import api_page, commands_page
from sentinel.generate.markdown import MADE, fence, page, prose, table
from sentinel.generate.rule_page import SCOPES, rule_page
from sentinel.model.event import EventDef
from sentinel.model.input_limits import MOST_EXPORTED
from sentinel.model.signal import Signal
from sentinel.model.text import duration
from sentinel.rulefiles.files import load_paths, shipped
from sentinel.rulefiles.json_schema import as_text, schemas

_ORIGINS = {
    "log": "its log",
    "process": "its process",
    "model": "the header of its model file",
    "host": "the host",
    "gpu": "the GPU's driver",
    "daemon": "sentinel itself",
}
_SOURCES = {"llama-server": "llama-server's log", "kernel": "The kernel's log", "systemd": "What systemd says about a unit"}
_GROUP = re.compile(r"\(\?P<(\w+)>")


def pages(ruleset: RuleSet) -> dict[str, str]:
    """Every page by its path below the folder."""
    rules = [ruleset.rules[name] for name in sorted(ruleset.rules)]
    made = {f"rules/{r.rule.id}.md": rule_page(r, ruleset.events, rules) for r in rules}
    made["signals.md"] = _signals_page(CATALOGUE.values(), rules)
    made["events.md"] = _events_page(ruleset.events.values(), rules)
    made["metrics.md"] = _metrics_page()
    made["README.md"] = index_page(rules)
    made["commands.md"] = commands_page()
    made["api.md"] = api_page()
    made |= {f"schema/{kind}.json": as_text(schema) for kind, schema in schemas(ruleset).items()}
    return made


# --- signals and events ---


def _signals_page(signals: Iterable[Signal], rules: Sequence[CompiledRule]) -> str:
    lines = [MADE.format("sentinel/engine/facts/catalogue.py"), "", "# Signals", ""]
    lines += ["What a rule may read. A value that is not known, or older than its time, is unknown: neither true nor false.", ""]
    by_scope: dict[str, list[Signal]] = {}
    for signal in signals:
        by_scope.setdefault(signal.scope, []).append(signal)
    for scope, found in by_scope.items():
        lines += [f"## {SCOPES[scope].capitalize()}", ""]
        rows = []
        for s in found:
            users = [f"[{r.rule.id}](rules/{r.rule.id}.md)" for r in rules if s.name in r.signals]
            kind = f"{s.type}, {s.unit}" if s.unit else s.type
            lasts = "until its source restarts" if s.stale_after is None else duration(s.stale_after)
            rows.append((f"`{s.name}`", kind, prose(s.help), _ORIGINS[s.origin], lasts, prose(s.provide), ", ".join(users)))
        lines += [*table(("signal", "type", "is", "from", "max age", "if unknown", "read by"), rows), ""]
    return page(lines)


def _events_page(events: Iterable[EventDef], rules: Sequence[CompiledRule]) -> str:
    lines = [MADE.format("rules/events/"), "", "# Events", ""]
    lines += [
        "What sentinel understands in a log: each pattern with the builds of llama.cpp that print it and one real line.",
        "",
    ]
    by_source: dict[str, list[EventDef]] = {}
    for event in events:
        by_source.setdefault(event.source, []).append(event)
    for source, found in by_source.items():
        lines += [f"## {_SOURCES[source]}", ""]
        for event in sorted(found, key=lambda e: e.name):
            lines += [*_event(event, [r.rule.id for r in rules if event.name in r.events]), ""]
    return page(lines)


def _event(event: EventDef, users: Sequence[str]) -> Iterator[str]:
    yield f"### {event.name}"
    yield ""
    yield prose(event.help)
    yield ""
    groups = dict.fromkeys(name for pattern in event.patterns for name in _GROUP.findall(pattern.regex))
    if not event.patterns:
        # derived by the engine from other events
        groups = dict.fromkeys(event.fields)
    if groups:
        yield "- fields: " + ", ".join(f"`{name}` ({event.fields.get(name, 'text')})" for name in groups)
    taught = [f"`{signal}` = `{name}`" for signal, name in event.sets.items()]
    taught += [f"`{signal}` = {value}" for signal, value in event.const.items()]
    taught += [f"`{signal}` + `{name}`" for signal, name in event.adds.items()]
    if taught:
        yield "- teaches: " + ", ".join(taught)
    if event.forgets:
        yield "- makes void: " + ", ".join(f"`{signal}`" for signal in event.forgets)
    if users:
        yield "- read by: " + ", ".join(f"[{name}](rules/{name}.md)" for name in users)
    for pattern in event.patterns:
        yield ""
        yield f"{'Any build' if str(pattern.builds) == 'any' else pattern.builds}:"
        yield ""
        yield from fence(pattern.example, "text")


# --- metrics ---

_SCRAPE = """\
`GET /metrics` on the socket answers in the text format of Prometheus. Prometheus asks over TCP and the daemon listens on no
port; three ways lead from one to the other.

**node_exporter's textfile collector**, where node_exporter runs anyway. A timer writes the figures into its folder every 15
seconds (where that is another folder than Debian's, change OUT and ReadWritePaths):

```sh
sudo cp prometheus/sentinel-textfile.* /etc/systemd/system/
sudo systemctl daemon-reload && sudo systemctl enable --now sentinel-textfile.timer
```

By hand or from cron, as a user of the group `sentinel`:

```sh
curl -sSf --unix-socket /run/sentinel/sentinel.sock http://localhost/metrics > sentinel.prom.new
mv sentinel.prom.new sentinel.prom
```

The file stays where it is when the daemon ends: `time() - node_textfile_mtime_seconds` is its age, and the alerts below
look at it.

**The socket itself**: Prometheus scrapes unix sockets in versions of August 2026 and later
(<https://github.com/prometheus/prometheus/pull/18091>), as a user of the group `sentinel`; VictoriaMetrics' vmagent has it
too (<https://github.com/VictoriaMetrics/VictoriaMetrics/pull/11193>). Their documentation names the label; it was not tried
here.

**A port**: [`sentinel serve`](web.md) passes `/metrics` on over HTTP, with TLS and passwords as Prometheus' exporters have
them.

## Alerts and a dashboard

[prometheus/alerts.yml](../prometheus/alerts.yml) has an alert for each severity of what fires (with rule, entity and cause;
what is silenced on the machine does not fire), and some for sentinel itself: it does not answer, its figures are old, it is
gone, it stands still, a rule failed. They need Prometheus 2.42. Put the address under which you keep `docs/rules` in place
of the one in `runbook_url`:

```sh
promtool test rules alerts.test.yml
sed -i 's,https://sentinel.example/,https://wiki.example.org/sentinel/,' alerts.yml
promtool check rules alerts.yml
```

[prometheus/dashboard.json](../prometheus/dashboard.json) is a dashboard for Grafana (Dashboards, New, Import): alerts,
speed, memory and GPUs of each server. A real Prometheus answers each of its queries in the tests; Grafana itself was not
tried. Its own grafana-foundation-sdk (for 10.1) reads the file and writes the same again, but for `definition` of two variables,
which it does not know. Cause, first fix and the machine's own name are annotations of each alert, from
`sentinel_alert_info`: show them in your receiver's template. [`sentinel notify`](notify.md) may send to the
same Alertmanager; leave the group `sentinel-alerts` out then.

## Values

An unknown value has no series: use `absent()`, it is never zero. At most {} servers and {} GPUs have series."""


def _metrics_page() -> str:
    lines = [MADE.format("sentinel/engine/inspect/metrics.py and sentinel/engine/facts/catalogue.py"), "", "# Metrics", ""]
    lines += [_SCRAPE.format(MOST_EXPORTED, MOST_EXPORTED), "", "## Alerts, rules, and sentinel itself", ""]
    lines += ["`sentinel_process_*` beside them: CPU, memory and open files of the daemon.", ""]
    lines += [*table(("metric", "type", "labels", "is"), map(_metric, DESCRIBED)), "", "## Signals", ""]
    signals = [about for signal in CATALOGUE.values() if (about := of_signal(signal)) is not None]
    return page([*lines, *table(("metric", "type", "labels", "is"), map(_metric, signals))])


def _metric(about: Described) -> tuple[str, str, str, str]:
    name = f"{about.name}_total" if about.kind == "counter" else about.name
    return f"`{name}`", about.kind, ", ".join(f"`{label}`" for label in about.labels), prose(about.help)


# --- the command ---


def stale(folder: Path, made: Mapping[str, str]) -> list[str]:
    """Pages that are missing, differ, or belong to no rule any more."""
    wrong = [name for name, text in made.items() if not _same(folder / name, text)]
    left = {path.relative_to(folder).as_posix() for path in (folder / "rules").glob("*.md")} - made.keys()
    return sorted([*wrong, *left])


def _same(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except FileNotFoundError:
        return False


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pages, or with --check report which are stale. 1: some are stale; 2: the rules cannot be loaded."""
    parser = argparse.ArgumentParser(prog="python -m sentinel.generate.reference", description="Makes the reference in docs/.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; list the pages that are stale")
    arguments = parser.parse_args(argv)
    ruleset, problems = load_paths([shipped()])
    if ruleset is None:
        sys.stderr.write("".join(f"{problem}\n" for problem in problems))
        return 2
    made = pages(ruleset)
    wrong = stale(arguments.folder, made)
    for name in wrong:
        path = arguments.folder / name
        sys.stdout.write(f"{path}{' is stale; make docs' if arguments.check else ''}\n")
        if arguments.check:
            continue
        if name in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made[name], encoding="utf-8")
        else:
            path.unlink()
    return 1 if wrong and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
