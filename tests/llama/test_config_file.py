"""llama.cpp's own configuration file: what it sets counts as asked for, below the environment and the command line."""

from __future__ import annotations

from sentinel.llama.command_line import decode
from sentinel.llama.config_file import SYSTEM, user_file, words_of

FILE = """\
; of the machine
version = 1
[*]
ctx-size = 4096
n-gpu-layers = 12
[default]
mlock = true
mmap = off
LLAMA_ARG_N_PARALLEL = 2
no-such-option = 3
[other]
ctx-size = 1
"""


def test_its_keys_are_the_options_of_the_command_line() -> None:
    assert words_of(FILE) == ["--ctx-size", "4096", "--n-gpu-layers", "12", "--mlock", "--no-mmap", "-np", "2"]


def test_environment_and_command_line_override_it_and_it_is_named_as_the_source() -> None:
    asked = decode(["llama-server", "-c", "8192"], {"LLAMA_ARG_N_PARALLEL": "4"}, {SYSTEM: words_of(FILE)})
    assert (asked.text("ctx"), asked.text("slots"), asked.text("gpu_layers")) == ("8192", "4", "12")
    assert asked.settings["gpu_layers"].source == SYSTEM
    assert asked.flag("mlock") and not asked.on("mmap", default=True)
    assert asked.unknown == ()


def test_the_later_file_overrides_the_earlier() -> None:
    files = {SYSTEM: words_of("ctx-size = 1024"), "/home/u/.config/llama.cpp/config.ini": words_of("c = 2048")}
    assert decode(["llama-server"], {}, files).text("ctx") == "2048"


def test_the_users_file_is_where_xdg_has_it() -> None:
    assert user_file({"XDG_CONFIG_HOME": "/x", "HOME": "/home/u"}) == "/x/llama.cpp/config.ini"
    assert user_file({"HOME": "/home/u"}) == "/home/u/.config/llama.cpp/config.ini"
    assert user_file({}) == ""


def test_text_that_is_no_such_file_sets_nothing() -> None:
    assert words_of("root:x:0:0\n\0\xff=\n= =\n[[[\n") == []
