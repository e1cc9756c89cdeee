"""Splits CEL expressions as text: the library exposes no syntax tree."""

from __future__ import annotations

import re
from collections.abc import Iterator

STRING = re.compile(r"""r?("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""")
_HIDDEN = re.compile(STRING.pattern + r"|(?P<comment>//[^\n]*)")
_COMPARISON = re.compile(r"==|!=|<=|>=|<|>|(?<![\w.])in(?!\w)")
#: macros that declare a variable, or ask whether a name is known: their arguments are not expressions by themselves
_MACRO = re.compile(r"(?:\b(?:map|filter|all|exists|exists_one|has))\s*$")
_BRACKET = re.compile(r"[(\[]")
_BLANKS = re.compile(r"\s+")


def masked(source: str) -> str:
    """The expression with string literals and comments blanked, of the same length, so that offsets stay valid."""
    return _HIDDEN.sub(lambda m: (" " if m["comment"] else '"') * len(m[0]), source)


def conjuncts(source: str) -> tuple[str, ...]:
    """The operands of an expression's outermost ``&&``: one that is false makes it false. The expression itself if none."""
    if len(parts := _split(source, "&&")) > 1 and (choice(source) is not None or len(disjuncts(source)) > 1):
        return (source,)
    return parts


def disjuncts(source: str) -> tuple[str, ...]:
    """The operands of an expression's outermost ``||``: one that is true makes it true. The expression itself if none."""
    return (source,) if len(parts := _split(source, "||")) > 1 and choice(source) is not None else parts


def choice(source: str) -> tuple[str, str, str] | None:
    """The three operands of ``condition ? this : that``; None if the expression is not a conditional."""
    if "?" not in source:
        return None
    marks = [(at, c) for at, c in _outer(masked(source)) if c in "?:"]
    if not marks or marks[0][1] != "?":
        return None
    depth = 0
    for at, character in marks:
        depth += 1 if character == "?" else -1
        if depth == 0:
            first = marks[0][0]
            return source[:first].strip(), source[first + 1 : at].strip(), source[at + 1 :].strip()
    return None


def comparison(source: str) -> tuple[str, str, str] | None:
    """Left side, operator and right side of an expression that is just a comparison."""
    if _COMPARISON.search(source) is None:
        return None
    outer = [" "] * len(source)
    for at, character in _outer(masked(source)):
        outer[at] = character
    found = list(_COMPARISON.finditer("".join(outer)))
    if not found:
        return None
    last = found[-1]
    return source[: last.start()].strip(), last[0], source[last.end() :].strip()


def bracketed(source: str) -> Iterator[str]:
    """The contents of the outermost round and square brackets, split at commas."""
    bare = masked(source) if _BRACKET.search(source) else ""
    depth = begin = 0
    skipped = False
    for at, character in enumerate(bare):
        if character in "([{":
            if depth == 0:
                begin, skipped = at + 1, character == "{" or _MACRO.search(bare[:at]) is not None
            depth += 1
        elif character in ")]}" or (character == "," and depth == 1):
            depth -= character != ","
            if depth == (1 if character == "," else 0) and not skipped:
                if source[begin:at].strip():
                    yield source[begin:at].strip()
                begin = at + 1


def unbracketed(source: str) -> str:
    """The expression without brackets around all of it."""
    source = source.strip()
    while source.startswith("(") and source.endswith(")") and all(c == "(" for _, c in _outer(masked(source)[:-1])):
        source = source[1:-1].strip()
    return source


def plain(source: str) -> str:
    """The expression in a canonical form: without needless blanks and without brackets around all of it."""
    source = unbracketed(source)
    out, end = [], 0
    for text in _HIDDEN.finditer(source):
        out += [_tight(source[end : text.start()]), "" if text["comment"] else text[0]]
        end = text.end()
    return "".join([*out, _tight(source[end:])])


def _tight(code: str) -> str:
    """Without blanks, except where two words would join."""
    return re.sub(r"(?<!\w) | (?!\w)", "", _BLANKS.sub(" ", code))


def _split(source: str, operator: str) -> tuple[str, ...]:
    if operator not in source:
        return (source.strip(),)
    bare = masked(source)
    begin = 0
    out = []
    for at, _ in _outer(bare):
        if at >= begin and bare.startswith(operator, at):
            out.append(source[begin:at].strip())
            begin = at + len(operator)
    return (*out, source[begin:].strip())


def _outer(bare: str) -> Iterator[tuple[int, str]]:
    """Offsets and characters outside of all brackets, and the brackets that open there."""
    depth = 0
    for at, character in enumerate(bare):
        if character in ")]}":
            depth -= 1
        elif depth == 0:
            yield at, character
        depth += character in "([{"
