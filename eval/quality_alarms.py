"""Healthy servers by the hundred, each started anew with drawn flags, each checked against its model's reference: false alarms.

make quality-alarms ALARMS="--checks 200". What is measured is kept line by line: an interrupted run is taken up where it was.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from urllib.error import HTTPError

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "demo")]

from real_server import Running, ServerDied, cache, large_model, model, request, server  # noqa: E402

from eval.quality_mixture import mixture  # noqa: E402
from sentinel.quality import asking  # noqa: E402
from sentinel.quality.asking import measure, plan  # noqa: E402
from sentinel.quality.comparison import compare  # noqa: E402
from sentinel.quality.http import Address, Client, Trouble  # noqa: E402
from sentinel.quality.measurement import Measurement  # noqa: E402
from sentinel.quality.prefixes import Prefix, prefixes  # noqa: E402
from sentinel.quality.store import keep, load  # noqa: E402

_SEED = 20261129
_FLAGS = ("-fit", "off", "--no-warmup")
_USUAL = ("-c", "2048", "-np", "1", "-t", "1", "-ngl", "0")
#: Mesa compiles a shader for minutes where the machine has other work.
_SOFTWARE_SECONDS = 900.0
_MODELS: Mapping[str, Callable[[], Path]] = {
    "mixture F16": partial(mixture, "F16"),
    "mixture Q4_K_M": partial(mixture, "Q4_K_M"),
    "mixture Q2_K": partial(mixture, "Q2_K"),
    "gemma Q4_K_M": model,
    "gemma F16": large_model,
}


@dataclass(frozen=True)
class Check:
    """One start and one check."""

    number: int
    model: str
    flags: tuple[str, ...]
    warm: bool
    software_gpu: bool


@dataclass(frozen=True)
class Result:
    """What it showed; `verdict` is empty where the server could not be asked."""

    number: int
    model: str
    flags: str
    warm: bool
    software_gpu: bool
    verdict: str
    why: str
    divergence: float
    tokens: int
    seconds: float


def checks(of: str, count: int, threads: Sequence[int], *, software_gpu: bool) -> Iterator[Check]:
    """Each from its number: the same run everywhere."""
    for number in range(count):
        drawn = random.Random(f"{_SEED} {of} {software_gpu} {number}")
        slots = drawn.choice((1, 1, 2, 4))
        batch = drawn.choice((32, 64, 256, 512, 2048))
        flags = (
            "-c", str(slots * drawn.choice((1024, 2048, 4096))), "-np", str(slots), "-b", str(batch),
            "-ub", str(drawn.choice([n for n in (16, 17, 32, 128, 512) if n <= batch])),
            "-t", str(drawn.choice(threads)), "-ngl", "99" if software_gpu else "0",
        )  # fmt: skip
        yield Check(number, of, flags, drawn.random() < 0.5, software_gpu)


def some() -> tuple[Prefix, ...]:
    """Every fourth of the short prefixes and one long one."""
    every = prefixes()
    return (*[one for one in every if one.category != "long"][::4], *[one for one in every if one.category == "long"][:1])


def _ask(of: str, flags: Sequence[str], *, passes: int = 1, warm: bool = False, software_gpu: bool = False) -> Measurement:
    env = {"GGML_VK_VISIBLE_DEVICES": "0", "LP_NUM_THREADS": "1"} if software_gpu else None
    with server("-m", str(_MODELS[of]()), *_FLAGS, *flags, env=env) as running:
        if warm:
            _warm_up(running)
        client = Client(Address("127.0.0.1", running.port), seconds=_SOFTWARE_SECONDS)
        return measure(client, plan(client, estimated=False), passes)


def _warm_up(running: Running) -> None:
    """Prompts and answers stay in the caches of its slots."""
    for text in ("Once upon a time", "def main():\n    print("):
        body = {"prompt": text, "n_predict": 8, "cache_prompt": True}
        # Random weights write bytes that are no text, which b10434 answers with status 500; its cache has them all the same.
        with suppress(HTTPError):
            request(f"{running.url}/completion", json.dumps(body).encode(), timeout=_SOFTWARE_SECONDS)


def _reference(of: str, whole: bool) -> Measurement:
    path = cache() / "quality" / f"alarms-{of.replace(' ', '-')}{'-whole' if whole else ''}.json"
    if not path.exists():
        keep(path, replace(_ask(of, _USUAL, passes=2), name=of, made=time.strftime("%Y-%m-%d", time.gmtime())), replace=True)
    return load(path)


def _result(check: Check, before: Measurement) -> Result:
    began = time.monotonic()
    about = (check.number, check.model, " ".join(check.flags), check.warm, check.software_gpu)
    try:
        found = _ask(check.model, check.flags, warm=check.warm, software_gpu=check.software_gpu)
    except (ServerDied, Trouble, OSError) as error:
        return Result(*about, "", str(error).splitlines()[0][:200], 0.0, 0, time.monotonic() - began)
    compared = compare(before, found)
    apart = compared.whole.divergence.value if compared.whole is not None else 0.0
    return Result(*about, compared.verdict, compared.why, apart, found.tokens, found.seconds)


def upper(alarms: int, number: int, confidence: float = 0.95) -> float:
    """The largest rate of alarms with which so few are still likely: the one-sided bound of Clopper and Pearson."""
    low, high = alarms / number, 1.0
    for _ in range(60):
        rate = (low + high) / 2
        low, high = (rate, high) if _at_most(alarms, number, rate) > 1 - confidence else (low, rate)
    return high


def _at_most(alarms: int, number: int, rate: float) -> float:
    term = (1 - rate) ** number
    total = term
    for count in range(alarms):
        term *= (number - count) / (count + 1) * rate / (1 - rate) if rate < 1 else 0.0
        total += term
    return total


def summary(results: Sequence[Result]) -> str:
    """A table by model and device, and the bound. Starts that give equal numbers are little further evidence: those that differ
    are counted beside them.
    """
    asked = [one for one in results if one.verdict]
    head = ("model", "device", "starts", "different results", "alarms", "largest divergence", "tokens a check", "s a check")
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    different = 0
    for of, software in sorted({(one.model, one.software_gpu) for one in asked}):
        mine = [one for one in asked if (one.model, one.software_gpu) == (of, software)]
        outcomes = len({round(one.divergence, 9) for one in mine})
        different += outcomes
        cells = (
            of,
            "software GPU" if software else "CPU",
            f"{len(mine)}",
            f"{outcomes}",
            f"{sum(one.verdict != 'same' for one in mine)}",
            f"{max(one.divergence for one in mine):.6f}",
            f"{max(one.tokens for one in mine)}",
            f"{min(one.seconds for one in mine):.1f} to {max(one.seconds for one in mine):.1f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    alarms = sum(one.verdict != "same" for one in asked)
    if asked:
        lines.append(f"\n{alarms} alarms of {len(asked)} starts with {different} different results. The rate is at most (95 %)")
        lines.append(f"{upper(alarms, len(asked)):.2%} if each start is a trial of its own,")
        lines.append(f"{upper(alarms, different):.1%} if only different results are.")
    lines += [f"not measured: {one.model} {one.flags}: {one.why}" for one in results if not one.verdict]
    return "\n".join(lines)


def main() -> int:
    """Measure until there are so many, and print the table. Exit code 1 if there is an alarm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checks", type=int, default=120, help="of each model")
    parser.add_argument("--models", nargs="*", default=list(_MODELS), choices=_MODELS)
    # Threads that wait for each other spin: on two cores that others want too, -t 2 reads a token a minute.
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 2], help="of which one is drawn")
    parser.add_argument("--software-gpu", action="store_true", help="on Mesa's llvmpipe, held against the reference of the CPU")
    parser.add_argument("--whole", action="store_true", help="all prefixes instead of 25")
    parser.add_argument("--show", action="store_true", help="only the table of what was measured")
    arguments = parser.parse_args()
    if not arguments.whole:
        asking.prefixes = some  # type: ignore[assignment,attr-defined]
    log = cache() / "quality" / f"alarms{'-whole' if arguments.whole else ''}.jsonl"
    results = [Result(**json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []
    done = {(one.model, one.software_gpu, one.number) for one in results if one.verdict}
    for of in () if arguments.show else arguments.models:
        for check in checks(of, arguments.checks, arguments.threads, software_gpu=arguments.software_gpu):
            if (of, check.software_gpu, check.number) in done:
                continue
            results.append(_result(check, _reference(of, arguments.whole)))
            with log.open("a") as stream:
                stream.write(json.dumps(asdict(results[-1])) + "\n")
            print(results[-1], flush=True)
    measured = {(one.model, one.software_gpu, one.number): one for one in results}
    print(summary(list(measured.values())))
    return 1 if any(one.verdict not in ("", "same") for one in measured.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
