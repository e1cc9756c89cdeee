"""What an agent may ask. Read-only: nothing is changed, and no program is run.

Every text is bounded and has its control characters escaped, keys and tokens are left out. What a log says is marked: whoever
talks to a llama-server may have its words printed there.
"""

from __future__ import annotations

import platform
import shlex
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sentinel.api import client
from sentinel.cli.diagnose import asked
from sentinel.cli.mcp import answers
from sentinel.cli.rules.loading import for_judging
from sentinel.diagnose.answer import findings, no_server, verdict
from sentinel.diagnose.diagnosis import diagnose
from sentinel.diagnose.pasted import unpack
from sentinel.diagnose.share import Redactor
from sentinel.engine.log.lines import LineSplitter
from sentinel.gguf.header import GgufError
from sentinel.model.fault import Fault
from sentinel.model.input_limits import MOST_JUDGED_LINES, MOST_LINE_BYTES
from sentinel.model.json_form import iso, transition_to_dict
from sentinel.model.text import clean, escape
from sentinel.preflight.command import NoCommand, from_words
from sentinel.preflight.examine import examine
from sentinel.report.alerts import alert as of_form
from sentinel.report.alerts import alerts as open_and_past
from sentinel.report.contents import Alert
from sentinel.report.summary import summary
from sentinel.terminal import glance

#: A context is dear: so many alerts, servers and sentences, and characters of each text.
MOST_ALERTS, MOST_SERVERS, MOST_SENTENCES, MOST_CHARS = 20, 50, 20, 600
#: A text that is handed in: a day of a log at the default verbosity.
MOST_LOG_BYTES, MOST_COMMAND_CHARS = 4 << 20, 16_384
MOST_HOURS = 31 * 24


class NoTool(Exception):
    """A tool cannot answer. One sentence for whoever asked."""


class Tools:
    """Each method is a tool; its docstring is what an agent reads of it."""

    def __init__(self, sockets: Sequence[str] | None) -> None:
        self._sockets = sockets
        self._redactor = Redactor([])

    def status(self) -> answers.StatusAnswer:
        """Is all well with the llama-servers of this machine: every server with its verdict, open alerts by name, blind spots."""
        found = self._ask("/v1/status")
        said = summary(found, "", platform.node())
        servers = sorted(found["servers"], key=lambda one: glance.rank(one, found["alerts"]))
        rows = [self._server(one, found["alerts"]) for one in servers[:MOST_SERVERS]]
        current, _ = open_and_past(found["alerts"], ())
        return answers.StatusAnswer(
            state=str(said["state"]),
            text=self._text(said["text"]),
            host=str(said["host"]),
            servers=rows,
            open_alerts=[self._text(f"{one.severity} {one.rule} {one.entity}") for one in current[:MOST_SENTENCES]],
            cannot_be_seen=[self._text(f"{one['entity']}: {one['why']}") for one in found["blind_spots"][:MOST_SENTENCES]],
            left_out=max(0, len(servers) - MOST_SERVERS) + max(0, len(current) - MOST_SENTENCES),
        )

    def alerts(self) -> answers.AlertsAnswer:
        """Open alerts, the worst first, each with cause, fixes (commands that nobody has run), and evidence."""
        found, _ = open_and_past(self._ask("/v1/status")["alerts"], ())
        return self._several(found)

    def history(self, hours: float = 24.0) -> answers.AlertsAnswer:
        """Alerts of the last hours, open ones first, then the newest that are over."""
        if not 0 < hours <= MOST_HOURS:
            raise NoTool(f"hours is {hours:g}; write a number above 0, at most {MOST_HOURS}")
        past = self._ask(f"/v1/history?since={time.time() - 3600 * hours:.0f}")["transitions"]
        found, _ = open_and_past(self._ask("/v1/status")["alerts"], past)
        return self._several(found)

    def why(self, rule: str, server: str = "") -> answers.WhyAnswer:
        """Why a rule (its id, for example cpu-fallback) fires, does not fire, or cannot say; for one server, or for all."""
        # JSON may hold halves of surrogate pairs, and no path does.
        rule, server = clean(rule), clean(server)
        about = f"?server={quote(server, safe='')}" if server else ""
        found = self._ask(f"/v1/why/{quote(rule, safe='')}{about}")
        subjects = [self._subject(one) for one in found["subjects"][:MOST_ALERTS]]
        left_out = max(0, len(found["subjects"]) - MOST_ALERTS)
        return answers.WhyAnswer(str(found["rule"]), self._text(found["title"]), subjects, left_out)

    def diagnose(self, log: str, command_line: str = "", kernel_log: str = "") -> answers.DiagnoseAnswer:
        """What a log of llama-server says, handed in as text: verdict, causes, fixes. The command line and the kernel's log of
        that time help. No daemon is needed, and nothing of this machine is looked at."""
        if len(log.encode("utf-8", "replace")) + len(kernel_log.encode("utf-8", "replace")) > MOST_LOG_BYTES:
            raise NoTool(f"that is more than {MOST_LOG_BYTES >> 20} MiB: hand in the last lines of it")
        if log.count("\n") + log.count("\r") + kernel_log.count("\n") + kernel_log.count("\r") > MOST_JUDGED_LINES:
            raise NoTool(f"that is more than {MOST_JUDGED_LINES} lines: hand in the last of them")
        pasted = unpack(_lines(log))
        try:
            values, _ = asked(_bounded(command_line).strip() or None, [pasted])
        except ValueError as error:
            raise NoTool(f"that is no command line ({error})") from error
        ruleset = for_judging([])
        if ruleset is None:
            raise NoTool("the rules cannot be loaded; `sentinel rules lint` says why")
        kernel = [("kernel.log", _lines(kernel_log))] if kernel_log else []
        found = diagnose(ruleset, [("server.log", pasted.log)], kernel, values)
        fired = [of_form(transition_to_dict(one.alert), one.alert.at, None, is_open=True) for one in findings(found)]
        unknown = [f"{rule}: {', '.join(sorted(missing))}" for rule, missing in found.unknown.items()]
        several = self._several(fired)
        return answers.DiagnoseAnswer(
            self._text(no_server(found, files=True) or verdict(found)),
            several.alerts,
            self._texts(unknown),
            found.lines,
            several.left_out,
        )

    def preflight(self, command_line: str) -> answers.PreflightAnswer:
        """Would this command line of llama-server fit and work on this machine, by its files alone: the program is not run. Paths
        are absolute."""
        try:
            # It is a model that asks: no program is started on its word, not even with --version.
            report = examine(replace(from_words(_words(command_line), {}), may_ask=False, folder=Path("/")))
        except (NoCommand, GgufError) as error:
            raise NoTool(self._text(str(error))) from error
        places: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for item in report.memory:
            places[item.place][0] += item.low
            places[item.place][1] += item.high
        return answers.PreflightAnswer(
            verdict=report.verdict,
            reasons=self._texts(one.text for one in report.whys),
            memory=[answers.MemoryAnswer(place, low, high) for place, (low, high) in places.items()],
            suggestions=self._texts(f"{shlex.join(one.argv)}  # {one.why}" for one in report.suggestions),
        )

    def _ask(self, path: str) -> dict[str, Any]:
        try:
            code, answer = client.get(path, self._sockets)
        except Fault as gone:
            raise NoTool(str(gone)) from gone
        if code != 200:
            raise NoTool(self._text(client.refusal(code, answer)))
        return answer

    def _server(self, one: Mapping[str, Any], alerts: Sequence[Mapping[str, Any]]) -> answers.ServerAnswer:
        return answers.ServerAnswer(
            name=self._text(one["name"]),
            called=self._text(one.get("called") or ""),
            verdict=self._text(glance.verdict(one, alerts)[0]),
            pid=one.get("pid"),
            state=self._text(one.get("state") or "unknown"),
            tokens_per_second=one.get("generation_tps"),
            context_used=glance.fullest(one),
            gpu_memory_bytes=one.get("gpu_memory_bytes"),
            resident_bytes=one.get("rss_bytes"),
        )

    def _several(self, found: Sequence[Alert]) -> answers.AlertsAnswer:
        return answers.AlertsAnswer([self._alert(one) for one in found[:MOST_ALERTS]], max(0, len(found) - MOST_ALERTS))

    def _alert(self, one: Alert) -> answers.AlertAnswer:
        fixes = [
            answers.FixAnswer(*(self._text(text) for text in (fix.do, fix.command, fix.risk, fix.verify))) for fix in one.fixes
        ]
        return answers.AlertAnswer(
            severity=one.severity,
            rule=one.rule,
            about=self._text(one.who),
            entity=self._text(one.entity),
            summary=self._text(one.summary),
            began=iso(one.began) or "" if one.began is not None else "",
            ended=iso(one.ended) or "" if one.ended is not None else "",
            marks=self._texts(one.marks),
            cause=self._text(one.cause),
            fixes=fixes,
            evidence=self._texts(one.evidence),
            untrusted_log_lines=self._texts(f"{line.where}: {line.line}" for line in one.lines),
        )

    def _subject(self, one: Mapping[str, Any]) -> answers.SubjectAnswer:
        checks = [answers.CheckAnswer(self._text(c["check"]), c["value"], self._text(c.get("text") or "")) for c in one["checks"]]
        gaps = [f"{gap['reason']}; {gap['remedy']}" if gap["remedy"] else gap["reason"] for gap in one["gaps"]]
        return answers.SubjectAnswer(
            self._text(one["entity"]), one["verdict"], one["state"], checks[:MOST_SENTENCES], self._texts(gaps)
        )

    def _texts(self, found: Iterable[str]) -> list[str]:
        return [self._text(text) for text in list(found)[:MOST_SENTENCES]]

    def _text(self, given: object) -> str:
        shown = self._redactor.keys(escape(str(given)[: 4 * MOST_CHARS]))
        return shown if len(shown) <= MOST_CHARS else f"{shown[:MOST_CHARS]}…"


def _bounded(command_line: str) -> str:
    if len(command_line) > MOST_COMMAND_CHARS:
        raise NoTool(f"that command line is longer than {MOST_COMMAND_CHARS} characters")
    if "\0" in command_line:
        raise NoTool("that command line holds a zero byte, which none can hold")
    return clean(command_line)


def _words(command_line: str) -> list[str]:
    try:
        words = shlex.split(_bounded(command_line))
    except ValueError as error:
        raise NoTool(f"that is no command line ({error})") from error
    if not words:
        raise NoTool("the command line is empty; write llama-server with its flags")
    return words


def _lines(text: str) -> bytes:
    splitter = LineSplitter(MOST_LINE_BYTES)
    return b"".join((splitter.feed(text.encode("utf-8", "replace")), splitter.flush()))
