"""The screens of what needs no daemon, and of `watch`, in their states at 60, 80 and 120 columns, as they are looked at.

`SENTINEL_GOLDEN=write pytest tests/cli/test_screens_without_daemon.py` writes them; read the difference before you commit it.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from golden import compare, fits
from places import REPO
from sample_answers import NOW, STATES, alert, history
from sample_reports import REPORTS

from sentinel.api import client
from sentinel.cli import diagnose, main, preflight
from sentinel.cli.doctor import report as doctor
from sentinel.cli.doctor.capability import INSTALL, JOURNAL_GROUP, Capability
from sentinel.cli.rules import loading
from sentinel.cli.rules import main as rules
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.json_form import iso
from sentinel.terminal.style import cells

#: The exit code, and what is printed: standard output, then standard error.
Printed = Callable[[list[str], int], str]
WIDTHS = pytest.mark.parametrize("width", [60, 80, 120])


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ruleset: RuleSet) -> Iterator[Printed]:
    """What a verb prints at a width, in the repository's folder, in UTC, with the shipped rules."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.chdir(REPO)
    monkeypatch.setattr(diagnose, "for_judging", lambda _paths: ruleset)

    def run(words: list[str], width: int) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        try:
            code = main.main(words)
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = capsys.readouterr()
        return f"{out}{err}(exit code {code})\n"

    yield run
    monkeypatch.undo()
    time.tzset()


def looked_at(name: str, text: str, width: int) -> None:
    fits(text, width)
    compare(f"{name}-{width}", text)


# --- diagnose ---

_LOGS = "tests/fixtures/logs"
_WILD = "eval/wild"


@WIDTHS
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("healthy", [f"{_LOGS}/b10434-two-slots.log"]),
        ("advisory", [f"{_LOGS}/b10434-cpu-moe-lv4.log"]),
        ("one", [f"{_WILD}/dies-compose-exit-139/server.log"]),
        ("several", ["{tmp}/several.log", "--argv", "llama-server -m model.gguf -c 4096 -np 2 -ngl 99"]),
        ("verbose", ["{tmp}/several.log", "--argv", "llama-server -m model.gguf -c 4096 -np 2 -ngl 99", "--verbose"]),
        ("no-rule", ["{tmp}/no-rule.log"]),
        ("one-line", ["{tmp}/one-line.log"]),
        ("no-server", ["{tmp}/no-server.log"]),
        ("empty", ["{tmp}/empty.log"]),
        ("missing", ["nowhere/server.log"]),
        ("folder", ["rules"]),
        ("no-file", []),
        ("no-such-rule", [f"{_LOGS}/b10434-two-slots.log", "--why", "cpu-falback"]),
        ("empty-argv", [f"{_LOGS}/b10434-two-slots.log", "--argv", ""]),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_diagnose(
    printed: Printed,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    words: list[str],
    width: int,
) -> None:
    folder = tmp_path_factory.mktemp("logs")
    for file, text in LOGS.items():
        (folder / file).write_text(text, encoding="utf-8")
    if any("{tmp}" in word for word in words):
        # Its name is in the answer.
        monkeypatch.chdir(folder)
    looked_at(f"diagnose-{name}", printed(["diagnose", *(word.replace("{tmp}/", "") for word in words)], width), width)


_DIVIDED = (
    "0.00.038.112 I srv  llama_server: build_info: b10434-9c92e96\n"
    "0.00.049.200 I srv    load_model: loading model 'model.gguf'\n"
    "0.00.049.272 I srv    load_model: initializing, n_slots = 2, n_ctx_slot = 2048, kv_unified = 'false'\n"
    "0.01.049.300 I srv  llama_server: model loaded\n"
    "0.01.049.400 I srv  llama_server: server is listening on http://127.0.0.1:8080\n"
)
_REFUSED = (
    "0.0{n}.337.883 E srv    send_error: task id = {n}, error: request (3000 tokens) exceeds the available context size"
    " (2048 tokens), try increasing it\n"
)
LOGS = {
    "several.log": _DIVIDED
    + "".join(_REFUSED.format(n=n) for n in range(2, 7))
    + "terminate called after throwing an instance of 'std::bad_function_call'\n"
    + "  what():  bad_function_call\nAborted (core dumped)\n",
    "no-rule.log": "0.00.049.200 I srv    load_model: loading model 'model.gguf'\n"
    "0.00.051.200 E something that no rule knows went wrong\n"
    "0.00.051.300 I srv    operator(): operator(): cleaning up before exit...\n",
    "one-line.log": "hello\n",
    "no-server.log": "nginx: one\nnginx: two\nnginx: three\n",
    "empty.log": "",
}


# --- preflight ---


@WIDTHS
@pytest.mark.parametrize("verbose", [False, True], ids=["short", "verbose"])
@pytest.mark.parametrize("name", REPORTS)
def test_preflight(printed: Printed, monkeypatch: pytest.MonkeyPatch, name: str, verbose: bool, width: int) -> None:
    monkeypatch.setattr(preflight, "examine", lambda _command, extra: REPORTS[name])
    words = ["preflight", *(["--verbose"] if verbose else []), "--", "llama-server", "-m", "gemma.gguf"]

    looked_at(f"preflight-{name}{'-verbose' if verbose else ''}", printed(words, width), width)


@WIDTHS
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", []),
        ("no-process", ["--pid", "99999999"]),
        ("another-program", ["--", "ls", "-l"]),
        ("two-ways", ["--pid", "1", "--unit", "llama.service"]),
        ("verify-nothing", ["--verify", "--", "llama-server", "-c", "4096"]),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_preflight_of_what_is_no_command(printed: Printed, name: str, words: list[str], width: int) -> None:
    looked_at(f"preflight-bad-{name}", printed(["preflight", *words], width), width)


# --- doctor ---

_RULES = Capability("rules", "works", "26 shipped rules and 2 of yours")
_NO_DAEMON = Capability(
    "daemon", "absent", "no daemon at /run/sentinel/sentinel.sock", "start it with `sentinel run` or `systemctl start sentinel`"
)
_DAEMON = Capability("daemon", "works", "version 0.1.0 answers at /run/sentinel/sentinel.sock")
_GPU = Capability("gpu", "absent", "no GPU of AMD, NVIDIA or Intel on the PCI bus")
_LOG = Capability(
    "log:llama.service", "fails", "its standard error is a terminal: sentinel cannot read output on a terminal",
    "start llama-server with --log-file FILE, or under systemd",
)  # fmt: skip
_KERNEL = Capability(
    "kernel-log", "fails", "/dev/kmsg: Permission denied: OOM kills and GPU resets would go unseen", JOURNAL_GROUP
)
_PROCESS = Capability(
    "processes", "fails", "llama.service: /proc/4711/fd: Permission denied",
    f"run sentinel as the server's own user, or as a service, which holds CAP_SYS_PTRACE: {INSTALL}",
)  # fmt: skip
_CONFIG = Capability(
    "configuration", "fails", "/etc/sentinel/sentinel.toml:3: 'sinc' is not known here; did you mean 'sink'",
    "correct the file: sentinel does not start with it",
)  # fmt: skip
_MACHINES = {
    "healthy": [_RULES, _DAEMON, Capability("kernel-log", "works", "/dev/kmsg"), _GPU],
    "no-daemon": [_RULES, _NO_DAEMON, _GPU],
    "one": [_RULES, _DAEMON, _LOG, _GPU],
    "several": [_CONFIG, _RULES, _NO_DAEMON, _PROCESS, _LOG, _KERNEL, _GPU],
}


@WIDTHS
@pytest.mark.parametrize("verbose", [False, True], ids=["short", "verbose"])
@pytest.mark.parametrize("name", _MACHINES)
def test_doctor(printed: Printed, monkeypatch: pytest.MonkeyPatch, name: str, verbose: bool, width: int) -> None:
    monkeypatch.setattr(doctor, "examine", lambda _file: iter(_MACHINES[name]))
    monkeypatch.setattr("os.geteuid", lambda: 0)

    text = printed(["doctor", *(["--verbose"] if verbose else [])], width)

    looked_at(f"doctor-{name}{'-verbose' if verbose else ''}", text, width)


# --- what asks a daemon, and there is none ---


@WIDTHS
@pytest.mark.parametrize(
    "words",
    ["status", "alerts", "why cpu-fallback", "silence", "silence cpu-fallback --for 2h", "ack x", "report", "record", "reload"],
)
def test_without_a_daemon(printed: Printed, monkeypatch: pytest.MonkeyPatch, words: str, width: int) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    verb, *more = words.split()

    text = printed([verb, "--socket", "/nowhere/sentinel.sock", *more], width)

    assert all(cells(line) <= width for line in text.splitlines())
    looked_at("no-daemon", text, width)


# --- watch ---

_FIRES, _ENDS = history()[2], history()[4]
_SECOND = alert(
    "server-crashed", "crashed: signal 11", previous="pending", reason="hold-elapsed", name="llama.service", at=iso(NOW - 5)
)
_EVENTS: dict[str, list[list[tuple[str, dict[str, Any]]] | None]] = {
    # what each connection brings; None: no daemon
    "healthy": [[("hello", {})]],
    "one": [[("hello", {}), ("transition", _FIRES)]],
    "open-before": [[("hello", {}), ("transition", _SECOND)]],
    "several": [[("hello", {}), ("transition", _FIRES), ("transition", _SECOND), ("transition", _ENDS)]],
    "daemon-restarts": [[("hello", {})], None, [("hello", {}), ("gap", {"why": "the daemon kept only the newest 1000"})]],
    "no-daemon": [None],
}


@WIDTHS
@pytest.mark.parametrize("name", _EVENTS)
def test_watch(printed: Printed, monkeypatch: pytest.MonkeyPatch, name: str, width: int) -> None:
    connections = iter(_EVENTS[name])

    class Stream:
        """The events of one connection after the other; then Ctrl-C."""

        last_event_id = ""

        def __init__(self, _sockets: object) -> None: ...

        def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
            try:
                events = next(connections)
            except StopIteration:
                raise KeyboardInterrupt from None
            if events is None:
                raise client.DaemonUnreachable("no daemon at /run/sentinel/sentinel.sock; start it with `sentinel run`")
            self.last_event_id = "1"
            yield from ((kind, dict(data)) for kind, data in events)

    monkeypatch.setattr(client, "Stream", Stream)
    status = STATES["three-alerts" if name == "open-before" else "healthy"]
    monkeypatch.setattr(client, "get", lambda _path, _sockets=None: (200, status))
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)

    looked_at(f"watch-{name}", printed(["watch"], width), width)


# --- rules ---


@WIDTHS
def test_rules_list(printed: Printed, monkeypatch: pytest.MonkeyPatch, ruleset: RuleSet, width: int) -> None:
    """A few of them, so that a new rule changes no screen; one that somebody replaced a field of."""
    some = {name: ruleset.rules[name] for name in ("context-collapse", "cpu-fallback", "gpu-reset", "routing-noise", "small-bar")}
    changed = some["gpu-reset"]
    some["gpu-reset"] = replace(changed, rule=replace(changed.rule, origins={"severity": "/etc/sentinel/rules.d/mine.toml"}))
    found = replace(loading.loaded([]), ruleset=replace(ruleset, rules=some))
    monkeypatch.setattr(rules, "loaded", lambda _paths, **_how: found)

    looked_at("rules-list", printed(["rules", "list"], width), width)


@WIDTHS
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lint-missing", ["lint", "nowhere.toml"]),
        ("lint-bad", ["lint", "bad.toml"]),
        ("lint-good", ["lint", "good.toml"]),
        ("test-good", ["test", "good.toml"]),
        ("test-fails", ["test", "fails.toml"]),
        ("coverage-gap", ["coverage", "fails.toml"]),
        ("show-unknown", ["show", "cpu-falback"]),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_rules_of_files(
    printed: Printed,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    words: list[str],
    width: int,
) -> None:
    folder = tmp_path_factory.mktemp("rules")
    (folder / "bad.toml").write_text('schema = 1\nid = "x"\nsevertiy = "warning"\n', encoding="utf-8")
    (folder / "good.toml").write_text(RULE, encoding="utf-8")
    (folder / "fails.toml").write_text(
        RULE.replace("= 2.0 }", "= 20.0 }").replace("[[cause]]", SECOND_CAUSE, 1), encoding="utf-8"
    )
    monkeypatch.chdir(folder)

    # How many events are shipped is no matter of the screen.
    looked_at(f"rules-{name}", re.sub(r"\d+ events", "232 events", printed(["rules", *words], width)), width)


RULE = """\
schema = 1
id = "slow-here"
message_id = "5d3c1f0a9b7e4c2d8f6a1b3c5d7e9f01"
title = "generation is slower than this machine can do"
severity = "warning"
scope = "server"
basis = ["measured"]

[check]
slow = "server.generation_tps < 5.0"

[alert]
when = "slow"
for = "10s"
clear = "!slow"
summary = "{server.name} generates {server.generation_tps:.1f} tokens/s"

[[cause]]
id = "not-known"
text = "what makes it so is not known"
[[cause.fix]]
do = "See what the rule read"

[[test]]
name = "slow"
given = { server.generation_tps = 2.0 }
expect = { state = "firing", cause = "not-known" }
[[test]]
name = "fast"
given = { server.generation_tps = 40.0 }
expect = { state = "quiet" }
[[test]]
name = "not known"
unknown = ["server.generation_tps"]
expect = { state = "unknown" }
"""
SECOND_CAUSE = """\
[[cause]]
id = "never-tried"
when = "server.generation_tps < 1.0"
text = "no test tries it"
[[cause.fix]]
do = "Nothing"

[[cause]]"""
