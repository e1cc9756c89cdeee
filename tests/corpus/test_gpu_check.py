"""What `make gpu-check` takes from the tools of vendors, from their recorded output."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval import gpu_check

_MIB = 1 << 20
NVIDIA = """\
<?xml version="1.0" ?>
<nvidia_smi_log><gpu id="00000000:01:00.0">
<fb_memory_usage><total>16376 MiB</total><reserved>382 MiB</reserved><used>9121 MiB</used><free>6873 MiB</free></fb_memory_usage>
<processes>
<process_info><pid>4242</pid><process_name>llama-server</process_name><used_memory>8990 MiB</used_memory></process_info>
<process_info><pid>999</pid><type>G</type><process_name>Xorg</process_name><used_memory>N/A</used_memory></process_info>
</processes></gpu></nvidia_smi_log>
"""


def stub(folder: Path, name: str, answers: dict[str, str]) -> None:
    """A program that prints these files, by its first argument."""
    cases = "\n".join(f"{word}) cat {file} ;;" for word, file in answers.items())
    program = folder / name
    program.write_text(f"#!/bin/sh\ncase $1 in\n{cases}\n*) exit 1 ;;\nesac\n", encoding="utf-8")
    program.chmod(0o755)


def test_amd_smi_in_both_of_its_forms(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    place = corpus / "gpu" / "amd-smi"
    metric = str(place / "mi300x-llama-server-metric-mem.json")
    stub(tmp_path, "amd-smi", {"metric": metric, "process": str(place / "mi300x-llama-server-process.json")})
    found = gpu_check.tool()
    assert (found.name, found.totals, found.used) == ("amd-smi", [196288 * _MIB], [2531 * _MIB])
    assert found.of_process == {28389: 2353860608}
    stub(tmp_path, "amd-smi", {"metric": metric, "process": str(place / "process-full.composed.json")})
    assert gpu_check.tool().of_process == {4242: 22549954560}


def test_rocm_smi_and_no_process_of_it(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    place = corpus / "gpu" / "rocm-smi"
    stub(tmp_path, "rocm-smi", {"--showmeminfo": str(place / "mi300x-llama-server-meminfo.json")})
    found = gpu_check.tool()
    assert found.name == "rocm-smi"
    assert len(found.totals) == len(found.used) == 1
    assert 180 << 30 < found.totals[0] < 200 << 30


def test_nvidia_smi_counts_only_what_it_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "answer.xml").write_text(NVIDIA, encoding="utf-8")
    stub(tmp_path, "nvidia-smi", {"-q": str(tmp_path / "answer.xml")})
    found = gpu_check.tool()
    assert (found.totals, found.used, found.of_process) == ([16376 * _MIB], [9121 * _MIB], {4242: 8990 * _MIB})


def test_no_tool_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_check.tool() == gpu_check.Tool()
