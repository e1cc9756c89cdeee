"""Makes of a pattern what the first pass over a log looks for, and says what is certain of it: parses RE2 syntax that far.

A pattern is written against a message without its envelope. The extractor first looks through raw bytes, envelopes and
all, so it needs each pattern in a form that matches wherever the pattern itself would match the message inside the line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

#: of each of these a run is one token, where it need not be taken apart
_PLAIN = r"(?P<plain>[^\\^$\[(|).*+?{]+)|"
_TOKENS = (
    r"(?P<quoted>\\Q.*?(?:\\E|$))"
    r"|(?P<assertion>\\[AzbB]|[\^$])"
    r"|(?P<escape>\\.)"
    # A bracket right after the opening one, or after its ^, is a member of the class; so is [:name:].
    r"|(?P<class>\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\])"
    r"|(?P<named>\(\?P?<\w+>)"
    r"|(?P<flags>\(\?[a-zA-Z-]*[:)])"
    r"|(?P<open>\()"
    r"|(?P<close>\))"
    r"|(?P<bar>\|)"
    r"|(?P<other>.)"
)
_TOKEN = re.compile(_TOKENS, re.DOTALL)
_RUN = re.compile(_PLAIN + _TOKENS, re.DOTALL)

#: What can precede a message inside an envelope: a line start, a blank, the end of a colour or of a kernel record, a quote.
_BEFORE = r"(?m:^|[ m;\"])"
#: What can follow it: a colour, its mangled form, a quote, or the line end.
_AFTER = r"(?m:\x1b|←|\"|$)"
_LOOSE: Mapping[str, str] = {"^": _BEFORE, r"\A": _BEFORE, "$": _AFTER, r"\z": _AFTER, r"\b": "", r"\B": ""}


#: What matches a line end as well. A hit that runs over several lines hides the others from the extractor: `[^"]+` took the rest
#: of a log with it. A message is one line, so that nothing is lost.
_WITHIN_LINE: Mapping[str, str] = {r"\s": r"[^\S\n]", r"\D": r"[^\d\n]", r"\W": r"[^\w\n]"}


def loosened(regex: str) -> str:
    """`regex` for raw lines: it may match too much and never too little. Groups lose their names and do not capture."""
    out: list[str] = []
    for kind, text in _tokens(regex):
        if kind == "assertion":
            out.append(_LOOSE[text])
        elif kind == "named":
            # RE2's never_capture leaves named groups in, and 250 groups made a hit cost 17 us instead of 2.
            out.append("(?:")
        elif kind == "class" and text.startswith("[^"):
            out.append(_without_line_end(text))
        else:
            out.append(_WITHIN_LINE.get(text, text) if kind == "escape" else text)
    return "".join(out)


def _without_line_end(negated: str) -> str:
    """The class without the line end; a dash that stands for itself at its end stays there."""
    inner = negated[:-1]
    dash = inner.endswith("-") and not inner.endswith(r"\-")
    return rf"{inner[:-1]}\n-]" if dash else rf"{inner}\n]"


#: A limited repeat takes an instruction of RE2 or more for each time; RE2 rejects one of more than a thousand times.
_FEW, _MOST = 8, 1000
_UP_TO = re.compile(r"\{(\d{1,9}),(\d{1,9})\}")


def unlimited(regex: str) -> str:
    """`regex` with ``.{1,300}`` as ``.{1,}``: it may match too much and never too little, and is a tenth as large."""
    if _UP_TO.search(regex) is None:
        return regex
    out: list[str] = []
    at = 0
    while found := _RUN.match(regex, at):
        repeat = _UP_TO.match(regex, at) if found.group() == "{" else None
        if repeat is None:
            out.append(found.group())
            at = found.end()
        else:
            many = _FEW < int(repeat[2]) <= _MOST and int(repeat[1]) <= int(repeat[2])
            out.append(f"{{{repeat[1]},}}" if many else repeat[0])
            at = repeat.end()
    return "".join(out)


#: Shorter texts occur in every other line.
_LEAST_LITERAL = 6
#: Stand in every third line all the same: three patterns with no other text made half of all hits (measured). What every line
#: of a request begins with made every seventh in vain.
_EVERYWHERE = frozenset(
    {"llama_", "init: ", " | task ", "slot print_timing: id ", "slot update_slots: id ", "slot launch_slot_: id "}
)
#: What follows these belongs to them: \x1b, \pL, \101.
_LONG_ESCAPES = tuple(f"\\{letter}" for letter in "xpP01234567Q")
_REPEAT = re.compile(r"\{\d+(?:,\d*)?\}")


def required(regex: str) -> str | None:
    """The longest distinctive text that every match of `regex` contains; None if none of at least six characters is certain.

    Looks outside of groups only, at plain and escaped characters.
    """
    found = [""]
    depth = 0
    at = 0
    while token := _RUN.match(regex, at):
        kind, text = token.lastgroup, token.group()
        begin, at = at, token.end()
        if kind == "plain":
            if depth == 0:
                found[-1] += text
            continue
        if (kind == "flags" and text != "(?:") or (kind == "bar" and depth == 0) or text.startswith(_LONG_ESCAPES):
            return None
        if kind in ("open", "named", "flags"):
            depth += 1
        elif kind == "close":
            depth -= 1
        literal = ""
        if depth == 0 and kind == "other":
            repeat = _REPEAT.match(regex, begin) if text == "{" else None
            if text in "?*" or repeat is not None:
                # A quantifier may make it optional.
                found[-1] = found[-1][:-1]
                at = at if repeat is None else repeat.end()
            elif text not in "+.":
                literal = text
        elif depth == 0 and kind == "escape" and not text[1].isalnum():
            literal = text[1]
        if literal:
            found[-1] += literal
        else:
            found.append("")
    longest = max((text for text in found if text not in _EVERYWHERE), key=len, default="")
    return longest if len(longest) >= _LEAST_LITERAL else None


def is_whole(regex: str) -> bool:
    """Anchored at both ends, without alternatives outside of groups and without flags: it matches whole messages only."""
    tokens = list(_tokens(regex))
    if len(tokens) < 2 or tokens[0][1] != "^" or tokens[-1] != ("assertion", "$"):
        return False
    depth = 0
    for kind, text in tokens:
        if kind == "flags" and text != "(?:":
            return False
        if kind in ("open", "named") or text == "(?:":
            depth += 1
        elif kind == "close":
            depth -= 1
        elif kind == "bar" and depth == 0:
            return False
    return True


def _tokens(regex: str) -> Iterator[tuple[str, str]]:
    for found in _TOKEN.finditer(regex):
        yield found.lastgroup or "", found.group()
