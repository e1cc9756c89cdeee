"""Whether a rule may match, as one Python function of its own: most that are judged do not, and most of what was read says so.

Only two answers count here, so each part is asked for one: whether it is certainly true, or certainly false. Unknown is neither.
What matches by this is judged again in full, and so is what comes to a part that only CEL decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import Any, NoReturn, Protocol

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.engine.rules.operations import Function, Undecided, Variables, undecided
from sentinel.engine.rules.python_form import ESCAPED, TOKEN, translated
from sentinel.model.rule import EventBinding


class HasSource(Protocol):
    """An expression with its text."""

    source: str


_Tree = tuple[Any, ...]
_Token = tuple[str, str, int, int]
_ENDS = frozenset({"&&", "||", "?", ":", ")", ""})
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
            writer.function("whole", writer.write(_Reader(when.source).whole(), wanted=True))
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


class _Reader:
    """Reads how an expression is put together of parts that are true or false."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens: list[_Token] = []
        at = 0
        while not self._tokens or self._tokens[-1][0] != "end":
            if (found := TOKEN.match(source, at)) is None:
                raise _NoForm
            kind, at = found.lastgroup or "", found.end()
            self._tokens.append((kind, found[kind], found.start(kind), at))
        self._at = 0

    def _sign(self) -> str:
        kind, word, _, _ = self._tokens[self._at]
        return word if kind in ("sign", "end") else kind

    def _take(self, sign: str) -> bool:
        if self._sign() != sign:
            return False
        self._at += 1
        return True

    def whole(self) -> _Tree:
        """The whole of it."""
        tree = self._choice()
        if self._sign() != "":
            raise _NoForm
        return tree

    def _choice(self) -> _Tree:
        asked = self._several("||", "any", lambda: self._several("&&", "all", self._part))
        if not self._take("?"):
            return asked
        this = self._several("||", "any", lambda: self._several("&&", "all", self._part))
        if not self._take(":"):
            raise _NoForm
        return ("choice", asked, this, self._choice())

    def _several(self, sign: str, kind: str, part: Callable[[], _Tree]) -> _Tree:
        parts = [part()]
        while self._take(sign):
            parts.append(part())
        return parts[0] if len(parts) == 1 else (kind, *parts)

    def _part(self) -> _Tree:
        begin = self._at
        negated = 0
        while self._take("!"):
            negated += 1
        end = self._end(self._at)
        if self._sign() == "(" and self._end(self._at, bracket=True) == end - 1:
            self._at += 1
            tree = self._choice()
            self._at = end
        elif negated and any(kind == "sign" and word not in ".()" for kind, word, _, _ in self._tokens[self._at : end]):
            # `!a == b` is of `!a`.
            negated, self._at = 0, end
            tree = self._leaf(begin, end)
        else:
            tree = self._leaf(self._at, end)
            self._at = end
        return ("not", tree) if negated % 2 else tree

    def _end(self, at: int, *, bracket: bool = False) -> int:
        """Where the part that begins there ends, or its first bracket."""
        depth = 0
        while True:
            kind, word, _, _ = self._tokens[at]
            if kind == "end" or (kind == "sign" and depth == 0 and word in _ENDS):
                return at
            if kind == "sign":
                depth += (word in "([") - (word in ")]")
                if bracket and depth == 0:
                    return at
            at += 1

    def _leaf(self, begin: int, end: int) -> _Tree:
        tokens = self._tokens[begin:end]
        if not tokens:
            raise _NoForm
        return ("leaf", tokens, self._source[tokens[0][2] : tokens[-1][3]])


class _Writer:
    """Writes Python for what a reader read. `k` is what is known, `F` the facts of the entity, `H` those of the host."""

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
        self._trees: dict[str, _Tree] = {}
        self._written: dict[tuple[str, bool], str] = {}
        self._open: set[str] = set()
        self.lines: list[str] = []
        self.names: dict[str, Any] = {"__builtins__": {}, "g": _Others(tables, frozenset(bindings))}

    def function(self, name: str, body: str) -> str:
        """Have a function of this name; its call."""
        self.lines.append(f"def {name}(k, F, H): return {body}")
        return f"{name}(k, F, H)"

    def write(self, tree: _Tree, *, wanted: bool) -> str:
        """What is true if the tree is certainly as `wanted`."""
        kind = tree[0]
        if kind == "leaf":
            return self._leaf(tree[1], tree[2], wanted=wanted)
        if kind == "not":
            return self.write(tree[1], wanted=not wanted)
        if kind == "choice":
            _, asked, this, that = tree
            yes = f"{self.write(asked, wanted=True)} and {self.write(this, wanted=wanted)}"
            return f"({yes} or {self.write(asked, wanted=False)} and {self.write(that, wanted=wanted)})"
        joined = " and " if (kind == "all") is wanted else " or "
        return f"({joined.join(self.write(part, wanted=wanted) for part in tree[1:])})"

    def _of_named(self, name: str, *, wanted: bool) -> str:
        key = (name, wanted)
        if (written := self._written.get(key)) is None:
            if name in self._open:
                # They read each other: only a rule that was not linted.
                raise _NoForm
            self._open.add(name)
            if name not in self._trees:
                self._trees[name] = _Reader(self._named[name].source).whole()
            written = self.write(self._trees[name], wanted=wanted)
            if len(written) > _INLINE:
                written = self.function(f"f{len(self.lines)}", written)
            self._open.discard(name)
            self._written[key] = written
        return written

    def _leaf(self, tokens: list[_Token], source: str, *, wanted: bool) -> str:
        words = [word for _, word, _, _ in tokens]
        path, rest = _path(tokens)
        if path and not rest:
            if path in self._named:
                return self._of_named(path, wanted=wanted)
            if self._type(path) == "flag":
                return self._compared(path, f"is {wanted}")
        elif words[:2] == ["has", "("] and (path := "".join(words[2:-1])) in self._signal_reads:
            max_age, on_host = self._signal_reads[path]
            if max_age is not None:
                return f"k[{path!r}] is {'not ' if wanted else ''}None"
            return f"{path!r} {'' if wanted else 'not '}in {'H' if on_host else 'F'}"
        elif path and (kind := self._type(path)):
            (_, sign, _, _), *others = rest
            values = [_constant(token) for token in others if token[1] not in "[],"]
            if all(type(value) is _CONSTANT[kind] for value in values) and values:
                if sign == "in" and others[0][1] == "[" and kind == "text":
                    return self._compared(path, f"{'' if wanted else 'not '}in {tuple(values)!r}")
                ordered = sign in ("<", "<=", ">", ">=") and kind in ("int", "float")
                if len(others) == 1 and (ordered or sign in ("==", "!=")):
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


def _path(tokens: list[_Token]) -> tuple[str, list[_Token]]:
    """The dotted name at the beginning, and the rest; empty where something is called."""
    end = 0
    if tokens[0][0] == "name" and tokens[0][1] not in ("true", "false", "null", "in"):
        end = 1
        while end + 1 < len(tokens) and tokens[end][1] == "." and tokens[end][0] == "sign" and tokens[end + 1][0] == "name":
            end += 2
    rest = tokens[end:]
    if end == 0 or (rest and rest[0][1] in "(."):
        return "", tokens
    return "".join(word for _, word, _, _ in tokens[:end]), rest


def _constant(token: _Token) -> Any:
    kind, word, _, _ = token
    if kind == "number":
        return float(word) if "." in word else int(word)
    if kind == "text":
        return ESCAPED.sub(r"\1", word[1:-1])
    return word == "true" if word in ("true", "false") else None
