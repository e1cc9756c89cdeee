"""Code without what it holds for readers does what it did, and what stands in for a module gives way to it when asked."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from sentinel.daemon.lean_code import without_docstrings

_SOURCE = """
def plain():
    "read by people"
    return 1

def spoken():
    "said"
    return "said"

def bare():
    return "said"

def steps():
    "read by people"
    yield "said"

class Thing:
    "read by people"

    def letters(self, of=[letter for letter in "ab"]):
        "read by people"
        return [letter for letter in ("x", "y")] + of, (lambda: "said")()

    @property
    def inner(self):
        "read by people"
        def within():
            "read by people"
            return {name: "said" for name in "q"}
        return within
"""


@pytest.fixture
def both() -> tuple[dict[str, Any], dict[str, Any]]:
    """The names of the source, as written and lean."""
    code = compile(_SOURCE, "source", "exec")
    written: dict[str, Any] = {}
    lean: dict[str, Any] = {}
    exec(code, written)
    exec(without_docstrings(code), lean)
    return written, lean


def test_docstrings_are_gone(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    _, lean = both
    thing = lean["Thing"]
    assert [one.__doc__ for one in (lean["plain"], lean["steps"], thing.letters, thing.inner, thing().inner)] == [None] * 5


def test_what_a_function_gives_is_the_same(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Even where it gives its own docstring, of which Python keeps one copy for both."""
    written, lean = both
    for names in both:
        assert (names["plain"](), names["spoken"](), names["bare"](), list(names["steps"]())) == (1, "said", "said", ["said"])
    assert written["Thing"]().letters() == lean["Thing"]().letters()
    assert written["Thing"]().inner() == lean["Thing"]().inner()
    assert lean["spoken"].__doc__ == "said"


_DATA = """
import sys
{install}
from dataclasses import dataclass, field, replace
@dataclass(frozen=True, slots=True)
class Point:
    x: int
    hidden: int = field(default=0, repr=False)
@dataclass
class Open:
    name: str
    inner: object = None
@dataclass(frozen=True)
class Above:
    x: int
class Below(Above):
    pass
def refused(thing, name):
    try:
        setattr(thing, name, 1)
    except AttributeError as error:
        return f"{{type(error).__name__}}: {{error}}"
    return "taken"
point, loop = Point(1), Open("a")
loop.inner = loop
print(point, loop, Open("b", point), Below(2), point == Point(1), hash(point) == hash(Point(1)), replace(point, x=3))
print(refused(point, "x"), refused(Below(1), "x"), refused(Below(1), "other"), refused(loop, "name"))
try:
    del point.x
except AttributeError as error:
    print(type(error).__name__, error)
"""


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout


def test_dataclasses_that_share_their_functions_are_as_others() -> None:
    lean = _python(_DATA.format(install="from sentinel.daemon.lean_code import install; install()"))
    assert lean == _python(_DATA.format(install=""))
    assert "FrozenInstanceError" in lean


_LATER = """
import sys
from sentinel.daemon.lean_code import forget, install
install()
import sentinel.cli.run
forget()
print([name for name in ("ast", "ipaddress", "asyncio.sslproto", "msgspec.inspect") if hasattr(sys.modules[name], "__file__")])
import asyncio, inspect, urllib.parse, msgspec
from asyncio import sslproto
import ast
host = urllib.parse.urlsplit("http://[::1]:80/").hostname
print(inspect.signature(len), host, ast.literal_eval("[1]"), sslproto.SSLProtocol.__name__)
kind = msgspec.inspect.type_info(int)
print(isinstance(ast.parse("1"), sys.modules["ast"].Module), type(kind).__name__, msgspec.json.schema(list[int])["type"])
print(sentinel.cli.run.load_first.__doc__, sentinel.cli.run.load_first.__annotations__)
"""


def test_a_module_that_was_put_off_is_there_when_somebody_asks_for_it() -> None:
    put_off, of_library, of_msgspec, own = _python(_LATER).splitlines()
    assert put_off == "[]"
    assert of_library == "(obj, /) ::1 [1] SSLProtocol"
    assert of_msgspec == "True IntType array"
    assert own == "None {}"


_PROGRAM = """
import os, sys
sys.argv = ["sentinel", *{words}]
def say(code):
    from sentinel.daemon import lean_code
    sys.stdout.write(str(lean_code._installed))
    sys.stdout.flush()
    os.kill(os.getpid(), 9)
os._exit = say
from sentinel.cli.main import program
program()
"""


@pytest.mark.parametrize(("words", "lean"), [(["run", "--config", "/nowhere.toml"], "True"), (["rules", "list"], "False")])
def test_the_daemon_and_no_other_verb_loads_code_so(words: list[str], lean: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(words=words)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.endswith(lean)
