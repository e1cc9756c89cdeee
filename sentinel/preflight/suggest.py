"""The best flags that fit: found by bisection, each candidate judged as the complete command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from sentinel.llama.setting_flags import BY_SWITCH, SETTINGS
from sentinel.llama.settings import Item, Settings
from sentinel.memory.fit import FitVerdict
from sentinel.memory.footprint import Footprint
from sentinel.model.text import size
from sentinel.preflight.build import Build
from sentinel.preflight.flag_check import words_of

MOST = 3
#: Contexts are tried in steps of this many tokens (llama.cpp pads the cache to 256), and not below the second.
_CTX_STEP, _LEAST_CTX = 256, 512
#: Maximum judgements per search; each takes a millisecond for a model of 128 layers.
_MOST_TRIALS = 240


@dataclass(frozen=True, slots=True)
class Judged:
    """A command line and its outcome."""

    argv: tuple[str, ...]
    settings: Settings
    footprint: Footprint
    verdict: FitVerdict
    #: it starts, whatever happens later: nothing worse than thrashing
    starts: bool = True

    @property
    def on_gpu(self) -> int:
        """Bytes of weights on devices."""
        return sum(item.bytes for item in self.footprint.items if item.kind == "weights" and item.place != "host")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A command line that fits, its memory, and in one sentence what it gives up or gains."""

    argv: tuple[str, ...]
    memory: tuple[Item, ...]
    why: str
    verdict: FitVerdict = "fits"


@dataclass(slots=True)
class Search:
    """`judge` turns a command line into a Trial; None if it cannot be judged."""

    judge: Callable[[tuple[str, ...]], Judged | None]
    build: Build
    layers: int
    ctx_train: int
    has_experts: bool
    devices: bool
    #: what every suggestion gives up
    given_up: str = ""
    _seen: dict[tuple[str, ...], Judged | None] = field(default_factory=dict)
    _enough: tuple[str, ...] = ("fits",)

    def best(self, argv: tuple[str, ...], asked: Judged) -> list[Suggestion]:
        """At most three, best first: keeps the requested settings as far as possible, then puts as much as possible on the GPU.

        If nothing fits with its upper bound, offers what is tight, then what thrashes, and marks it as such.
        """
        for enough in (("fits",), ("fits", "tight"), ("fits", "tight", "fails")):
            found = self._search(argv, asked, enough)
            if found:
                return found
        return []

    def _search(self, argv: tuple[str, ...], asked: Judged, enough: tuple[str, ...]) -> list[Suggestion]:
        self._enough = enough
        found: dict[tuple[tuple[Item, ...], int], tuple[tuple[float, ...], Suggestion]] = {}
        for repair, (base, given_up) in enumerate(self._repairs(argv, asked.settings)):
            for cost, (start, note) in enumerate(self._cache_types(base, asked.settings)):
                for trial in self._axes(start, asked):
                    if not self._is_gain(trial, asked):
                        continue
                    context = -min(trial.footprint.ctx / max(asked.footprint.ctx, 1), 1.0)
                    # a layer with its attention on the GPU is worth more than the same bytes of experts
                    rank = (repair, context, -trial.footprint.gpu_layers, -trial.on_gpu, cost)
                    why = self._description(trial, asked, [given_up, note])
                    # two spellings of the same settings are one suggestion; the shorter is better
                    same = (trial.footprint.items, trial.footprint.ctx)
                    if same not in found or len(trial.argv) < len(found[same][1].argv):
                        found[same] = (rank, Suggestion(trial.argv, tuple(trial.footprint.items), why, trial.verdict))
            if found:
                break
        return [suggestion for _, suggestion in sorted(found.values(), key=lambda one: one[0])[:MOST]]

    def _repairs(self, argv: tuple[str, ...], settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
        """Changes in how host memory is used, smallest first, each with a description of what it gives up."""
        yield argv, ""
        mapped = _mapped(argv, self.build)
        if settings.load_mode not in ("auto", "mmap"):
            yield mapped, "the weights are mapped and not locked, so that the kernel may drop them"
        if settings.cache_ram_mib and self.build.accepts("--cache-ram") is not False:
            small = put(argv, "cache_ram", "--cache-ram", "0", self.build)
            yield small, "no prompts are kept in RAM"
            if settings.load_mode not in ("auto", "mmap"):
                yield (
                    put(mapped, "cache_ram", "--cache-ram", "0", self.build),
                    "weights are mapped and not locked, no prompts are kept in RAM",
                )

    def _cache_types(self, argv: tuple[str, ...], settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
        yield argv, ""
        if settings.cache_type_k == "f16" and settings.cache_type_v == "f16":
            eighth = put(argv, "cache_type_k", "-ctk", "q8_0", self.build)
            eighth = put(eighth, "cache_type_v", "-ctv", "q8_0", self.build)
            # V can be quantized with flash attention only (src/llama-context.cpp)
            yield put(eighth, "flash_attn", "-fa", "on", self.build), "the cache is kept in q8_0, half the size, hardly any loss"

    def _axes(self, argv: tuple[str, ...], asked: Judged) -> Iterator[Judged]:
        """The command as it is; with all layers and few experts; with as many layers and as much context as fit."""
        whole = self._try(argv)
        if whole is not None and self._will_do(whole):
            yield whole
        if self.devices and self.layers:
            yield from self._layers(argv)
        yield from self._context(argv, asked)

    def _layers(self, argv: tuple[str, ...]) -> Iterator[Judged]:
        if self.has_experts and self.build.accepts("--n-cpu-moe") is not False:
            everything = put(argv, "gpu_layers", "-ngl", str(self.layers + 1), self.build)
            everything = _without(everything, {"cpu_moe"}, self.build)
            few = self._extreme(
                0, self.layers, lambda kept: put(everything, "n_cpu_moe", "--n-cpu-moe", str(kept), self.build), largest=False
            )
            if few is not None:
                yield few
        most = self._extreme(
            0, self.layers + 1, lambda count: put(argv, "gpu_layers", "-ngl", str(count), self.build), largest=True
        )
        if most is not None:
            yield most

    def _context(self, argv: tuple[str, ...], asked: Judged) -> Iterator[Judged]:
        top = max(self.ctx_train, asked.footprint.ctx) // _CTX_STEP
        most = self._extreme(
            _LEAST_CTX // _CTX_STEP, top, lambda steps: put(argv, "ctx", "-c", str(steps * _CTX_STEP), self.build), largest=True
        )
        if most is not None:
            yield most

    def _extreme(self, low: int, high: int, make: Callable[[int], tuple[str, ...]], *, largest: bool) -> Judged | None:
        """The largest (or smallest) number of the range with which the command fits, by bisection; None if none does."""
        found: Judged | None = None
        while low <= high:
            middle = (low + high) // 2
            trial = self._try(make(middle))
            if trial is not None and self._will_do(trial):
                found = trial
                low, high = (middle + 1, high) if largest else (low, middle - 1)
            else:
                low, high = (low, middle - 1) if largest else (middle + 1, high)
        return found

    def _will_do(self, trial: Judged) -> bool:
        return trial.verdict in self._enough and trial.starts

    def _try(self, argv: tuple[str, ...]) -> Judged | None:
        if argv not in self._seen:
            if len(self._seen) >= _MOST_TRIALS:
                return None
            self._seen[argv] = self.judge(argv)
        return self._seen[argv]

    def _is_gain(self, trial: Judged, asked: Judged) -> bool:
        """If the requested settings fit, a suggestion must offer more of something."""
        if asked.verdict in ("fails", "unknown"):
            # if both thrash, the requested command needs no alternative
            return trial.verdict != "fails" or not asked.starts
        if asked.verdict == "tight":
            return trial.verdict == "fits"
        more_layers = trial.on_gpu > asked.on_gpu and trial.footprint.ctx >= asked.footprint.ctx
        more_context = trial.footprint.ctx > asked.footprint.ctx * 5 // 4 and trial.on_gpu >= asked.on_gpu
        return (more_layers or more_context) and trial.settings.cache_type_k == asked.settings.cache_type_k

    def _description(self, trial: Judged, asked: Judged, notes: Sequence[str]) -> str:
        parts = []
        if self.devices:
            layers = min(max(trial.footprint.gpu_layers, 0), self.layers + 1)
            parts.append(f"{layers} of {self.layers + 1} layers and {size(trial.on_gpu)} of weights on the GPU")
            if trial.settings.n_cpu_moe:
                parts.append(f"the experts of {trial.settings.n_cpu_moe} blocks on the CPU")
        context = f"{trial.footprint.ctx} tokens of context"
        if trial.footprint.ctx != asked.footprint.ctx:
            context += f" instead of {asked.footprint.ctx}"
        caveats = {"tight": "tight", "fails": "it starts, but reads weights from the disk again and again"}
        notes = [*notes, caveats.get(trial.verdict, "")]
        return "; ".join([*parts, context, *(note for note in [self.given_up, *notes] if note)])


def put(argv: tuple[str, ...], setting: str, flag: str, value: str, build: Build) -> tuple[str, ...]:
    """The command with one setting given once, at its old position or at the end."""
    kept, done = [argv[0]], False
    for word in words_of(argv, build):
        if word.flag in SETTINGS[setting]:
            kept += [] if done else [argv[word.at], value]
            done = True
        else:
            kept += [argv[word.at], *word.values]
    return tuple(kept) if done else (*kept, flag, value)


def _without(argv: tuple[str, ...], settings: set[str], build: Build) -> tuple[str, ...]:
    kept = [argv[0]]
    for word in words_of(argv, build):
        if BY_SWITCH.get(word.flag, ("", ""))[0] not in settings:
            kept += [argv[word.at], *word.values]
    return tuple(kept)


def _mapped(argv: tuple[str, ...], build: Build) -> tuple[str, ...]:
    """The command with mapped weights that are not locked, using the build's flags."""
    plain = _without(argv, {"mlock", "mmap"}, build)
    kept = [plain[0]]
    for word in words_of(plain, build):
        if word.flag not in SETTINGS["load_mode"]:
            kept += [plain[word.at], *word.values]
    # explicit if possible, because the environment may request something else
    return (*kept, "--load-mode", "mmap") if build.accepts("--load-mode") else tuple(kept)
