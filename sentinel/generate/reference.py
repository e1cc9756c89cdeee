"""Generates docs/ from the rule files and the signal catalogue: `python -m sentinel.generate.reference FOLDER [--check]`.

One page per rule, one of all signals, one of all events, one of all metrics. The output is deterministic.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from sentinel.engine.alerts.inhibition import SETTLE
from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.engine.inspect.metrics import DESCRIBED, MOST_ENTITIES, Described, of_signal
from sentinel.engine.rules.ruleset import CompiledRule, RuleSet
from sentinel.model.event import EventDef
from sentinel.model.rule import CaseDef, CauseDef, FixDef, RuleDef
from sentinel.model.signal import Signal
from sentinel.model.text import duration
from sentinel.rulefiles.files import load_paths, shipped
from sentinel.rulefiles.json_schema import as_text, schemas

_MADE = "<!-- made by `make docs` from {}: change that, not this -->"
_BASIS = {
    "seed": "a failure reported with the beginning of this project",
    "source": "the source of llama.cpp, the kernel or a driver",
    "thread": "issue threads of people who had it",
    "measured": "seen and measured here on the real programs",
}
_SCOPES = {"server": "each llama-server", "gpu": "each GPU", "host": "the host"}
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
#: Markdown takes an underscore inside a word literally
_MARKS = re.compile(r"[<*]|\b_|_\b")
_NAMES = re.compile(r"(\{[\w.:]+\})")


def pages(ruleset: RuleSet) -> dict[str, str]:
    """Every page by its path below the folder."""
    rules = [ruleset.rules[name] for name in sorted(ruleset.rules)]
    made = {f"rules/{r.rule.id}.md": _rule_page(r, ruleset.events, rules) for r in rules}
    made["signals.md"] = _signals_page(CATALOGUE.values(), rules)
    made["events.md"] = _events_page(ruleset.events.values(), rules)
    made["metrics.md"] = _metrics_page()
    made["README.md"] = _index(rules)
    made |= {f"schema/{kind}.json": as_text(schema) for kind, schema in schemas(ruleset).items()}
    return made


def _page(lines: Iterable[str]) -> str:
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip("\n") + "\n"


def _index(rules: Sequence[CompiledRule]) -> str:
    rows = [(f"[{r.rule.id}](rules/{r.rule.id}.md)", r.rule.severity, r.rule.scope, _prose(r.rule.title)) for r in rules]
    lines = [_MADE.format("rules/"), "", "# Reference", ""]
    lines += ["What sentinel knows, generated from what it runs on.", "", "## Rules", ""]
    lines += _table(("rule", "severity", "scope", "detects"), rows)
    lines += ["", "## The rest", "", "- [your first rule](first-rule.md), step by step"]
    lines += ["- [your own rules](your-rules.md): drop-in folders, overrides of shipped rules, new patterns for log lines"]
    lines += ["- [as a service](service.md): installing, rights, the socket, the journal, drop-ins for llama-server"]
    lines += ["- [preflight](preflight.md): will it fit, before the load; what is looked at, and what the intervals mean"]
    lines += ["- [recordings](recordings.md): what the daemon saw, kept and judged again by other rules"]
    lines += ["- [signals](signals.md): every value that a rule may read, and what provides it"]
    lines += ["- [openapi.json](openapi.json): what the socket answers, in OpenAPI 3.1"]
    lines += ["- [metrics](metrics.md): what Prometheus scrapes, and how"]
    return _page([*lines, "- [events](events.md): every log line that sentinel understands, with all its patterns"])


# --- a rule ---


def _rule_page(compiled: CompiledRule, events: Mapping[str, EventDef], rules: Sequence[CompiledRule]) -> str:
    rule = compiled.rule
    lines = [_MADE.format(f"rules/{Path(rule.path).name}"), "", f"# {rule.id}", "", f"{_prose(rule.title)}.", ""]
    lines += _table(
        ("severity", "judged for", "journal"), [(rule.severity, _SCOPES[rule.scope], f"`MESSAGE_ID={rule.message_id}`")]
    )
    lines += ["", "It says, with its own values in place of the names in braces:", "", f"> {_prose(rule.summary)}", ""]
    lines += ["## When it fires", "", *_when(rule), *_not_beside(rule, rules), "", "## Checks", ""]
    lines += ["`sentinel why " + rule.id + "` shows each with its present value.", ""]
    for check in rule.checks:
        lines += [f"**{_words(check.name)}**", "", *_fence(check.expression, "cel"), ""]
    if rule.values:
        lines += ["Computed for them:", ""] + [f"- `{v.name}` = `{_one_line(v.expression)}`" for v in rule.values] + [""]
    lines += ["## Causes and fixes", "", "The first whose condition is true is reported.", ""]
    for cause in rule.causes:
        lines += [*_cause(cause), ""]
    lines += _section("## It stays quiet for", [f"- {_prose(text)}" for text in rule.false_positives])
    lines += ["## What it reads", "", *_reads(compiled, events), ""]
    lines += ["## Where the knowledge comes from", "", *(f"- {_BASIS[basis]}" for basis in rule.basis)]
    lines += [*(f"- <{reference}>" for reference in rule.references), ""]
    lines += ["## Tests", "", "In the rule file; `sentinel rules test` runs them.", "", *_tests(rule.tests)]
    return _page(lines)


def _when(rule: RuleDef) -> Iterator[str]:
    yield from _fence(rule.when, "cel")
    yield ""
    yield f"for {duration(rule.hold)} without a break." if rule.hold else "at once."
    if rule.clear:
        yield f"It ends when `{_one_line(rule.clear)}`." + (
            f" It keeps firing for {duration(rule.keep_firing_for)} longer." if rule.keep_firing_for else ""
        )
    if rule.clear_after is not None:
        yield f"It ends {duration(rule.clear_after)} after it was last so."
    yield "It stays open when the server ends." if rule.outlives_server else "It ends with the server's process."


def _not_beside(rule: RuleDef, rules: Sequence[CompiledRule]) -> Iterator[str]:
    if rule.inhibits:
        yield f"While it fires, {_links(rule.inhibits)} of the same server, GPU or machine is inhibited."
    causes = [r.rule for r in rules if rule.id in r.rule.inhibits]
    if causes:
        wait = duration(max(rule.hold, max(c.hold for c in causes) + SETTLE))
        yield f"It is inhibited by {_links(c.id for c in causes)}; if none of them fires, it notifies {wait} after it began."


def _links(ids: Iterable[str]) -> str:
    return ", ".join(f"[{one}]({one}.md)" for one in ids)


def _cause(cause: CauseDef) -> Iterator[str]:
    yield f"### {cause.id}"
    yield ""
    yield f"{_prose(cause.text)} ({cause.confidence} confidence{f', {cause.severity}' if cause.severity else ''})"
    yield ""
    yield f"When `{_one_line(cause.when)}`." if cause.when else "When none of the above is so."
    for fix in cause.fixes:
        yield ""
        only = f", builds {fix.builds}" if fix.builds is not None else ""
        only += f", where `{_one_line(fix.when)}`" if fix.when else ""
        only += ", where none of the above is known to fit" if fix.otherwise else ""
        flags = fix.flags.replace("[?", "").replace("?]", "")
        added = f" (add `{flags}` to the command line of llama-server)" if flags else _set(fix)
        yield f"- {_prose(fix.do)}{added}{only}"
        if fix.command:
            yield ""
            yield from (f"  {line}" for line in _fence(fix.command, "sh"))
        if fix.risk or fix.verify:
            after = [f"Risk: {_prose(fix.risk)}."] if fix.risk else []
            after += [f"Then check: `{fix.verify}`"] if fix.verify else []
            yield ""
            yield f"  {' '.join(after)}"


def _set(fix: FixDef) -> str:
    """What to set or do where the server is started, for every way of starting it."""
    said = dict(fix.settings)
    if name := said.pop("unset", ""):
        return f" (remove {name} from the environment of its unit, its container or the shell that starts it)"
    if variable := said.pop("env", ""):
        return f" (set `{variable}` in the environment of its unit, its container or the shell that starts it)"
    places = {"unit": "in its unit `{}`", "container": "in its container `{}`", "shell": "in a shell `{}`"}
    if said:
        return f" ({', '.join(places[place].format(text) for place, text in said.items())})"
    verb = "restart" if fix.restart else "stop" if fix.stop else ""
    return f" (with the command to {verb} it, for its unit or its container)" if verb else ""


def _reads(compiled: CompiledRule, events: Mapping[str, EventDef]) -> Iterator[str]:
    known = [CATALOGUE[name] for name in sorted(compiled.signals) if name in CATALOGUE]
    rows = [(f"`{s.name}`", _prose(s.help), _prose(s.provide)) for s in known]
    yield from _table(("signal", "is", "if it is not known"), rows)
    yield ""
    for window in compiled.rule.windows:
        yield f"- `{window.name}`: {window.take} of `{window.signal}` over {duration(window.over)}"
    for binding in compiled.rule.events:
        span = "since the server started" if binding.over is None else f"in the last {duration(binding.over)}"
        yield f"- `{binding.name}`: [{binding.event}](../events.md#{binding.event}) {span}. {_prose(events[binding.event].help)}"


def _tests(cases: Iterable[CaseDef]) -> list[str]:
    rows = []
    for case in cases:
        states = ", then ".join(dict.fromkeys(expect.state for _, expect in case.expectations))
        causes = ", ".join(dict.fromkeys(f"`{expect.cause}`" for _, expect in case.expectations if expect.cause))
        rows.append((_prose(case.name), states, causes))
    return list(_table(("case", "expected", "cause"), rows))


# --- signals and events ---


def _signals_page(signals: Iterable[Signal], rules: Sequence[CompiledRule]) -> str:
    lines = [_MADE.format("sentinel/engine/facts/catalogue.py"), "", "# Signals", ""]
    lines += ["What a rule may read. A value that is not known, or older than its time, is unknown: neither true nor false.", ""]
    by_scope: dict[str, list[Signal]] = {}
    for signal in signals:
        by_scope.setdefault(signal.scope, []).append(signal)
    for scope, found in by_scope.items():
        lines += [f"## {_SCOPES[scope].capitalize()}", ""]
        rows = []
        for s in found:
            users = [f"[{r.rule.id}](rules/{r.rule.id}.md)" for r in rules if s.name in r.signals]
            kind = f"{s.type}, {s.unit}" if s.unit else s.type
            lasts = "until its source restarts" if s.stale_after is None else duration(s.stale_after)
            rows.append((f"`{s.name}`", kind, _prose(s.help), _ORIGINS[s.origin], lasts, _prose(s.provide), ", ".join(users)))
        lines += [*_table(("signal", "type", "is", "from", "max age", "if unknown", "read by"), rows), ""]
    return _page(lines)


def _events_page(events: Iterable[EventDef], rules: Sequence[CompiledRule]) -> str:
    lines = [_MADE.format("rules/events/"), "", "# Events", ""]
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
    return _page(lines)


def _event(event: EventDef, users: Sequence[str]) -> Iterator[str]:
    yield f"### {event.name}"
    yield ""
    yield _prose(event.help)
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
        yield from _fence(pattern.example, "text")


# --- metrics ---

_SCRAPE = """\
`GET /metrics` on the socket answers in the text format of Prometheus. Prometheus asks over TCP and the daemon listens on no port,
so that node_exporter's textfile collector (<https://github.com/prometheus/node_exporter#textfile-collector>) brings them, from a
timer or cron, as a user of the group `sentinel`:

```sh
curl -sSf --unix-socket /run/sentinel/sentinel.sock http://localhost/metrics > sentinel.prom.new
mv sentinel.prom.new sentinel.prom
```

The file stays where it is when the daemon ends: watch `time() - node_textfile_mtime_seconds` too.

An unknown value has no series: use `absent()`, it is never zero. At most {} servers and {} GPUs have series."""


def _metrics_page() -> str:
    lines = [_MADE.format("sentinel/engine/inspect/metrics.py and sentinel/engine/facts/catalogue.py"), "", "# Metrics", ""]
    lines += [_SCRAPE.format(MOST_ENTITIES, MOST_ENTITIES), "", "## Alerts, rules, and sentinel itself", ""]
    lines += ["`sentinel_process_*` beside them: CPU, memory and open files of the daemon.", ""]
    lines += [*_table(("metric", "type", "labels", "is"), map(_metric, DESCRIBED)), "", "## Signals", ""]
    signals = [about for signal in CATALOGUE.values() if (about := of_signal(signal)) is not None]
    return _page([*lines, *_table(("metric", "type", "labels", "is"), map(_metric, signals))])


def _metric(about: Described) -> tuple[str, str, str, str]:
    name = f"{about.name}_total" if about.kind == "counter" else about.name
    return f"`{name}`", about.kind, ", ".join(f"`{label}`" for label in about.labels), _prose(about.help)


# --- Markdown ---


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def _fence(text: str, language: str) -> list[str]:
    return [f"```{language}", *(line.strip() if language == "cel" else line for line in text.strip("\n").splitlines()), "```"]


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [title, "", *lines, ""] if lines else []


def _words(name: str) -> str:
    return name.replace("_", " ")


def _one_line(expression: str) -> str:
    return " ".join(expression.split())


def _prose(text: str) -> str:
    """Escape text for Markdown; names of values become code, and the marks of optional parts are removed."""
    parts = re.split(r"(`[^`]*`)", text.replace("[?", "").replace("?]", ""))
    return "".join(part if part.startswith("`") else _NAMES.sub(r"`\1`", _MARKS.sub(r"\\\g<0>", part)) for part in parts)


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
