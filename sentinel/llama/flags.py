"""llama-server's flags, with their aliases, words, variables and builds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sentinel.llama.flag_table import LOOKED_AT, TABLE
from sentinel.model.builds import ANY, BuildRange

#: The newest build whose flags are known. A newer one may have others.
NEWEST = LOOKED_AT[-1].high or 0


@dataclass(frozen=True, slots=True)
class Option:
    """An option with all its names. `builds` has the builds of each name, `words` the builds of each number of words."""

    names: tuple[str, ...]
    negated: frozenset[str]
    words: Mapping[int, BuildRange]
    variables: tuple[str, ...]
    builds: Mapping[str, BuildRange]
    refused_by: tuple[int, ...] = ()

    @property
    def may_stand_alone(self) -> bool:
        """It takes a value, and did not in older builds."""
        return len(self.words) > 1 and 0 in self.words

    @property
    def has_changed(self) -> bool:
        """The number of words it takes changed at some build."""
        return len(self.words) > 1

    @property
    def off_variables(self) -> frozenset[str]:
        """``LLAMA_ARG_NO_X`` turns an option with a negated name off, whatever its value (common/arg.cpp, get_value_from_env)."""
        if not self.negated:
            return frozenset()
        positive = (name.replace("LLAMA_ARG_", "LLAMA_ARG_NO_") for name in self.variables if "_NO_" not in name)
        return frozenset({*positive, *(name for name in self.variables if name.startswith("LLAMA_ARG_NO_"))})


def _read(line: str) -> Option:
    names, negated, variables, refused = list[str](), set[str](), list[str](), list[int]()
    words, own = dict[int, BuildRange](), dict[str, str]()
    whole, is_negated = "any", False
    for part in line.split():
        text, _, builds = part.partition("@")
        if part == "/":
            is_negated = True
        elif not text:
            whole = builds
        elif text.startswith("-"):
            names.append(text)
            own[text] = builds
            negated |= {text} if is_negated else set()
        elif text.startswith("!b"):
            refused.append(int(text[2:]))
        elif text.isdigit():
            words[int(text)] = BuildRange.parse(builds) or ANY
        else:
            variables.append(text)
    taken = {name: BuildRange.parse(own[name] or whole) or ANY for name in names}
    return Option(tuple(names), frozenset(negated), words, tuple(variables), taken, tuple(refused))


def _lines() -> Iterator[str]:
    """An option that fills its line continues on the next one, which is indented."""
    for line in TABLE.replace("\n  ", "  ").splitlines():
        if line and not line.startswith("#"):
            yield line


OPTIONS = tuple(map(_read, _lines()))
#: every name -> its option
OPTION: Mapping[str, Option] = {name: option for option in OPTIONS for name in option.names}

#: Switches that imply a model: presets that download.
MODEL_SWITCHES = frozenset(name for name in OPTION if name.endswith(("-default", "-spec")) and name != "--spec-default")
#: Flags that print something and end the process.
PRINT_AND_EXIT = frozenset(
    {"-h", "--help", "--usage", "--version", "-cl", "--cache-list", "--completion-bash", "--list-devices", "--license"}
)
#: Flags whose parsing writes a file or connects somewhere. Each takes one value.
WITH_EFFECT = frozenset({"--log-file", "--rpc", "--logdir", "-ld", "--log-prompts-dir"})
#: Accepted and without effect in builds since 2025-02 ("deprecated" in their help).
NO_EFFECT = frozenset({"-dt", "--defrag-thold"})
#: old flag -> its present replacement; empty: drop it
TODAY: Mapping[str, tuple[str, ...]] = {
    "--mmap": (),
    "--no-mmap": ("--load-mode", "none"),
    "--mlock": ("--load-mode", "mmap+mlock"),
    "-dio": ("--load-mode", "dio"),
    "--direct-io": ("--load-mode", "dio"),
    "-ndio": (),
    "--no-direct-io": (),
}
#: Flags that are still read only to end the start -> the name that present builds take.
RENAMED: Mapping[str, str] = {
    **dict.fromkeys(("--draft", "--draft-n", "--draft-max"), "--spec-draft-n-max"),
    **dict.fromkeys(("--draft-min", "--draft-n-min"), "--spec-draft-n-min"),
}
#: cmake option that current trees ignore silently, so that the result is a CPU build -> its replacement
#: (docs/build.md; the first two were names until about b4000, the others until 2024-06)
DEAD_CMAKE: Mapping[str, str] = {
    "GGML_HIPBLAS": "GGML_HIP",
    "GGML_CUBLAS": "GGML_CUDA",
    "LLAMA_HIPBLAS": "GGML_HIP",
    "LLAMA_CUBLAS": "GGML_CUDA",
    "LLAMA_CUDA": "GGML_CUDA",
    "LLAMA_VULKAN": "GGML_VULKAN",
}


def spelled(word: str) -> str:
    """A flag as the table has it: llama.cpp takes ``--ctx_size`` for ``--ctx-size``."""
    return word.replace("_", "-") if word.startswith("--") and "=" not in word else word


def same_as(flag: str) -> tuple[str, ...]:
    """All names of the flag's option with the same effect; `--no-mmap` has another."""
    option = OPTION[flag]
    return tuple(name for name in option.names if (name in option.negated) == (flag in option.negated))


def accepted(flag: str, words: int | None = None) -> BuildRange | None:
    """The builds that take a flag, with so many words after it if that changed; None if none is known to."""
    option = OPTION.get(flag)
    if option is None:
        return None
    builds = option.builds[flag]
    if words is None or not option.has_changed:
        return builds
    return builds & option.words[words] if words in option.words else None


def possible(flag: str, words: int | None = None) -> BuildRange | None:
    """The builds that are not known to refuse it: those that accept it and those between two lists that differ."""
    builds = accepted(flag, words)
    if builds is None:
        return None
    low, high = builds.low, builds.high
    if low is not None:
        low = max((min(one.high or 0, low - 1) for one in LOOKED_AT if (one.low or 0) < low), default=low - 1) + 1
    if high is not None:
        refused = (*LOOKED_AT, *(BuildRange(one, one) for one in OPTION[flag].refused_by))
        high = min(max(one.low or 0, high + 1) for one in refused if (one.high or 0) > high) - 1
    return BuildRange(low, high)


def takes(flag: str, build: int, words: int | None = None) -> bool | None:
    """Whether a build takes a flag; None if unknown: in a newer build, and between two lists that differ."""
    sure, perhaps = accepted(flag, words), possible(flag, words)
    if sure is None or perhaps is None or build > NEWEST:
        return None
    return True if build in sure else None if build in perhaps else False


def nearest(flag: str) -> str:
    """The flag of llama-server that was probably meant by one that no build has; empty if none is near.

    Short names have one hyphen and long ones two: --ngl is -ngl. Names with the words in another order or incomplete come
    before misspelled ones: --draft-model is --model-draft, and --draft-n-max is --spec-draft-n-max. The newest build has it.
    """
    names = [name for option in OPTIONS for name in option.names if NEWEST in option.builds[name]]
    with_the_other_hyphens = flag[1:] if flag.startswith("--") else f"-{flag}"
    if with_the_other_hyphens in names:
        return with_the_other_hyphens
    if not flag.startswith("--"):
        return ""
    today = [name for name in names if name.startswith("--")]
    words = frozenset(flag.strip("-").split("-"))
    if len(words) > 1:
        held = [name for name in today if words <= frozenset(name.strip("-").split("-"))]
        if held:
            return min(held, key=lambda name: (len(name), name))
    import difflib  # for a mistake only: the daemon rarely needs it

    return next(iter(difflib.get_close_matches(flag, sorted(today), n=1, cutoff=0.75)), "")
