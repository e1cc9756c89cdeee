"""rocm-smi of every age, the real one of this machine, and one that hangs."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from places import TESTS

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.model.entity import Unknown
from sentinel.model.reading import Samples
from sentinel.sources.base import NotHere, Polled, SourceFault
from sentinel.sources.fs import Roots
from sentinel.sources.gpu import amd_smi
from sentinel.sources.gpu.rocm_smi import RocmSmi, parse
from sentinel.sources.gpu.smi_tool import run

SYS = TESTS / "fixtures/sys"
CARD = {"PCI Bus": "0000:03:00.0", "GPU use (%)": "97", "VRAM Total Used Memory (B)": "22749900800",
        "Average Graphics Package Power (W)": "287.0"}  # fmt: skip


def tool(folder: Path, body: str) -> str:
    path = folder / "rocm-smi"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_a_gpu_is_named_by_its_address_and_numbers_are_numbers() -> None:
    assert parse(json.dumps({"card0": CARD, "system": {"PID1": "x, 1, 2, 3, 0"}})) == {
        "0000:03:00.0": {
            "gpu.smi_vram_total_bytes": Unknown(
                "rocm-smi shows no 'VRAM Total Memory (B)' for card0: the read failed, or the GPU is suspended"
            ),
            "gpu.smi_vram_used_bytes": 22749900800,
            "gpu.smi_busy_percent": 97.0,
            "gpu.smi_power_watts": 287.0,
        }
    }


def test_warnings_before_the_json_and_junk_after_it_are_passed_over() -> None:
    text = "WARNING: AMD GPU device(s) is/are in a low-power state\n\n" + json.dumps({"card0": CARD}) + "\nbye"
    assert parse(text)["0000:03:00.0"]["gpu.smi_busy_percent"] == 97.0


@pytest.mark.parametrize("value", ["N/A", "N/A (Secondary die)", "unknown", "", "-1", "nan", None, True, [], "1e999"])
def test_a_value_that_is_no_number_is_unknown(value: object) -> None:
    (values,) = parse(json.dumps({"card0": CARD | {"GPU use (%)": value}})).values()
    assert isinstance(values["gpu.smi_busy_percent"], Unknown)
    assert values["gpu.smi_power_watts"] == 287.0


def test_an_empty_answer_means_no_driver_and_text_means_a_fault() -> None:
    with pytest.raises(NotHere, match="driver"):
        parse("\n")
    with pytest.raises(SourceFault, match="no JSON"):
        parse("ERROR: everything is wrong")
    with pytest.raises(SourceFault, match="cannot be read"):
        parse('{"card0": ')
    with pytest.raises(SourceFault):
        parse("{" + '"a": {' * 100_000)


@pytest.mark.corpus
def test_every_recorded_answer_is_read(corpus: Path) -> None:
    seen = 0
    for path in sorted((corpus / "gpu/rocm-smi").glob("*.json")):
        for name, values in parse(path.read_text()).items():
            for signal, value in values.items():
                assert isinstance(value, Unknown) or type(value) is (int if CATALOGUE[signal].type == "int" else float)
            assert name.startswith(("0000:", "card")), path.name
            seen += 1
    assert seen >= 14
    by_card = parse((corpus / "gpu/rocm-smi/7900xtx-plus-raphael-igpu-metrics.json").read_text())
    assert by_card["0000:47:00.0"]["gpu.smi_power_watts"] == 0.014
    assert isinstance(
        parse((corpus / "gpu/rocm-smi/rx6600-suspended-a.json").read_text())["0000:0b:00.0"]["gpu.smi_power_watts"], Unknown
    )


def test_samples_go_to_the_gpu_and_never_more_often_than_every_30_s(tmp_path: Path) -> None:
    card = json.dumps({"card0": {key: value for key, value in CARD.items() if key != "PCI Bus"}})
    source = RocmSmi(Roots(sys=SYS), tool(tmp_path, f"echo x >> {tmp_path}/runs; echo '{card}'"), pause=1.0)
    assert isinstance(source, Polled)
    (reading,) = source.poll(1000.0)
    assert isinstance(reading, Samples)
    assert reading.entity.name == "0000:03:00.0"
    assert source.poll(1029.0) == []
    assert len(source.poll(1031.0)) == 1
    assert (tmp_path / "runs").read_text() == "x\nx\n"


def test_without_a_gpu_or_the_tool_there_is_nothing_to_ask(tmp_path: Path) -> None:
    with pytest.raises(NotHere, match="amdgpu"):
        RocmSmi(Roots(sys=tmp_path, dev=tmp_path)).poll(0.0)
    with pytest.raises(NotHere, match="not installed"):
        RocmSmi(Roots(sys=SYS), str(tmp_path / "absent"), other=str(tmp_path / "absent")).poll(0.0)


def test_a_gpu_that_sleeps_is_not_woken_by_the_tool(tmp_path: Path) -> None:
    tree = Path(shutil.copytree(SYS, tmp_path / "sys"))
    (tree / "class/drm/card1/device/power/runtime_status").write_text("suspended\n")
    assert RocmSmi(Roots(sys=tree), tool(tmp_path, f"touch {tmp_path}/ran")).poll(0.0) == []
    assert not (tmp_path / "ran").exists()


def test_where_sysfs_shows_no_gpu_the_tool_is_the_source(tmp_path: Path) -> None:
    (tmp_path / "kfd").touch()
    source = RocmSmi(Roots(sys=tmp_path, dev=tmp_path), tool(tmp_path, f"echo '{json.dumps({'card0': CARD})}'"))
    (reading,) = source.poll(0.0)
    assert isinstance(reading, Samples)
    assert reading.entity.name == "0000:03:00.0"
    assert reading.values["gpu.vram_used_bytes"] == 22749900800
    assert reading.values["gpu.vendor"] == "amd"
    assert source.poll(30.0) == []
    assert len(source.poll(45.0)) == 1


LIST = json.dumps([{"gpu": 0, "bdf": "0000:03:00.0", "uuid": "x"}, {"gpu": 1, "bdf": "nonsense"}])
METRIC = {"gpu": 0, "usage": {"gfx_activity": {"value": 91, "unit": "%"}}, "power": {"socket_power": 212},
          "mem_usage": {"total_vram": {"value": 24560, "unit": "MB"}, "used_vram": {"value": "N/A", "unit": "MB"}}}  # fmt: skip


@pytest.mark.parametrize("wrapped", [False, True])
def test_amd_smi_of_both_shapes_is_read(wrapped: bool) -> None:
    text = json.dumps({"gpu_data": [METRIC]} if wrapped else [METRIC])
    values = amd_smi.metrics("WARNING: User is missing the following required groups: render\n" + text, amd_smi.addresses(LIST))
    assert values.keys() == {"0000:03:00.0"}
    assert values["0000:03:00.0"]["gpu.smi_vram_total_bytes"] == 24560 << 20
    assert values["0000:03:00.0"]["gpu.smi_busy_percent"] == 91.0
    assert values["0000:03:00.0"]["gpu.smi_power_watts"] == 212.0
    assert isinstance(values["0000:03:00.0"]["gpu.smi_vram_used_bytes"], Unknown)


def test_without_rocm_smi_amd_smi_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "amd-smi"
    path.write_text(f"#!/bin/sh\nif [ $1 = list ]; then echo '{LIST}'; else echo '{json.dumps([METRIC])}'; fi\n")
    path.chmod(0o755)
    (reading,) = RocmSmi(Roots(sys=SYS), str(tmp_path / "absent"), other=str(path)).poll(0.0)
    assert isinstance(reading, Samples)
    assert (reading.entity.name, reading.values["gpu.smi_power_watts"]) == ("0000:03:00.0", 212.0)


@pytest.mark.corpus
def test_every_recorded_answer_of_amd_smi_is_read(corpus: Path) -> None:
    folder = corpus / "gpu/amd-smi"
    known = {}
    for name in ("metric-usage-NA-block", "mi300x-llama-server-metric-mem", "rx6600-metric-list-shape",
                 "gpu_data-shape-30576MB-card-under-load"):  # fmt: skip
        (values,) = amd_smi.metrics((folder / f"{name}.json").read_text(), {}).values()
        known[name] = sorted(key.removeprefix("gpu.smi_") for key, value in values.items() if not isinstance(value, Unknown))
    everything = ["busy_percent", "power_watts", "vram_total_bytes", "vram_used_bytes"]
    assert known == {
        "metric-usage-NA-block": [],
        "mi300x-llama-server-metric-mem": ["vram_total_bytes", "vram_used_bytes"],
        "rx6600-metric-list-shape": everything,
        "gpu_data-shape-30576MB-card-under-load": everything,
    }
    assert amd_smi.addresses((folder / "list.composed.json").read_text()) == {0: "0000:03:00.0"}


def test_a_failing_tool_is_a_fault_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(SourceFault, match="exit code 8: rsmi_init failed"):
        RocmSmi(Roots(sys=SYS), tool(tmp_path, "echo rsmi_init failed >&2; exit 8")).poll(0.0)


def test_a_tool_that_hangs_is_ended_with_its_children_and_reported(tmp_path: Path) -> None:
    body = f"trap 'echo asked > {tmp_path}/asked; exit 1' TERM; sleep 60 & wait"
    started = time.monotonic()
    with pytest.raises(SourceFault, match=r"no answer in 0\.5 s"):
        run(tool(tmp_path, body), (), timeout=0.5)
    assert time.monotonic() - started < 3
    assert (tmp_path / "asked").read_text() == "asked\n"


@pytest.mark.skipif(
    shutil.which("rocm-smi") is None or Path("/sys/module/amdgpu").exists(), reason="needs rocm-smi and no AMD GPU"
)
def test_the_real_tool_without_a_driver_has_nothing_to_show() -> None:
    answer = run("rocm-smi", ("--showuse", "--json"))
    assert answer.code == 0
    with pytest.raises(NotHere):
        parse(answer.stdout)
