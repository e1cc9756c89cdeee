"""The same models and flags through other programs that compute memory: llama-mdl, llamafit, and llama.cpp's own --fit.

The two packages are asked in a process of their own, from a folder that `make eval-preflight` fills; without it they are left
out. Compared is what the server printed for the card: everything (llama-mdl, --fit) and the KV cache alone (llamafit).
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from eval.preflight_layouts import LAYOUTS
from eval.preflight_truth import start
from sentinel.gguf.header import model_of, read_model
from sentinel.llama.model import Model
from sentinel.llama.settings import Device, Settings
from sentinel.memory.footprint import footprint

_MIB = 1 << 20
_FLAGS: Mapping[str, Settings] = {
    "-c 8192 -ngl 99 -np 1": Settings(gpu_layers=99, ctx=8192, ctx_given=True, parallel=1, fit=False),
    "-c 8192 -ngl 3 -np 1": Settings(gpu_layers=3, ctx=8192, ctx_given=True, parallel=1, fit=False),
}
_LAYOUTS = (
    "llama",
    "llama_tied",
    "gemma3",
    "gpt_oss",
    "qwen3moe",
    "deepseek2",
    "glm4moe",
    "jamba",
    "lfm2",
    "qwen3next",
    "openelm",
    "deci",
)
_ASK = """
import json, shlex, sys
path, flags = sys.argv[1:3]
answer = {}
try:
    from mdl_fit import gguf, model
    asked = model.parse_argv(["llama-server", "-m", path, *shlex.split(flags)])[0]
    answer["llama-mdl"] = model.memory(model.Shape(gguf.load(path)), asked).gpu
except Exception as error:
    answer["llama-mdl"] = type(error).__name__
try:
    from pathlib import Path
    from llamafit.gguf.cache import read_facts
    from llamafit.budget.kv import kv_cache_bytes
    answer["llamafit"] = kv_cache_bytes(read_facts(Path(path)), context=8192, kv_type="f16")
except Exception as error:
    answer["llamafit"] = type(error).__name__
print(json.dumps(answer))
"""
_FIT = re.compile(r"projected to use (\d+) MiB of device memory")


def peers(folder: Path) -> str:
    """A table for people: how far each is from what was printed."""
    packages = Path(os.environ.get("CACHE", ".cache")).resolve() / "peers"
    errors: dict[str, list[float]] = {}
    failed: dict[str, list[str]] = {}
    for layout in _LAYOUTS:
        path = LAYOUTS[layout]().write(folder / f"{layout}.gguf")
        model = model_of(read_model(str(path)))
        assert isinstance(model, Model)
        for flags, settings in _FLAGS.items():
            truth = start(path, [*flags.split(), "--fit", "off"], cards=1)
            card = sum(size for (place, _), size in truth.found.items() if place == "Vulkan0")
            cache = sum(size for (_, kind), size in truth.found.items() if kind == "kv")
            if not card:
                continue
            own = footprint(model, settings, [Device("Vulkan0", 2048 * _MIB, 2048 * _MIB)], 10434)
            said: dict[str, object] = {
                # the driver's own share is not among what the server prints
                "sentinel, all on the card": sum(i.bytes for i in own.items if i.place == "Vulkan0" and i.kind != "overhead")
            }
            said["sentinel, KV cache"] = sum(item.bytes for item in own.items if item.kind == "kv")
            said |= _ask(packages, path, flags)
            for name, figure in said.items():
                true = cache if name in {"llamafit, KV cache", "sentinel, KV cache"} else card
                if isinstance(figure, int) and true:
                    errors.setdefault(name, []).append(abs(figure - true) / true)
                elif not isinstance(figure, int):
                    failed.setdefault(name, []).append(layout)
        truth = start(path, ["-c", "8192", "-np", "1"], cards=1)
        projected = _FIT.search(truth.log)
        card = sum(size for (place, _), size in truth.found.items() if place == "Vulkan0")
        if projected and card:
            errors.setdefault("llama.cpp --fit, all on the card", []).append(abs(int(projected[1]) * _MIB - card) / card)
        path.unlink()
    lines = ["peers on the same files: distance from what llama-server printed"]
    for name, found in sorted(errors.items(), key=lambda entry: statistics.median(entry[1])):
        left = f"; no answer for {', '.join(sorted(set(failed[name])))}" if name in failed else ""
        lines.append(
            f"  {name:<34} median {100 * statistics.median(found):5.1f} %, worst {100 * max(found):6.1f} %, "
            f"{len(found):>3} cases{left}"
        )
    lines += [f"  {name:<34} gave no answer at all" for name in failed.keys() - errors.keys()]
    return "\n".join(lines)


def _ask(packages: Path, path: Path, flags: str) -> dict[str, object]:
    if not packages.is_dir():
        return {}
    done = subprocess.run(
        [sys.executable, "-c", _ASK, str(path), flags],
        env={**os.environ, "PYTHONPATH": str(packages)},
        capture_output=True,
        check=False,
    )
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        return {}
    return {"llama-mdl, all on the card": answer["llama-mdl"], "llamafit, KV cache": answer["llamafit"]}
