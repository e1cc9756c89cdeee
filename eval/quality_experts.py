"""Experts that a mixture abandons when it is quantized: what its router really chooses, what importance matrices say of it, and
how far the probabilities moved. Both ways.

make quality-experts. The router's choices are those of 48 short texts, the importance matrices are made of all others, in chunks,
by llama.cpp's own tool: somebody's own text is never the one that is served. After the same tokens the two must agree.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "demo")]

from real_server import cache, server  # noqa: E402

from eval import quality_imatrix as imatrix  # noqa: E402
from eval import quality_mixture as mixtures  # noqa: E402
from eval.quality_router import Choices, choices  # noqa: E402
from sentinel.cli.main import main as sentinel  # noqa: E402
from sentinel.gguf.imatrix import read  # noqa: E402
from sentinel.quality import asking  # noqa: E402
from sentinel.quality.asking import measure, plan  # noqa: E402
from sentinel.quality.comparison import compare  # noqa: E402
from sentinel.quality.experts import layers_of, whole  # noqa: E402
from sentinel.quality.http import Address, Client  # noqa: E402
from sentinel.quality.measurement import Measurement  # noqa: E402
from sentinel.quality.prefixes import prefixes  # noqa: E402

_SHORT = tuple(one for one in prefixes() if one.category != "long")
_MODELS: Mapping[str, Callable[[], Path]] = {
    "F16": partial(mixtures.mixture, "F16"),
    **{name: partial(mixtures.mixture, name) for name in mixtures.QUANTIZATIONS},
    "F16, 2 of 16 turned away": mixtures.without,
}


@dataclass(frozen=True)
class Seen:
    """One model: its router's choices, its importance matrix, its answers."""

    truth: Choices
    matrix: Path
    answers: Measurement
    #: choices that the matrix does not count as the router made them, after the same tokens
    off: str


def _counts(chosen: Choices) -> dict[int, list[float]]:
    found = {}
    for layer, rows in sorted(chosen.items()):
        times = Counter(expert for row in rows for expert in row)
        found[layer] = [float(times[expert]) for expert in range(mixtures.EXPERTS)]
    return found


def _seen(name: str) -> Seen:
    model = _MODELS[name]()
    truth = choices(model, [one.text for one in _SHORT[::2]])
    others = "\n\n".join(one.text for one in prefixes() if one not in _SHORT[::2])
    matrix = imatrix.matrix(model, others, cache() / "quality" / f"imatrix-{name.replace(' ', '_').replace(',', '')}.gguf")
    same = _counts(choices(model, [others], imatrix.CHUNK))
    written = read(str(matrix)).counts
    off = sum(abs(a - b) for layer in same for a, b in zip(same[layer], written[layer], strict=True)) / 2
    with server("-m", str(model), "-c", "2048", "-np", "1", "-t", "1", "-ngl", "0", "-fit", "off", "--no-warmup") as running:
        client = Client(Address("127.0.0.1", running.port), seconds=600)
        answers = replace(measure(client, plan(client, estimated=False), 1), name=name)
    return Seen(truth, matrix, answers, f"{off:g} of {sum(map(sum, same.values())):g}")


def moved(before: Choices, now: Choices) -> float:
    """The share of choices (token, layer, place) that fell on another expert."""
    pairs = [(set(old), set(new)) for layer in before for old, new in zip(before[layer], now[layer], strict=True)]
    return sum(len(old - new) for old, new in pairs) / sum(len(old) for old, _ in pairs)


def _said(before: Path, now: Path) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = sentinel(["experts", "compare", str(before), str(now), "--json"])
    if code not in (0, 1):
        return out.getvalue().strip()
    found = json.loads(out.getvalue())
    return f"{found['abandoned']} of {found['judged']} ({found['divergence_bits']:.4f})"


def _row(before: Seen, now: Seen) -> str:
    abandoned, judged, apart = whole(layers_of(_counts(before.truth), _counts(now.truth)))
    compared = compare(before.answers, now.answers)
    shift = compared.verdict
    if compared.whole is not None:
        shift += f" {compared.whole.divergence.value:.4f} ({compared.whole.same_first.value:.0%})"
    routed = f"{moved(before.truth, now.truth):.1%} | {abandoned} of {judged} ({apart:.4f})"
    return f"{routed} | {_said(before.matrix, now.matrix)} | {now.off} | {shift}"


def main() -> int:
    """Measure and print the table."""
    asking.prefixes = lambda: _SHORT[::4]  # type: ignore[assignment,attr-defined]
    print("| from | to | choices moved | abandoned: router | llama-imatrix | its counts are off | probabilities (same first) |")
    print("|---|---|---|---|---|---|---|")
    reference = _seen("F16")
    for name in list(_MODELS)[1:]:
        began = time.monotonic()
        found = _seen(name)
        print(f"| F16 | {name} | {_row(reference, found)} |")
        print(f"| {name} | F16 | {_row(found, reference)} |", flush=True)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
