"""The kernel's report of a kill: what its lines teach beside the last, and whom other daemons' kills concern."""

from __future__ import annotations

import pytest

from sentinel.engine.engine import Engine
from sentinel.engine.facts.oom_report import OomReport
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.entity import HOST, Entity, Unknown, Value
from sentinel.model.reading import Event, LogLines, Reading, Samples, ServerFound, ServerGone, Tick
from sentinel.rulefiles.testing.readings import EPOCH

SERVER = Entity("server", "llama.service")
MIB = 1 << 20


def part(name: str, at: float = 0.0, **fields: Value) -> Event:
    return Event(EPOCH + at, name, HOST, fields)


def killed(at: float = 0.1, pages: int = 1000, page: int = 4096, pid: int = 7) -> Event:
    return part("oom_killed", at, pid=pid, anon=pages * page, file=0, shmem=0)


def rows(report: OomReport, *tasks: tuple[int, int, str]) -> None:
    for pid, pages, comm in tasks:
        report.note(part("oom_task", tgid=pid, rss=pages, comm=comm))


@pytest.mark.parametrize("page", [4096, 16384, 65536])
def test_the_victims_row_gives_the_size_of_a_page(page: int) -> None:
    report = OomReport()
    rows(
        report,
        (7, 100_000, "llama-server"),
        (8, 50_000, "python3"),
        (9, 40_000, "chromium"),
        (10, 30_000, "x"),
        (11, 20_000, "y"),
    )
    fields = report.explain(killed(pages=100_000, page=page))
    assert fields == {
        "other1": "python3", "other1_bytes": 50_000 * page,
        "other2": "chromium", "other2_bytes": 40_000 * page,
        "other3": "x", "other3_bytes": 30_000 * page,
    }  # fmt: skip


def test_without_the_victims_row_no_size_is_made_up() -> None:
    report = OomReport()
    rows(report, (8, 50_000, "python3"))
    assert report.explain(killed()) == {}


def test_small_tasks_explain_nothing_and_thousands_take_no_memory() -> None:
    report = OomReport()
    rows(report, (7, 1000, "llama-server"), *((100 + n, n, "worker") for n in range(5000)))
    assert report.explain(killed()) == {}
    assert len(report._tasks) == 0


def test_a_report_is_not_mixed_with_the_one_before_it() -> None:
    report = OomReport()
    report.note(part("oom_limit", limit=5, usage=5))
    rows(report, (7, 1000, "llama-server"), (8, 99_000, "python3"))
    report.note(part("oom_invoked", at=1.0, comm="chromium"))
    assert report.explain(killed(at=1.1)) == {"invoked_by": "chromium"}
    report.note(part("oom_limit", at=2.0, limit=5, usage=5))
    # its end was lost
    assert report.explain(killed(at=500.0)) == {}
    assert report.explain(killed(at=500.1)) == {}


def story(ruleset: RuleSet, *readings: Reading) -> dict[str, str]:
    """Open load-oom alerts by entity."""
    engine = Engine(ruleset)
    values: dict[str, Value | Unknown] = {"server.cgroup": "/ai.slice/llama.service", "server.unit": "llama.service"}
    engine.step(ServerFound(EPOCH, "process", SERVER, 77, EPOCH, values))
    for reading in readings:
        engine.step(reading)
    engine.step(Tick(EPOCH + 60))
    return {
        r.entity.name: r.notice.says.summary + "\n" + (r.notice.says.cause.text if r.notice.says.cause else "")
        for r in engine.book.open()
        if r.rule == "load-oom"
    }


def daemons(at: float, text: str) -> LogLines:
    return LogLines(EPOCH + at, "oom-daemons", HOST, text.encode() + b"\n", kind="systemd")


@pytest.mark.parametrize("group", ["/ai.slice/llama.service", "/ai.slice"])
def test_systemd_oomd_names_a_group_and_its_server_is_reported(ruleset: RuleSet, group: str) -> None:
    line = f"Killed {group} due to memory pressure for /ai.slice being 72.00% > 60.00% for > 20s with reclaim activity"
    gone = ServerGone(EPOCH + 6, "process", SERVER, 77)
    assert "systemd-oomd killed it" in story(ruleset, daemons(5, line), gone)["llama.service"]


@pytest.mark.parametrize("group", ["/ai.slice/llama.service.d", "/other.slice", "/"])
def test_another_group_is_another_matter(ruleset: RuleSet, group: str) -> None:
    line = f"Killed {group} due to memory pressure for {group} being 72.00% > 60.00% for > 20s with reclaim activity"
    assert story(ruleset, daemons(5, line)) == {}


def test_earlyoom_names_a_pid(ruleset: RuleSet) -> None:
    line = 'sending SIGTERM to process {} uid 998 "llama-server": badness 1206, VmRSS 51321 MiB'
    gone = ServerGone(EPOCH + 6, "process", SERVER, 77)
    told = story(ruleset, daemons(5, line.format(77)), gone)
    assert "earlyoom sent SIGTERM to pid 77" in told["llama.service"]
    assert "50.1 GiB resident" in told["llama.service"]
    assert story(ruleset, daemons(5, line.replace("llama-server", "chromium").format(78)), gone) == {}


def test_a_server_killed_before_it_was_seen_is_known_by_its_group(ruleset: RuleSet) -> None:
    lines = (
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/ai.slice,"
        "task_memcg=/ai.slice/llama.service,task=llama-server,pid=99,uid=0\n"
        "Memory cgroup out of memory: Killed process 99 (llama-server) total-vm:698920kB, anon-rss:152312kB, file-rss:18196kB, "
        "shmem-rss:0kB, UID:0 pgtables:696kB oom_score_adj:0\n"
    )
    restarted = ServerGone(EPOCH + 4.5, "process", SERVER, 77)
    told = story(ruleset, restarted, LogLines(EPOCH + 5, "kmsg", HOST, lines.encode(), kind="kernel"))
    assert list(told) == ["llama.service"]
    assert "control group /ai.slice reached" in told["llama.service"]


def test_what_grew_in_the_last_minute_is_reported(ruleset: RuleSet) -> None:
    def held(at: float, anon: int) -> Samples:
        return Samples(EPOCH + at, "process", SERVER, {"server.rss_anon_bytes": anon, "server.locked_bytes": 0})

    kill = (
        "Out of memory: Killed process 77 (llama-server) total-vm:698920kB, anon-rss:152312kB, file-rss:18196kB, "
        "shmem-rss:0kB, UID:0 pgtables:696kB oom_score_adj:0\n"
    )
    told = story(
        ruleset, held(1, 10 * MIB), held(20, 1034 * MIB), held(50, 3082 * MIB),
        LogLines(EPOCH + 51, "kmsg", HOST, kill.encode(), kind="kernel"),
    )  # fmt: skip
    assert "In its last minute its anonymous memory grew by 3.0 GiB" in told["llama.service"]
    assert "locked" not in told["llama.service"].partition("In its last minute")[2]
