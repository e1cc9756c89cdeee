"""Finding llama-servers in a composed /proc, naming them, finding their logs, and sampling them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from composed_proc import BIN, LIBRARIES, STATUS, Machine
from opened_files import opened_files

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.gguf.header import GgufHeader
from sentinel.model.entity import Unknown, Value
from sentinel.model.reading import Reading, Samples, ServerFound, ServerGone
from sentinel.sources.base import Polled
from sentinel.sources.fs import read_bytes
from sentinel.sources.gpu import usage
from sentinel.sources.processes.discover import Servers
from sentinel.sources.processes.examination import Examinations
from sentinel.sources.processes.gpu_sample import ServerGpus
from sentinel.sources.processes.sample import ServerSampler

ID = "0123abcd" * 8


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def found(readings: Sequence[Reading]) -> list[str]:
    return [reading.entity.name for reading in readings if isinstance(reading, ServerFound)]


def values_of(machine: Machine) -> dict[str, Value | Unknown]:
    (reading,) = Servers(machine.roots).poll(0.0)
    assert isinstance(reading, ServerFound)
    return dict(reading.values)


@pytest.mark.parametrize(
    ("comm", "exe", "maps", "words", "expected"),
    [
        ("llama-server", BIN, "", (), True),
        ("llama-server-vu", "/usr/bin/llama-server-vulkan", "", (), True),
        ("llama-cpp-serve", "/usr/bin/llama-cpp-server", "", (), True),
        ("llama-server", f"{BIN} (deleted)", "", (), True),
        ("server", "/opt/server", LIBRARIES, (), True),
        ("server", "/opt/server", "", (), False),
        ("my-llm", "/opt/my-llm", LIBRARIES, ("-m", "x.gguf", "--port", "1"), True),
        ("my-llm", "/opt/my-llm", LIBRARIES, ("-m", "x.gguf", "-p", "hello"), False),
        ("my-llm", "/opt/my-llm", "7f r /opt/libllama-server-impl.so\n", (), True),
        ("llama-bench", "/opt/llama-bench", LIBRARIES, ("--port", "1"), False),
        ("llama-rpc-serve", "/opt/llama-rpc-server", LIBRARIES, (), False),
        ("python3", "/usr/bin/python3.11", LIBRARIES, ("--port", "1"), False),
        # a wrapper script, and a process that calls itself so
        ("llama-server", "/usr/bin/bash", "", (), False),
        ("llama-server", "/usr/bin/nginx", "", (), False),
    ],
)
def test_a_server_is_known_by_its_program(
    machine: Machine, comm: str, exe: str, maps: str, words: tuple[str, ...], expected: bool
) -> None:
    machine.start(10, *words, comm=comm, exe=exe, maps=maps)
    assert bool(Servers(machine.roots).poll(0.0)) is expected


def test_a_server_is_reported_once_and_its_end_once(machine: Machine) -> None:
    servers = Servers(machine.roots)
    assert isinstance(servers, Polled)
    assert servers.poll(0.0) == []
    machine.start(10, "-m", "/x.gguf", "--port", "9000")
    (reading,) = servers.poll(1.0)
    assert isinstance(reading, ServerFound)
    assert (reading.pid, reading.entity.name) == (10, "127.0.0.1:9000")
    assert reading.start_time == 1700000000 + 500 / os.sysconf("SC_CLK_TCK")
    assert servers.poll(2.0) == []
    machine.end(10)
    (gone,) = servers.poll(3.0)
    assert gone == ServerGone(3.0, "process", reading.entity, 10)
    assert servers.servers == ()


def test_a_process_id_used_again_is_another_server(machine: Machine) -> None:
    servers = Servers(machine.roots)
    machine.start(10, "--port", "9000", ticks=500)
    servers.poll(0.0)
    machine.stat(10, "llama-server", ticks=900)
    gone, again = servers.poll(1.0)
    assert isinstance(gone, ServerGone)
    assert isinstance(again, ServerFound)
    assert again.start_time > 1700000005


def test_a_zombie_is_gone(machine: Machine) -> None:
    servers = Servers(machine.roots)
    machine.start(10)
    servers.poll(0.0)
    machine.stat(10, "llama-server", state="Z")
    (machine.roots.proc / "10/exe").unlink()
    assert [type(reading) for reading in servers.poll(1.0)] == [ServerGone]
    assert servers.poll(2.0) == []


def test_a_process_that_becomes_a_server_later_is_found(machine: Machine) -> None:
    servers = Servers(machine.roots)
    servers.poll(0.0)
    process = machine.start(10, comm="bash", exe="/usr/bin/bash", maps="")
    for at in range(1, 30):
        assert servers.poll(float(at)) == []
    (process / "exe").unlink()
    (process / "exe").symlink_to(BIN)
    (process / "comm").write_text("llama-server\n")
    assert any(found(servers.poll(30.0 + at)) for at in range(10))


@pytest.mark.parametrize(
    ("cgroup", "name"),
    [
        ("/system.slice/llama.service", "llama.service"),
        (f"/system.slice/docker-{ID}.scope", ID[:12]),
        ("/user.slice/user-1.slice/session-1.scope", "0.0.0.0:8081"),
    ],
)
def test_a_server_is_named_by_unit_else_container_else_address(machine: Machine, cgroup: str, name: str) -> None:
    machine.start(10, "-m", "x", "--host", "0.0.0.0", "--port", "8081", cgroup=cgroup)
    assert found(Servers(machine.roots).poll(0.0)) == [name]


def test_a_routers_children_and_doubles_have_names_of_their_own(machine: Machine) -> None:
    unit = "/system.slice/llama.service"
    machine.start(12, "-m", "x", "--port", "5001", cgroup=unit, ticks=700, parent=10, fds={2: "pipe:[1]"})
    machine.start(10, "--models-dir", "/m", cgroup=unit, ticks=600)
    machine.start(20, "-m", "x", "--port", "5001", ticks=800)
    servers = Servers(machine.roots)
    assert found(servers.poll(0.0)) == ["llama.service", "127.0.0.1:5001", "127.0.0.1:5001:20"]
    assert servers.servers[0].requested.is_router
    assert servers.servers[1].log.where == "its router"


def test_every_value_of_a_found_server_is_of_the_catalogue(machine: Machine) -> None:
    machine.start(10, "-m", "x.gguf", "-c", "nonsense")
    types = {"flag": (bool,), "int": (int,), "float": (int, float), "text": (str,)}
    values = values_of(machine)
    for name, value in values.items():
        assert isinstance(value, (Unknown, *types[CATALOGUE[name].type])), name
    assert values["server.model_path"] == "/srv/x.gguf"
    assert isinstance(values["server.model_bytes"], Unknown)
    assert values["server.memlock_limit_bytes"] == 8388608
    assert (values["server.user"], values["server.groups"]) == ("root", "root")


def test_hostile_words_do_no_harm(machine: Machine) -> None:
    machine.start(10, "-m", os.fsdecode(b"/m/\xff\n[CRIT] x.gguf"), "--port", "1) S 1", comm="a) Z (b", exe=BIN)
    values = values_of(machine)
    for value in values.values():
        if isinstance(value, str):
            value.encode()
    assert values["server.port"] == 1


def test_a_server_amid_its_exec_is_described_when_its_words_are_there(machine: Machine) -> None:
    """The kernel shows the new name first, and for a moment no words: what asks for nothing would be a router."""
    process = machine.start(10, "-m", "/m/x.gguf", "--port", "1")
    words = (process / "cmdline").read_bytes()
    (process / "cmdline").write_bytes(b"")
    servers = Servers(machine.roots)
    assert found(servers.poll(0.0)) == []
    (process / "cmdline").write_bytes(words)
    readings = [one for second in range(1, 30) for one in servers.poll(float(second)) if isinstance(one, ServerFound)]
    assert [(one.values["server.model_path"], one.values["server.is_router"]) for one in readings] == [("/m/x.gguf", False)]


def test_an_unreadable_environment_is_said(machine: Machine) -> None:
    process = machine.start(10, "-m", "/x")
    (process / "environ").unlink()
    (process / "environ").mkdir()
    values = values_of(machine)
    assert values["server.argv_readable"] is False
    assert isinstance(values["server.gpu_layers_requested"], Unknown)
    assert values["server.model_path"] == "/x"


@pytest.mark.parametrize(
    ("words", "cgroup", "fds", "env", "kind", "where"),
    [
        (("--log-file", "a.log"), "/", {2: "/dev/null"}, {}, "file", "--log-file a.log"),
        ((), "/system.slice/l.service", {2: "socket:[42]"}, {}, "journal", "journal of l.service"),
        ((), "/", {2: "socket:[42]"}, {"JOURNAL_STREAM": "8:42"}, "journal", "process 10"),
        ((), "/", {2: "socket:[42]"}, {"JOURNAL_STREAM": "8:43"}, "none", "a socket"),
        ((), f"/docker/{ID}", {2: "pipe:[7]"}, {}, "file", "container 0123abcd0123"),
        ((), f"/machine.slice/libpod-{ID}.scope", {2: "pipe:[7]"}, {}, "journal", "container 0123abcd0123"),
        ((), "/", {2: "pipe:[7]"}, {}, "none", "a pipe"),
        ((), "/", {2: "/dev/pts/3"}, {}, "none", "/dev/pts/3"),
        ((), "/", {2: "/dev/null"}, {}, "none", "/dev/null"),
        ((), "/", {2: "/dev/null", 1: "OUT"}, {}, "file", "standard output"),
        ((), "/", {2: "OUT"}, {}, "file", "standard error"),
        ((), "/", {5: "OUT"}, {}, "none", "standard error"),
    ],
)
def test_the_log_is_found_or_the_reason_given_with_its_cure(
    machine: Machine, tmp_path: Path, words: tuple[str, ...], cgroup: str, fds: dict[int, str], env: dict[str, str],
    kind: str, where: str,
) -> None:  # fmt: skip
    out = tmp_path / "out.log"
    out.touch()
    (machine.roots.docker / ID).mkdir()
    (machine.roots.docker / ID / f"{ID}-json.log").touch()
    targets = {number: str(out) if target == "OUT" else target for number, target in fds.items()}
    machine.start(10, "-m", "x", *words, cgroup=cgroup, fds=targets, env=env)
    servers = Servers(machine.roots)
    (reading,) = servers.poll(0.0)
    assert isinstance(reading, ServerFound)
    log = servers.servers[0].log
    assert log.kind == kind
    assert where in log.where
    # What a journal gives is known when it has given something.
    assert reading.values.get("server.log_readable") is {"file": True, "none": False, "journal": None}[kind]
    if kind == "none":
        assert "--log-file" in log.remedy
    if log.path and "OUT" in fds.values():
        assert log.path == str(out)
    if words:
        assert log.path == "/srv/a.log"


def node(machine: Machine, pid: int, number: int, target: str, info: str = "") -> None:
    (machine.roots.proc / str(pid) / "fd" / str(number)).symlink_to(target)
    (machine.roots.proc / str(pid) / "fdinfo" / str(number)).write_text(info)


def sample(machine: Machine, at: float = 1700000006.0) -> dict[str, Value | Unknown]:
    servers = Servers(machine.roots)
    servers.poll(at)
    gpus = ServerGpus(lambda: servers.servers, machine.roots)
    (of_gpus,) = gpus.poll(at)
    (reading,) = ServerSampler(lambda: servers.servers, machine.roots, gpus.bytes_of).poll(at)
    assert isinstance(reading, Samples)
    assert isinstance(of_gpus, Samples)
    return {**reading.values, **of_gpus.values}


def test_a_process_without_gpu_nodes_has_zero_gpu_memory_and_that_is_known(machine: Machine) -> None:
    machine.start(10)
    values = sample(machine)
    assert values["server.gpu_memory_bytes"] == 0
    assert values["server.gpu_nodes_open"] == 0
    assert values["server.rss_anon_bytes"] == 1000 * 1024
    assert values["server.locked_bytes"] == 4096
    assert values["server.threads"] == 7
    types = {"flag": bool, "int": int, "float": float, "text": str}
    for name, value in values.items():
        assert isinstance(value, (Unknown, types[CATALOGUE[name].type])), name


def test_unreadable_descriptors_make_gpu_memory_unknown(machine: Machine) -> None:
    process = machine.start(10)
    (process / "fd").rename(process / "fd.away")
    values = sample(machine)
    assert isinstance(values["server.gpu_memory_bytes"], Unknown)
    assert isinstance(values["server.gpu_nodes_open"], Unknown)
    assert values["server.gpu_use_readable"] is False


def test_the_dev_of_the_process_itself_says_which_nodes_a_container_was_given(machine: Machine) -> None:
    process = machine.start(10)
    values = sample(machine)
    assert values["server.gpu_use_readable"] is True
    assert isinstance(values["server.gpu_nodes_in_reach"], Unknown)
    dev = process / "root/dev"
    (dev / "dri").mkdir(parents=True)
    for name in ("null", "kfd", "nvidiactl", "nvidia0", "nvidia-uvm", "nvidia-uvm-tools", "dri/renderD128", "dri/by-path"):
        (dev / name).touch()
    assert sample(machine)["server.gpu_nodes_in_reach"] == "kfd,nvidia,nvidia-uvm,render"
    for path in [*dev.glob("nvidia*"), dev / "kfd", *(dev / "dri").iterdir()]:
        path.unlink()
    assert sample(machine)["server.gpu_nodes_in_reach"] == ""


def test_memory_of_one_client_counts_once_in_any_unit_and_the_larger_account_wins(machine: Machine) -> None:
    machine.start(10)
    info = (
        "drm-driver:\tamdgpu\ndrm-client-id:\t7\ndrm-pdev:\t0000:03:00.0\n"
        "drm-resident-vram:\t2 GiB\ndrm-memory-vram:\t1 KiB\ndrm-memory-gtt: \t3 MiB\n"
    )
    node(machine, 10, 8, "/dev/dri/renderD128", info)
    node(machine, 10, 9, "/dev/dri/renderD128", info)
    node(machine, 10, 11, "/dev/kfd")
    values = sample(machine)
    assert values["server.gpu_memory_bytes"] == 2 << 30
    assert values["server.gpu_gtt_bytes"] == 3 << 20
    assert values["server.gpu_nodes_open"] == 3
    assert values["server.gpu_node_kinds"] == "kfd,render"
    kfd = machine.roots.sys / "class/kfd/kfd/proc/10"
    kfd.mkdir(parents=True)
    (kfd / "vram_51545").write_text(str(3 << 30))
    assert sample(machine)["server.gpu_memory_bytes"] == 3 << 30


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ("drm-driver: i915\ndrm-resident-local0: 2 MiB\ndrm-total-local0: 9 MiB\ndrm-resident-system0: 1 MiB\n", 3 << 20),
        ("drm-driver: xe\ndrm-resident-gtt: 5 GiB\ndrm-total-vram0: 0\n", 5 << 30),
        ("drm-driver: amdgpu\n", 0),
        ("drm-driver: amdgpu\ndrm-memory-vram: 7 parsecs\n", 0),
        ("drm-driver: nouveau\n", None),
    ],
)
def test_other_drivers_name_their_memory_otherwise(machine: Machine, info: str, expected: int | None) -> None:
    machine.start(10)
    node(machine, 10, 8, "/dev/dri/renderD128", info)
    value = sample(machine)["server.gpu_memory_bytes"]
    assert isinstance(value, Unknown) if expected is None else value == expected


def test_nvidia_nodes_alone_make_memory_unknown_and_say_so(machine: Machine) -> None:
    machine.start(10)
    node(machine, 10, 8, "/dev/nvidia0")
    value = sample(machine)["server.gpu_memory_bytes"]
    assert isinstance(value, Unknown)
    assert "NVIDIA" in value.why


def test_memory_on_a_gpu_that_nobody_counts_is_not_what_an_integrated_gpu_beside_it_shows(machine: Machine) -> None:
    """Vulkan on an NVIDIA GPU opens the render node of a Ryzen's graphics too, to look at it: 3 MiB are no fallback."""
    machine.start(10)
    node(machine, 10, 8, "/dev/nvidia0")
    node(machine, 10, 9, "/dev/dri/renderD128", "drm-driver:\tamdgpu\ndrm-client-id:\t7\ndrm-memory-vram:\t3072 KiB\n")
    values = sample(machine)
    assert isinstance(values["server.gpu_memory_bytes"], Unknown)
    assert values["server.gpu_nodes_open"] == 2
    node(machine, 10, 10, "/dev/dri/renderD129", "drm-driver:\tamdgpu\ndrm-client-id:\t8\ndrm-memory-vram:\t4194304 KiB\n")
    assert sample(machine)["server.gpu_memory_bytes"] == (4 << 30) + (3 << 20)


def test_the_gpu_of_windows_is_a_node_whose_memory_is_unknown(machine: Machine) -> None:
    machine.start(10)
    node(machine, 10, 8, "/dev/dxg")
    values = sample(machine)
    assert (values["server.gpu_nodes_open"], values["server.gpu_node_kinds"]) == (1, "dxg")
    assert isinstance(values["server.gpu_memory_bytes"], Unknown)


def test_backends_and_a_software_renderer_are_read_from_the_maps(machine: Machine) -> None:
    maps = "7f r /o/libggml-base.so\n7f r /o/libggml-vulkan.so.0\n7f r /u/libvulkan.so.1\n7f r /u/libvulkan_lvp.so\n"
    machine.start(10, maps=maps)
    values = sample(machine)
    assert (values["server.gpu_backends"], values["server.software_gpu"]) == ("vulkan", True)
    node(machine, 10, 8, "/dev/dri/renderD128", "drm-driver:\tamdgpu\n")
    assert sample(machine)["server.software_gpu"] is False
    (machine.roots.proc / "10/maps").write_text("7f r /o/libamdhip64.so.6\n")
    assert sample(machine)["server.gpu_backends"] == "hip"
    (machine.roots.proc / "10/maps").write_text("7f r /o/libggml-base.so\n7f r /u/libvulkan.so.1\n")
    assert sample(machine)["server.gpu_backends"] == ""


def test_backends_that_lie_beside_and_were_not_loaded_are_seen_as_the_process_sees_them(machine: Machine) -> None:
    process = machine.start(
        10, maps="7f-7f r-xp 0 08:01 5 /app/libggml-base.so.0\n7f-7f r-xp 0 08:01 6 /app/libggml-cpu-haswell.so\n"
    )
    assert isinstance(sample(machine)["server.gpu_backends_beside"], Unknown), "its root cannot be looked into"
    (process / "root/app").mkdir(parents=True)
    for name in ("libggml-base.so.0", "libggml-hip.so", "libggml-vulkan.so.0.9.4", "libggml-hipster.txt"):
        (process / "root/app" / name).touch()
    values = sample(machine)
    assert (values["server.gpu_backends"], values["server.gpu_backends_beside"]) == ("", "hip,vulkan")
    (process / "maps").write_text("7f-7f r-xp 0 08:01 5 /usr/bin/llama-server\n")
    assert sample(machine)["server.gpu_backends_beside"] == ""


def test_nodes_a_user_may_not_open_are_named(machine: Machine) -> None:
    (machine.roots.dev / "dri").mkdir()
    for name, mode in (("kfd", 0o660), ("dri/renderD128", 0o666)):
        (machine.roots.dev / name).touch()
        (machine.roots.dev / name).chmod(mode)
    owner = (machine.roots.dev / "kfd").stat()
    assert usage.refused(machine.roots, owner.st_uid + 4000, frozenset({4001})) == "/dev/kfd"
    assert usage.refused(machine.roots, owner.st_uid + 4000, frozenset({owner.st_gid})) == ""
    assert usage.refused(machine.roots, 0, frozenset()) == ""


def test_each_kind_of_reading_has_its_own_pace_and_cpu_is_a_difference(machine: Machine) -> None:
    machine.start(10)
    servers = Servers(machine.roots)
    start = 1700000006.0
    servers.poll(start)
    sampler = ServerSampler(lambda: servers.servers, machine.roots)
    sampler.poll(start)
    assert sampler.poll(start + 1) == []
    machine.stat(10, "llama-server", cpu=3 * os.sysconf("SC_CLK_TCK"))
    (reading,) = sampler.poll(start + 2)
    assert isinstance(reading, Samples)
    assert reading.values["server.cpu_cores"] == 1.5
    old = start + 200
    sampler.poll(old)
    assert sampler.poll(old + 4) == []
    assert len(sampler.poll(old + 5)) == 1


def test_what_it_has_of_gpus_is_read_at_its_own_pace(machine: Machine) -> None:
    machine.start(10)
    servers = Servers(machine.roots)
    start = 1700000006.0
    servers.poll(start)
    gpus = ServerGpus(lambda: servers.servers, machine.roots)
    gpus.poll(start)
    assert gpus.poll(start + 2) == []
    gpus.poll(start + 200)
    (reading,) = gpus.poll(start + 210)
    assert isinstance(reading, Samples)
    assert "server.gpu_memory_bytes" in reading.values
    assert "server.gpu_backends" not in reading.values


def card(machine: Machine, address: str, total: int, used: int, apu: bool = False) -> None:
    device = machine.roots.sys / "bus/pci/devices" / address
    (device / "hwmon/hwmon4").mkdir(parents=True)
    (device / "hwmon/hwmon4/name").write_text("amdgpu\n")
    if apu:
        (device / "hwmon/hwmon4/in1_label").write_text("vddnb\n")
    (device / "mem_info_vram_total").write_text(f"{total}\n")
    (device / "mem_info_vram_used").write_text(f"{used}\n")


def client(number: int, address: str, vram: str, more: str = "") -> str:
    return f"drm-driver:\tamdgpu\ndrm-client-id:\t{number}\ndrm-pdev:\t{address}\ndrm-memory-vram:\t{vram}\n{more}"


def test_the_gpus_of_a_server_are_those_it_holds_memory_on_and_the_fullest_counts(machine: Machine) -> None:
    machine.start(10)
    card(machine, "0000:03:00.0", 24 << 30, 23 << 30)
    card(machine, "0000:43:00.0", 24 << 30, 20 << 30)
    node(machine, 10, 8, "/dev/dri/renderD128", client(7, "0000:03:00.0", "20 GiB", "amd-evicted-vram:\t4194304 KiB\n"))
    node(machine, 10, 9, "/dev/dri/renderD129", client(8, "0000:43:00.0", "18 GiB", "amd-evicted-vram:\t0 KiB\n"))
    # ROCm opens every GPU
    node(machine, 10, 10, "/dev/dri/renderD130", client(9, "0000:64:00.0", "2 MiB"))
    values = sample(machine)
    assert values["server.gpus"] == "0000:03:00.0,0000:43:00.0"
    assert values["server.gpu_evicted_bytes"] == 4 << 30
    assert (values["server.gpu_vram_total_bytes"], values["server.gpu_vram_free_bytes"]) == (24 << 30, 1 << 30)
    assert values["server.gpu_on_apu"] is False
    assert isinstance(values["server.gpu_visible_bytes"], Unknown)
    for address, seen in (("0000:03:00.0", 24 << 30), ("0000:43:00.0", 256 << 20)):
        (machine.roots.sys / "bus/pci/devices" / address / "mem_info_vis_vram_total").write_text(f"{seen}\n")
    assert sample(machine)["server.gpu_visible_bytes"] == 256 << 20


def test_what_an_old_kernel_does_not_count_is_unknown(machine: Machine) -> None:
    machine.start(10)
    node(machine, 10, 8, "/dev/dri/renderD128", client(7, "0000:03:00.0", "20 GiB"))
    values = sample(machine)
    assert isinstance(values["server.gpu_evicted_bytes"], Unknown)
    assert values["server.gpus"] == "0000:03:00.0"
    assert isinstance(values["server.gpu_vram_free_bytes"], Unknown)


def test_kfd_names_the_gpu_where_the_descriptors_cannot_be_read(machine: Machine) -> None:
    process = machine.start(10)
    (process / "fd").rename(process / "fd.away")
    card(machine, "0000:64:00.0", 512 << 20, 480 << 20, apu=True)
    kfd = machine.roots.sys / "class/kfd/kfd"
    (kfd / "proc/10").mkdir(parents=True)
    (kfd / "proc/10/vram_51545").write_text(str(3 << 30))
    (kfd / "topology/nodes/1").mkdir(parents=True)
    (kfd / "topology/nodes/1/gpu_id").write_text("51545\n")
    (kfd / "topology/nodes/1/properties").write_text(f"gfx_target_version 110003\nlocation_id {0x64 << 8}\ndomain 0\n")
    values = sample(machine)
    assert (values["server.gpu_memory_bytes"], values["server.gpus"]) == (3 << 30, "0000:64:00.0")
    assert values["server.gpu_on_apu"] is True
    assert isinstance(values["server.gpu_gtt_bytes"], Unknown)


def test_a_process_that_ends_between_scan_and_sample_gives_nothing(machine: Machine) -> None:
    machine.start(10)
    servers = Servers(machine.roots)
    servers.poll(0.0)
    machine.end(10)
    assert ServerSampler(lambda: servers.servers, machine.roots).poll(1.0) == []
    assert ServerGpus(lambda: servers.servers, machine.roots).poll(1.0) == []


def test_a_scan_at_rest_opens_few_files_of_200_processes(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it costs is how many it looks into again; bench/idle.py has the time."""
    for pid in range(100, 300):
        machine.start(pid, comm="worker", exe="/usr/bin/worker", maps="")
    machine.start(10)
    servers = Servers(machine.roots)
    servers.poll(0.0)
    opened = opened_files(monkeypatch)
    rounds = 50
    for at in range(1, rounds + 1):
        servers.poll(at * 10.0)
    assert 0 < len(opened) / rounds < 30


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "vram", "gtt"),
    [
        ("amdgpu-hip-llama.composed.txt", 21502 << 20, 18 << 20),
        ("amdgpu-vulkan-llama-t0.composed.txt", 21504 << 20, 412 << 20),
        ("amdgpu-evicted-vram.composed.txt", 17825792 << 10, 4616192 << 10),
        ("amdgpu-5.14-old-format.composed.txt", 44564 << 10, 2392 << 10),
        ("amdgpu-6.13-gfx-client.txt", 544428 << 10, 22 << 20),
    ],
)
def test_recorded_fdinfo_is_decoded(corpus: Path, name: str, vram: int, gtt: int) -> None:
    client = usage.parse_fdinfo((corpus / "gpu/fdinfo" / name).read_text())
    assert client is not None
    assert (client.vram, client.gtt) == (vram, gtt)


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["kfd-fd.composed.txt", "not-drm.txt"])
def test_a_file_that_is_no_drm_client_is_none(corpus: Path, name: str) -> None:
    assert usage.parse_fdinfo((corpus / "gpu/fdinfo" / name).read_text()) is None


def test_a_model_on_a_file_system_that_hangs_keeps_no_other_server_from_being_seen(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()

    def hang(path: str, *_: object) -> GgufHeader:
        if "hung" in path:
            answers.wait()
        return GgufHeader(77)

    monkeypatch.setattr("sentinel.sources.processes.named_files.read_model", hang)
    monkeypatch.setattr("sentinel.sources.processes.descriptions._PATIENCE", 0.2)
    servers = Servers(machine.roots)
    for pid in range(10, 16):
        process = machine.start(pid, "-m", f"/nfs/hung-{pid}.gguf", "--port", str(9000 + pid), ticks=pid)
        (process / "status").write_text(STATUS.replace("Uid:\t0\t0\t0\t0", "Uid:\t7\t7\t7\t7"))
    begun = time.monotonic()
    readings = servers.poll(0.0)
    assert time.monotonic() - begun < 3
    assert len(found(readings)) == 6
    machine.start(20, "-m", "/disk/well.gguf", "--port", "9999")
    (well,) = [each for each in servers.poll(1.0) if isinstance(each, ServerFound) and each.pid == 20]
    assert well.values["server.model_bytes"] == 77
    (hung, *_) = (each for each in servers.servers if each.pid == 10)
    assert not hung.examined
    assert isinstance(hung.values["server.model_arch"], Unknown)
    answers.set()
    late: list[Samples] = []
    until = time.monotonic() + 10
    while not any(each.entity == hung.entity for each in late) and time.monotonic() < until:
        late += [each for each in servers.poll(2.0) if isinstance(each, Samples)]
    assert next(each for each in late if each.entity == hung.entity).values["server.model_bytes"] == 77
    assert next(each for each in servers.servers if each.pid == 10).model == GgufHeader(77)


def test_a_command_line_that_cannot_be_read_to_its_end_keeps_no_other_server_from_being_seen(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of it may lie on a file system of the process's own, which never answers."""
    read, answers = read_bytes, threading.Event()

    def hang(path: Path | str, *more: int) -> bytes:
        if "/10/cmdline" in str(path):
            answers.wait()
        return read(path, *more)

    monkeypatch.setattr("sentinel.sources.processes.launch.read_bytes", hang)
    monkeypatch.setattr("sentinel.sources.processes.descriptions._PATIENCE", 0.2)
    machine.start(10, "--port", "9010", ticks=1)
    machine.start(11, "--port", "9011", ticks=2)
    servers = Servers(machine.roots)
    assert found(servers.poll(0.0)) == ["127.0.0.1:9011"]
    answers.set()


def test_a_user_who_takes_much_time_waits_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentinel.sources.processes.examination._LONG", 0.0)
    # Of a millisecond of work: the pause does not end before it is looked at, however busy the machine is.
    monkeypatch.setattr("sentinel.sources.processes.examination._REST", 1e6)
    examinations = Examinations()
    first = examinations.begin(7, lambda: sum(range(100_000)))
    assert first is not None
    assert first.wait(20)
    assert examinations.begin(7, int) is None
    assert examinations.begin(8, int) is not None


def test_the_configurations_name_of_a_port_belongs_to_one_process_at_a_time(machine: Machine) -> None:
    servers = Servers(machine.roots, {8080: "big-model"})
    machine.start(10, "--port", "8080", ticks=1)
    machine.start(11, "--port", "8080", ticks=2)
    assert found(servers.poll(0.0)) == ["big-model", "127.0.0.1:8080"]
    assert servers.poll(1.0) == []
    machine.end(10)
    servers.poll(2.0)
    machine.start(12, "--port", "8080", ticks=3)
    assert found(servers.poll(3.0)) == ["big-model"]
