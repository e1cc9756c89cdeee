"""Expressions in CEL, the Common Expression Language: the only file that imports `cel`.

CEL's `&&` and `||` absorb errors as three-valued logic needs: ``false && missing`` is false, ``true && missing`` raises, which
is our unknown. Measured with common-expression-language 0.10: 0.4 us an evaluation on a prepared context.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping, Set
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from sentinel.engine.rules.cel_syntax import STRING, masked
from sentinel.engine.rules.operations import Function, Undecided, Variables
from sentinel.engine.rules.python_form import translated


@cache
def _cel() -> ModuleType:
    """Import the extension module of `cel`, without the package's own `__init__`, when it is first needed.

    A daemon with valid rules whose expressions all have a form in Python needs it for the odd value only: 2 MB less at rest
    (measured).
    `cel/__init__.py` imports its command line, which pulls in prompt_toolkit, pygments and rich: 15 MB of PSS and 90 ms
    that a daemon has no use for (measured). If the layout is different, use the plain import.
    """
    if "cel" in sys.modules:
        return sys.modules["cel"]
    package: ModuleSpec | None = find_spec("cel")
    for folder in (package.submodule_search_locations or []) if package else []:
        for extension in sorted(Path(folder).glob("cel.*.so")):
            spec = spec_from_file_location("cel.cel", extension)
            if spec is not None and spec.loader is not None:
                module = module_from_spec(spec)
                spec.loader.exec_module(module)
                return module
    import cel

    whole: ModuleType = cel
    return whole


_PATH = re.compile(r"(?<![\w.])([A-Za-z_]\w*(?:\s*\.\s*[A-Za-z_]\w*)*)(\s*\()?")
_WORDS = frozenset({"true", "false", "null", "in"})

_COMPLAINT = re.compile(r"ERROR: <input>:(\d+):(\d+): ([^\n]*)")
_UNDEFINED = re.compile(r"Undefined variable or function: '(\w+)'")
_EXPECTING = re.compile(r",? expecting \{.*")
#: operators of other languages, and how CEL writes them
_MEANT = (
    (re.compile(r"(?<![=!<>])=(?!=)"), "; write == to compare"),
    (re.compile(r"(?<!&)&(?!&)|\band\b"), "; write && for and"),
    (re.compile(r"(?<!\|)\|(?!\|)|\bor\b"), "; write || for or"),
    (re.compile(r"\bnot\b"), "; write ! for not"),
    (re.compile(r"['\"]"), "; a text begins and ends with the same quote"),
)

#: Characters. A chain of 20,000 operands overflows the stack of the library, which ends the process (found by fuzz/run.py);
#: the longest shipped expression has 409.
MAX_SOURCE = 2000
#: Macros that iterate over a list: six of them nested, over ten elements, take a minute.
_LOOP = re.compile(r"\b(?:map|filter|all|exists|exists_one)\s*\(")


class ExpressionError(Exception):
    """The expression cannot be compiled or, evaluated on values of the right types, cannot be computed.

    `row` is the line of the expression, from 1, on which the parser stopped.
    """

    def __init__(self, what: str, row: int = 1) -> None:
        super().__init__(what)
        self.row = row


class Condition:
    """An expression and the dotted names it reads.

    One that is known to be `valid` is compiled when it is first evaluated: of the 3,000 shipped ones a log asks a few hundred,
    and compiling all takes 0.2 s.
    """

    __slots__ = ("_compiled", "_function", "_kinds", "_looked", "paths", "source")

    def __init__(self, source: str, *, valid: bool = False) -> None:
        """Raises ExpressionError for a mistake, unless it is said to be `valid`."""
        self.source = source
        self._compiled: Any = None
        self.paths = _paths(source)
        self._kinds: tuple[Set[str], Set[str]] = (frozenset(), frozenset())
        self._function: Function | None = None
        self._looked = False
        if not valid:
            self._check_size()
            _ = self._program

    def _check_size(self) -> None:
        source = self.source
        if len(source) > MAX_SOURCE:
            raise ExpressionError(
                f"it has {len(source)} characters, and {MAX_SOURCE} at most are read; split it into values and checks"
            )
        if len(_LOOP.findall(STRING.sub('""', source))) > 1:
            raise ExpressionError("it goes over lists more than once; one map, filter, all, exists or exists_one is the most")

    @property
    def _program(self) -> Any:
        if self._compiled is None:
            try:
                self._compiled = _cel().compile(self.source)
            except ValueError as error:
                raise _syntax(self.source, str(error)) from error
            except BaseException as error:
                if not _is_panic(error):
                    raise
                raise ExpressionError("the parser of CEL gave up on it; write it more simply") from error
        return self._compiled

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle: a valid expression, without what CEL made of it."""
        return _restored, (self.source, self.paths, self._kinds)

    def declare(self, tables: Set[str], events: Set[str]) -> None:
        """Say what the names are, for `ask`: `tables` hold values by one key, `events` have ``count``, ``age`` and ``fields``."""
        self._kinds = (tables, events)

    def ask(self, names: Variables, prepare: Callable[[Condition], object]) -> Any:
        """As `evaluate`, without a context where the expression has a form in Python: a twelfth of the time (measured).

        `names` gives the value of each dotted name, None where it is unknown; `prepare` builds a context of all that it reads.
        """
        if not self._looked:
            self._looked = True
            self._function = translated(self.source, *self._kinds)
        if self._function is not None:
            try:
                value = self._function(names)
            except Undecided:
                pass
            else:
                return value if type(value) is not float else _finite(value)
        return self.evaluate(prepare(self))

    def evaluate(self, context: object) -> Any:
        """The value; None if a name that it needs is unknown, a list index is out of range, or the numbers divide by zero
        or overflow 64 bits.

        Raises ExpressionError for a type mistake.
        """
        try:
            return _finite(self._program.execute(context))
        except (LookupError, ArithmeticError):
            # Numbers come from untrusted files: an overflow must silence its rule, not end the daemon.
            return None
        except RuntimeError as error:
            if "Undefined variable" in str(error):
                return None
            raise ExpressionError(f"{self.source}: {error}") from error
        except (TypeError, ValueError) as error:
            raise ExpressionError(f"{self.source}: {error}") from error
        except BaseException as error:
            if not _is_panic(error):
                raise
            raise ExpressionError(f"{self.source}: CEL gave up on it: {error}") from error

    def missing_function(self, context: object) -> str | None:
        """The function that CEL lacks for values of these types; None if it has all. Such a result is never known."""
        try:
            self._program.execute(context)
        except RuntimeError as error:
            name = _UNDEFINED.search(str(error))
            if name and re.search(rf"\b{name[1]}\s*\(", masked(self.source)):
                return name[1]
        except Exception:  # any type mistake: `evaluate` reports it
            return None
        return None


def _restored(source: str, paths: tuple[str, ...], kinds: tuple[Set[str], Set[str]]) -> Condition:
    found = Condition.__new__(Condition)
    found.source, found.paths, found._kinds = source, paths, kinds
    found._compiled = found._function = None
    found._looked = False
    return found


def _finite(value: Any) -> Any:
    """0.0 / 0.0 is no error in CEL, and comparing what comes of it raises a TypeError: it is unknown."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_panic(error: BaseException) -> bool:
    """A Rust panic: PyO3 raises it as a BaseException, and its class cannot be imported."""
    return type(error).__name__ == "PanicException"


def context(variables: Mapping[str, Any]) -> Any:
    """A prepared context: build it once for all expressions of a rule."""
    try:
        return _cel().Context(dict(variables))
    except ValueError:
        # Half of a surrogate pair, from a path that is not UTF-8, is not text for CEL: one such value would end the rule.
        return _cel().Context(_encodable(dict(variables)))


def _encodable(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _encodable(inner) for name, inner in value.items()}
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value


def _paths(source: str) -> tuple[str, ...]:
    """Dotted names that an expression reads: ``server.state``, ``init_failed.fields.why``, ``gpu_asked``."""
    bare = masked(source)
    found: dict[str, None] = {}
    for match in _PATH.finditer(bare):
        path = re.sub(r"\s+", "", match.group(1))
        if match.group(2):
            path = path.rpartition(".")[0]
        if path and path not in _WORDS:
            # One text for all expressions that read it.
            found[sys.intern(path)] = None
    return tuple(found)


def _syntax(source: str, text: str) -> ExpressionError:
    """The parser's message, shortened, with what was probably meant."""
    bare = STRING.sub(lambda quoted: "_" * len(quoted[0]), source)
    match = _COMPLAINT.search(text)
    row, what = (int(match[1]), match[3]) if match else (1, text.partition("\n")[0])
    if "Recursion limit" in text:
        return ExpressionError("it is nested too deeply; split it into values and checks")
    what = _EXPECTING.sub("", what).replace("'<EOF>'", "the end").removeprefix("Syntax error: ")
    hint = next((hint for pattern, hint in _MEANT if pattern.search(bare)), "")
    place = f"in its line {row}, column {match[2]}: " if match and "\n" in source.strip() else ""
    return ExpressionError(f"{place}{what}{hint}", row)
