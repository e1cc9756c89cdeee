"""`sentinel experts compare`: importance matrices as llama-imatrix writes them, both forms, and files that are none."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from places import TESTS

from sentinel.cli.main import main
from sentinel.gguf.imatrix import read
from sentinel.quality.experts import layer, rank_correlation

#: of each input; odd, so that values of three experts are not those of four
_WIDTH = 7
BEFORE = [(100.0, 200.0, 300.0, 400.0), (250.0, 250.0, 250.0, 250.0)]


def write(path: Path, layers: Sequence[Sequence[float]]) -> str:
    """As save_imatrix does: sums and counts of each tensor."""
    writer = gguf.GGUFWriter(path, "imatrix")
    writer.add_type("imatrix")
    writer.add_uint32("imatrix.chunk_count", 4)
    for number, counts in enumerate(layers):
        for part in ("gate", "up", "down"):
            name = f"blk.{number}.ffn_{part}_exps.weight"
            writer.add_tensor(f"{name}.in_sum2", np.ones((len(counts), _WIDTH), dtype=np.float32))
            writer.add_tensor(f"{name}.counts", np.array(counts, dtype=np.float32).reshape(-1, 1))
        writer.add_tensor(f"blk.{number}.attn_q.weight.counts", np.ones((1, 1), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(path)


def write_old(path: Path, layers: Sequence[Sequence[float]], calls: int = 4) -> str:
    """As save_imatrix_legacy does: mean values times calls; of an unused expert the calls."""
    data = struct.pack("<i", len(layers) + 1)
    for name, rows in [
        ("output.weight", [[1.5] * _WIDTH]),
        *((f"blk.{n}.ffn_gate_exps.weight", _values(c, calls)) for n, c in enumerate(layers)),
    ]:
        flat = [value for row in rows for value in row]
        data += (
            struct.pack("<i", len(name))
            + name.encode()
            + struct.pack("<ii", calls, len(flat))
            + struct.pack(f"<{len(flat)}f", *flat)
        )
    path.write_bytes(data + struct.pack("<ii", calls, 3) + b"txt")
    return str(path)


def _values(counts: Sequence[float], calls: int) -> list[list[float]]:
    return [[0.3 + at * 0.01 for at in range(_WIDTH)] if count else [float(calls)] * _WIDTH for count in counts]


def compared(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = main(["experts", "compare", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_equal_files_abandon_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write(tmp_path / "a.gguf", BEFORE)
    code, found = compared(capsys, one, one)
    assert (code, found["abandoned"], found["judged"], found["divergence_bits"]) == (0, 0, 8, 0.0)
    assert [one["rank_correlation"] for one in found["layers"]] == [1.0, None]


def test_an_expert_that_lost_nine_tenths_of_its_share_is_abandoned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = write(tmp_path / "a.gguf", BEFORE)
    now = write(tmp_path / "b.gguf", [(100.0, 200.0, 690.0, 10.0), BEFORE[1]])
    code, found = compared(capsys, before, now)
    assert code == 1
    assert [one["abandoned"] for one in found["layers"]] == [[3], []]
    assert found["layers"][0]["divergence_bits"] > 0.1
    assert compared(capsys, before, now, "--share", "2")[0] == 0
    assert main(["experts", "compare", before, now]) == 1
    shown = capsys.readouterr().out
    assert "1 of 8 experts (12.5%)" in shown
    assert "the same text" in shown


@pytest.mark.parametrize("columns", ["80", "60"])
def test_files_that_the_tool_itself_wrote(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama-imatrix of b10435 on the libraries of b10434: a mixture of 16 random experts (one layer, else as in
    eval/quality_mixture.py) and its copy whose router turns away from experts 3 and 11; every second prefix as the text."""
    monkeypatch.setenv("COLUMNS", columns)
    before, after, old = (str(TESTS / "fixtures/imatrix" / name) for name in ("before.gguf", "after.gguf", "after.dat"))
    code, found = compared(capsys, before, after)
    assert (code, found["abandoned"], found["judged"]) == (1, 2, 9)
    assert found["layers"][0]["abandoned"] == [3, 11]
    assert found["chunks"] == {"before": 13, "now": 13}
    assert sum(read(before).counts[0]) == 13 * 512 * 2  # two experts for each token
    code, found = compared(capsys, before, old)
    assert (code, found["form"], found["abandoned"], found["judged"]) == (1, "old", 2, 9)
    assert found["layers"] == [{"layer": 0, "abandoned": [3, 11]}]
    for now in (after, old):
        assert main(["experts", "compare", before, now]) == 1
        shown = capsys.readouterr().out
        assert "  layer 0: 3, 11\n" in shown
        assert "not made alike" not in shown


def test_of_a_shorter_text_fewer_uses_are_expected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Real files: of 26 chunks and of two; three experts that two chunks do not reach were called never used."""
    before = write(tmp_path / "a.gguf", [(30.0, 970.0, 200.0, 800.0)])
    now = write_old(tmp_path / "b.dat", [(0.0, 1.0, 0.0, 1.0)], calls=2)
    code, found = compared(capsys, before, now)
    assert (code, found["judged"], found["layers"][0]["abandoned"]) == (1, 3, [2])
    assert main(["experts", "compare", before, now]) == 1
    assert "not made alike, of 4 chunks and of 2 chunks" in capsys.readouterr().out


def test_an_expert_of_few_uses_is_not_judged() -> None:
    found = layer(0, (10.0, 990.0), (0.0, 1000.0))
    assert (found.judged, found.abandoned) == (1, ())


def test_a_text_too_short_to_judge_anybody_is_no_good_news(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, short = write(tmp_path / "a.gguf", BEFORE), write(tmp_path / "b.gguf", [(0.0,) * 4, (0.0,) * 4])
    old = write_old(tmp_path / "c.dat", [(0.0,) * 4, (0.0,) * 4])
    for words in ((before, short), (short, before), (short, old)):
        assert main(["experts", "compare", *words]) == 2
        assert "nothing can be said" in capsys.readouterr().err


def test_ties_take_their_middle_rank() -> None:
    assert rank_correlation((1, 2, 3), (3, 2, 1)) == pytest.approx(-1.0)
    assert rank_correlation((1, 1, 2, 3), (1, 2, 3, 4)) == pytest.approx(0.9487, abs=1e-4)


def test_of_the_older_form_only_unused_experts_are_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = write(tmp_path / "a.gguf", BEFORE)
    now = write_old(tmp_path / "b.dat", [(1.0, 0.0, 1.0, 1.0), (1.0, 1.0, 1.0, 1.0)])
    code, found = compared(capsys, before, now)
    assert code == 1
    assert [one["abandoned"] for one in found["layers"]] == [[1], []]
    assert main(["experts", "compare", before, now]) == 1
    assert "shares are not known" in capsys.readouterr().out


def _bad(tmp_path: Path, what: str) -> str:
    path = tmp_path / "bad"
    make: dict[str, Callable[[], object]] = {
        "missing": lambda: None,
        "folder": path.mkdir,
        "empty": lambda: path.write_bytes(b""),
        "text": lambda: path.write_bytes(b"hello, world"),
        "no experts": lambda: write(path, []),
        "cut": lambda: path.write_bytes(Path(write(tmp_path / "x", BEFORE)).read_bytes()[:-40]),
        "NaN": lambda: write(path, [(1.0, float("nan"))]),
        "negative": lambda: write(path, [(1.0, -1.0)]),
        "other layers": lambda: write(path, BEFORE[:1]),
        "other experts": lambda: write(path, [(1.0, 2.0), (1.0, 2.0)]),
        "old made new": lambda: write(path, [(4.0,), (4.0,)]),
        "old cut": lambda: path.write_bytes(Path(write_old(tmp_path / "x", BEFORE)).read_bytes()[:150]),
        "old of huge values": lambda: path.write_bytes(struct.pack("<ii", 1, 1) + b"a" + struct.pack("<ii", 1, 1 << 30)),
        "old of other layers": lambda: write_old(path, BEFORE[:1]),
        "old of other experts": lambda: write_old(path, [(1.0, 1.0, 1.0), (1.0,) * 3]),
    }
    make[what]()
    return str(path)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("missing", "cannot be opened"), ("folder", "a directory"), ("empty", "truncated"), ("text", "no importance matrix"),
        ("no experts", "no counts of experts"), ("cut", "truncated"), ("old made new", "of the older form"),
        ("NaN", "a count that is none"),
        ("negative", "a count that is none"), ("other layers", "other layers"), ("other experts", "experts"),
        ("old cut", "truncated"), ("old of huge values", "claims"), ("old of other layers", "other layers"),
        ("old of other experts", "are not those of 4 experts"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_one_sentence(
    what: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = write(tmp_path / "before.gguf", BEFORE)
    assert main(["experts", "compare", before, _bad(tmp_path, what)]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1


def test_the_reference_needs_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = write_old(tmp_path / "b.dat", BEFORE)
    assert main(["experts", "compare", old, old]) == 2
    assert "--output-format gguf" in capsys.readouterr().err
    assert main(["experts", "compare", old, old, "--share", "0"]) == 2
    assert "out of range" in capsys.readouterr().err


def test_a_small_file_that_claims_millions_of_counts_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """4,000 layers whose counts all lie in the same 64 KB took two gigabytes."""
    names = [f"blk.{number}.ffn_gate_exps.weight.counts".encode() for number in range(4000)]
    entries = b"".join(struct.pack("<Q", len(one)) + one + struct.pack("<IQIQ", 1, 1 << 14, 0, 0) for one in names)
    header = b"GGUF" + struct.pack("<IQQ", 3, len(names), 0) + entries
    bomb = tmp_path / "bomb.gguf"
    bomb.write_bytes(header + b"\0" * (-len(header) % 32) + b"\0" * (4 << 14))
    assert main(["experts", "compare", str(bomb), str(bomb)]) == 2
    assert capsys.readouterr().err == f"sentinel: {bomb} claims more experts than any model has\n"


def test_an_older_file_whose_values_lie_in_a_hole_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, bomb, count, values = write(tmp_path / "a.gguf", BEFORE), tmp_path / "bomb.dat", 40, 1 << 26
    with bomb.open("wb") as file:
        file.write(struct.pack("<i", count))
        for number in range(count):
            name = f"blk.{number}.ffn_gate_exps.weight".encode()
            file.write(struct.pack("<i", len(name)) + name + struct.pack("<ii", 4, values))
            file.seek(values * 4, 1)
        file.truncate()
    assert main(["experts", "compare", one, str(bomb)]) == 2
    assert capsys.readouterr().err == f"sentinel: {bomb} claims more values than those of any model\n"
