"""The first page of the documentation, docs/README.md: from what people see to what sentinel knows."""

from __future__ import annotations

from collections.abc import Sequence

from sentinel.engine.rules.ruleset import CompiledRule
from sentinel.generate.markdown import MADE, page, prose, table

_SYMPTOMS = (
    ("slow", "It is slow", "from the first answer on, after a while, or before the first word"),
    ("dies-while-loading", "It dies while loading", "the log stops, or memory was refused"),
    ("dies-later", "It dies while it works", "killed, crashed, or the GPU was lost"),
    ("smaller-context", "The context is smaller", "than `-c` says, or than conversations need"),
    ("worse-answers", "Answers got worse", "it forgets, rambles, does not stop, or talks nonsense"),
    ("does-not-start", "It does not start", "flags, files, ports, libraries, downloads"),
    ("requests-fail", "Requests fail, or hang", "while the server counts as healthy"),
    ("memory-grows", "Memory grows", "from answer to answer, or while it loads"),
    ("says-nothing", "Sentinel says nothing", "it does not show a server, or knows little of it"),
)
_PARTS = (
    (
        "How you run it",
        (
            (
                "runtimes",
                "systemd, Docker, Ollama, llama-swap and others",
                "where each one's log is read, and fixes in its terms",
            ),
            ("starts", "starts that fail at once", "how they are seen, `sentinel exec`, when the alert ends"),
            ("preflight", "preflight", "will it fit, before the load; what is looked at, and what the intervals mean"),
        ),
    ),
    (
        "Operations",
        (
            ("service", "as a service", "installing, rights, the socket, the journal, drop-ins for llama-server"),
            ("container", "in a container", "the image, a compose file, what it does not see without each of its lines"),
            (
                "quality",
                "does it still answer as it did",
                "probabilities learned and checked, experts counted, what was measured",
            ),
            ("top", "the live screen", "`sentinel top`, its keys, what its bars mean"),
            ("screens", "what each command shows", "pictures of status, alerts, why, diagnose and preflight"),
            ("report", "a page of what happened", "`sentinel report`, `diagnose --html`: alerts over plots, what it leaves out"),
            ("cure", "restarts for alerts that a restart ends", "opt-in, limited, by polkit: `sentinel cure`"),
            ("notify", "alerts to people", "phone, chat, mail, webhook, command, Alertmanager: `sentinel notify`"),
            ("web", "a live page over HTTP", "`sentinel serve`: page, metrics, JSON for home dashboards; TLS and users"),
            ("fleet", "many machines", "Prometheus, Alertmanager, SSH, one journal: how fast a failure arrives, what it costs"),
            ("mcp", "tools for agents", "`sentinel mcp`: status, causes and fixes for a program that works on your machine"),
            ("metrics", "metrics", "what Prometheus scrapes, and how"),
            ("series", "values over time", "memory, speed, context and GPUs of a month, and how to ask for them"),
            ("recordings", "recordings", "what the daemon saw, kept and judged again by other rules"),
            ("limits", "limits", "what it cannot see, and how to help it"),
            ("faults", "faults", "what becomes of it when everything around it breaks"),
            ("attacks", "attacks", "what a local user can do to it"),
            ("figures", "figures", "how fast, what it costs, how well failures are named"),
            ("wild", "tried on public reports", "what it says of failures that others met"),
        ),
    ),
    (
        "Writing rules",
        (
            ("first-rule", "your first rule", "in ten minutes, step by step"),
            ("your-rules", "your own rules", "drop-in folders, overrides of shipped rules, new patterns for log lines"),
            ("rule-tests", "tests of a rule", "values over time, restarts, several expectations"),
        ),
    ),
    (
        "Reference",
        (
            ("usage", "using it", "commands, preflight, logs of others, configuration, the journal"),
            ("commands", "commands", "every verb with its options"),
            ("signals", "signals", "every value that a rule may read, and what provides it"),
            ("events", "events", "every log line that sentinel understands, with all its patterns"),
            ("api", "HTTP API", "what the socket answers"),
        ),
    ),
)


def index_page(rules: Sequence[CompiledRule]) -> str:
    """Symptoms first, then the other pages, then the rules."""
    lines = [MADE.format("rules/"), "", "# When llama-server misbehaves", ""]
    lines += ["Start from what you see. Each page says how to look, which causes there are, and what to do first.", ""]
    lines += table(("you see", ""), ((f"[{title}](symptoms/{name}.md)", more) for name, title, more in _SYMPTOMS))
    for title, pages in _PARTS:
        lines += ["", f"## {title}", "", *(f"- [{name}]({path}.md): {about}" for path, name, about in pages)]
    lines += [
        "",
        "## Rules",
        "",
        "One failure is one rule; its page says what it means, what it costs, how to look, and what to do about each cause.",
        "",
    ]
    rows = [(f"[{r.rule.id}](rules/{r.rule.id}.md)", r.rule.severity, r.rule.scope, prose(r.rule.title)) for r in rules]
    return page([*lines, *table(("rule", "severity", "scope", "detects"), rows)])
