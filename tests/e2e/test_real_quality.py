"""`sentinel quality` against the real llama-server, with models of random weights: gemma is for docs/quality.md."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_server import server
from scaled_model import scaled

from sentinel.cli.main import main
from sentinel.quality import asking
from sentinel.quality.prefixes import prefixes

pytestmark = [pytest.mark.real_server, pytest.mark.timeout(600)]
_USUAL = ("-c", "4096", "-np", "1", "-ngl", "0")


@pytest.fixture(scope="module", autouse=True)
def _fewer() -> Iterator[None]:
    """A quarter of the prefixes, two long ones among them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking, "prefixes", lambda: prefixes()[::4])
        yield


def quality(folder: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, JSON and what is said of it."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setenv("XDG_STATE_HOME", str(folder))
        code = main(["quality", *words, "--json"])
    return code, json.loads(out.getvalue() or "{}"), err.getvalue()


@pytest.fixture(scope="module")
def learned(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with a reference of the dense model."""
    folder = tmp_path_factory.mktemp("quality")
    with server("-m", str(models / "dense.gguf"), *_USUAL) as running:
        code, found, said = quality(folder, "learn", str(running.port), "--as", "dense", "--passes", "2")
    assert code == 0, said
    assert found["tokens"] > 2 * 26
    assert "26 prefixes, 2 times" in said
    return folder


def check(learned: Path, model: Path, *flags: str) -> tuple[int, dict[str, Any]]:
    with server("-m", str(model), *(flags or _USUAL)) as running:
        code, found, _ = quality(learned, "check", str(running.port), "--against", "dense")
    return code, found


@pytest.mark.parametrize(
    "flags",
    [_USUAL, ("-c", "8192", "-np", "2", "-b", "64", "-ub", "32", "-t", "1", "-ngl", "0")],
    ids=["restarted", "other flags"],
)
def test_the_same_model_is_the_same(flags: tuple[str, ...], learned: Path, models: Path) -> None:
    code, found = check(learned, models / "dense.gguf", *flags)
    assert (code, found["verdict"]) == (0, "same")
    assert found["all"]["prefixes"] == 26
    assert "-np 1" in found["before"]["flags"]


def test_other_weights_are_shifted(learned: Path, models: Path, tmp_path: Path) -> None:
    code, found = check(learned, scaled(models / "dense.gguf", tmp_path / "other.gguf", "output.weight", -20.0))
    assert (code, found["verdict"]) == (1, "shifted")
    assert found["all"]["same_first"]["value"] < 0.5


def test_weights_that_are_no_numbers_are_broken(learned: Path, models: Path, tmp_path: Path) -> None:
    code, found = check(learned, scaled(models / "dense.gguf", tmp_path / "nan.gguf", "output_norm.weight", float("nan")))
    assert (code, found["verdict"]) == (2, "broken")


def test_a_server_with_a_key_is_asked_with_it(models: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("s3cret\n", encoding="ascii")
    with server("-m", str(models / "dense.gguf"), *_USUAL, "--api-key", "s3cret") as running:
        code, _, said = quality(tmp_path, "learn", str(running.port), "--passes", "2")
        assert (code, said.strip().endswith("--api-key-file FILE")) == (3, True), said
        code, _, said = quality(tmp_path, "learn", str(running.port), "--passes", "2", "--api-key-file", str(key))
        assert code == 0, said
    assert "s3cret" not in said + "".join(path.read_text() for path in tmp_path.rglob("*.json"))
