"""The verbs in the order in which people need them: what each is for, the module that is called, its options, and examples."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sentinel.cli import actions, options, running_options


class Verb(NamedTuple):
    """One verb: its line in the list, the module that is called, its options, and examples with what they do."""

    help: str
    call: str
    add: Callable[[argparse.ArgumentParser], object]
    examples: Sequence[tuple[str, str]] = ()
    about: str = ""


VERBS: dict[str, Verb] = {
    "status": Verb(
        "is all well: servers, GPUs, memory, open alerts and the first thing to do",
        "sentinel.cli.status",
        options.status,
        (
            ("status", "one screen"),
            ("status --verbose", "with every server's settings and what sentinel cannot see"),
            ("status --host gpu-1,me@gpu-2", "a line for each machine, over SSH"),
        ),
    ),
    "alerts": Verb(
        "open alerts with cause, fix and evidence; or what was",
        "sentinel.cli.alerts",
        options.alerts,
        (
            ("alerts", "what is open now"),
            ("alerts --since 24h", "a table of the last day"),
            ("alerts --verbose", "with all fixes"),
        ),
    ),
    "why": Verb(
        "why a rule fires, does not fire, or cannot say",
        "sentinel.cli.why",
        options.why,
        (("why cpu-fallback", "for every server"), ("why cpu-fallback 8080 --verbose", "each check with the signals it reads")),
    ),
    "watch": Verb(
        "follow alerts live",
        "sentinel.cli.watch",
        options.watch,
        (("watch", "until Ctrl-C"), ("watch --json", "one object a line")),
    ),
    "top": Verb(
        "watch servers, GPUs, memory and alerts on a live screen",
        "sentinel.cli.top.main",
        options.top,
        (("top", "until q; ? shows the keys"), ("ssh -t host sentinel top", "of another machine")),
        "Watch servers, GPUs, memory and alerts on a live screen. Needs the library Textual: `sudo make install EXTRAS='[top]'`.",
    ),
    "diagnose": Verb(
        "what a log says: verdict, cause, fix; no daemon needed",
        "sentinel.cli.diagnose",
        options.diagnose,
        (
            ("diagnose server.log", "a log of any build"),
            ("diagnose server.log --argv 'llama-server -m model.gguf -ngl 99'", "with the command line"),
            ("diagnose - < server.log", "from standard input"),
            ("diagnose server.log --share -o bundle.md", "for a public issue, without names, paths and prompts"),
            ("diagnose server.log --html page.html", "as a page for a browser"),
        ),
    ),
    "report": Verb(
        "one HTML page: what happened, alerts over plots, causes and fixes",
        "sentinel.cli.report.main",
        options.report,
        (
            ("report", "the last 24 hours"),
            ("report --since 3d -o days.html", "three days"),
            ("report --redact -o page.html", "to publish: without names, paths and addresses"),
        ),
        "One HTML page without network: what happened, alerts over plots of memory, GPU, speed and context, causes and fixes.",
    ),
    "preflight": Verb(
        "will it fit: check a command line before the start",
        "sentinel.cli.preflight",
        options.preflight,
        (
            ("preflight -- llama-server -m model.gguf -c 32768 -ngl 99", "a command"),
            ("preflight --unit llama.service", "what a unit would start"),
            ("preflight --pid 4711", "a running server, as if it were restarted"),
        ),
    ),
    "quality": Verb(
        "is a model still what it was: the probabilities of its next token, learned and checked",
        "",
        actions.quality,
        (
            ("quality learn 8080", "keep what the server at this port answers now"),
            ("quality check 8080", "after an update, another flag or driver: same, shifted or broken"),
            ("quality check 8080 --against f16.json", "against a reference from elsewhere"),
        ),
    ),
    "experts": Verb(
        "how often each expert of a mixture is used, by two importance matrices",
        "",
        actions.experts,
        (
            ("experts compare f16.imatrix.gguf q2.imatrix.gguf", "shares by layer, and which experts are abandoned"),
            ("llama-imatrix -m model.gguf -f text.txt -o now.imatrix.gguf", "makes one of the two; take the same text for both"),
        ),
    ),
    "doctor": Verb(
        "what sentinel can see on this machine, and how to enable the rest",
        "sentinel.cli.doctor.report",
        options.doctor,
        (("doctor", "as you"), ("sudo sentinel doctor", "as root, who sees more")),
    ),
    "silence": Verb(
        "list silences, or stop notifications of a rule for a while",
        "sentinel.cli.silence",
        options.silence,
        (
            ("silence", "lists what is silenced"),
            ("silence cpu-fallback --for 2h", "on all servers"),
            ("silence cpu-fallback llama.service --for 3d --reason 'new driver on Monday'", "on one"),
        ),
    ),
    "unsilence": Verb(
        "end a silence early, by its number or its rule",
        "sentinel.cli.silence",
        options.unsilence,
        (("unsilence", "lists what is silenced"), ("unsilence 1", "by number"), ("unsilence cpu-fallback", "by rule")),
    ),
    "ack": Verb(
        "acknowledge an alert about something that happened once; it fires again if it happens again",
        "sentinel.cli.ending",
        options.ack,
        (("ack start-failed", "of the only server that has it"),),
    ),
    "forget": Verb(
        "forget a server that has ended: its alerts end, and it leaves status and metrics",
        "sentinel.cli.ending",
        options.forget,
        (("forget llama.service", "by its name in status"),),
    ),
    "notify": Verb(
        "bring alerts to phone, chat, mail, webhook, command or Alertmanager (what sentinel-notify.service starts)",
        "sentinel.cli.notify",
        running_options.notify,
        (
            ("notify --check", "is the configuration right"),
            ("notify --test phone", "send a test to one channel"),
            ("notify --dry-run", "print what would be sent"),
            ("notify --status", "do all channels deliver"),
        ),
    ),
    "serve": Verb(
        "a live page, metrics and JSON for browsers, Prometheus and home dashboards (what sentinel-web.service starts)",
        "sentinel.cli.serve",
        running_options.serve,
        (
            ("serve", "http://127.0.0.1:8477/, for this machine alone"),
            ("serve --listen :8477 --web-config web.yml", "for others, with TLS and passwords"),
            ("serve --check --web-config web.yml", "is the file right"),
        ),
        "A live page, /metrics and JSON over HTTP; read-only. Needs libraries: `sudo make install EXTRAS='[web]'`.",
    ),
    "cure": Verb(
        "restart a unit for alerts that a restart ends (what sentinel-cure.service starts)",
        "sentinel.cli.cure",
        running_options.cure,
        (
            ("cure --check", "is the configuration right"),
            ("cure --dry-run", "say what would be restarted"),
            ("cure --polkit | sudo tee /etc/polkit-1/rules.d/50-sentinel-cure.rules", "allow just that"),
        ),
    ),
    "mcp": Verb(
        "read-only tools for agents, over standard input and output (Model Context Protocol)",
        "sentinel.cli.mcp.main",
        running_options.mcp,
        (("mcp", "what an agent's configuration starts: docs/mcp.md"),),
        "Read-only tools for agents, over standard input and output. Needs the library mcp: `sudo make install EXTRAS='[mcp]'`.",
    ),
    "service": Verb(
        "units of systemd for an installation by pipx or uv: write them, or remove them",
        "",
        actions.service,
        (
            ("service install --user", "a service of your own"),
            ("sudo sentinel service install --dry-run", "what it would write for the machine"),
        ),
    ),
    "run": Verb(
        "run the daemon in the foreground (what the systemd unit starts)",
        "sentinel.cli.run",
        running_options.run,
        (("run", "watch every llama-server on this machine"),),
    ),
    "exec": Verb(
        "start llama-server, keep what it prints in a bounded log, report how it ended",
        "sentinel.cli.exec.main",
        running_options.execute,
        (
            ("exec -- llama-server -m model.gguf", "from a shell"),
            ("ExecStart=sentinel exec -- llama-server -m model.gguf", "in a unit, with KillMode=mixed"),
        ),
        running_options.EXEC,
    ),
    "rules": Verb(
        "list, show, check and test rule files",
        "",
        actions.rules,
        (("rules list", "all rules"), ("rules show cpu-fallback", "one rule"), ("rules lint mine.toml", "check your own")),
    ),
    "reload": Verb(
        "make the daemon reload its rule files; on errors the old rules stay active",
        "sentinel.cli.reload",
        running_options.reload,
        (("reload", "after a change in rules.d that the daemon did not see"),),
    ),
    "record": Verb(
        "save the daemon's flight recorder: the last readings, without prompts",
        "sentinel.cli.record",
        running_options.record,
        (("record", "into a file of this folder"), ("record --list", "what was kept at alerts")),
    ),
    "replay": Verb(
        "run rules over a recording, offline; same rules, same alerts, byte for byte",
        "sentinel.cli.replay",
        running_options.replay,
        (("replay FILE", "what was reported"), ("replay FILE --diff new-rules", "what other rules would have reported")),
    ),
    "completion": Verb(
        "print a completion script for bash, zsh or fish",
        "sentinel.cli.completion",
        running_options.completion,
        (
            ("completion bash > ~/.local/share/bash-completion/completions/sentinel", ""),
            ("completion fish > ~/.config/fish/completions/sentinel.fish", ""),
            ("completion zsh > FOLDER/_sentinel", "a folder of $fpath; or in .zshrc, after compinit:"),
            ('eval "$(sentinel completion zsh)"', ""),
        ),
        running_options.COMPLETION,
    ),
}
