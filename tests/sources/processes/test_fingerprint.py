"""The name of a configuration: the same for the same build, model files and flags, another one for anything else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sentinel.model.entity import Unknown
from sentinel.sources.fs import Roots
from sentinel.sources.processes.fingerprint import configuration

ARGV = ["llama-server", "-m", "/srv/model.gguf", "-c", "8192", "-ngl", "99", "--port", "8080"]


class Process:
    """A process tree of one server: its program, the libraries beside it and its model, as /proc shows them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "opt"
        self.bin.mkdir()
        for name in ("llama-server", "libggml-base.so.0", "libllama.so"):
            (self.bin / name).write_bytes(name.encode())
        self.process = folder / "proc" / "77"
        self.process.mkdir(parents=True)
        (self.process / "root").symlink_to("/")
        (self.process / "exe").symlink_to(self.bin / "llama-server")
        self.model = folder / "model.gguf"
        self.model.write_bytes(b"GGUF")
        self.roots = Roots(proc=folder / "proc")

    def name(self, argv: list[str] = ARGV, env: dict[str, str] | None = None, model: str | None = None) -> str | Unknown:
        return configuration(self.roots, 77, argv, env or {}, str(self.model) if model is None else model, os.stat)


@pytest.fixture
def process(tmp_path: Path) -> Process:
    return Process(tmp_path)


def test_it_does_not_depend_on_where_it_listens_nor_on_the_order_of_flags(process: Process) -> None:
    name = process.name()
    assert isinstance(name, str)
    assert len(name) == 16
    other = [
        "/usr/bin/llama-server",
        "-ngl",
        "99",
        "-c",
        "8192",
        "--port",
        "9090",
        "--api-key",
        "secret",
        "-m",
        "/srv/model.gguf",
    ]
    assert process.name([*other, "--log-file=/tmp/x", "--temp", "0.1"], {"PATH": "/x", "LLAMA_ARG_PORT": "1"}) == name


@pytest.mark.parametrize("more", [["-np", "4"], ["-fa", "on"], ["-md", "draft.gguf"], ["--n-cpu-moe", "3"], ["--no-such-flag"]])
def test_a_flag_more_is_another_configuration(process: Process, more: list[str]) -> None:
    assert process.name([*ARGV, *more]) != process.name()


@pytest.mark.parametrize("variable", ["HIP_VISIBLE_DEVICES", "LLAMA_ARG_CTX_SIZE", "GGML_VK_VISIBLE_DEVICES", "OMP_NUM_THREADS"])
def test_a_variable_that_matters_is_another_configuration(process: Process, variable: str) -> None:
    assert process.name(env={variable: "0"}) != process.name()


@pytest.mark.parametrize("what", ["opt/llama-server", "opt/libggml-base.so.0", "model.gguf"])
def test_another_build_or_model_of_the_same_name_is_another_configuration(process: Process, what: str) -> None:
    before = process.name()
    os.utime(process.folder / what, ns=(0, 1_700_000_000_000_000_000))
    assert process.name() != before


def test_a_backend_that_is_installed_later_is_another_build(process: Process) -> None:
    before = process.name()
    (process.bin / "libggml-vulkan.so").write_bytes(b"")
    assert process.name() != before
    (process.bin / "libc.so.6").write_bytes(b"")
    (process.bin / "libggml-vulkan.so").unlink()
    assert process.name() == before


def test_each_part_of_a_model_counts(process: Process) -> None:
    parts = [process.folder / f"big-{number:05d}-of-00002.gguf" for number in (1, 2)]
    for part in parts:
        part.write_bytes(b"GGUF")
    before = process.name(model=str(parts[0]))
    parts[1].write_bytes(b"GGUF2")
    assert process.name(model=str(parts[0])) != before
    parts[1].unlink()
    missing = process.name(model=str(parts[0]))
    assert isinstance(missing, Unknown)
    assert "big-00002-of-00002.gguf" in missing.why


def test_what_cannot_be_looked_at_is_unknown(process: Process) -> None:
    for gone, said in (("model.gguf", "model.gguf"), ("proc/77/exe", "exe")):
        (process.folder / gone).unlink()
        name = process.name()
        assert isinstance(name, Unknown)
        assert said in name.why
    assert isinstance(process.name(model=""), Unknown)


def test_words_that_are_no_text_are_taken_as_they_are(process: Process) -> None:
    assert isinstance(process.name([*ARGV, "-ot", "\udcff=CPU"], {"GGML_X": "\udcfe"}), str)
