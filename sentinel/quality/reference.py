"""A measurement as JSON, and back. A file from elsewhere is hostile: its size, types and numbers are checked, and one sentence
says what is wrong with it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from sentinel.quality.answer import LEAST, MOST_CHARACTERS, MOST_CHOICES, Answer, Choice, Token
from sentinel.quality.measurement import MOST_FLAGS, MOST_PASSES, Measurement, Subject

FORMAT, VERSION = "sentinel quality reference", 1
#: Bytes of a file; five passes over a hundred prefixes are 200 KB.
MOST_BYTES = 4 << 20
#: Five hundred prefixes in five passes on each side are compared in three seconds, four thousand in half a minute.
_MOST_TOKENS, _MOST_PREFIXES = 200_000, 512
_NAME = re.compile(r"[a-z]{1,20}-\d{2,4}\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


class NotReference(ValueError):
    """It is no reference. The text is the second half of a sentence."""


def encode(measured: Measurement) -> str:
    """The file's text. Equal measurements give equal texts."""
    tokens: dict[Token, int] = {}
    passes = [
        {
            name: [[tokens.setdefault(c.token, len(tokens)), round(c.logprob, 6)] for c in answer.choices]
            if answer.is_number
            else None
            for name, answer in one.items()
        }
        for one in measured.passes
    ]
    subject = measured.subject
    document = {
        "format": FORMAT,
        "version": VERSION,
        "name": measured.name,
        "made": measured.made,
        "prefixes": {"version": measured.prefix_version, "digest": measured.prefixes},
        "model": {
            "name": subject.model,
            "quantization": subject.quantization,
            "parameters": subject.parameters,
            "bytes": subject.bytes,
        },
        "vocabulary": {"digest": subject.vocabulary, "size": subject.vocabulary_size},
        "server": {
            "build": subject.build,
            "context": subject.context,
            "slots": subject.slots,
            "flags": list(subject.flags),
        },
        "cost": {"tokens": measured.tokens, "seconds": round(measured.seconds, 1)},
        "tokens": [[token.id, token.text] for token in tokens],
        "passes": passes,
    }
    return json.dumps(document, ensure_ascii=True, separators=(",", ":"), allow_nan=False) + "\n"


def decode(data: bytes) -> Measurement:
    """Raises NotReference."""
    if len(data) > MOST_BYTES:
        raise NotReference(f"is larger than {MOST_BYTES >> 20} MiB")
    try:
        document = json.loads(data.decode("utf-8"), parse_constant=_no_number)
    except (UnicodeDecodeError, RecursionError) as error:
        raise NotReference(f"is no JSON that can be read ({type(error).__name__})") from error
    except json.JSONDecodeError as error:
        raise NotReference(f"is not JSON: {error.msg} in line {error.lineno}") from error
    except ValueError as error:
        raise NotReference(f"is not JSON: {error}") from error
    top = _object(document, "the file")
    if top.get("format") != FORMAT:
        raise NotReference("is no reference of `sentinel quality learn`")
    if top.get("version") != VERSION:
        raise NotReference(f"is of version {top.get('version')!r:.20}; this sentinel reads version {VERSION}")
    used, model, vocabulary, server, cost = (
        _object(top.get(key), key) for key in ("prefixes", "model", "vocabulary", "server", "cost")
    )
    flags = _list(server.get("flags"), "server.flags", MOST_FLAGS)
    subject = Subject(
        model=_text(model.get("name"), "model.name"),
        quantization=_text(model.get("quantization"), "model.quantization"),
        parameters=_whole(model.get("parameters"), "model.parameters"),
        bytes=_whole(model.get("bytes"), "model.bytes"),
        build=_text(server.get("build"), "server.build"),
        context=_whole(server.get("context"), "server.context"),
        slots=_whole(server.get("slots"), "server.slots"),
        flags=tuple(_text(flag, "a flag") for flag in flags),
        vocabulary=_digest(vocabulary.get("digest"), "vocabulary.digest"),
        vocabulary_size=_whole(vocabulary.get("size"), "vocabulary.size"),
    )
    return Measurement(
        subject,
        _passes(top),
        _whole(used.get("version"), "prefixes.version") or 0,
        _digest(used.get("digest"), "prefixes.digest"),
        _text(top.get("made"), "made"),
        _text(top.get("name"), "name"),
        _whole(cost.get("tokens"), "cost.tokens") or 0,
        _finite(cost.get("seconds"), "cost.seconds"),
    )


def _passes(top: Mapping[str, Any]) -> tuple[Mapping[str, Answer], ...]:
    tokens = tuple(_token(row) for row in _list(top.get("tokens"), "tokens", _MOST_TOKENS))
    passes = _list(top.get("passes"), "passes", MOST_PASSES)
    if not passes:
        raise NotReference("has no passes")
    return tuple(_pass(one, tokens) for one in passes)


def _token(row: object) -> Token:
    match row:
        case [None, str(text)] if len(text) <= MOST_CHARACTERS:
            return Token(None, text)
        case [int(number), str(text)] if len(text) <= MOST_CHARACTERS and 0 <= number < 1 << 31 and not isinstance(number, bool):
            return Token(number, text)
    raise NotReference(f"has a token that is none: {row!r:.60}")


def _pass(one: object, tokens: tuple[Token, ...]) -> Mapping[str, Answer]:
    answers = _object(one, "a pass")
    if not 0 < len(answers) <= _MOST_PREFIXES:
        raise NotReference("has a pass without answers, or with too many")
    for name in answers:
        if _NAME.match(name) is None:
            raise NotReference(f"has an answer to {name!r:.40}, which is no prefix")
    return {name: _answer(name, rows, tokens) for name, rows in answers.items()}


def _answer(name: str, rows: object, tokens: tuple[Token, ...]) -> Answer:
    if rows is None:
        return Answer((), is_number=False)
    choices = []
    for row in _list(rows, f"the answer to {name}", MOST_CHOICES):
        match row:
            case [int(at), int(logprob) | float(logprob)] if (
                not isinstance(at, bool) and 0 <= at < len(tokens) and not isinstance(logprob, bool) and LEAST <= logprob <= 0
            ):
                choices.append(Choice(tokens[at], float(logprob)))
            case _:
                raise NotReference(f"has a likely token after {name} that is none: {row!r:.60}")
    answer = Answer(tuple(choices))
    if not choices or len({choice.token for choice in choices}) < len(choices) or answer.kept > 1.001:
        raise NotReference(
            f"has an answer to {name} that no server gives: no token, one token twice, or more than all probability"
        )
    return answer


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise NotReference(f"is damaged: {what} is no object")
    return value


def _list(value: object, what: str, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise NotReference(f"is damaged: {what} is no list of at most {most}")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or len(value) > MOST_CHARACTERS:
        raise NotReference(f"is damaged: {what} is no text of at most {MOST_CHARACTERS} characters")
    return value


def _digest(value: object, what: str) -> str:
    if not isinstance(value, str) or _DIGEST.match(value) is None:
        raise NotReference(f"is damaged: {what} is no SHA-256 digest")
    return value


def _whole(value: object, what: str) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63):
        raise NotReference(f"is damaged: {what} is no count")
    return value


def _finite(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12 or not math.isfinite(value):
        raise NotReference(f"is damaged: {what} is no number of seconds")
    return float(value)


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")
