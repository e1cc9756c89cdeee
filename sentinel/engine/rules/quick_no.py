"""Whether a rule may match, as one Python function of its own: most that are judged do not, and most of what was read says so.

Only two answers count here, so each part is asked for one: whether it is certainly true, or certainly false. Unknown is neither.
What matches by this is judged again in full, and so is what comes to a part that only CEL decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any, NoReturn, Protocol

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.engine.rules.cel_syntax import choice, comparison, conjuncts, disjuncts, unbracketed
from sentinel.engine.rules.operations import Function, Undecided, Variables, undecided
from sentinel.engine.rules.python_form import ESCAPED, TOKEN, translated
from sentinel.model.rule import EventBinding


class HasSource(Protocol):
    """An expression with its text."""

    source: str


#: A name, and what it is compared with.
_LEAF = re.compile(
    r"(?P<path>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?:\s*(?P<sign>==|!=|<=|>=|<|>|\bin\b)\s*(?P<other>.+))?", re.DOTALL
)
_HAS = re.compile(r"has\(\s*([\w.]+)\s*\)")
_WORDS = frozenset({"true", "false", "null"})
_CONSTANT = {"text": str, "int": int, "float": float, "flag": bool}
#: Longer ones become functions, which are not written out wherever they are used.
_INLINE = 200
#: A rule that is asked less often is judged in full: to write the functions of all takes as long as 1,000 judgements (measured).
_FIRST = 30


class QuickNo:
    """The function of one rule, written when it was asked often."""

    __slots__ = ("_asked", "_parts", "_whole")

    def __init__(
        self,
        when: HasSource,
        named: Mapping[str, HasSource],
        signal_reads: Mapping[str, tuple[float | None, bool]],
        bindings: Mapping[str, EventBinding],
        tables: Set[str],
    ) -> None:
        self._parts = (when, named, signal_reads, bindings, tables)
        self._asked = 0
        self._whole: Callable[[Any, Any, Any], object] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle: what it is written from."""
        return QuickNo, self._parts

    def may_match(self, known: Any) -> bool:
        """Of what a `scene.Known` knows: false if the rule certainly does not match."""
        if self._whole is None:
            self._asked += 1
            if self._asked <= _FIRST:
                return True
            self._whole = self.written()
        try:
            return bool(self._whole(known, known.facts, known.host))
        except (Undecided, RecursionError):
            return True

    def written(self) -> Callable[[Any, Any, Any], object]:
        """The function, of what is known, of the facts of the entity, and of those of the host."""
        when, named, signal_reads, bindings, tables = self._parts
        writer = _Writer(named, signal_reads, bindings, tables)
        try:
            writer.function("whole", writer.write(when.source, wanted=True))
            exec(compile("\n".join(writer.lines), "<rule>", "exec"), writer.names)  # noqa: S102 - of literals and of names of our own
        except (_NoForm, RecursionError, SyntaxError):
            return always
        whole: Callable[[Any, Any, Any], object] = writer.names["whole"]
        return whole


def always(*_known: Any) -> bool:
    """For a rule of which nothing can be written: it may match."""
    return True


class _NoForm(Exception):
    """What is not written so."""


class _Writer:
    """Writes Python for an expression. `k` is what is known, `F` the facts of the entity, `H` those of the host."""

    def __init__(
        self,
        named: Mapping[str, HasSource],
        signal_reads: Mapping[str, tuple[float | None, bool]],
        bindings: Mapping[str, EventBinding],
        tables: Set[str],
    ) -> None:
        self._named = named
        self._signal_reads = signal_reads
        self._bindings = bindings
        self._written: dict[tuple[str, bool], str] = {}
        self._open: set[str] = set()
        self.lines: list[str] = []
        self.names: dict[str, Any] = {"__builtins__": {}, "g": _Others(tables, frozenset(bindings))}

    def function(self, name: str, body: str) -> str:
        """Have a function of this name; its call."""
        self.lines.append(f"def {name}(k, F, H): return {body}")
        return f"{name}(k, F, H)"

    def write(self, source: str, *, wanted: bool) -> str:
        """What is true if the expression is certainly as `wanted`."""
        source = unbracketed(source)
        if (three := choice(source)) is not None:
            asked, this, that = three
            yes = f"{self.write(asked, wanted=True)} and {self.write(this, wanted=wanted)}"
            return f"({yes} or {self.write(asked, wanted=False)} and {self.write(that, wanted=wanted)})"
        if len(parts := disjuncts(source)) > 1:
            return self._joined(parts, " or " if wanted else " and ", wanted=wanted)
        if len(parts := conjuncts(source)) > 1:
            return self._joined(parts, " and " if wanted else " or ", wanted=wanted)
        # `!a == b` is of `!a`.
        if source.startswith("!") and comparison(source) is None:
            return self.write(source[1:], wanted=not wanted)
        return self._leaf(source, wanted=wanted)

    def _joined(self, parts: tuple[str, ...], operator: str, *, wanted: bool) -> str:
        return f"({operator.join(self.write(part, wanted=wanted) for part in parts)})"

    def _of_named(self, name: str, *, wanted: bool) -> str:
        key = (name, wanted)
        if (written := self._written.get(key)) is None:
            if name in self._open:
                # They read each other: only a rule that was not linted.
                raise _NoForm
            self._open.add(name)
            written = self.write(self._named[name].source, wanted=wanted)
            if len(written) > _INLINE:
                written = self.function(f"f{len(self.lines)}", written)
            self._open.discard(name)
            self._written[key] = written
        return written

    def _leaf(self, source: str, *, wanted: bool) -> str:
        if (has := _HAS.fullmatch(source)) is not None and (path := has[1]) in self._signal_reads:
            max_age, on_host = self._signal_reads[path]
            if max_age is not None:
                return f"k[{path!r}] is {'not ' if wanted else ''}None"
            return f"{path!r} {'' if wanted else 'not '}in {'H' if on_host else 'F'}"
        if (leaf := _LEAF.fullmatch(source)) is None or (path := leaf["path"]) in _WORDS:
            return self._other(source, wanted=wanted)
        sign, kind = leaf["sign"], self._type(path)
        if sign is None and path in self._named:
            return self._of_named(path, wanted=wanted)
        if sign is None and kind == "flag":
            return self._compared(path, f"is {wanted}")
        if sign is not None and kind:
            values = [*_constants(leaf["other"])]
            if values and all(type(value) is _CONSTANT[kind] for value in values):
                if sign == "in" and leaf["other"].startswith("[") and kind == "text":
                    return self._compared(path, f"{'' if wanted else 'not '}in {tuple(values)!r}")
                ordered = sign in ("<", "<=", ">", ">=") and kind in ("int", "float")
                if len(values) == 1 and (ordered or sign in ("==", "!=")):
                    return self._compared(path, f"{sign} {values[0]!r}", negated=not wanted)
        return self._other(source, wanted=wanted)

    def _type(self, path: str) -> str:
        """Its type; empty for what has none of its own."""
        if path in self._signal_reads and (signal := CATALOGUE.get(path)) is not None:
            return signal.type
        return "int" if path.endswith(".count") and path[:-6] in self._bindings else ""

    def _compared(self, path: str, how: str, *, negated: bool = False) -> str:
        read = self._signal_reads.get(path)
        value = "v[0]"
        if read is None:
            name = f"b_{path[:-6]}"
            self.names[name] = self._bindings[path[:-6]]
            known, value = f"k.count({name}, {path!r})", "v"
        elif read[0] is not None:
            known, value = f"k[{path!r}]", "v"
        else:
            known = f"{'H' if read[1] else 'F'}.get({path!r})"
        return f"((v := {known}) is not None and {'not ' if negated else ''}{value} {how})"

    def _other(self, source: str, *, wanted: bool) -> str:
        return f"g[{source!r}](k) is {wanted}"


class _Others(dict[str, Function]):
    """Functions of what has no form here, by its text: each is made when it is first asked, and most never are."""

    __slots__ = ("_events", "_tables")

    def __init__(self, tables: Set[str], events: Set[str]) -> None:
        super().__init__()
        self._tables = tables
        self._events = events

    def __missing__(self, source: str) -> Function:
        function = self[source] = translated(source, self._tables, self._events) or _of_cel
        return function


def _of_cel(_names: Variables) -> NoReturn:
    undecided()


def _constants(source: str) -> Iterator[Any]:
    """Those of a list or of one; None for what is no constant."""
    at, end = 0, len(source)
    while at < end and (token := TOKEN.match(source, at)) is not None:
        kind, at = token.lastgroup, token.end()
        word = token[kind or ""]
        if kind == "number":
            yield float(word) if "." in word else int(word)
        elif kind == "text":
            yield ESCAPED.sub(r"\1", word[1:-1])
        elif word in ("true", "false"):
            yield word == "true"
        elif word not in "[],":
            yield None
    if at < end:
        yield None
