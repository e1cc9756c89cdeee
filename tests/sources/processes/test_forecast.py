"""What a server will need by its flags and its model file, what it holds, and what is left: composed machines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.gguf.header import GgufHeader, model_of, read_model
from sentinel.llama.command_line import decode
from sentinel.llama.settings import HOST, Device
from sentinel.memory.footprint import footprint
from sentinel.memory.requirement import Need, unreclaimable
from sentinel.model.entity import Entity, Unknown, Value
from sentinel.preflight.build import unasked
from sentinel.preflight.command import Command, Place
from sentinel.preflight.settings import settings_of
from sentinel.sources.fs import Roots
from sentinel.sources.gpu_nodes import any_node
from sentinel.sources.processes.cgroup import parse
from sentinel.sources.processes.forecast import Outlook, unreclaimable_bytes
from sentinel.sources.processes.log_location import find_log
from sentinel.sources.processes.log_source import LogSource
from sentinel.sources.processes.requirement import lock_limit, needed, vram_total
from sentinel.sources.processes.server_process import ServerProcess

pytest.importorskip("gguf")

GIB = 1 << 30
NO_CAPABILITY = "CapEff:\t0000000000000000\n"
#: bit 14
IPC_LOCK = "CapEff:\t0000000000004000\n"
INITIAL_USERS = "         0          0 4294967295\n"
HELD: dict[str, Value | Unknown] = {
    "server.rss_anon_bytes": GIB, "server.rss_shmem_bytes": 0, "server.rss_file_bytes": 0, "server.locked_bytes": 0,
    "server.swap_bytes": 0,
}  # fmt: skip


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    made = Roots(tmp_path / "proc", tmp_path / "sys", tmp_path / "dev", tmp_path / "docker")
    (made.proc / "7").mkdir(parents=True)
    made.dev.mkdir()
    (made.sys / "fs/cgroup").mkdir(parents=True)
    (made.proc / "7/uid_map").write_text(INITIAL_USERS)
    (made.proc / "7/status").write_text(NO_CAPABILITY)
    left(made, 8 * GIB)
    return made


def left(roots: Roots, size: int, swap: int = 0) -> None:
    (roots.proc / "meminfo").write_text(f"MemAvailable: {size // 1024} kB\nSwapFree: {swap // 1024} kB\n")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> GgufHeader:
    """Four layers; all that the arithmetic reads, as make_models writes it."""
    from make_models import write_moe

    return read_model(str(write_moe(tmp_path_factory.mktemp("model") / "moe.gguf")))


def server(roots: Roots, model: GgufHeader | None, *flags: str, start: float = 100.0) -> ServerProcess:
    requested = decode(["llama-server", *flags], {})
    member = parse("0::/")
    log: LogSource = find_log(roots, 7, requested, {}, member, in_router=False)
    values: dict[str, Value | Unknown] = {"server.argv_readable": True, "server.memlock_limit_bytes": 8 << 20}
    return ServerProcess(7, 1, start, Entity("server", "x"), requested, member, log, model, 1, values)


def need_of(roots: Roots, model: GgufHeader | None, *flags: str, limit: int | Unknown = -1) -> Need:
    found = needed(roots, decode(["llama-server", "-m", "x", *flags], {}), model, limit, "")
    assert isinstance(found, Need), found
    return found


def embeddings(model: GgufHeader) -> int:
    return next(tensor.bytes for tensor in model.tensors if tensor.name == "token_embd.weight")


def test_flags_decide_what_cannot_be_dropped(roots: Roots, model: GgufHeader) -> None:
    cache = 512 * 2048
    plain = need_of(roots, model, "-c", "512")
    assert (plain.weights_bytes, plain.cache_bytes, plain.ctx) == (0, cache, 512)
    assert need_of(roots, model, "--no-mmap").weights_bytes == model.weights_bytes
    assert need_of(roots, model, "--mlock").locked_bytes == model.weights_bytes
    assert need_of(roots, model, "--mlock", limit=4096).locked_bytes == 0
    assert need_of(roots, model, "--load-mode", "mlock", limit=4096).weights_bytes == model.weights_bytes
    assert need_of(roots, model, "--load-mode", "mmap+mlock", limit=4096).weights_bytes == 0
    assert need_of(roots, model, "--load-mode", "none").locked_bytes == 0
    assert need_of(roots, model, "-c", "512", "-ctk", "q8_0", "-ctv", "q8_0").cache_bytes == cache * 34 // 64
    assert need_of(roots, model, "-c", "512", "--rpc", "other:50052").cache_bytes == 0
    assert need_of(roots, model, "-ngl", "0", "--no-mmap", "--rpc", "other:50052").weights_bytes == model.weights_bytes


def test_a_gpu_takes_what_it_may_take_and_no_more(roots: Roots, model: GgufHeader) -> None:
    (roots.dev / "dri").mkdir()
    (roots.dev / "dri/renderD128").touch()
    assert any_node(roots)
    assert need_of(roots, model, "--no-mmap", "-ngl", "99").weights_bytes == embeddings(model)
    kept = embeddings(model) + model.expert_bytes
    assert need_of(roots, model, "--no-mmap", "-ngl", "99", "--cpu-moe").weights_bytes == kept
    assert need_of(roots, model, "--no-mmap", "-ngl", "99", "-dev", "none").weights_bytes == model.weights_bytes
    assert need_of(roots, model, "-c", "512", "-ngl", "99").cache_bytes == 0
    assert need_of(roots, model, "-c", "512", "-ngl", "99", "-nkvo").cache_bytes == 512 * 2048


COMMANDS = [
    ("-c", "512", "--load-mode", "mlock"), ("-c", "4096", "--load-mode", "mmap+mlock"), ("-c", "4096", "--mlock"),
    ("-c", "512", "--no-mmap"), ("-c", "4096"), ("-c", "4096", "-nkvo", "-ngl", "99"), ("-c", "4096", "--no-mmap", "-ngl", "3"),
    ("-c", "4096", "--no-mmap", "-ngl", "99", "--n-cpu-moe", "2"), ("-c", "4096", "--no-mmap", "-ngl", "99", "--cpu-moe"),
    ("-c", "4096", "-np", "4", "--no-mmap", "-dev", "none"), ("-c", "4096", "--no-mmap", "-ot", "ffn_.*=CPU", "-ngl", "all"),
]  # fmt: skip


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("flags", COMMANDS, ids=" ".join)
def test_a_preflight_of_the_same_start_counts_the_same(
    roots: Roots, model: GgufHeader, tmp_path: Path, flags: tuple[str, ...], gpu: bool
) -> None:
    if gpu:
        (roots.dev / "dri").mkdir()
        (roots.dev / "dri/renderD128").touch()
    file = tmp_path / "link.gguf"
    command = Command(("llama-server", "-m", str(file), *flags), {}, tmp_path, None, Place(0, frozenset(), None, -1))
    settings, whole = settings_of(command, unasked(command), roots), model_of(model)
    assert not isinstance(settings, Unknown)
    assert not isinstance(whole, Unknown)
    card = [Device("ROCm0", 1 << 40, 1 << 40)] if gpu else []
    low = sum(item.low for item in unreclaimable(one for one in footprint(whole, settings, card).items if one.place == HOST))
    assert need_of(roots, model, *flags).total == low


def test_video_memory_counts_only_where_every_gpu_reports(roots: Roots) -> None:
    card = roots.sys / "class/drm/card0/device"
    card.mkdir(parents=True)
    (card / "mem_info_vram_total").write_text("1000\n")
    (roots.sys / "class/drm/card0-DP-1/device").mkdir(parents=True)
    (roots.sys / "class/drm/card0-DP-1/device/mem_info_vram_total").write_text("1000\n")
    (roots.dev / "dri").mkdir()
    (roots.dev / "dri/renderD128").touch()
    assert vram_total(roots) == 1000
    (card / "hwmon/hwmon4").mkdir(parents=True)
    (card / "hwmon/hwmon4/name").write_text("amdgpu\n")
    assert vram_total(roots) == 1000
    (card / "hwmon/hwmon4/in1_label").write_text("vddnb\n")
    assert vram_total(roots) is None, "graphics of the processor take the host's memory beside their carve-out"
    (card / "hwmon/hwmon4/in1_label").unlink()
    (roots.dev / "nvidia0").touch()
    assert vram_total(roots) is None
    (roots.dev / "nvidia0").unlink()
    (roots.dev / "dri/renderD129").touch()
    assert vram_total(roots) is None


def test_what_unified_memory_puts_on_a_gpu_is_not_held_to_be_locked(roots: Roots, model: GgufHeader) -> None:
    """Without the variable what the GPU cannot take stays on the host and is locked; with it the GPU takes all, of the host."""
    card = roots.sys / "class/drm/card0/device"
    card.mkdir(parents=True)
    (card / "mem_info_vram_total").write_text("1000\n")
    (roots.dev / "dri").mkdir()
    (roots.dev / "dri/renderD128").touch()
    words, variable = ["llama-server", "-m", "x", "--mlock"], {"GGML_CUDA_ENABLE_UNIFIED_MEMORY": "1"}
    plain, unified = (needed(roots, decode(words, env), model, -1, "") for env in ({}, variable))
    assert isinstance(plain, Need)
    assert isinstance(unified, Need)
    assert plain.locked_bytes > unified.locked_bytes


def test_a_capability_lifts_the_limit_unless_a_user_namespace_gave_it(roots: Roots) -> None:
    assert lock_limit(roots, 7, 5) == 5
    (roots.proc / "7/status").write_text(IPC_LOCK)
    assert lock_limit(roots, 7, 5) == -1
    (roots.proc / "7/uid_map").write_text("0 1000 1\n1 100000 65536\n")
    assert lock_limit(roots, 7, 5) == 5


@pytest.mark.parametrize(
    ("flags", "why"), [(("-c", "many"), "many"), (("-m", "x", "-ngl", "lots"), "lots"), (("--port", "1"), "router")]
)
def test_what_cannot_be_reported_is_unknown_with_its_reason(
    roots: Roots, model: GgufHeader, flags: tuple[str, ...], why: str
) -> None:
    words = flags if "--port" in flags else ("-m", "x", *flags)
    found = needed(roots, decode(["llama-server", *words], {}), model, -1, "")
    assert isinstance(found, Unknown)
    assert why in found.why
    assert isinstance(needed(roots, decode(["x", "-m", "x"], {}), None, -1, ""), Unknown)
    assert needed(roots, decode(["x", "-m", "x"], {}), model, -1, "no access") == Unknown("no access")


def test_only_what_cannot_be_dropped_is_firm() -> None:
    mapped_and_locked = HELD | {"server.rss_file_bytes": 5 * GIB, "server.locked_bytes": 3 * GIB}
    assert unreclaimable_bytes(mapped_and_locked) == 4 * GIB
    copied_and_locked = HELD | {"server.rss_anon_bytes": 6 * GIB, "server.locked_bytes": 5 * GIB, "server.rss_file_bytes": 4096}
    assert unreclaimable_bytes(copied_and_locked) == 6 * GIB + 4096
    assert isinstance(unreclaimable_bytes(HELD | {"server.rss_anon_bytes": Unknown("gone")}), Unknown)


def look(outlook: Outlook, roots: Roots, process: ServerProcess, held: int, age: float = 1.0) -> dict[str, Value | Unknown]:
    found = outlook.room(roots, process)
    return outlook.held(found, HELD | {"server.rss_anon_bytes": held}, age)


def test_the_load_is_unfinished_until_it_holds_what_it_needs(roots: Roots, model: GgufHeader) -> None:
    process = server(roots, model, "-m", "x", "--no-mmap")
    outlook = Outlook()
    told = outlook.requirement(roots, process)
    assert told["server.need_weights_bytes"] == model.weights_bytes
    assert outlook.requirement(roots, process) == {}
    values = look(outlook, roots, process, 4096)
    assert values["server.memory_left_bytes"] == 8 * GIB
    assert outlook.unfinished
    look(outlook, roots, process, GIB)
    assert not outlook.unfinished
    types = {"flag": bool, "int": int, "float": float, "text": str}
    for name, value in (told | values).items():
        assert isinstance(value, (Unknown, types[CATALOGUE[name].type])), name


def test_memory_pinned_for_a_gpu_counts_as_what_the_machine_lost(roots: Roots, model: GgufHeader) -> None:
    (roots.dev / "kfd").touch()
    process = server(roots, model, "-m", "x", "--no-mmap", "-ngl", "1")
    outlook = Outlook()
    outlook.requirement(roots, process)
    assert look(outlook, roots, process, GIB)["server.firm_bytes"] == GIB
    left(roots, 3 * GIB)
    # 5 GiB are gone from the machine and show nowhere: they are taken to be its own, so that no shortage is made up
    assert look(outlook, roots, process, GIB)["server.firm_bytes"] == 6 * GIB
    late = Outlook()
    late.requirement(roots, process)
    assert isinstance(look(late, roots, process, GIB, age=600.0)["server.firm_bytes"], Unknown)


def test_an_unreadable_environment_or_limit_is_said(roots: Roots, model: GgufHeader) -> None:
    process = replace(server(roots, model, "-m", "x"), values={"server.argv_readable": False})
    told = Outlook().requirement(roots, process)
    assert isinstance(told["server.need_bytes"], Unknown)
    assert isinstance(told["server.lock_limit_bytes"], Unknown)
    (roots.proc / "meminfo").unlink()
    assert isinstance(look(Outlook(), roots, process, 1)["server.memory_left_bytes"], Unknown)
