"""Whom the kernel's kill concerns where no process of a server is known: told of the one that it can only be, of no other."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from sentinel.engine import Engine
from sentinel.model.labels import HOST, Entity, Value
from sentinel.model.reading import LogLines, Reading, Samples, ServerFound, Tick
from sentinel.rulefiles import load_paths, shipped
from sentinel.rules.casebook import EPOCH
from sentinel.rules.ruleset import RuleSet

#: What a server of today prints while it begins to load.
_STARTS = b"0.00.043.051 I cmn  common_param: common_params_print_info: verbosity = 3 (adjust with the `-lv N` CLI arg)\n"
_LOADS = _STARTS + b"0.00.050.123 I srv    load_model: loading model '/models/big.gguf'\n"
_ENDED = b"0.00.090.123 E srv  llama_server: exiting due to model loading error\n"


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    ruleset, problems = load_paths([shipped()])
    assert ruleset is not None, problems
    return ruleset


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


def victims(rules: RuleSet, *readings: Reading) -> list[str]:
    """The servers of which load-oom is told."""
    engine = Engine(rules)
    transitions = []
    ticks: Iterable[Reading] = (Tick(EPOCH + at) for at in (21.0, 26.0))
    for reading in (*readings, *ticks):
        transitions += engine.step(reading)
    return [one.entity.name for one in transitions if one.rule == "load-oom" and one.state == "firing"]


def test_the_only_server_that_loads_is_the_one_that_was_killed(rules: RuleSet) -> None:
    """A log that was configured, of a process that nobody saw."""
    assert victims(rules, says("server.log", _LOADS), kill("/system.slice/llama.service")) == ["server.log"]
    assert victims(rules, says("server.log", _LOADS), kill(None)) == ["server.log"]


def test_a_unit_is_not_told_of_the_kill_in_another(rules: RuleSet) -> None:
    assert victims(rules, says("llama.service", _LOADS), kill("/system.slice/other.service")) == ["other.service"]
    session = "/user.slice/user-1000.slice/session-3.scope"
    assert victims(rules, says("llama.service", _LOADS), kill(session)) == ["llama-server[4711]"]
    mine = "/user.slice/user-1000.slice/user@1000.service/app.slice/mine.service"
    assert victims(rules, says("llama.service", _LOADS), kill(mine)) == ["mine.service"]


def test_a_unit_is_told_of_its_own_and_of_one_whose_group_the_kernel_did_not_tell(rules: RuleSet) -> None:
    assert victims(rules, says("llama.service", _LOADS), kill("/system.slice/llama.service")) == ["llama.service"]
    assert victims(rules, says("llama.service", _LOADS), kill(None)) == ["llama.service"]


def test_a_server_that_had_ended_or_never_began_was_not_killed(rules: RuleSet) -> None:
    ended = says("server.log", _LOADS + _ENDED)
    assert victims(rules, ended, kill(None)) == ["llama-server[4711]"]
    silent = says("server.log", b"")
    assert victims(rules, silent, kill(None)) == ["llama-server[4711]"]


def test_of_two_that_may_be_meant_neither_is_guessed(rules: RuleSet) -> None:
    two = (says("a.log", _LOADS), says("b.log", _LOADS))
    assert victims(rules, *two, kill(None)) == ["llama-server[4711]"]


def test_a_server_whose_process_is_known_is_not_told_of_another_processs_kill(rules: RuleSet) -> None:
    values: dict[str, Value] = {"server.cgroup": "/system.slice/llama.service"}
    known = ServerFound(EPOCH, "process", server("llama.service"), 77, EPOCH - 5, dict(values))
    fresh = Samples(EPOCH + 1, "process", server("llama.service"), dict(values))
    assert victims(rules, known, fresh, kill("/user.slice/session-3.scope")) == ["llama-server[4711]"]
