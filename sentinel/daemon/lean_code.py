"""Loads code without what the daemon has no use for: 4 MB (measured). For a process that is the daemon and nothing else.

- Docstrings, and the annotations of functions. `python -OO` would leave out the first, but of no distribution's modules there is
  a form compiled so: each start would compile a hundred of them, and that leaves more in the heap than it saves.
- A `__repr__`, `__setattr__` and `__delattr__` of its own for each of 250 dataclasses, 1.2 MB: they share one of each. To make
  them was a third of the time that all imports took.
- Modules that others import and that are unused here: they are loaded when something asks for them.

Lines, names and arguments stay, so that a traceback and a debugger show what they always show. What depends on the Python is
asked for first, and left alone where it is not there: without this file the daemon runs as well, in 4 MB more.
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from importlib.machinery import SourceFileLoader
from opcode import hasconst
from types import CodeType, FunctionType, ModuleType
from typing import Any

_FUNCTION = 0x1 | 0x2  # inspect.CO_OPTIMIZED | CO_NEWLOCALS
#: Since Python 3.14; before, the first constant of a function is its docstring or None.
_HAS_DOCSTRING = 0x4000000
#: GET /v1/openapi.json answers with its docstrings.
_SPOKEN = "sentinel.api."
#: Loaded when asked for something else than what stands beside them, which whoever imports them takes at once: of `inspect`,
#: `urllib.parse`, asyncio, tzlocal, msgspec and argparse.
_LATER: dict[str, dict[str, object]] = {
    "ast": {"NodeVisitor": object},
    "ipaddress": {},
    "asyncio.sslproto": {},
    "tzlocal.windows_tz": {},
    "msgspec.inspect": {},
    "gettext": {"gettext": str, "ngettext": lambda one, many, count: one if count == 1 else many},
}
_installed = False


def install() -> None:
    """From now on modules are imported so. Call it before any other import."""
    global _installed
    _installed = True
    whole = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, fullname: str) -> CodeType | None:
        code = whole(self, fullname)
        return code if code is None or fullname.startswith(_SPOKEN) else without_docstrings(code)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment]
    for name, taken in _LATER.items():
        if name not in sys.modules:
            sys.modules[name] = PutOff(name, taken)
    _share_functions()


def forget() -> None:
    """Drop the annotations of functions, and the docstrings of libraries' classes, of all that is imported by now."""
    if not _installed:
        return
    # What was frozen when it had been imported (cli/garbage.py) is none of these before.
    gc.unfreeze()
    for one in gc.get_objects():
        if type(one) is FunctionType:
            one.__annotations__ = None  # type: ignore[assignment]
        elif isinstance(one, type) and type(vars(one).get("__doc__")) is str and not str(one.__module__).startswith("sentinel."):
            try:
                one.__doc__ = None
            except (AttributeError, TypeError):
                # a class written in C
                continue


def without_docstrings(code: CodeType) -> CodeType:
    """The same code and all that is defined in it. A docstring that the function uses as a value, too, stays."""
    consts = code.co_consts
    made = tuple([without_docstrings(one) if type(one) is CodeType else one for one in consts])
    flags = code.co_flags
    if (
        flags & _FUNCTION == _FUNCTION
        and made
        and type(made[0]) is str
        and (flags & _HAS_DOCSTRING if sys.version_info >= (3, 14) else code.co_name[0] != "<")
        and not _reads_first(code.co_code)
    ):
        made, flags = (None, *made[1:]), flags & ~_HAS_DOCSTRING
    if all(one is other for one, other in zip(made, consts, strict=True)):
        return code
    return code.replace(co_consts=made, co_flags=flags)


def _reads_first(code: bytes) -> bool:
    """An instruction may load the first constant."""
    return any(argument == 0 and operation in hasconst for operation, argument in zip(code[::2], code[1::2], strict=True))


class PutOff(ModuleType):
    """Stands in for a module until something of it is asked for that is not `taken`."""

    def __init__(self, name: str, taken: dict[str, object]) -> None:
        super().__init__(name)
        vars(self).update(taken)

    def __getattr__(self, name: str) -> Any:
        # What looks through all modules (traceback, warnings) asks each for such names.
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


def _share_functions() -> None:
    """What `dataclass` would compile for each class. The names are CPython's own, up to 3.12; later ones compile as before."""
    import dataclasses
    from reprlib import recursive_repr

    if not (hasattr(dataclasses, "_repr_fn") and hasattr(dataclasses, "_frozen_get_del_attr")):
        return

    @recursive_repr()
    def __repr__(self: Any) -> str:  # noqa: N807
        said = ", ".join(f"{one.name}={getattr(self, one.name)!r}" for one in dataclasses.fields(self) if one.repr)
        return f"{self.__class__.__qualname__}({said})"

    def refuses(self: Any, name: str) -> bool:
        return "__dataclass_fields__" in vars(type(self)) or name in self.__dataclass_fields__

    def __setattr__(self: object, name: str, value: object) -> None:  # noqa: N807
        if refuses(self, name):
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        object.__setattr__(self, name, value)

    def __delattr__(self: object, name: str) -> None:  # noqa: N807
        if refuses(self, name):
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        object.__delattr__(self, name)

    vars(dataclasses)["_repr_fn"] = lambda *_: __repr__
    vars(dataclasses)["_frozen_get_del_attr"] = lambda *_: (__setattr__, __delattr__)
