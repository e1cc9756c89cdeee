"""Removes what other programs and llama-server's own logger put around a message: in a fixed order, once.

Order, outside in: syslog, journal, container and kernel-buffer prefixes (or a JSON record that holds the line), the port a
router puts before its children's lines (tools/server/server-models.cpp), ANSI colours, the stamp and level of common/log.cpp.
No text makes this fail: an unknown envelope stays part of the message.
"""

from __future__ import annotations

import json
import math
import re
from datetime import datetime
from typing import NamedTuple

from sentinel.engine.log.prefixes import (
    BRACKETED_TIME,
    BYTES_NOT_PLAIN,
    BYTES_ONE_BLANK,
    BYTES_PLAIN,
    BYTES_STAMP,
    CLIENTS_WORD,
    COLOURED_STAMP,
    COLOURS_BEFORE,
    COMPOSE,
    FAILED_LOAD,
    FRONT_END,
    KERNEL_BUFFER,
    KERNEL_NAME,
    LAST_OF_MORE,
    LEVELS,
    NOT_PLAIN,
    OF_LOCALAI,
    OF_MODEL_RUNNER,
    OLLAMA,
    ONE_BLANK,
    ONE_COLOUR,
    PLAIN_BEGIN,
    PORT,
    PRIVATE,
    RETOLD,
    SERVER_OF_2024,
    SPINNER,
    STAMP,
    SYSLOG,
)
from sentinel.model.input_limits import MOST_WRAPPED


class Envelope(NamedTuple):
    """One parsed line. `message` never ends with a line end; control characters in it are left as they are.

    A named tuple, because one is made for every line of interest: half the time of a frozen dataclass.
    """

    #: seconds since the start of the process, as llama-server stamps its lines
    elapsed: float | None
    #: seconds since the epoch, where the prefix or JSON carries an absolute time with its zone
    wall: float | None
    #: I, W, E or D; llama-server prints trace lines as I
    level: str | None
    #: the router's child that printed it
    port: int | None
    message: str
    #: may quote a user's prompt or the model's answer: only the matched part may be kept
    private: bool


#: Keys that every JSON line of 2024 has besides its message.
_AROUND = ("function", "level", "line", "tid", "timestamp", "type", "time")
_FIRST_OF_JSON = "{"


def bare(line: bytes) -> tuple[bytes, re.Match[bytes] | None] | None:
    """Message and stamp of a line (valid UTF-8) that has at most llama-server's stamp before it; None if `strip` must parse it.

    The result equals that of `strip`, without a port or an absolute time: nine of ten lines need no more (measured).
    """
    if line.endswith(LAST_OF_MORE):
        return None
    stamp = BYTES_STAMP.match(line, line[:1] == b" ")
    if stamp is not None:
        return line[stamp.end() :], stamp
    if line.startswith(BYTES_ONE_BLANK):
        line = line[1:]
    if line[:1] in BYTES_PLAIN and line and b"| " not in line and not line.startswith(BYTES_NOT_PLAIN):
        return line, None
    return None


def elapsed_of(stamp: re.Match[bytes]) -> float:
    """Seconds since the start of the process, of the stamp of a bare line."""
    minutes, seconds, millis, micros = stamp.groups()
    return int(minutes) * 60 + int(seconds) + int(millis + micros) / 1e6


def strip(line: str) -> Envelope:
    """Parse one line. Never raises; what is not recognised stays in the message."""
    message = line.rstrip("\r\n")
    if message[:1] == " " and STAMP.match(message, 1) is not None:
        message = message[1:]
    # By far the most frequent line: a server's own file or pipe, without a prefix, perhaps with a stamp.
    stamp = STAMP.match(message)
    if stamp is not None:
        minutes, seconds, millis, micros, level = stamp.groups()
        elapsed = int(minutes) * 60 + int(seconds) + int(millis + micros) / 1e6
        message = message[stamp.end() :]
        if message.endswith("m"):
            message = _without_colours_after(message)
        return Envelope(elapsed, None, level, None, message, level == "D" or PRIVATE.match(message) is not None)
    if message.startswith(ONE_BLANK):
        message = message[1:]
    # Older servers print no stamp. Only a few prefixes begin with a blank, a dot or a small letter.
    if message[:1] in PLAIN_BEGIN and not message.startswith(NOT_PLAIN) and COMPOSE.match(message) is None:
        if message.endswith("m"):
            message = _without_colours_after(message)
        return Envelope(None, None, None, None, message, PRIVATE.match(message) is not None)
    return _peel(message, None, 0)


def _peel(message: str, wall: float | None, depth: int) -> Envelope:
    if message.startswith("time="):
        slog = OLLAMA.match(message)
        if slog is not None:
            return _ollama(slog)
    spinner = SPINNER.match(message)
    if spinner is not None:
        message = message[spinner.end() :]
    syslog = SYSLOG.match(message) or BRACKETED_TIME.match(message)
    if syslog is not None:
        wall = _epoch(syslog.group(1)) if syslog.group(1) else wall
        message = message[syslog.end() :]
    compose = COMPOSE.match(message)
    if compose is not None:
        message = message[compose.end() :]
    again = SYSLOG.match(message) if syslog is not None or compose is not None else None
    if again is not None:
        wall = _epoch(again.group(1)) or wall if again.group(1) else wall
        message = message[again.end() :]
    front_end = FRONT_END.match(message)
    if front_end is not None:
        message = message[front_end.end() :]
    if message.startswith(KERNEL_NAME):
        message = message[len(KERNEL_NAME) :]
    kernel = KERNEL_BUFFER.match(message)
    if kernel is not None:
        message = message[kernel.end() :]
    if message.startswith(_FIRST_OF_JSON) and depth < MOST_WRAPPED:
        unpacked = _json_record(message, wall, depth)
        if unpacked is not None:
            return unpacked
    return _own(message, wall)


def _own(message: str, wall: float | None) -> Envelope:
    """Remove what the router and llama-server itself put before a message: port, colours, stamp, level."""
    port: int | None = None
    elapsed: float | None = None
    level: str | None = None
    child = PORT.match(message)
    if child is not None and int(child.group(1)) <= 65535:
        port = int(child.group(1))
        message = message[child.end() :]
    stamp = COLOURED_STAMP.match(message)
    if stamp is not None:
        minutes, seconds, millis, micros, level = stamp.groups()
        elapsed = int(minutes) * 60 + int(seconds) + int(millis + micros) / 1e6
        message = message[stamp.end() :]
    else:
        colours = COLOURS_BEFORE.match(message)
        if colours is not None:
            message = message[colours.end() :]
        old = SERVER_OF_2024.match(message)
        if old is not None:
            word, text, timestamp, more = old.groups()
            level = LEVELS.get(word.lower())
            wall = float(timestamp) if timestamp else wall
            message = f"{text} | {more}" if more else text
    if message.endswith("m"):
        message = _without_colours_after(message)
    retells = message.startswith(CLIENTS_WORD) or OF_LOCALAI.match(message) is not None
    if retells and (retold := RETOLD.search(message)) is not None:
        message = retold.group(2)
    return Envelope(elapsed, wall, level, port, message, level == "D" or PRIVATE.match(message) is not None)


def _without_colours_after(message: str) -> str:
    """From the end backwards: a regex that ends in $ would retry at each colour of a hostile line."""
    while message.endswith("m"):
        begin = message.rfind("[", -14) - 1
        if begin < 0 or ONE_COLOUR.fullmatch(message, begin) is None:
            break
        message = message[:begin]
    return message


def _json_record(text: str, wall: float | None, depth: int) -> Envelope | None:
    """A line held in JSON; None for JSON of another kind, or no JSON."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    if "MESSAGE" in record:
        micros = _number(record.get("__REALTIME_TIMESTAMP"))
        return _peel(_text(record["MESSAGE"]), wall if micros is None else micros / 1e6, depth + 1)
    if "log" in record and "stream" in record:
        time = record.get("time")
        moment = _epoch(time) if isinstance(time, str) else None
        return _peel(_text(record["log"]), wall if moment is None else moment, depth + 1)
    # LocalAI's llama.cpp server uses the long name.
    key = "msg" if "msg" in record else "message"
    if key not in record or "level" not in record:
        return None
    word = record["level"]
    level = LEVELS.get(word.lower()) if isinstance(word, str) else None
    message = _text(record[key])
    elapsed: float | None = None
    if record.get("type") == "log":
        micros = _number(record.get("time"))
        elapsed = None if micros is None else micros / 1e6
    else:
        moment = _number(record.get("timestamp"))
        wall = wall if moment is None else moment
        # The other keys in the bracket form of the same server, so that one pattern reads both.
        more = " ".join(f"{name}={_spelled(value)}" for name, value in record.items() if name not in (*_AROUND, key))
        message = f"{message} | {more}" if more else message
    return Envelope(elapsed, wall, level, None, message, level == "D" or PRIVATE.match(message) is not None)


def _spelled(value: object) -> str:
    """A value as the bracket log prints it; empty unless it is a number, flag or text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{_text(value)}"'
    return str(value) if isinstance(value, int | float) else "-"


def _ollama(slog: re.Match[str]) -> Envelope:
    moment, word, message = slog.groups()
    # measured values follow the message: limit=4096 prompt=8942
    values = slog.string[slog.end() :].strip()
    if message.startswith('"'):
        try:
            message = _text(json.loads(message))
        except ValueError:
            message = message[1:-1]
    if values == OF_MODEL_RUNNER:
        return _own(message, _epoch(moment))
    level = LEVELS.get(word.lower())
    message = f"{message} {values}" if values else message
    if (level == "E" or message.startswith(FAILED_LOAD)) and (retold := RETOLD.search(message)) is not None:
        message = retold.group(2)
    return Envelope(None, _epoch(moment), level, None, message, level == "D")


def _text(value: object) -> str:
    """The text of a JSON value. journald exports a message with control characters (colours) as an array of bytes."""
    if isinstance(value, list) and all(isinstance(byte, int) and 0 <= byte <= 255 for byte in value):
        return bytes(value).decode("utf-8", "replace").rstrip("\r\n")
    if not isinstance(value, str):
        return ""
    # JSON can hold half of a surrogate pair, which is not text and cannot be encoded.
    return value.encode("utf-8", "replace").decode("utf-8").rstrip("\r\n")


def _number(value: object) -> float | None:
    """A number, also if journald writes it as a string; None for anything else and for non-finite numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _epoch(text: str) -> float | None:
    """Seconds since the epoch; None without a zone, which only the machine that wrote it knows."""
    try:
        moment = datetime.fromisoformat(text.replace(",", "."))
        return None if moment.tzinfo is None else moment.timestamp()
    except (ValueError, OverflowError):
        return None
