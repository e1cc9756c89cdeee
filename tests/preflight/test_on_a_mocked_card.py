"""A 7900 XTX in sysfs: free video memory, who holds the rest, the steps to the GPU, flags that fit."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from make_models import write_moe
from places import TESTS

from sentinel.model.entity import Unknown
from sentinel.preflight.build import Build
from sentinel.preflight.command import Command, Place
from sentinel.preflight.device import BuildDevice
from sentinel.preflight.examine import examine
from sentinel.preflight.machine import look
from sentinel.preflight.report import Report
from sentinel.sources.fs import Roots
from sentinel.sources.processes.cgroup import Membership

SYS = TESTS / "fixtures/sys"
MIB, GIB = 1 << 20, 1 << 30
#: of the fixture: 25753026560 bytes of video memory
TOTAL = 25753026560


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_moe(folder / "dense.gguf", experts=0, layers=64, context=1 << 20)
    write_moe(folder / "moe.gguf", experts=16, layers=16, context=1 << 20)
    return folder


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    made = Roots(tmp_path / "proc", tmp_path / "sys", tmp_path / "dev", tmp_path / "docker")
    shutil.copytree(SYS, made.sys)
    (made.sys / "fs/cgroup").mkdir(parents=True)
    (made.sys / "fs/cgroup/cgroup.controllers").write_text("memory")
    made.proc.mkdir()
    (made.proc / "meminfo").write_text(f"MemTotal: {64 << 20} kB\nMemAvailable: {60 << 20} kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n")
    (made.dev / "dri").mkdir(parents=True)
    for node in ("kfd", "dri/renderD128"):
        (made.dev / node).touch(0o660)
    return made


def used(roots: Roots, size: int, total: int = TOTAL) -> None:
    (roots.sys / "class/drm/card1/device/mem_info_vram_total").write_text(f"{total}\n")
    (roots.sys / "class/drm/card1/device/mem_info_vram_used").write_text(f"{size}\n")


_FLAGS = ("-m", "-c", "-ngl", "-ctk", "-ctv", "-fa", "--n-cpu-moe", "--cache-ram", "--load-mode", "-np", "--fit")


def hip(free: int = TOTAL, total: int = TOTAL) -> Build:
    listed = (BuildDevice("ROCm0", free // MIB * MIB, total // MIB * MIB, about="AMD Radeon RX 7900 XTX"),)
    return Build("11434 (abc)", 11434, dict.fromkeys(_FLAGS, True), devices=listed, backends=frozenset({"hip"}))


def _text(node: Path) -> str:
    return (node / "properties").read_text()


def command(*words: str, user: int = 0, **more: object) -> Command:
    place = Place(user, frozenset({user}), Membership("/", "/", unified=True), -1, **more)  # type: ignore[arg-type]
    return Command(("llama-server", *words), {}, Path("/"), None, place)


def judged(roots: Roots, words: Sequence[str], build: Build | None = None, **more: int) -> Report:
    return examine(command(*words, **more), roots, hip() if build is None else build)


def why_ids(report: Report) -> list[str]:
    return [why.id for why in report.whys if why.id != "build-unknown"]


def test_the_lesser_account_of_free_memory_counts_and_the_difference_is_reported(roots: Roots) -> None:
    used(roots, 10 * GIB)

    machine = look(command("-m", "x"), hip(), roots)

    assert isinstance(machine.gpus, tuple)
    assert machine.gpus[0].free_bytes == TOTAL - 10 * GIB
    assert "the lesser counts" in machine.disagreements[0]


def test_who_holds_the_rest_is_named(roots: Roots, models: Path) -> None:
    used(roots, TOTAL - 6 * GIB)
    (node,) = [path for path in (roots.sys / "class/kfd/kfd/topology/nodes").iterdir() if "gfx_target_version 11" in _text(path)]
    (node / "gpu_id").write_text("57300\n")
    holder = roots.sys / "class/kfd/kfd/proc/4711"
    holder.mkdir(parents=True)
    (holder / "vram_57300").write_text(f"{15 * GIB}\n")
    (roots.proc / "4711").mkdir()
    (roots.proc / "4711/comm").write_text("other-model\n")

    report = judged(roots, ["-m", str(models / "dense.gguf"), "-ngl", "65", "-c", "262144"], hip(6 * GIB))

    assert report.verdict == "fails"
    assert "kv-cannot-be-allocated" in why_ids(report)
    held = next(why for why in report.whys if why.id == "vram-held-by-others")
    assert "other-model (pid 4711) 15.0 GiB" in held.text


def test_suggestions_fit_by_the_same_arithmetic_and_the_first_keeps_the_context(roots: Roots, models: Path) -> None:
    used(roots, TOTAL - 6 * GIB)
    build = hip(6 * GIB)
    asked = ["-m", str(models / "dense.gguf"), "-ngl", "65", "-c", "262144", "--cache-ram", "0"]

    report = judged(roots, asked, build)

    assert 1 <= len(report.suggestions) <= 3
    for one in report.suggestions:
        again = judged(roots, one.argv[1:], build)
        assert again.verdict == "fits" or why_ids(again) == [], one.argv
        assert tuple(again.memory) == one.memory
    first = report.suggestions[0].argv
    assert first[first.index("-c") + 1] == "262144"


def test_few_layers_more_than_the_largest_that_fits_do_not_fit(roots: Roots, models: Path) -> None:
    """A layer takes 128 MiB here, and a thirty-second of 6 GiB is left alone."""
    used(roots, TOTAL - 6 * GIB)
    build = hip(6 * GIB)
    report = judged(roots, ["-m", str(models / "dense.gguf"), "-ngl", "65", "-c", "262144", "-ctk", "f16"], build)
    most = next(one.argv for one in report.suggestions if "-ctv" not in one.argv and "262144" in one.argv)
    at = most.index("-ngl") + 1
    more = [*most[1:at], str(int(most[at]) + 3), *most[at + 1 :]]

    assert why_ids(judged(roots, more, build)) != []


def test_a_mixture_is_offered_its_experts_on_the_cpu(roots: Roots, models: Path) -> None:
    used(roots, 2 * GIB - 950 * MIB, 2 * GIB)
    report = judged(roots, ["-m", str(models / "moe.gguf"), "-ngl", "99", "-c", "8192"], hip(950 * MIB, 2 * GIB))

    assert report.verdict == "tight"
    first = report.suggestions[0].argv
    kept = int(first[first.index("--n-cpu-moe") + 1])
    assert 0 < kept <= 16
    assert "17 of 17 layers" in report.suggestions[0].why


def test_that_a_user_may_not_open_the_nodes_is_reported_before_the_start(roots: Roots, models: Path) -> None:
    report = judged(roots, ["-m", str(models / "dense.gguf"), "-ngl", "65", "-c", "4096"], user=4242)

    refused = next(why for why in report.whys if why.id == "gpu-nodes-refused")
    assert report.verdict == "fails"
    assert "/dev/kfd" in refused.text
    assert "usermod -aG render,video 4242" in refused.text


@pytest.mark.parametrize(
    ("change", "expected"),
    [("hidden", "gpu-hidden"), ("no-backend", "gpu-not-in-build"), ("unknown", "gpu-unknown"), ("none", "gpu-not-in-machine")],
)
def test_the_first_broken_step_to_the_gpu_is_named(roots: Roots, models: Path, change: str, expected: str) -> None:
    build = Build("11434 (abc)", 11434, hip().flags, devices=(), backends=frozenset({"hip"}))
    one = command("-m", str(models / "dense.gguf"), "-ngl", "65", "-c", "4096")
    if change == "hidden":
        one = Command(one.argv, {"HIP_VISIBLE_DEVICES": "-1"}, one.folder, None, one.place)
    if change == "no-backend":
        build = Build("11434 (abc)", 11434, hip().flags, devices=(), is_split=True)
    if change == "unknown":
        build = Build("11434 (abc)", 11434, hip().flags, devices=Unknown("it was not asked"))

    report = examine(one, roots, build)

    assert expected in why_ids(report)
    assert report.verdict == ("unknown" if change == "unknown" else "fails")


@pytest.mark.parametrize(
    ("step", "expected", "remedy"),
    [
        ("module", "gpu-driver-not-loaded", "modprobe amdgpu"),
        ("driver", "gpu-not-driven", "journalctl -k -b -g amdgpu"),
        ("render", "gpu-no-render-node", "--device /dev/dri"),
        ("kfd", "gpu-no-kfd", "--device /dev/kfd"),
        ("node", "gpu-no-kfd", "--device /dev/kfd"),
        ("runtime", "gpu-not-found", "--list-devices"),
    ],
)
def test_each_step_from_the_module_to_the_runtime_is_reported_by_itself(
    roots: Roots, models: Path, step: str, expected: str, remedy: str
) -> None:
    """gpu-telemetry.md, section 7: the first that fails, for what comes after it fails as well."""
    device = roots.sys / "bus/pci/devices/0000:03:00.0"
    device.mkdir(parents=True)
    for name, text in (("class", "0x030000"), ("vendor", "0x1002"), ("device", "0x744c")):
        (device / name).write_text(f"{text}\n")
    driver = {"module": "", "driver": "vfio-pci"}.get(step, "amdgpu")
    if driver:
        (device / "driver").symlink_to(f"../../../../bus/pci/drivers/{driver}")
    if step != "module":
        (roots.sys / "module/amdgpu").mkdir(parents=True, exist_ok=True)
        (roots.sys / "module/amdgpu/initstate").write_text("live\n")
    if step == "render":
        (roots.dev / "dri/renderD128").unlink()
    if step == "kfd":
        (roots.dev / "kfd").unlink()
    if step == "node":
        shutil.rmtree(roots.sys / "class/kfd")
    build = Build("11434 (abc)", 11434, hip().flags, devices=(), backends=frozenset({"hip"}), is_split=True)

    report = judged(roots, ["-m", str(models / "dense.gguf"), "-ngl", "65", "-c", "4096"], build)

    (found,) = [why for why in report.whys if why.id.startswith("gpu-")]
    assert (report.verdict, found.id) == ("fails", expected)
    assert remedy in found.text


def test_a_build_in_one_piece_is_not_called_one_for_the_cpu(roots: Roots, models: Path) -> None:
    """Its backends are inside: that no library lies beside it says nothing."""
    build = Build("11434 (abc)", 11434, hip().flags, devices=())

    report = judged(roots, ["-m", str(models / "dense.gguf"), "-ngl", "65", "-c", "4096"], build)

    assert "gpu-not-in-build" not in why_ids(report)


def test_without_a_gpu_what_is_suggested_asks_for_none(roots: Roots, models: Path) -> None:
    """The same -ngl again would be the same failure."""
    build = Build("11434 (abc)", 11434, hip().flags, devices=(), is_split=True)

    report = judged(roots, ["-m", str(models / "dense.gguf"), "-ngl", "65", "-c", "4096"], build)

    assert report.suggestions
    assert all(one.argv[one.argv.index("-ngl") + 1] == "0" for one in report.suggestions)


def test_without_layers_asked_for_a_missing_gpu_is_no_fault(roots: Roots, models: Path) -> None:
    build = Build("11434 (abc)", 11434, hip().flags, devices=())

    report = judged(roots, ["-m", str(models / "dense.gguf"), "-c", "4096", "--cache-ram", "0"], build)
    assert why_ids(report) == []


def test_a_unit_with_devices_of_its_own_is_reported(roots: Roots, models: Path) -> None:
    one = command("-m", str(models / "dense.gguf"), "-ngl", "65", "-c", "4096", unit="a.service", private_devices=True)

    assert "gpu-hidden-by-unit" in why_ids(examine(one, roots, hip()))


def test_the_answer_has_the_keys_of_the_contract(roots: Roots, models: Path) -> None:
    used(roots, TOTAL - 6 * GIB)
    wire = judged(roots, ["-m", str(models / "dense.gguf"), "-ngl", "65", "-c", "1048576"], hip(6 * GIB)).to_dict()

    assert set(wire) == {"api_version", "verdict", "why", "memory", "limits", "suggestions", "missing"}
    assert all(set(item) == {"place", "kind", "bytes", "low", "high", "locked", "mapped"} for item in wire["memory"])
    assert all(set(one) == {"argv", "memory", "why"} for one in wire["suggestions"])
    assert {"place": "ROCm0", "what": "vram-free", "bytes": 6 * GIB} in wire["limits"]
    assert {limit["what"] for limit in wire["limits"]} >= {"MemAvailable", "vram-free"}
    assert wire["why"][0].keys() == {"id", "text", "at_share"}


def test_with_unified_memory_the_hosts_memory_is_what_a_hip_build_needs(roots: Roots, models: Path) -> None:
    """hipMallocManaged: a GPU with no room left is no reason to fail, and the build says that of the host is the GPU's."""
    used(roots, TOTAL - GIB)
    words = ("-m", str(models / "dense.gguf"), "-ngl", "65", "-c", "262144", "--cache-ram", "0")
    build = hip(60 * GIB, 64 * GIB)
    plain = command(*words)
    unified = replace(plain, env={"GGML_CUDA_ENABLE_UNIFIED_MEMORY": "1"})

    assert examine(plain, roots, hip(GIB)).verdict == "fails"
    report = examine(unified, roots, build)
    assert report.verdict == "fits", report.whys
    (roots.proc / "meminfo").write_text(f"MemTotal: {64 << 20} kB\nMemAvailable: {6 << 20} kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n")
    assert examine(unified, roots, build).verdict == "fails", "then it is the machine that has too little"
    for listed in (build, hip(20 * GIB)):
        machine = look(unified, listed, roots)
        assert isinstance(machine.gpus, tuple)
        assert machine.gpus[0].managed
        assert machine.disagreements == ()
