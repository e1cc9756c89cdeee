"""How far a model's answers move, measured on the real llama-server: healthy changes against real ones (docs/quality.md).

make quality-table; QUALITY="--keep" takes up what an earlier run measured, "--only TEXT" asks for rows of that name.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "demo")]

from real_server import Running, ServerDied, cache, request, server  # noqa: E402

from eval import quality_models as models  # noqa: E402
from eval import quality_training as training  # noqa: E402
from eval.quality_alarms import some  # noqa: E402
from sentinel.quality import asking  # noqa: E402
from sentinel.quality.asking import measure, plan  # noqa: E402
from sentinel.quality.comparison import Comparison, compare  # noqa: E402
from sentinel.quality.http import Address, Client, Trouble  # noqa: E402
from sentinel.quality.measurement import Measurement  # noqa: E402
from sentinel.quality.store import keep, load  # noqa: E402

_FLAGS = ("-ngl", "0", "-fit", "off", "--no-warmup")
_USUAL = ("-c", "2048", "-np", "1", "-t", "1")
_QUANTIZED = ("F16", *models.QUANTIZATIONS)


@dataclass(frozen=True)
class Row:
    """One server: its model, its flags, and against which reference it is held."""

    name: str
    model: Callable[[], Path]
    flags: Sequence[str] = _USUAL
    against: str = "F16"
    healthy: bool = False
    passes: int = 1
    warm: bool = False


def _rows() -> Iterator[Row]:
    """The most telling first: the table is printed as it grows."""

    def of(name: str) -> Callable[[], Path]:
        return partial(models.quantized, name)

    def damaged(name: str, change: Callable[[Any, Any], None]) -> Callable[[], Path]:
        return partial(models.changed, name, change)

    yield Row("F16", of("F16"), passes=2)
    yield Row("F16 -np 4 -c 8192", of("F16"), ("-c", "8192", "-np", "4", "-t", "1"), healthy=True)
    for name in models.QUANTIZATIONS:
        yield Row(name, of(name))
    yield Row("KV q4_0", of("F16"), (*_USUAL, "-fa", "on", "-ctk", "q4_0", "-ctv", "q4_0"))
    yield Row("--rope-freq-base 5000", of("F16"), (*_USUAL, "--rope-freq-base", "5000"))
    yield Row("F16 -b 64 -ub 17", of("F16"), (*_USUAL, "-b", "64", "-ub", "17"), healthy=True)
    yield Row("F16 -fa off", of("F16"), (*_USUAL, "-fa", "off"), healthy=True)
    yield Row("4 KiB of zeros", damaged("page-lost", models.page_lost))
    yield Row("bytes flipped", damaged("bytes-flipped", models.bytes_flipped))
    yield Row("a tensor of zeros", damaged("tensor-lost", models.tensor_lost))
    yield Row("a weight is NaN", damaged("nan", models.not_numbers))
    yield Row("weights moved 1 %", damaged("noise-0.01", models.noise(0.01)))
    yield Row("weights moved 0.3 %", damaged("noise-0.003", models.noise(0.003)))
    for share in (0.003, 0.01, 0.03, 0.1):
        yield Row(f"fine-tuned {share:.1%}", damaged(f"fine-tuned-{share}", models.fine_tuned(share)))
    for rate, steps in training.KEPT:
        yield Row(f"trained {steps} at {rate}", partial(training.trained, rate, steps))
    base = "Q4_K_M"
    yield Row(f"{base} again", of(base), against=base, passes=2, healthy=True)
    for name, flags in (
        ("-np 4 -c 8192", ("-c", "8192", "-np", "4", "-t", "1")),
        ("-b 64 -ub 17", (*_USUAL, "-b", "64", "-ub", "17")),
        ("-fa off", (*_USUAL, "-fa", "off")),
        ("--no-repack", (*_USUAL, "--no-repack")),
    ):
        yield Row(f"{base} {name}", of(base), flags, f"{base} again", healthy=True)
    yield Row(f"{base} warm", of(base), ("-c", "8192", "-np", "4", "-t", "1"), f"{base} again", healthy=True, warm=True)
    yield Row(f"{base} -t 2", of(base), ("-c", "2048", "-np", "1", "-t", "2"), f"{base} again", healthy=True)
    yield Row("F16 restarted", of("F16"), healthy=True)
    yield Row("KV q8_0", of("F16"), (*_USUAL, "-fa", "on", "-ctk", "q8_0", "-ctv", "q8_0"))
    yield Row("--rope-freq-scale 0.25", of("F16"), (*_USUAL, "--rope-freq-scale", "0.25"))
    yield Row("weights moved 3 %", damaged("noise-0.03", models.noise(0.03)))


def _measured(row: Row, folder: Path, *, again: bool) -> Measurement:
    path = folder / f"{row.name.replace(' ', '_').replace('%', '')}.json"
    if path.exists() and not again:
        return load(path)
    with server("-m", str(row.model()), *_FLAGS, *row.flags) as running:
        if row.warm:
            _warm_up(running)
        client = Client(Address("127.0.0.1", running.port))
        found = replace(measure(client, plan(client), row.passes), name=row.name, made=time.strftime("%Y-%m-%d", time.gmtime()))
    keep(path, found, replace=True)
    return found


def _warm_up(running: Running) -> None:
    """Prompts and answers stay in the caches of its slots."""
    for text in ("Once upon a time", "def main():\n    print(", "The capital of France is"):
        body = {"prompt": text, "n_predict": 24, "cache_prompt": True}
        request(f"{running.url}/completion", json.dumps(body).encode())


def main() -> int:
    """Measure and print the tables. Exit code 1 if a healthy change is reported."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="take up what an earlier run measured")
    parser.add_argument("--only", default="", help="rows with this text in their name, and the references")
    parser.add_argument("--some", action="store_true", help="25 of the prefixes: a sixth of the time, and wider intervals")
    arguments = parser.parse_args()
    folder = cache() / "quality" / ("some" if arguments.some else "")
    if arguments.some:
        asking.prefixes = some  # type: ignore[assignment,attr-defined]
    found: dict[str, Measurement] = {}
    alarms = healthy = 0
    print("| server | against | verdict | same first | log probability | divergence (95 %) | long | chance |")
    print("|---|---|---|---|---|---|---|---|")
    for row in _rows():
        if arguments.only and arguments.only not in row.name and row.passes == 1:
            continue
        try:
            found[row.name] = _measured(row, folder, again=not arguments.keep)
        except (ServerDied, Trouble, models.NotMade) as error:
            print(f"| {row.name} | {row.against} | not measured: {str(error).splitlines()[0]:.120} | | | | | |", flush=True)
            continue
        if row.name == row.against:
            continue
        compared = compare(found[row.against], found[row.name])
        print(_line(row, compared), flush=True)
        healthy += row.healthy
        alarms += row.healthy and compared.verdict != "same"
    print(f"\n{alarms} of {healthy} healthy changes reported\n")
    _pairs(found)
    cost = [(one.seconds / len(one.passes), one.tokens / len(one.passes)) for one in found.values()]
    if cost:
        print(f"\na pass: {max(tokens for _, tokens in cost):.0f} tokens, {min(cost)[0]:.1f} to {max(cost)[0]:.1f} s")
    return 1 if alarms else 0


def _line(row: Row, found: Comparison) -> str:
    if found.whole is None or found.parts is None:
        return f"| {row.name} | {row.against} | {found.verdict}: {found.why} | | | | | |"
    whole, long = found.whole, found.parts["long"].divergence.value if "long" in found.parts else 0.0
    apart = whole.divergence
    cells = (
        row.name,
        row.against,
        found.verdict + (f" ({found.size.split(':')[0]}, {found.why})" if found.size else ""),
        f"{whole.same_first.value:.0%}",
        f"{whole.change.value:+.4f}",
        f"{apart.value:.6f} ({apart.low:.6f} to {apart.high:.6f})",
        f"{long:.6f}",
        "" if whole.chance is None else f"{whole.chance:.4f}",
    )
    return "| " + " | ".join(cells) + " |"


def _pairs(found: dict[str, Measurement]) -> None:
    """Every quantization against every other: divergence, and in brackets the mean change of log probability."""
    there = [name for name in _QUANTIZED if name in found]
    print("| from, to | " + " | ".join(there) + " |")
    print("|---|" + "---|" * len(there))
    for one in there:
        cells = []
        for other in there:
            whole = compare(found[one], found[other]).whole
            cells.append("" if one == other or whole is None else f"{whole.divergence.value:.4f} ({whole.change.value:+.3f})")
        print(f"| {one} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
