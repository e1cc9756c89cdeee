"""Whom the kernel's kill concerns where no process of a server is known: told of the one that it can only be, of no other."""

from __future__ import annotations

from collections.abc import Iterable

from sentinel.engine.engine import Engine
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.entity import HOST, Entity, Value
from sentinel.model.reading import LogLines, Reading, Samples, ServerFound, ServerGone, Tick
from sentinel.rulefiles.testing.readings import EPOCH

#: What a server of today prints while it begins to load.
_STARTS = b"0.00.043.051 I cmn  common_param: common_params_print_info: verbosity = 3 (adjust with the `-lv N` CLI arg)\n"
_LOADS = _STARTS + b"0.00.050.123 I srv    load_model: loading model '/models/big.gguf'\n"
_READY = b"0.01.150.277 I srv  llama_server: listening on http://127.0.0.1:18080\n"
_STOPS = b"0.35.150.277 I srv    operator(): operator(): cleaning up before exit...\n"
_ENDED = b"0.00.090.123 E srv  llama_server: exiting due to model loading error\n"


def server(name: str) -> Entity:
    return Entity("server", name)


def says(name: str, text: bytes, at: float = 0.0) -> LogLines:
    return LogLines(EPOCH + at, f"log:{name}", server(name), text)


def kill(group: str | None, at: float = 20.0, pid: int = 4711) -> LogLines:
    """As kernels print it that tell the control group, or as those before 5.0, which do not."""
    told = (
        f"oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg={group},"
        f"task=llama-server,pid={pid},uid=1000\n"
        if group is not None
        else ""
    )
    told += f"Out of memory: Killed process {pid} (llama-server) total-vm:698920kB, anon-rss:152312kB, file-rss:18196kB, "
    told += "shmem-rss:0kB, UID:1000 pgtables:600kB oom_score_adj:0\n"
    return LogLines(EPOCH + at, "kmsg", HOST, told.encode(), kind="kernel")


def story(ruleset: RuleSet, *readings: Reading) -> list[tuple[str, str]]:
    """The servers of which load-oom is reported, and what."""
    engine = Engine(ruleset)
    transitions = []
    ticks: Iterable[Reading] = (Tick(EPOCH + at) for at in (21.0, 26.0, 60.0))
    for reading in sorted((*readings, *ticks), key=lambda reading: reading.at):
        transitions += engine.step(reading)
    return [(one.entity.name, one.state) for one in transitions if one.rule == "load-oom"]


def victims(ruleset: RuleSet, *readings: Reading) -> list[str]:
    """The servers of which load-oom is told that they were killed."""
    return [name for name, state in story(ruleset, *readings) if state == "firing"]


def found(name: str, pid: int, group: str, at: float = 0.0, **more: Value) -> ServerFound:
    values: dict[str, Value] = {"server.cgroup": group, **{f"server.{key}": value for key, value in more.items()}}
    return ServerFound(EPOCH + at, "process", server(name), pid, EPOCH + at - 0.5, dict(values))


def test_the_only_server_that_loads_is_the_one_that_was_killed(ruleset: RuleSet) -> None:
    """A log that was configured, of a process that nobody saw."""
    assert victims(ruleset, says("server.log", _LOADS), kill("/system.slice/llama.service")) == ["server.log"]
    assert victims(ruleset, says("server.log", _LOADS), kill(None)) == ["server.log"]


def test_a_kill_in_another_unit_is_not_reported_for_this_one(ruleset: RuleSet) -> None:
    assert victims(ruleset, says("llama.service", _LOADS), kill("/system.slice/other.service")) == ["other.service"]
    session = "/user.slice/user-1000.slice/session-3.scope"
    assert victims(ruleset, says("llama.service", _LOADS), kill(session)) == ["llama-server[4711]"]
    mine = "/user.slice/user-1000.slice/user@1000.service/app.slice/mine.service"
    assert victims(ruleset, says("llama.service", _LOADS), kill(mine)) == ["mine.service"]


def test_a_kill_in_its_unit_and_one_whose_group_the_kernel_did_not_name_are_reported(ruleset: RuleSet) -> None:
    assert victims(ruleset, says("llama.service", _LOADS), kill("/system.slice/llama.service")) == ["llama.service"]
    assert victims(ruleset, says("llama.service", _LOADS), kill(None)) == ["llama.service"]


def test_a_server_that_had_ended_or_never_began_was_not_killed(ruleset: RuleSet) -> None:
    ended = says("server.log", _LOADS + _ENDED)
    assert victims(ruleset, ended, kill(None)) == ["llama-server[4711]"]
    silent = says("server.log", b"")
    assert victims(ruleset, silent, kill(None)) == ["llama-server[4711]"]


def test_of_two_that_may_be_meant_neither_is_guessed(ruleset: RuleSet) -> None:
    two = (says("a.log", _LOADS), says("b.log", _LOADS))
    assert victims(ruleset, *two, kill(None)) == ["llama-server[4711]"]


def test_a_server_whose_process_is_known_is_not_blamed_for_another_processs_kill(ruleset: RuleSet) -> None:
    values: dict[str, Value] = {"server.cgroup": "/system.slice/llama.service"}
    known = ServerFound(EPOCH, "process", server("llama.service"), 77, EPOCH - 5, dict(values))
    fresh = Samples(EPOCH + 1, "process", server("llama.service"), dict(values))
    assert victims(ruleset, known, fresh, kill("/user.slice/session-3.scope")) == ["llama-server[4711]"]


_SESSION = "/user.slice/user-1000.slice/session-3.scope"


def test_a_server_that_serves_and_was_never_seen_as_a_process_is_not_guessed(ruleset: RuleSet) -> None:
    """Processes are scanned for once a second: what has loaded would have been found, if it were what was killed."""
    assert victims(ruleset, says("server.log", _LOADS + _READY), kill(None)) == ["llama-server[4711]"]
    assert victims(ruleset, says("server.log", _LOADS + _READY), kill(_SESSION)) == ["llama-server[4711]"]
    unit = says("llama.service", _LOADS + _READY)
    assert victims(ruleset, unit, kill("/system.slice/llama.service")) == ["llama.service"]


def test_one_that_goes_on_after_the_kill_was_not_killed(ruleset: RuleSet) -> None:
    goes_on = (says("server.log", _LOADS), kill(_SESSION), says("server.log", _READY, at=30.0))
    assert story(ruleset, *goes_on) == [("server.log", "firing"), ("server.log", "resolved"), ("llama-server[4711]", "firing")]
    seen = (says("server.log", _LOADS), kill(None), found("server.log", 77, _SESSION, at=15.0))
    assert victims(ruleset, *seen) == ["llama-server[4711]"]
    later = ServerFound(EPOCH + 30, "process", server("server.log"), 77, EPOCH + 1, {})
    assert story(ruleset, says("server.log", _LOADS), kill(None), later)[-1] == ("llama-server[4711]", "firing")


def test_what_is_started_again_after_the_kill_had_been_killed(ruleset: RuleSet) -> None:
    again = (says("server.log", _LOADS), kill(None), says("server.log", _LOADS + _READY, at=30.0))
    assert story(ruleset, *again) == [("server.log", "firing"), ("server.log", "resolved")]
    anew = ServerFound(EPOCH + 30, "process", server("server.log"), 78, EPOCH + 29, {})
    assert victims(ruleset, says("server.log", _LOADS), kill(None), anew) == ["server.log"]


def test_one_that_was_about_to_end_by_itself_was_not_killed(ruleset: RuleSet) -> None:
    assert victims(ruleset, says("server.log", _LOADS + _READY + _STOPS), kill(None)) == ["llama-server[4711]"]


def test_of_a_session_that_many_share_a_server_that_lives_was_not_killed(ruleset: RuleSet) -> None:
    """Somebody starts another by hand, in the same terminal."""
    assert victims(ruleset, found("127.0.0.1:8080", 77, _SESSION), kill(_SESSION)) == ["llama-server[4711]"]
    ended = (found("127.0.0.1:8080", 77, _SESSION), ServerGone(EPOCH + 9, "process", server("127.0.0.1:8080"), 77))
    assert victims(ruleset, *ended, kill(_SESSION)) == ["llama-server[4711]"]


def test_of_a_unit_that_runs_several_none_that_lives_was_killed(ruleset: RuleSet) -> None:
    """llama-swap starts servers in its own control group."""
    group = "/system.slice/llama-swap.service"
    one = found("llama-swap.service", 77, group, unit="llama-swap.service")
    assert victims(ruleset, one, kill(group)) == ["llama-server[4711]"]
    assert victims(ruleset, one, found("127.0.0.1:8081", 78, group), kill(group)) == ["llama-server[4711]"]
    assert victims(ruleset, one, found("127.0.0.1:8081", 78, group), kill(group, pid=78)) == ["127.0.0.1:8081"]


def test_a_restart_that_was_killed_before_it_was_seen_is_its_units(ruleset: RuleSet) -> None:
    group = "/system.slice/llama.service"
    gone = ServerGone(EPOCH + 19.5, "process", server("llama.service"), 77)
    assert victims(ruleset, found("llama.service", 77, group, unit="llama.service"), gone, kill(group)) == ["llama.service"]
    twice = (found("llama.service", 77, group, unit="llama.service"), kill(group, pid=77), kill(group, at=20.5, pid=79))
    assert set(victims(ruleset, *twice)) == {"llama.service"}
    box = "/system.slice/docker-9f2c1e5a7b30.scope"
    stopped = ServerGone(EPOCH + 19.5, "process", server("9f2c1e5a7b30"), 77)
    assert victims(ruleset, found("9f2c1e5a7b30", 77, box, container="9f2c1e5a7b30"), stopped, kill(box)) == ["9f2c1e5a7b30"]


def test_a_process_id_that_is_used_again_is_not_the_server_that_had_it(ruleset: RuleSet) -> None:
    gone = ServerGone(EPOCH + 5, "process", server("llama.service"), 4711)
    old = found("llama.service", 4711, "/system.slice/llama.service", unit="llama.service")
    assert victims(ruleset, old, gone, kill(_SESSION)) == ["llama-server[4711]"]
