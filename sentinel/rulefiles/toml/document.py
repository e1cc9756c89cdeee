"""Parses bytes into TOML tables. What is not TOML is left out of a rule or event file and reported by line; a configuration with
such a mistake is not used at all."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sentinel.model.problem import ConfigError, Keys, Problem, quoted, spoken

#: A rule file or a configuration larger than this is none.
MAX_FILE_BYTES = 1 << 20
#: Reported syntax errors per file; a file that is something else has more.
_MOST_FLAWS = 20
#: Dots outside of strings on one line; no key of a rule file has more than three parts, no line more than a dozen numbers.
_MOST_DOTS = 1000
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'")
_LINE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


@dataclass(frozen=True, slots=True)
class Decoded:
    """The tables of a file as far as they could be read, its problems, and the keys of the parts that were left out."""

    table: Mapping[str, Any]
    problems: tuple[Problem, ...] = ()
    left_out: tuple[Keys, ...] = ()
    #: there is enough to continue with
    usable: bool = True


@dataclass
class Salvage:
    """A text in which each statement that is not TOML was blanked."""

    text: str
    table: Mapping[str, Any] = field(default_factory=dict)
    #: line (0: none), keys and sentence of each
    flaws: list[tuple[int, Keys, str]] = field(default_factory=list)
    left_out: list[Keys] = field(default_factory=list)
    usable: bool = False


def decode(data: bytes, file: str) -> Decoded:
    """The tables of a rule or event file, or the sentence why it is not one."""
    if len(data) > MAX_FILE_BYTES:
        return _nothing(file, f"is larger than {MAX_FILE_BYTES} bytes, and no rule file is")
    if not data.strip():
        return _nothing(file, "is empty; a rule file begins with 'schema = 1'")
    if data.startswith(b"\xef\xbb\xbf"):
        return _nothing(file, "begins with a byte order mark; save it as UTF-8 without one", 1)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return _nothing(file, f"is not UTF-8 text (byte {error.start}); save it as UTF-8", data.count(b"\n", 0, error.start) + 1)
    if (line := _long_key(text)) != 0:
        return _nothing(file, f"has a key of more than {_MOST_DOTS} parts", line)
    problems: list[Problem] = []
    left_out: tuple[Keys, ...] = ()
    try:
        table: Mapping[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        saved = salvage(text)
        problems = [Problem(file, spoken(keys), what, keys=keys, line=line) for line, keys, what in saved.flaws]
        table, left_out = saved.table, tuple(saved.left_out)
        if not saved.usable:
            return Decoded({}, tuple(problems), left_out, usable=False)
    except RecursionError:
        return _nothing(file, "is nested too deeply to be a rule file")
    except ValueError as error:
        # An integer of thousands of digits: Python rejects it, tomllib does not say where it is.
        return _nothing(file, f"is not TOML: {error}")
    schema = table.get("schema")
    if type(schema) is not int or schema != 1:
        what = (
            "is missing; write 'schema = 1'"
            if schema is None
            else f"{quoted(schema)} is not supported; this version reads schema 1"
        )
        if ("schema",) not in left_out:
            problems.append(Problem(file, "schema", what, keys=("schema",)))
        return Decoded(table, tuple(problems), left_out, usable=schema is None)
    return Decoded(table, tuple(problems), left_out)


def configuration(data: bytes, file: str) -> Mapping[str, Any]:
    """The tables of a configuration. Raises ConfigError."""
    try:
        if len(data) <= MAX_FILE_BYTES:
            return tomllib.loads(data.decode("utf-8"))
        what = f"is larger than {MAX_FILE_BYTES} bytes, and no configuration is"
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 text (byte {error.start})"
    except RecursionError:
        what = "is nested too deeply to be a configuration"
    except ValueError as error:
        # not TOML, or a number of thousands of digits, which Python rejects
        what = f"is not TOML: {error}"
    raise ConfigError([Problem(file, "", what)])


def _nothing(file: str, what: str, line: int = 0) -> Decoded:
    return Decoded({}, (Problem(file, "", what, line=line),), usable=False)


def _long_key(text: str) -> int:
    """The line of a key with very many parts; 0 if there is none. tomllib takes minutes for one of 100,000 (measured)."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > _MOST_DOTS and _QUOTED.sub("", line).count(".") > _MOST_DOTS:
            return number
    return 0


def salvage(text: str) -> Salvage:
    """The readable parts of a text that is not TOML. Deterministic."""
    from sentinel.rulefiles.toml.positions import blanked, outline

    saved = Salvage(text)
    for _ in range(_MOST_FLAWS):
        try:
            saved.table = tomllib.loads(saved.text)
        except tomllib.TOMLDecodeError as error:
            message = str(error)
        except (RecursionError, ValueError) as error:
            saved.flaws.append((0, (), f"is not TOML: {error}"))
            return saved
        else:
            saved.usable = bool(saved.table)
            if not saved.usable:
                # Nothing in it is TOML: it is something else, and its first error is enough.
                del saved.flaws[1:]
            return saved
        there = outline(saved.text)
        if there.flaws:
            line, keys, what = there.flaws[0]
        else:
            match = _LINE.search(message)
            line = int(match[1]) if match and match[1] else saved.text.count("\n") + 1
            statement = there.at(line)
            keys = statement.keys if statement is not None else ()
            what = f"is not TOML: {_LINE.sub('', message)}"
        statement = there.at(line)
        saved.flaws.append((line, keys, what))
        if statement is None:
            return saved
        bad = [statement]
        if statement.header:
            # Keys under a header that cannot be read would be added to the table before it.
            after = there.statements[there.statements.index(statement) + 1 :]
            for follower in after:
                if follower.header:
                    break
                bad.append(follower)
        saved.left_out += [s.keys for s in bad if s.keys]
        saved.text = blanked(saved.text, bad)
    del saved.flaws[1:]
    saved.flaws.append((0, (), "has more places that are not TOML; is it a rule file?"))
    return saved


def placed(problems: Iterable[Problem], files: Mapping[str, bytes]) -> list[Problem]:
    """Each problem with the line of its keys, in the order of files and lines."""
    from sentinel.rulefiles.toml.positions import Outline, outline

    outlines: dict[str, Outline] = {}
    out = []
    for problem in problems:
        if problem.keys and not problem.line and problem.file in files:
            if problem.file not in outlines:
                text = files[problem.file][:MAX_FILE_BYTES].decode("utf-8", "replace")
                try:
                    tomllib.loads(text)
                except (ValueError, RecursionError):
                    text = salvage(text).text
                outlines[problem.file] = outline(text)
            problem = replace(problem, line=outlines[problem.file].line(problem.keys, problem.row))
        out.append(problem)
    return sorted(out, key=lambda p: (p.file, p.line))
