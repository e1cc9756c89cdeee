"""A GPU's hang and reset as one story: which line ends it, which GPU it is about, which servers it concerns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sentinel.engine.engine import Engine
from sentinel.engine.facts.gpu_incident_states import advance
from sentinel.engine.inspect.blind_spots import blind_spots
from sentinel.engine.inspect.explain import why
from sentinel.model.alert import Transition
from sentinel.model.entity import HOST, Entity, Unknown, Value
from sentinel.model.json_form import is_news
from sentinel.model.reading import Event, LogLines, Samples, ServerFound, ServerGone, Tick

CARD = Entity("gpu", "0000:03:00.0")
SERVER = Entity("server", "llama.service")
PREFIX = "amdgpu 0000:03:00.0: amdgpu: "


def kernel(engine: Engine, at: float, *lines: str) -> list[Transition]:
    return engine.step(LogLines(at, "kernel", HOST, "\n".join(lines).encode() + b"\n", kind="kernel"))


def incident(engine: Engine, card: Entity = CARD) -> dict[str, Value]:
    _, last = engine.state.happened(card, "gpu_incident", float("-inf"))
    return dict(last.fields) if last is not None else {}


def of_rule(transitions: list[Transition], rule: str = "gpu-reset") -> list[tuple[str, str]]:
    return [(t.state, t.cause.id if t.cause else "") for t in transitions if t.rule == rule]


def use(engine: Engine, at: float, cards: str = CARD.name) -> None:
    values: dict[str, Value] = {"server.unit": "llama.service", "server.log_readable": True}
    engine.step(ServerFound(at, "process", SERVER, 77, at, values))
    engine.step(Samples(at, "process", SERVER, {"server.gpus": cards}))


def test_the_end_shows_in_reset_n_succeeded_and_not_in_reset_succeeded_trying_to_resume(engine: Engine) -> None:
    states = []
    for line in ("GPU reset begin!. Source:  1", "GPU reset succeeded, trying to resume", "VRAM is lost due to GPU reset!",
                 "GPU reset(1) succeeded!"):  # fmt: skip
        kernel(engine, 100.0, PREFIX + line)
        states.append(incident(engine)["state"])
    assert states == ["resetting", "resuming", "resuming", "recovered"]
    assert incident(engine)["vram_lost"] is True


@pytest.mark.parametrize(
    "line", ["GPU reset succeeded, trying to resume", "GPU reset(1) succeeded!", "Ring gfx_0.0.0 reset succeeded"]
)
def test_the_middle_of_a_story_that_nobody_saw_begin_is_no_story(engine: Engine, line: str) -> None:
    kernel(engine, 100.0, PREFIX + line)
    assert incident(engine) == {}


def test_other_queues_that_time_out_during_a_reset_do_not_begin_the_story_again(engine: Engine) -> None:
    timeout = "ring comp_1.0.0 timeout, signaled seq=1, emitted seq=2"
    kernel(engine, 100.0, PREFIX + "GPU reset begin!", PREFIX + timeout, PREFIX + "GPU reset(1) succeeded!")
    assert incident(engine)["state"] == "recovered"
    kernel(engine, 200.0, PREFIX + "GPU reset begin!", PREFIX + "GPU reset end with ret = -110", PREFIX + timeout)
    assert incident(engine)["state"] == "failed"


def test_a_reset_whose_end_was_not_seen_does_not_swallow_the_next_hang(engine: Engine) -> None:
    kernel(engine, 100.0, PREFIX + "GPU reset begin!")
    kernel(engine, 5000.0, PREFIX + "ring comp_1.0.0 timeout, signaled seq=1, emitted seq=2")
    assert incident(engine)["state"] == "hung"


def test_a_dead_gpu_that_goes_on_complaining_is_one_incident(engine: Engine) -> None:
    told = []
    for second in range(200):
        told += kernel(engine, 100.0 + second, PREFIX + "device lost from bus!", PREFIX + "Failed to export SMU metrics table!")
    assert of_rule(told) == [("firing", "card-lost")]
    assert engine.state.happened(CARD, "gpu_incident", 0.0)[0] == 1


def test_servers_that_hold_memory_on_the_gpu_are_named_also_those_that_died_of_it(engine: Engine) -> None:
    use(engine, 100.0)
    told = kernel(engine, 110.0, PREFIX + "GPU reset begin!")
    assert incident(engine)["servers"] == "llama.service"
    engine.step(ServerGone(111.0, "process", SERVER, 77))
    told += kernel(engine, 112.0, PREFIX + "VRAM is lost due to GPU reset!", PREFIX + "GPU reset(1) succeeded!")
    assert incident(engine)["servers"] == "llama.service"
    assert of_rule(told) == [("firing", "being-reset"), ("firing", "memory-lost")]
    assert told[-1].fixes[0].command == "sudo systemctl restart llama.service"


def test_a_reset_of_a_gpu_that_no_server_uses_is_reported_only_when_it_fails(engine: Engine) -> None:
    use(engine, 100.0, cards="0000:43:00.0")
    assert of_rule(kernel(engine, 110.0, PREFIX + "GPU reset begin!", PREFIX + "GPU reset(1) succeeded!")) == []
    assert of_rule(kernel(engine, 120.0, PREFIX + "GPU reset begin!", PREFIX + "GPU reset end with ret = -110")) == [
        ("firing", "reset-failed")
    ]


def test_who_uses_the_gpu_is_unknown_until_every_server_was_looked_at(engine: Engine) -> None:
    kernel(engine, 90.0, PREFIX + "GPU reset begin!")
    assert "servers" not in incident(engine), "no server was ever seen: nobody has looked yet"
    use(engine, 100.0, cards="0000:43:00.0")
    engine.step(ServerFound(101.0, "process", Entity("server", "other.service"), 78, 101.0, {}))
    kernel(engine, 200.0, PREFIX + "GPU reset begin!. Source:  3")
    assert "servers" not in incident(engine)
    engine.step(ServerGone(201.0, "process", Entity("server", "other.service"), 78))
    kernel(engine, 202.0, PREFIX + "GPU reset(1) succeeded!")
    assert incident(engine)["servers"] == ""


def test_a_gpu_that_was_unplugged_under_a_server_is_reported_and_over_when_it_is_back(engine: Engine) -> None:
    use(engine, 100.0)
    told = engine.step(Event(110.0, "gpu_removed", CARD, {"name": "Navi 31"}, "udev", "remove 0000:03:00.0"))
    assert of_rule(told) == [("firing", "unplugged")]
    told = engine.step(Event(130.0, "gpu_added", CARD, {"name": "Navi 31"}, "udev", "add 0000:03:00.0"))
    assert of_rule(told) == [("resolved", "unplugged")]


def test_udevs_wedged_event_ends_the_story_where_the_kernels_log_did_not(engine: Engine) -> None:
    kernel(engine, 100.0, PREFIX + "GPU reset begin!")
    engine.step(Event(101.0, "gpu_wedged", CARD, {"recovery": "none"}, "udev", "WEDGED=none"))
    assert incident(engine)["state"] == "recovered"
    engine.step(Event(200.0, "gpu_wedged", CARD, {"recovery": "rebind,bus-reset"}, "udev", "WEDGED=rebind,bus-reset"))
    assert incident(engine)["state"] == "failed"
    assert "rebind,bus-reset" in str(incident(engine)["what"])


def test_a_line_that_names_no_gpu_belongs_to_the_gpu_named_just_before(engine: Engine) -> None:
    for address in ("0000:03:00.0", "0000:43:00.0"):
        engine.step(Samples(90.0, "amdgpu", Entity("gpu", address), {"gpu.vendor": "amd"}))
    kernel(engine, 100.0, "amdgpu 0000:43:00.0: GPU reset begin!", "[drm] VRAM is lost due to GPU reset!")
    assert incident(engine, Entity("gpu", "0000:43:00.0"))["vram_lost"] is True
    kernel(engine, 900.0, "amdgpu: GPU reset begin!")
    assert incident(engine, Entity("gpu", "amdgpu"))["state"] == "resetting", "of two cards nobody can tell which"


def test_a_hang_that_no_reset_follows_is_reported_for_a_gpu_of_which_only_the_kernels_log_is_known(engine: Engine) -> None:
    """Nothing was ever read of it: sysfs is hidden from a container, or it hung before the first look."""
    told = kernel(engine, 100.0, PREFIX + "ring gfx_0.0.0 timeout, signaled seq=1, emitted seq=2")
    for second in range(101, 140):
        told += engine.step(Tick(float(second)))
    assert [(t.at, t.state, t.entity) for t in told if t.rule == "gpu-reset"] == [(131.0, "firing", CARD)]
    assert [s["entity"] for s in why(engine, "gpu-reset", "", 140.0)["subjects"]] == [CARD.name]


def test_a_process_that_only_the_kernel_named_is_forgotten_with_its_alert(engine: Engine) -> None:
    """Each kill has another process id: kept for ever, a server that is killed every minute would fill the memory."""
    told = kernel(engine, 100.0, "Out of memory: Killed process 4711 (llama-server) total-vm:9kB, anon-rss:9kB, file-rss:0kB")
    assert of_rule(told, "load-oom") == [("firing", "killed-by-kernel")]
    assert not [gap for gap in blind_spots(engine, 100.0) if gap["entity"] == "llama-server[4711]"]
    engine.step(Tick(100.0 + 23 * 3600))
    assert engine.state.log.newest()
    for hours in (25, 26):
        told += engine.step(Tick(100.0 + hours * 3600))
    assert of_rule(told, "load-oom")[-1] == ("resolved", "killed-by-kernel")
    assert not engine.state.log.newest()
    assert not engine.book.of_rule("load-oom")


def test_a_dead_gpu_is_no_news_after_a_boot(engine: Engine) -> None:
    kernel(engine, 1000.0, PREFIX + "GPU reset begin!", PREFIX + "GPU reset end with ret = -110")
    again = Engine(engine.ruleset)
    again.load(engine.dump())
    told = again.step(Samples(5000.0, "host", HOST, {"host.uptime_seconds": 60.0, "host.kernel_log_readable": True}))
    assert of_rule(told) == [("resolved", "reset-failed")]


def test_xids_of_a_programs_own_making_are_no_incident_and_a_recovery_that_is_over_is_the_end() -> None:
    def xid(code: int, why: str = "text") -> Event:
        return Event(1.0, "nvidia_xid", CARD, {"code": code, "why": why})

    assert [advance({}, xid(code)) for code in (13, 31, 43, 45, 9999)] == [None] * 5
    lost = advance({}, xid(79))
    assert lost is not None
    assert lost["state"] == "lost"
    assert advance(lost, xid(154, "GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)")) is None
    over = advance(lost, xid(154, "GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)"))
    assert over is not None
    assert over["state"] == "recovered"


RECORDED = [
    ("device-lost-repeating.log", "lost", None),
    ("gfx1200-ring-resets-then-mode1.journal.log", "recovered", True),
    ("hws-hang-5.3-no-device-prefix.log", "resuming", True),
    ("r9700-llama-server-hang.journal.log", "resuming", True),
    ("sdma-reset-fails-ret-110.dmesg.log", "failed", True),
    ("dev-kmsg-amdgpu-reset.composed.txt", "recovered", True),
    # lines of two machines: the second's queue times out before the first's reset has ended
    ("old-format-ring-timeout-5.x.dmesg.log", "resetting", False),
    ("init-user-pages-benign-storm.composed.dmesg.log", None, None),
    ("pcie-aer.log", None, None),
]


def stories(engine: Engine) -> Iterator[dict[str, Value]]:
    for entity in {e for e, _ in engine.state.log._events}:
        if (story := incident(engine, entity)) and story["state"] != "trouble":
            yield story


@pytest.mark.corpus
@pytest.mark.parametrize(("file", "state", "vram_lost"), RECORDED)
def test_recorded_hangs_of_every_era_come_to_their_end(
    engine: Engine, corpus: Path, file: str, state: str | None, vram_lost: bool | None
) -> None:
    path = corpus / "gpu/kmsg" / file
    engine.step(Samples(1e9, "amdgpu", CARD, {"gpu.vendor": "amd"}))
    # one recording was stripped of its stamps and hosts
    data = path.read_bytes().replace(b"\nkernel: ", b"\n").removeprefix(b"kernel: ")
    engine.step(LogLines(2e9, "kernel", HOST, data, kind="kernel"))
    found = list(stories(engine))
    assert [(s["state"], s.get("vram_lost")) for s in found] == ([] if state is None else [(state, vram_lost)])


def test_memory_that_grows_on_the_host_long_after_the_load_of_a_full_gpu_is_a_spill_where_nothing_counts_it(
    engine: Engine,
) -> None:
    use(engine, 1000.0)
    engine.step(LogLines(1001.0, "log", SERVER, b"0.01.150.277 I srv  llama_server: listening on http://127.0.0.1:18080\n"))
    told = []
    for at in range(1002, 4000, 10):
        pinned = 8 << 30 if at < 2600 else 9 << 30
        values: dict[str, Value | Unknown] = {
            "server.gpu_memory_bytes": 24 << 30, "server.gpu_gtt_bytes": pinned, "server.gpu_on_apu": False,
            "server.gpu_vram_total_bytes": 24 << 30, "server.gpu_vram_free_bytes": 90 << 20,
            "server.gpu_evicted_bytes": Unknown("the kernel is older than 6.4"),
        }  # fmt: skip
        told += [
            (at, t.state) for t in engine.step(Samples(float(at), "process_gpu", SERVER, values)) if t.rule == "gpu-memory-spill"
        ]
    assert told == [(2602, "pending"), (2632, "firing")]


def test_a_server_that_falls_back_to_the_cpu_because_its_gpu_is_gone_is_one_incident_with_it(engine: Engine) -> None:
    """Two GPUs: which one the server used is known from before, and from the story after its restart."""
    asked: dict[str, Value | Unknown] = {
        "server.gpu_layers_requested": 99,
        "server.gpu_layers_explicit": True,
        "server.device_none": False,
        "server.is_router": False,
        "server.model_bytes": 4_000_000_000,
        "server.log_readable": True,
        "server.state": "ready",
    }
    on_cpu: dict[str, Value | Unknown] = {"server.gpu_nodes_open": 0, "server.gpu_memory_bytes": 0, "server.gpu_gtt_bytes": 0}
    for card in (CARD, Entity("gpu", "0000:43:00.0")):
        engine.step(Samples(99.0, "amdgpu", card, {"gpu.vendor": "amd"}))
    engine.step(Samples(99.0, "host", HOST, {"host.uptime_seconds": 90000.0}))
    use(engine, 100.0)
    told = kernel(engine, 110.0, PREFIX + "GPU reset begin!", PREFIX + "GPU reset end with ret = -110")
    told += engine.step(ServerGone(111.0, "process", SERVER, 77))
    told += engine.step(ServerFound(112.0, "process", SERVER, 78, 112.0, asked))
    for second in range(113, 160):
        told += engine.step(Samples(float(second), "process", SERVER, on_cpu | {"server.gpus": ""}))
        told += engine.step(Tick(float(second)))
    news = [(t.rule, t.state) for t in told if is_news(t) and t.severity == "critical"]
    assert news == [("gpu-reset", "firing")]
    fallback = engine.book.peek("cpu-fallback", SERVER)
    assert fallback is not None
    assert (fallback.state, fallback.gate.by) == ("pending", ("gpu-reset", CARD))
    # Another GPU's death would explain nothing.
    engine.state.log.remove(CARD)
    assert not list(engine.inhibition.effects_of(engine.book.record("gpu-reset", CARD)))


FAULTED = "Memory access fault by GPU node-1 (Agent handle: 0x5) on address 0x7. Reason: gone.\n"
LOST = "terminate called after throwing an instance of 'vk::DeviceLostError'\n  what():  vk::Queue::submit: ErrorDeviceLost\n"
ENDED = ("ring comp_1.1.0 timeout, signaled seq=340, emitted seq=342", " Process llama-server pid 77 thread llama-server pid 81")
FAULT = ("[gfxhub] page fault (src_id:0 ring:153 vmid:8 pasid:32795)", " Process llama-server pid 77 thread llama-server pid 77")


def said(engine: Engine, at: float, text: str) -> list[Transition]:
    return engine.step(LogLines(at, "log", SERVER, text.encode(), kind="llama-server"))


@pytest.mark.parametrize("first", ["kernel", "server"])
@pytest.mark.parametrize(("lines", "words"), [(ENDED, LOST), (FAULT, FAULTED)])
def test_work_that_the_driver_ended_is_reported_once_where_the_server_says_it(
    engine: Engine, first: str, lines: tuple[str, ...], words: str
) -> None:
    use(engine, 100.0)
    told: list[Transition] = []
    for at, who in ((200.0, first), (200.4, "server" if first == "kernel" else "kernel")):
        told += kernel(engine, at, *(PREFIX + line for line in lines)) if who == "kernel" else said(engine, at, words)
    for second in range(201, 230):
        told += engine.step(Tick(float(second)))
    assert of_rule(told) == []
    assert of_rule(told, "server-crashed")


@pytest.mark.parametrize(("lines", "cause"), [(ENDED, "work-ended-amd"), (FAULT, "page-fault")])
def test_work_that_the_driver_ended_is_reported_for_the_gpu_where_the_server_says_nothing(
    engine: Engine, lines: tuple[str, ...], cause: str
) -> None:
    use(engine, 100.0)
    told = kernel(engine, 200.0, *(PREFIX + line for line in lines))
    for second in range(201, 230):
        told += engine.step(Tick(float(second)))
    assert of_rule(told) == [("firing", cause)]
    assert of_rule(told, "server-crashed") == []


def test_a_servers_error_in_a_reset_of_its_gpu_is_reported_for_the_gpu_alone(engine: Engine) -> None:
    use(engine, 100.0)
    told = kernel(engine, 200.0, *(PREFIX + line for line in (*ENDED, "GPU reset begin!. Source:  1")))
    told += said(engine, 201.0, LOST)
    told += kernel(engine, 203.0, PREFIX + "VRAM is lost due to GPU reset!", PREFIX + "GPU reset(1) succeeded!")
    for second in range(204, 230):
        told += engine.step(Tick(float(second)))
    assert {t.rule for t in told if t.state == "firing"} & {"gpu-reset", "server-crashed"} == {"gpu-reset"}


def test_a_crash_of_another_kind_is_reported_beside_a_reset(engine: Engine) -> None:
    use(engine, 100.0)
    kernel(engine, 200.0, PREFIX + "GPU reset begin!. Source:  1", PREFIX + "GPU reset(1) succeeded!")
    told = said(engine, 230.0, "/build/src/llama-context.cpp:1749: GGML_ASSERT(n_outputs > 0) failed\n")
    for second in range(231, 260):
        told += engine.step(Tick(float(second)))
    assert of_rule(told, "server-crashed")[-1] == ("firing", "assertion")


def test_the_end_of_a_routers_child_belongs_to_the_child(engine: Engine) -> None:
    lines = (
        "0.00.095.901 I srv          load: spawning server instance with name=moe on port 54697\n"
        "[54697] 0.00.374.713 I srv  llama_server: listening on http://127.0.0.1:54697\n"
        "0.90.363.494 I srv    operator(): instance name=moe exited with status 139\n"
    )
    told = said(engine, 300.0, lines)
    for second in range(301, 330):
        told += engine.step(Tick(float(second)))
    crashes = [(t.entity.name, t.cause.id if t.cause else "") for t in told if t.rule == "server-crashed" and t.state == "firing"]
    assert crashes == [("llama.service[54697]", "segmentation-fault")]
