"""Recorded runs give the events that happened in them, era by era."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from places import REPO

from sentinel.engine.log.match import Match
from sentinel.model.event import EventDef

Read = Callable[..., list[Match]]
_RECORDINGS = REPO / "eval/recordings"
_EVENTS = REPO / "rules" / "events"
_ERAS = {"b395x": 3950, "b617x": 6170, "b10434": 10434, "b11434": 11434}

#: name of a log -> exact count of an event; a count of -1 means at least one.
_SOME = -1
_CORPUS: Mapping[str, Mapping[str, int]] = {
    "b395x-default": {
        "run_started": 1, "model_loading": 1, "model_loaded": 1, "server_ready": 1, "slots_initialized": 1, "slot_context": 1,
        "generation_timing": 3, "prompt_timing": 3, "request_started": 3, "request_finished": 3, "request_truncated": 1,
        "prompt_truncated": 1, "no_usable_gpu_warning": 1, "cpu_weights": 1, "kv_buffer": 1, "model_experts": 1,
        "model_label": 1, "model_size": 1, "load_dots": 1, "context_created": 1, "request_overflow": 0, "context_shifted": 0,
    },
    "b617x-default": {
        "run_started": 1, "model_loading": 2, "server_ready": 1, "generation_timing": 3, "prompt_truncated": 1,
        "system_info_cpu_only": 1, "server_stopping": 1, "load_dots": 1,
    },
    "b10434-default": {"server_ready": 1, "generation_timing": _SOME, "request_overflow": 1},
    "b11434-default": {
        "request_overflow": 1, "server_ready": 1, "generation_timing": 2, "prompt_timing": 2, "request_started": 3,
        "request_finished": 3, "slots_initialized": 1, "no_usable_gpu_warning": 1, "server_stopping": 1, "cpu_weights": 0,
    },
    "b11434-lv4": {"cpu_weights": _SOME, "kv_buffer": _SOME, "model_size": 1, "model_experts": 1, "slot_context": _SOME},
    "b10434-lv4": {"layers_offloaded": 1, "cpu_weights": 1, "gpu_weights": 0, "slots_initialized": 1, "prompt_cache_limit": 1},
    "b10434-vulkan-partial-lv4": {"gpu_weights": 1, "cpu_weights": 1, "layers_offloaded": 1, "device_used": 1},
    "b10434-quiet-cpu-fallback": {"server_ready": 1, "gpu_weights": 0, "backend_init_failed": 0, "generation_timing": _SOME},
    "b10434-mlock": {"mlock_failed": 1, "server_ready": 1, "deprecated_argument": 1},
    "b10434-oom-mlock-memcg": {"server_ready": 0, "server_failed": 0, "model_loading": 1},
    "b10434-overtrain": {"context_capped": 1},
    "b617x-overtrain": {"context_overtrain": 1, "context_capped": 0},
    "b395x-killed": {"load_dots": 1, "server_ready": 0, "server_failed": 0},
    "b617x-killed": {"load_dots": 1, "server_ready": 0, "server_failed": 0},
    "b395x-shift": {"context_shifted": 1, "request_truncated": 1},
    "b617x-shift": {"context_shifted": 5, "request_truncated": 1},
    "b11434-shift": {"context_shifted": 6, "request_truncated": 1, "generation_progress": 1},
    "b617x-noshift": {"context_shifted": 0},
    "b10434-badarg": {"argument_rejected": 0, "deprecated_argument": 1, "server_ready": 1},
    "b10434-fa-bare2": {"argument_rejected": 1, "server_ready": 0},
    "b10434-defrag": {"deprecated_argument": 1, "server_ready": 1},
    "b617x-portbusy": {"port_busy": 1, "server_ready": 0},
    "b395x-portbusy": {"port_busy": 1},
    "b617x-color": {"run_started": 1, "server_ready": 1, "cpu_weights": 1},
    "b395x-nofile": {"model_file_missing": 1, "model_rejected": 0, "server_failed": 1},
    "b617x-nofile": {"model_file_missing": 1, "server_failed": 1},
    "b10434-nofile": {"model_file_missing": 2, "server_failed": 1},
    **{f"{era}-kvfail": {"kv_alloc_failed": 1, "host_alloc_failed": 1, "context_create_failed": 1} for era in _ERAS},
    **{f"{era}-kvfail-default": {"kv_alloc_failed": 1, "server_failed": 1} for era in ("b395x", "b617x", "b10434")},
    **{f"{era}-badarg": {"argument_rejected": 1, "server_ready": 0} for era in ("b395x", "b617x", "b11434")},
    **{f"{era}-badarch": {"model_rejected": _SOME, "model_load_failed": 1} for era in ("b395x", "b617x", "b10434")},
    **{f"{era}-extra": {"model_rejected": _SOME, "server_failed": 1} for era in ("b395x", "b617x", "b10434")},
    **{f"{era}-trunc": {"model_rejected": _SOME, "server_failed": 1} for era in ("b395x", "b617x", "b10434")},
    "b395x-missing": {"model_rejected": 1},
    # The file lacks a tensor that only the first of these builds asks for.
    "b617x-missing": {"model_rejected": 0, "server_ready": 1},
    "b10434-missing": {"model_rejected": 0, "server_ready": 1},
}  # fmt: skip


def _counts(read: Read, data: bytes, source: str = "llama-server") -> Counter[str]:
    return Counter(match.event.name for match in read(data, source))


def _holds(count: int, expected: int) -> bool:
    return count >= 1 if expected == _SOME else count == expected


@pytest.mark.corpus
@pytest.mark.parametrize("name", sorted(_CORPUS))
def test_the_corpus_gives_what_happened(read: Read, corpus: Path, name: str) -> None:
    counts = _counts(read, (corpus / "logs" / f"{name}.log").read_bytes())
    wrong = {event: counts[event] for event, expected in _CORPUS[name].items() if not _holds(counts[event], expected)}
    assert wrong == {}


@pytest.mark.corpus
def test_every_wording_is_within_its_range_of_builds(read: Read, corpus: Path) -> None:
    for path in sorted((corpus / "logs").glob("*.log")):
        build = _ERAS[path.name.split("-")[0]]
        for match in read(path.read_bytes()):
            builds = match.event.patterns[match.pattern_index].builds
            where = (path.name, match.event.name, match.pattern_index)
            assert builds.low is None or builds.low <= build, where
            assert builds.high is None or build <= builds.high, where


@pytest.mark.corpus
def test_the_examples_called_recorded_are_lines_of_a_recording(
    definitions: dict[str, EventDef], corpus: Path, logs: Path
) -> None:
    recorded = b"\n".join(
        path.read_bytes()
        for folder in (corpus / "logs", corpus / "gpu" / "kmsg", logs, _RECORDINGS)
        for path in sorted(folder.iterdir())
        if path.suffix in (".log", ".kmsg", ".txt") and ".composed" not in path.name
    ).replace(b"\r", b"\n")
    text = recorded.decode("utf-8", "replace")
    sources = {example for example, origin in _origins() if origin == "recorded"}
    assert sources
    assert [example for example in sorted(sources) if example not in text] == []


def _origins() -> list[tuple[str, str]]:
    return [
        (pattern["example"], pattern["from"])
        for path in _EVENTS.glob("*.toml")
        for event in tomllib.loads(path.read_text("utf-8"))["event"]
        for pattern in event["pattern"]
    ]


@pytest.mark.corpus
def test_kernel_logs_of_all_formats(read: Read, corpus: Path) -> None:
    folder = corpus / "gpu" / "kmsg"

    def fields(name: str, event: str) -> list[Mapping[str, object]]:
        return [m.fields for m in read((folder / name).read_bytes(), "kernel") if m.event.name == event]

    (memcg,) = fields("oom-memcg-llama-server.composed.dmesg.log", "oom_killed")
    assert memcg["scope"] == "Memory cgroup out of memory"
    assert memcg["file"] == 228952848 * 1024
    (globally,) = fields("oom-global-llama-server.dmesg.log", "oom_killed")
    assert (globally["scope"], globally["pid"], globally["comm"]) == ("Out of memory", 82743, "llama-server")
    (context,) = fields("oom-global-llama-server.dmesg.log", "oom_context")
    assert context["constraint"] == "CONSTRAINT_NONE"
    assert str(context["task_memcg"]).endswith(".service")
    (old,) = fields("oom-old-format-pre-5.3.log", "oom_killed")
    assert (old["pid"], old["comm"], old["anon"]) == (31357, "sh", 252 * 1024)
    assert [f["code"] for f in fields("nvidia-xid.log", "nvidia_xid")] == [31, 8, 119, 79, 79, 154]
    assert len(fields("old-format-ring-timeout-5.x.dmesg.log", "gpu_ring_timeout")) == 3
    assert fields("r9700-llama-server-hang.journal.log", "gpu_hang_process") == [
        {"pci": "0000:03:00.0", "comm": "llama-server", "pid": 394216}
    ]
    assert len(fields("sdma-reset-fails-ret-110.dmesg.log", "gpu_reset_failed")) == 2
    assert fields("strix-kfd-pagefault-mode2.dmesg-T.log", "gpu_page_fault")[0] == {"pci": "0000:65:00.0", "hub": "gfxhub"}
    assert _counts(read, (folder / "init-user-pages-benign-storm.composed.dmesg.log").read_bytes(), "kernel") == {}
    records = _counts(read, (corpus / "logs" / "b10434-oom-mlock-memcg.kmsg").read_bytes(), "kernel")
    assert records == {"oom_invoked": 1, "oom_limit": 1, "oom_task": 1, "oom_context": 1, "oom_killed": 1}


@pytest.mark.corpus
def test_systemd_lines_of_a_journal(read: Read, corpus: Path) -> None:
    data = (corpus / "gpu" / "kmsg" / "oom-global-host.journal.log").read_bytes()
    assert _counts(read, data, "systemd") == {"main_process_exited": 1, "unit_restart_scheduled": 1}


def test_experts_on_the_cpu_by_design(read: Read, logs: Path) -> None:
    counts = _counts(read, (logs / "b10434-cpu-moe-lv4.log").read_bytes())
    assert counts["experts_mapped_on_cpu"] == 1
    assert counts["low_bit_tensors"] == 1
    assert counts["server_ready"] == 1


def test_a_sleep_ends_ready_although_no_line_says_listening_again(read: Read, logs: Path) -> None:
    for name in ("b10434-sleep.log", "b10434-sleep-lv4.log"):
        found = [m.event for m in read((logs / name).read_bytes()) if "server.state" in m.event.const]
        # The library's line sets no state where llama-server's own lines do: tests/engine/facts/test_library_loads.py.
        states = [event.const["server.state"] for event in found if event.name != "library_loading"]
        after = states[states.index("sleeping") :]
        assert after[:4] == ["sleeping", "loading", "loading", "ready"]
        assert after[-2:] == ["sleeping", "stopping"]


def test_a_routers_children_are_distinguished_by_their_port(read: Read, logs: Path) -> None:
    matches = read((logs / "b10434-router.log").read_bytes())
    children = {m.fields["port"]: m.fields["name"] for m in matches if m.event.name == "router_child"}
    loaded = [m.envelope.port for m in matches if m.event.name == "model_loaded"]
    assert sorted(children.values()) == ["moe", "tiny"]
    assert sorted(loaded, key=str) == sorted(children, key=str)
    assert [m.envelope.port for m in matches if m.event.name == "router_mode"] == [None]
    assert {m.fields["status"] for m in matches if m.event.name == "router_child_exited"} == {0}


def test_colours_change_nothing(read: Read, logs: Path) -> None:
    coloured = read((logs / "b10434-colors.log").read_bytes())
    assert [m.event.name for m in coloured if m.event.name not in ("request_cancelled", "slot_selected")] == [
        "run_started", "verbosity_announced", "model_loading", "threads_made", "slots_initialized", "model_loaded",
        "server_ready", "request_started", "prompt_timing", "generation_timing", "request_finished", "server_stopping",
    ]  # fmt: skip
    assert all(m.envelope.elapsed is not None for m in coloured)


def test_a_log_file_holds_what_the_terminal_shows(read: Read, logs: Path) -> None:
    in_file = _counts(read, (logs / "b10434-log-file.log").read_bytes())
    assert in_file == _counts(read, (logs / "b10434-logfile-stderr.log").read_bytes())
    assert in_file["server_ready"] == 1


def test_two_slots_and_embeddings(read: Read, logs: Path) -> None:
    slots = [m for m in read((logs / "b10434-two-slots.log").read_bytes()) if m.event.name == "slots_initialized"]
    assert [m.fields for m in slots] == [{"slots": 2, "ctx": 512, "unified": False}]
    overflow = [m for m in read((logs / "b10434-embeddings.log").read_bytes()) if m.event.name == "batch_overflow"]
    assert [m.fields for m in overflow] == [{"task": 2, "n_prompt": 12002, "n_batch": 512}]


def test_json_lines_say_what_plain_lines_say(read: Read, logs: Path) -> None:
    matches = read((logs / "b11434-jsonl.composed.log").read_bytes())
    names = [m.event.name for m in matches]
    assert names.count("server_ready") == 1
    assert names.count("generation_timing") == 2
    (overflow,) = (m for m in matches if m.event.name == "request_overflow")
    assert overflow.envelope.level == "E"
    assert overflow.envelope.elapsed == pytest.approx(2.337883)


def test_every_event_is_reached_by_its_own_example(definitions: dict[str, EventDef], read: Read) -> None:
    reached = {
        match.event.name
        for definition in definitions.values()
        for pattern in definition.patterns
        for match in read(pattern.example.encode(), definition.source)
    }
    assert reached == set(definitions)
