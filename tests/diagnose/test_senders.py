"""Whose each line of a saved log is: servers, units, systemd, the kernel; and what is judged of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sentinel.diagnose.diagnosis import Diagnosis, diagnose
from sentinel.diagnose.senders import Line, lines
from sentinel.diagnose.servers import servers, unit_of
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.alert import LineEvidence

Judge = Callable[..., Diagnosis]

BANNER = "0.00.110.020 I log_info: verbosity = 3 (adjust with the `-lv N` CLI arg)"
LOADING = "0.00.311.002 I srv    load_model: loading model '/models/a.gguf'"
READY = "0.09.374.713 I srv  llama_server: listening on http://127.0.0.1:8080"
WORK = "1.05.563.833 I slot launch_slot_: id  3 | task 0 | processing task, is_child = 0"
KILL = "Out of memory: Killed process 90 (llama-server) total-vm:4012876kB, anon-rss:1801460kB, file-rss:0kB, shmem-rss:0kB"


def one(text: str) -> Line:
    [line] = lines(text.encode())
    return line


def judge(ruleset: RuleSet, log: str, kernel: str = "") -> Diagnosis:
    return diagnose(ruleset, [("server.log", log.encode())], [("kernel.log", kernel.encode())] if kernel else [], {})


def fired(found: Diagnosis) -> list[tuple[str, str]]:
    return [(t.rule, t.entity.name) for t in found.transitions if t.state == "firing" and t.severity != "info"]


@pytest.mark.parametrize(
    ("text", "kind", "voice", "rest"),
    [
        (READY, "llama-server", "", READY),
        (f"Nov 12 10:00:00 h llama-server[90]: {READY}", "llama-server", "llama-server[90]", READY),
        (f"7月 24 15:40:33 h ollama[45]: {READY}", "llama-server", "ollama[45]", READY),
        (f"2026-11-12T10:00:00+0100 h llama-server[90]: {READY}", "llama-server", "llama-server[90]", READY),
        (f"Mon 2026-11-12 10:00:00 UTC h llama.service[90]: {READY}", "llama-server", "llama.service[90]", READY),
        ("Nov 12 10:00:40 h systemd[1]: a.service: x", "systemd", "systemd[1]", "a.service: x"),
        ("févr. 12 07:48:34 atelier kernel: amdgpu x", "kernel", "kernel", "amdgpu x"),
        ("Nov 09 08:41:43 kernel: amdgpu 0000:c5:00.0: x", "kernel", "kernel", "amdgpu 0000:c5:00.0: x"),
        ("kernel: Out of memory", "kernel", "kernel", "kernel: Out of memory"),
        ("> [  755.07] usb 1-1: x", "kernel", "kernel", "[  755.07] usb 1-1: x"),
        ("| [Sun Nov 16 02:03:41 2025] amdgpu x", "kernel", "kernel", "[Sun Nov 16 02:03:41 2025] amdgpu x"),
        ("[dim. nov. 16 02:03:41 2025] amdgpu x", "kernel", "kernel", "[dim. nov. 16 02:03:41 2025] amdgpu x"),
        (f"llama-1  | {READY}", "llama-server", "llama-1", READY),
        (f"[41553] {READY}", "llama-server", "", f"[41553] {READY}"),
        ("slot      release: id  0 | task 0 | stop", "llama-server", "", "slot      release: id  0 | task 0 | stop"),
        (
            "Nov 23 16:05:12 srv  llama_server: model loaded",
            "llama-server",
            "",
            "Nov 23 16:05:12 srv  llama_server: model loaded",
        ),
        ("2026-11-23 16:05:12 main: model loaded", "llama-server", "", "2026-11-23 16:05:12 main: model loaded"),
    ],
)
def test_each_form_of_a_line_says_whose_it_is(text: str, kind: str, voice: str, rest: str) -> None:
    found = one(text)

    assert (found.kind, found.voice, found.text.decode()) == (kind, voice, rest)


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("Nov 12 10:00:40 h systemd[1]: a@1.service: Main process exited", "a@1.service"),
        ("Nov 12 10:00:40 h systemd[1]: Started a.service - llama.", "a.service"),
        ("Nov 12 10:00:40 h systemd[1]: Reached target x.", ""),
        ("Nov 12 10:00:40 h llama-server[9]: a.service: x", ""),
    ],
)
def test_a_managers_line_names_its_unit(text: str, unit: str) -> None:
    assert unit_of(one(text)) == unit


def test_processes_that_follow_each_other_are_one_server_and_those_that_alternate_are_two() -> None:
    def named(*voices: str) -> list[set[str]]:
        log = "\n".join(f"Nov 12 10:00:00 h {voice}: {READY}" for voice in voices)
        return [server.voices for server in servers(list(lines(log.encode())), voices)]

    assert named("llama[1]", "llama[1]", "llama[2]") == [{"llama[1]", "llama[2]"}]
    assert named("llama[1]", "llama[2]", "llama[1]") == [{"llama[1]"}, {"llama[2]"}]
    assert named("llama[1]", "ollama[2]") == [{"llama[1]"}, {"ollama[2]"}]


def journal(pid: int, minute: int, *texts: str) -> str:
    return "".join(f"Nov 12 10:{minute:02d}:00 h llama-server[{pid}]: {text}\n" for text in texts)


def systemd(minute: int, text: str) -> str:
    return f"Nov 12 10:{minute:02d}:40 h systemd[1]: {text}\n"


KILLED = (
    systemd(0, "llama.service: A process of this unit has been killed by the OOM killer.")
    + systemd(0, "llama.service: Main process exited, code=killed, status=9/KILL")
    + systemd(0, "llama.service: Failed with result 'oom-kill'.")
)


def test_systemds_word_in_the_file_is_heard_for_its_unit(ruleset: RuleSet) -> None:
    """A kill that only systemd tells of; the start that follows is another one, and "may load still" of the last alone."""
    log = journal(90, 0, BANNER, LOADING) + KILLED + systemd(1, "Started llama.service.") + journal(91, 1, BANNER, LOADING)
    found = judge(ruleset, log)

    assert ("load-oom", "llama.service") in fired(found)
    assert [(start.kind, start.last) for start in found.starts] == [("ended", False), ("loading", True)]
    assert "killed by the OOM killer" in found.starts[0].line.line
    assert found.runs == {"llama.service": 2}


def test_two_units_of_one_journal_are_two_servers(ruleset: RuleSet) -> None:
    """The kill of one is not that of the other."""
    log = (
        systemd(0, "Started a.service.")
        + journal(90, 0, BANNER, LOADING)
        + systemd(0, "Started b.service.")
        + journal(91, 0, BANNER, LOADING)
        + journal(90, 1, READY)
        + journal(91, 1, READY)
        + journal(90, 2, WORK)
        + systemd(3, "b.service: A process of this unit has been killed by the OOM killer.")
        + journal(90, 4, WORK)
    )
    found = judge(ruleset, log)

    assert {name for rule, name in fired(found) if rule == "load-oom"} == {"b.service"}
    assert set(found.runs) == {"a.service", "b.service"}


def test_messages_of_other_programs_are_nobodys(ruleset: RuleSet) -> None:
    """A unit that has no server in the file, and a program that is none."""
    log = (
        journal(90, 0, BANNER, LOADING, READY)
        + "Nov 12 10:01:00 h sshd[7]: error: invalid argument: --mmap\n"
        + systemd(1, "nginx.service: A process of this unit has been killed by the OOM killer.")
        + systemd(2, "php.service: Main process exited, code=killed, status=9/KILL")
        + journal(90, 2, WORK)
    )
    found = judge(ruleset, log)

    assert fired(found) == []
    assert found.starts == ()


@pytest.mark.parametrize("log", [WORK + "\n", READY + "\n", "slot update_slots: id  0 | task 7 | prompt done\n" + WORK])
def test_a_kill_is_joined_to_a_log_that_lost_its_beginning(ruleset: RuleSet, log: str) -> None:
    """docker logs --tail, journalctl --since, a rotated file."""
    assert fired(judge(ruleset, log, f"[  755.07] {KILL}\n")) == [("load-oom", "llama-server")]


@pytest.mark.parametrize(
    "line",
    [
        f"[  755.07] {KILL}",
        f"Nov 12 10:00:40 kernel: {KILL}",
        f"12月 12 10:00:40 box kernel: {KILL}",
        f"> Nov 12 10:00:40 box kernel: {KILL}",
        f"| [Sun Nov 16 02:03:41 2025] {KILL}",
        f"kernel: {KILL}",
        KILL,
        KILL.partition(" file-rss")[0],
        "Out of memory: Killed process 90 (llama-server)",
    ],
)
def test_a_pasted_kernel_log_is_one_whatever_stands_around_it(ruleset: RuleSet, line: str) -> None:
    """Without host, with a month of another language, quoted, cut off; beside the server's log or within it."""
    beside = judge(ruleset, f"{BANNER}\n{LOADING}\n", line + "\n")
    assert fired(beside) == [("load-oom", "llama-server")]
    if line not in (KILL, KILL.partition(" file-rss")[0], "Out of memory: Killed process 90 (llama-server)"):
        assert fired(judge(ruleset, f"{BANNER}\n{LOADING}\n{line}\n")) == [("load-oom", "llama-server")]


def test_the_kill_of_ollamas_runner_is_reported_for_ollamas_server_only_where_its_log_is_ollamas(ruleset: RuleSet) -> None:
    """A process of the name ollama is no llama-server by itself."""
    killed = KILL.replace("(llama-server)", "(ollama)")
    told = "Mai 16 17:44:49 box ollama[6012]: time=2025-05-16T17:44:49.091+02:00 level=INFO source=server.go:1 msg=x\n"
    load = "Mai 16 17:44:50 box ollama[6012]: load_tensors: loading model tensors, this can take a while... (mmap = false)\n"
    kernel = f"Mai 16 17:45:31 box kernel: {killed}\n"

    assert [rule for rule, _ in fired(judge(ruleset, told + load + kernel))] == ["load-oom"]
    assert fired(judge(ruleset, f"{BANNER}\n{LOADING}\n", kernel)) == []


def test_a_kill_before_the_next_run_is_reported_for_the_run_before(ruleset: RuleSet) -> None:
    """Both logs tell the time alike: the kill comes in its place, not at the end."""
    log = journal(90, 0, BANNER, LOADING) + journal(91, 5, BANNER, LOADING, READY, WORK)
    found = judge(ruleset, log, f"Nov 12 10:00:40 h kernel: {KILL}\n")
    [killed] = [t for t in found.transitions if t.rule == "load-oom" and t.state == "firing"]

    assert found.run_of[killed.fingerprint] == 1
    assert "while loading" in killed.summary


SPAWN = (
    "0.07.097.267 I srv          load: spawning server instance with name=gem on port 47585\n"
    "0.07.097.308 I srv          load: spawning server instance with args:\n"
    + "".join(
        f"0.07.097.400 I srv          load:   {word}\n"
        for word in ("/opt/llama-server", "--port", "47585", "--model", "/m/gem.gguf", "--ctx-size", "2048", "--parallel", "1")
    )
)
REFUSED = (
    "[47585] {at}.24.432.700 I slot launch_slot_: id  0 | task 9 | processing task, is_child = 0\n"
    "[47585] {at}.24.432.764 E srv    send_error: task id = 9, error: request (8283 tokens) exceeds the available context size "
    "(2048 tokens), try increasing it\n"
)
CHILD = (
    f"[47585] {BANNER}\n[47585] {LOADING}\n"
    "[47585] 0.14.771.128 I srv    load_model: initializing, n_slots = 1, n_ctx_slot = 2048, kv_unified = 'false'\n"
    "[47585] 0.14.781.329 I srv  llama_server: listening on http://127.0.0.1:47585\n"
)
ROUTER = (
    f"{BANNER}\n0.00.057.070 I srv  llama_server: starting server in router mode. models will be automatically loaded on-demand\n"
    "0.00.058.280 I srv  llama_server: listening on http://127.0.0.1:18331\n"
)


def test_a_routers_child_is_judged_with_the_command_line_that_the_router_printed(ruleset: RuleSet) -> None:
    """Its counts are known, for its lines stand in the router's log, and what it was asked for is known too."""
    found = judge(ruleset, ROUTER + SPAWN + CHILD + "".join(REFUSED.format(at=at) for at in range(1, 5)))
    [told] = [t for t in found.transitions if t.state == "firing" and t.severity != "info"]

    assert (told.rule, told.entity.name) == ("context-collapse", "llama-server[47585]")
    assert told.cause is not None
    assert "2048" in told.cause.text


@pytest.mark.parametrize(
    ("status", "kinds"),
    [(1, [("ended", "the child for model 'gem'")]), (0, [])],
)
def test_the_end_of_a_routers_child_is_in_the_routers_line(ruleset: RuleSet, status: int, kinds: list[tuple[str, str]]) -> None:
    """It ended while its model was loaded; in order where the status is 0."""
    end = f"0.12.363.494 I srv    operator(): instance name=gem exited with status {status}\n"
    found = judge(ruleset, ROUTER + SPAWN + f"[47585] {BANNER}\n[47585] {LOADING}\n" + end)

    assert [(start.kind, start.who) for start in found.starts] == kinds


def test_numbers_of_lines_are_those_of_the_file(ruleset: RuleSet) -> None:
    """Also where lines of others stand between."""
    log = ROUTER + "Nov 12 10:00:00 h sshd[7]: x\n" + SPAWN + CHILD + "".join(REFUSED.format(at=at) for at in range(1, 5))
    found = judge(ruleset, log)
    rows = log.splitlines()
    evidence = [e for t in found.transitions for e in t.evidence if isinstance(e, LineEvidence)]

    assert evidence
    assert all(e.line in rows[e.n - 1] for e in evidence)


def test_a_log_of_2024_shows_the_end_of_the_load(ruleset: RuleSet) -> None:
    """Bracket and JSON logs: loaded, and not "the log ends while the model loads"."""
    for log in (
        'INFO [  main] build info | tid="1" timestamp=1775900000 build=4335 commit="a1b2c3d4"\n'
        'INFO [  main] model loaded | tid="1" timestamp=1775900301\n',
        '{"function":"main","level":"INFO","msg":"build info","build":2700,"commit":"aed82f68","timestamp":1713785220}\n'
        '{"function":"main","level":"INFO","msg":"model loaded","timestamp":1713785320}\n',
    ):
        assert judge(ruleset, log).starts == ()


def test_two_million_lines_of_nothing_are_sorted_in_bounded_time(tmp_path: Path) -> None:
    """A prefix that is almost one, again and again: no expression goes back over it."""
    hostile = (b"> " * 2000 + b"\n") * 50 + (b"Nov 12 10:00:00 " + b"a" * 4000 + b"\n") * 50 + (b"{" * 3000 + b"\n") * 50

    assert sum(1 for _ in lines(hostile)) == 150
