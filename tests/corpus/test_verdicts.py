"""Every recorded log gets the verdict that its story deserves: failures with their cause, and nothing for what is well.

The stories are those of the corpus' own PROVENANCE.md and of tests/fixtures/logs/PROVENANCE.md.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from places import REPO

from sentinel.diagnose.diagnosis import Diagnosis

Judge = Callable[..., Diagnosis]


FIXTURES = sorted((REPO / "tests/fixtures/logs").glob("*.log"))

#: recording -> a command line it can have been started with (the corpus says which)
HEALTHY = {
    **{f"{era}-default": "llama-server -m models/moe.gguf -c 512" for era in ("b395x", "b617x")},
    **{f"{era}-{what}": "llama-server -m models/moe.gguf -c 512" for era in ("b10434", "b11434") for what in ("default", "lv4")},
    "b395x-defrag": "llama-server -m models/moe.gguf --defrag-thold 0.1",
    "b617x-defrag": "llama-server -m models/moe.gguf --defrag-thold 0.1",
    "b10434-defrag": "llama-server -m models/moe.gguf --defrag-thold 0.1",
    "b617x-mmapdots": "llama-server -m big.gguf -c 512",
    # Here the lock was granted.
    **{f"{era}-mlock": "llama-server -m models/moe.gguf -c 512 --mlock" for era in ("b395x", "b617x")},
    "b11434-mlock": "llama-server -m models/moe.gguf -c 512 --load-mode mmap+mlock",
    "b10434-vulkan-partial-lv4": "llama-server -m gemma.gguf -c 512 -ngl 5 -lv 4",
    "b617x-noshift": "llama-server -m models/moe.gguf -c 256 --no-context-shift",
}

#: recording -> rule and cause of its only alert, by the log alone
FAILING = {
    **{
        f"{era}-{what}": ("context-collapse", "kv-allocation-failed")
        for era in ("b395x", "b617x", "b10434")
        for what in ("kvfail", "kvfail-default")
    },
    "b11434-kvfail": ("context-collapse", "kv-allocation-failed"),
    **{f"{era}-shift": ("context-collapse", "context-shift") for era in ("b395x", "b617x", "b11434")},
    # Old builds serve what was asked for, with or without a word about it; new ones cut it.
    "b395x-overtrain": ("context-collapse", "beyond-training-length"),
    "b617x-overtrain": ("context-collapse", "beyond-training-length"),
    "b617x-color": ("context-collapse", "beyond-training-length"),
    "b10434-overtrain": ("context-collapse", "capped-at-training-length"),
    "b10434-mlock": ("mlock-denied", "limit-too-low"),
    **{f"{era}-badarg": ("flags-rejected", "removed") for era in ("b395x", "b617x", "b11434")},
    "b10434-fa-bare2": ("flags-rejected", "takes-a-value-now"),
    **{
        f"{era}-{what}": ("unsupported-model", cause)
        for era in ("b395x", "b617x", "b10434")
        for what, cause in (
            ("badarch", "unknown-architecture"),
            ("trunc", "incomplete-file"),
            ("extra", "tensors-do-not-match"),
        )
    },
    "b395x-missing": ("unsupported-model", "tensors-do-not-match"),
}

#: Failures that belong to none of the shipped rules: they must not be taken for one of them.
OF_OTHERS = ("killed",)
#: The same command line where the build takes it, or the same file where the build knows it.
ACCEPTED = ("b10434-badarg", "b395x-fa-bare", "b395x-fa-bare2", "b617x-fa-bare2", "b617x-missing", "b10434-missing")


def fired(found: Diagnosis) -> list[tuple[str, str]]:
    """Rule and cause of what was reported, advice left out."""
    loud = [t for t in found.transitions if t.state == "firing" and t.severity != "info"]
    return [(t.rule, t.cause.id if t.cause else "") for t in loud]


@pytest.mark.corpus
@pytest.mark.parametrize("name", sorted(HEALTHY))
def test_a_healthy_recording_raises_nothing(corpus: Path, judge: Judge, name: str) -> None:
    """Neither alone nor with its command line."""
    log = corpus / "logs" / f"{name}.log"

    assert fired(judge(log)) == []
    assert fired(judge(log, HEALTHY[name])) == []


@pytest.mark.parametrize("log", FIXTURES, ids=lambda path: path.stem)
def test_the_projects_own_recordings_are_healthy(judge: Judge, log: Path) -> None:
    """Embeddings, experts on the CPU by design, two slots, sleep, a router, JSON lines."""
    assert fired(judge(log)) == []
    assert judge(log).events > 5


@pytest.mark.parametrize("name", ["b10434-cpu-moe", "b10434-cpu-moe-lv4"])
def test_low_bit_experts_are_advice_and_no_more(judge: Judge, name: str) -> None:
    """The one thing there is to say about a TQ1_0 mixture, and only where the log shows the tensors' types."""
    found = judge(REPO / f"tests/fixtures/logs/{name}.log", "llama-server --cpu-moe -c 512")

    assert {t.rule for t in found.transitions} <= {"routing-noise"}
    assert {t.severity for t in found.transitions} <= {"info"}


@pytest.mark.corpus
@pytest.mark.parametrize("name", sorted(FAILING))
def test_a_failure_is_reported_once_with_its_cause(corpus: Path, judge: Judge, name: str) -> None:
    """By the log alone, at whatever verbosity it was recorded."""
    assert fired(judge(corpus / "logs" / f"{name}.log")) == [FAILING[name]]


@pytest.mark.corpus
def test_a_kill_by_the_control_group_is_reported_from_both_logs(corpus: Path, judge: Judge) -> None:
    """The server's log ends in mid load, the kernel's names the limit."""
    log, kernel = (corpus / f"logs/b10434-oom-mlock-memcg.{end}" for end in ("log", "kmsg"))
    found = judge(log, "llama-server -m gemma.gguf -c 512 --mlock -lv 4", kernel)

    assert fired(found) == [("load-oom", "cgroup-limit")]
    summary = next(t.summary for t in found.transitions if t.state == "firing")
    assert "while loading" in summary
    assert "load-oom" not in found.unknown


@pytest.mark.corpus
def test_without_the_kernels_log_a_kill_cannot_be_judged(corpus: Path, judge: Judge) -> None:
    """Said so, with the option that provides it."""
    found = judge(corpus / "logs/b10434-oom-mlock-memcg.log")

    assert fired(found) == []
    assert "--kernel-log" in " ".join(map(str, found.unknown["load-oom"].values()))


@pytest.mark.corpus
def test_another_servers_kill_is_not_taken_for_this_ones(corpus: Path, judge: Judge, tmp_path: Path) -> None:
    """A server that serves to its orderly end was not killed, whatever else the kernel killed."""
    kernel = tmp_path / "kernel.log"
    kernel.write_text(
        "[  755.07] Out of memory: Killed process 4711 (chromium) total-vm:240123456kB, anon-rss:1523120kB, "
        "file-rss:125819600kB, shmem-rss:0kB, UID:1000 pgtables:440000kB oom_score_adj:0\n"
    )

    assert fired(judge(corpus / "logs/b10434-default.log", "llama-server -c 512", kernel)) == []


@pytest.mark.corpus
@pytest.mark.parametrize("argv", [None, "llama-server -m gemma.gguf -ngl 99 --metrics"])
def test_the_quiet_fallback_cannot_be_judged_from_its_log(corpus: Path, judge: Judge, argv: str | None) -> None:
    """At default verbosity the log is that of a healthy server: the rule says what it would need, and does not guess."""
    found = judge(corpus / "logs/b10434-quiet-cpu-fallback.log", argv)

    assert fired(found) == []
    missing = found.unknown["cpu-fallback"]
    assert "server.gpu_memory_bytes" in missing
    assert ("server.gpu_layers_requested" in missing) is (argv is None)


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["b395x-default", "b617x-default", "b10434-lv4", "b11434-lv4"])
def test_a_detailed_log_with_its_command_line_shows_a_fallback(corpus: Path, judge: Judge, name: str) -> None:
    """All weights in host buffers although layers were asked for: told although the server was stopped in the end."""
    log = corpus / f"logs/{name}.log"

    # At -lv 4 the devices are listed: only the CPU.
    cause = "no-device-listed" if name.endswith("-lv4") else "not-known"
    assert fired(judge(log, "llama-server -m models/moe.gguf -c 512 -ngl 99")) == [("cpu-fallback", cause)]
    assert fired(judge(log, "llama-server -m models/moe.gguf -c 512 -ngl 0")) == []


@pytest.mark.corpus
def test_failures_without_a_rule_are_not_taken_for_one(corpus: Path, judge: Judge) -> None:
    """A kill that nobody recorded, a command line that the build takes: nobody claims it."""
    logs = [log for what in OF_OTHERS for log in sorted((corpus / "logs").glob(f"*-{what}.log"))]
    logs += [corpus / f"logs/{name}.log" for name in ACCEPTED]
    told = {log.stem: told for log in logs if (told := fired(judge(log)))}

    assert len(logs) >= 7
    assert told == {}


@pytest.mark.corpus
@pytest.mark.parametrize(("what", "cause"), [("nofile", "relative-path"), ("portbusy", "port-taken")])
def test_what_a_start_lacks_is_named_in_each_era(corpus: Path, judge: Judge, what: str, cause: str) -> None:
    """A file that is not there, a port that is taken."""
    logs = sorted((corpus / "logs").glob(f"*-{what}.log"))

    told = {log.stem: fired(judge(log)) for log in logs}
    assert told == {log.stem: [("start-failed", cause)] for log in logs}


@pytest.mark.corpus
def test_the_same_files_give_the_same_answer(corpus: Path, judge: Judge) -> None:
    """To the last byte: no clock and no order of a set has a say."""
    log = corpus / "logs/b617x-shift.log"

    assert judge(log) == judge(log)
