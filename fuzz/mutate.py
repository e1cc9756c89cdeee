"""Mutations of rule files and log lines: bytes, TOML statements, expressions, patterns. The same seed gives the same mutants."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from sentinel.rulefiles.toml.positions import outline

_BYTES = [
    b"\0",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98\x80",
    b"\x1b[31m",
    b"\r\n",
    b"\r",
    b"\n",
    b'"',
    b"'''",
    b"[[",
    b"]",
    b"{",
    b"=",
    b"\\",
    b"#",
]
#: What stands where another value was expected.
_VALUES = [
    "1", "-1", "0.5", "true", "inf", "nan", "1e400", "9" * 19, "9" * 400, "9" * 5000, "0x" + "f" * 5000, "''", '"x"',
    "'\\'", "[]", "{}",
    "[[1, 'a'], 2]", "{ a = { b = 'c' } }", "1979-05-27T07:32:00Z", "07:32:00", "[" * 60 + "]" * 60, "[" * 2000 + "]" * 2000,
    "{ a = " * 40 + "1" + " }" * 40, "'\U0001f600\u202e'", '"\\u0000\\u001b"', "'" + "x" * 20000 + "'", "'5s'",
    "'10000000d'", "'99999999999999999999h'",
    "'b9999999999999999999-'", "'b5000-'", "'server.state'", "'server'", "'{'", "'{server.name:.99f}'",
    "'[? [? {a} ?]'", "'1x3600'", "'1x999999999'",
    "'0..1x3600'", "['+1s x', '+99999999d y']", "['30s', '1s']", "{ 'server.rss_bytes' = '1..9x9 ?x9 _x9' }",
    "[{ state = 'quiet', at = '1s' }]",
]  # fmt: skip
_KEYS = [
    "x",
    "when",
    "for",
    "id",
    "given",
    "series",
    "expect",
    "step",
    "earlier",
    "a.b.c",
    "'a b'",
    '"\\u001b"',
    ".".join("a" * 200),
    "",
    "name",
    "regex",
]
#: Of an expression, and characters of its text: longer ones are refused unread.
_MOST_TOKENS = 100_000
_TOKENS = [
    "&&", "||", "!", "==", "!=", "<", ">", "<=", "+", "-", "*", "/", "%", "?", ":", "(", ")", "[", "]", ".", ",", "1",
    "0", "-1", "1.5", "0.0", "true",
    "null", "'x'", '"', "9223372036854775807", "-9223372036854775808", "9223372036854775808", "1u", "1e308", "b'x'",
    "server.state", "server.rss_bytes",
    "host.mem_total_bytes", "server", "has(server.state)", "size(server.user)", "int('x')", "double('1e999')",
    "server.user.matches('(a*)*b')",
    "[1,2].map(x, x * 2)", "[1].exists(x, x > 0)", "{'a': 1}.a", "duration('1s')", "timestamp('x')",
    "server.user + server.user", "string(1)", "in", "@",
]  # fmt: skip
_REGEX = [
    "(", ")", "(?P<n>", "(?P<n>x)", "(?=x)", "(?<!x)", "\\1", "{1000}", "{1001}", "(x{1000}){1000}", "(a*)*",
    "(a|aa)+$", "[", "[^]", "\\C", "\\p{Greek}",
    "\\Q", ".*" * 40, "|", "||", "^", "$", "\\b", "\U0001f600", "(?i)", "(?s).", "x**", "\\x{10ffff}",
    "(?:" * 300, "[[:alpha:]]", "\\z", "()" * 200,
]  # fmt: skip
_WORD = re.compile(r"[A-Za-z_][\w.]*|\d+(?:\.\d+)?|[^\w\s]+")
_NUMBER = re.compile(rb"\d+(?:\.\d+)?")
_HUGE = [
    b"0",
    b"-1",
    b"9" * 18,
    b"9" * 25,
    b"9" * 305,
    b"9" * 5000,
    b"1e308",
    b"0.0",
    b"." * 50,
    b"1" + b"0" * 39 + b".5",
    b"nan",
    b"inf",
    b"0x7fffffff",
]


class Mutator:
    """Mutants of texts, from one seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def shorter(self, text: str) -> str:
        """A rule file with five of its tests, an event file with eight of its events: the rest of it is much alike."""
        for header, most in (("[[test]]\n", 5), ("[[event]]\n", 8)):
            head, *blocks = text.split(header)
            text = header.join([head, *self._random.sample(blocks, min(most, len(blocks)))])
        return text

    def rule_file(self, text: str) -> tuple[str, bytes]:
        """The kind of the mutation and the mutant."""
        kinds: Sequence[tuple[str, Callable[[str], str]]] = (
            ("statements", self._statements),
            ("values", self._value),
            ("expressions", lambda t: self._strings(t, self._expression)),
            ("patterns", lambda t: self._strings(t, self._pattern)),
        )
        number = self._random.randrange(len(kinds) + 1)
        if number == len(kinds):
            return "bytes", self.damaged(text.encode())
        name, mutate = kinds[number]
        for _ in range(self._random.randint(1, 4)):
            text = mutate(text)
        return name, text.encode("utf-8", "surrogatepass")

    def damaged(self, data: bytes) -> bytes:
        """A few bytes gone, doubled, changed or put in."""
        out = bytearray(data)
        for _ in range(self._random.randint(1, 6)):
            at = self._random.randrange(len(out) + 1)
            length = self._random.choice((1, 1, 2, 8, 64, 1024))
            match self._random.randrange(5):
                case 0:
                    del out[at : at + length]
                case 1:
                    out[at:at] = out[at : at + length]
                case 2:
                    out[at:at] = self._random.choice(_BYTES)
                case 3 if at < len(out):
                    out[at] = self._random.randrange(256)
                case _ if self._random.random() < 0.1:
                    del out[at:]
        return bytes(out)

    def line(self, line: bytes, other: bytes) -> bytes:
        """A line of a log as a stranger, a full disk or a new version might have it."""
        match self._random.randrange(7):
            case 0:
                return self.damaged(line)
            case 1:
                return _NUMBER.sub(lambda found: self._random.choice(_HUGE) if self._random.random() < 0.5 else found[0], line)
            case 2:
                cut = self._random.randrange(len(line) + 1)
                return line[:cut] + other[self._random.randrange(len(other) + 1) :]
            case 3:
                words = line.split(b" ")
                self._random.shuffle(words)
                return b" ".join(words)
            case 4:
                at = self._random.randrange(len(line) + 1)
                return line[:at] + self._random.choice(_BYTES) * self._random.choice((1, 3, 5000)) + line[at:]
            case 5:
                return line + b" " + self._random.choice((line, other, b"x" * 70000))
            case _:
                words = [self._random.choice((word, word.upper(), word[::-1], b"", word * 3)) for word in line.split(b" ")]
                return b" ".join(words)

    def _statements(self, text: str) -> str:
        lines = text.split("\n")
        statements = outline(text).statements
        if not statements:
            return text
        one, other = self._random.choice(statements), self._random.choice(statements)
        block, second = lines[one.first - 1 : one.last], lines[other.first - 1 : other.last]
        match self._random.randrange(5):
            case 0:
                del lines[one.first - 1 : one.last]
            case 1:
                lines[one.first - 1 : one.first - 1] = block
            case 2:
                lines[other.first - 1 : other.first - 1] = block
            case 3:
                lines[one.first - 1 : one.last] = second
            case _:
                # Half of a statement: brackets and quotes that never end.
                lines[one.last - 1] = lines[one.last - 1][: self._random.randrange(len(lines[one.last - 1]) + 1)]
        return "\n".join(lines)

    def _value(self, text: str) -> str:
        lines = text.split("\n")
        pairs = [s for s in outline(text).statements if not s.header and s.first == s.last and "=" in lines[s.first - 1]]
        if not pairs:
            return text
        at = self._random.choice(pairs).first - 1
        key, _, value = lines[at].partition("=")
        if self._random.random() < 0.25:
            key = self._random.choice(_KEYS)
        else:
            value = self._random.choice(_VALUES)
        lines[at] = f"{key}= {value}"
        return "\n".join(lines)

    def _strings(self, text: str, change: Callable[[str], str]) -> str:
        """One of the texts in double quotes, single quotes or three of them, changed."""
        found = list(re.finditer(r"'''(.*?)'''|\"([^\"\n]*)\"", text, re.DOTALL))
        if not found:
            return text
        match = self._random.choice(found)
        inner = change(match[1] if match[1] is not None else match[2]).replace("'''", "''")
        return f"{text[: match.start()]}'''{inner}'''{text[match.end() :]}"

    def _expression(self, source: str) -> str:
        tokens = _WORD.findall(source) or ["x"]
        for _ in range(self._random.randint(1, 3)):
            at = self._random.randrange(len(tokens) + 1)
            match self._random.randrange(6):
                case 0:
                    tokens.insert(at, self._random.choice(_TOKENS))
                case 1 if at < len(tokens):
                    tokens[at] = self._random.choice(_TOKENS)
                case 2 if at < len(tokens):
                    del tokens[at]
                case 3:
                    tokens = ["("] * 200 + tokens + [")"] * 200
                case 4:
                    joined = [*tokens, self._random.choice(("&&", "+", "||", ".", ","))]
                    # Three times 900 are 729 million tokens: the campaign itself ran out of memory.
                    tokens = (joined * self._random.choice((2, 3, 900)))[:_MOST_TOKENS]
                case _:
                    self._random.shuffle(tokens)
        return " ".join(tokens)[:_MOST_TOKENS]

    def _pattern(self, source: str) -> str:
        at = self._random.randrange(len(source) + 1)
        if self._random.random() < 0.2:
            return source[:at]
        return source[:at] + self._random.choice(_REGEX) + source[at:]
