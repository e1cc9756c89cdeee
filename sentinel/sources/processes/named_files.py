"""What the files that a server names say: its log, its model's header, its configuration as one fingerprint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sentinel.gguf.header import GgufError, GgufHeader, read_model
from sentinel.model.entity import Unknown, Value
from sentinel.model.text import clean
from sentinel.sources.fs import Roots
from sentinel.sources.processes.display_name import display_name
from sentinel.sources.processes.fingerprint import configuration
from sentinel.sources.processes.launch import Launch
from sentinel.sources.processes.log_location import find_log
from sentinel.sources.processes.log_source import LogSource
from sentinel.sources.processes.paths import absolute, inside

_BEING_READ = "its files are still being read: the disk or the network file system that they are on hangs or is slow"


@dataclass(frozen=True, slots=True)
class NamedFiles:
    """What the files say."""

    log: LogSource
    model: GgufHeader | None
    values: Mapping[str, Value | Unknown]


def examine(roots: Roots, launch: Launch, port: Callable[[Launch], Value | Unknown], *, in_router: bool) -> NamedFiles:
    """Read them. This hangs where their disk does."""
    pid, requested = launch.pid, launch.requested
    log = find_log(
        roots, pid, requested, launch.env, launch.member,
        in_router=in_router, above=launch.above, container=launch.container, user=launch.reader.user,
    )  # fmt: skip
    model, values = _model(roots, launch)
    values |= log.signals()
    values["server.called"] = display_name(roots, launch.reader, requested, port(launch))
    unknown = launch.settings_unknown
    values["server.configuration"] = Unknown(unknown) if unknown else _configuration(roots, launch, requested.text("model"))
    return NamedFiles(log, model, values)


def unexamined(launch: Launch) -> NamedFiles:
    """What is known while they are being read."""
    unread = Unknown(_BEING_READ)
    log = LogSource("none", "its log", why=_BEING_READ)
    values: dict[str, Value | Unknown] = {"server.called": unread, "server.configuration": unread, **log.signals()}
    if launch.requested.text("model"):
        values |= GgufHeader.unknown(_BEING_READ)
    return NamedFiles(log, None, values)


def _configuration(roots: Roots, launch: Launch, asked: str) -> str | Unknown:
    model = inside(roots, launch.pid, absolute(roots, launch.pid, asked)) if asked else ""
    # What the files set counts as the environment does.
    env = {**launch.env, **{f"LLAMA_ARG_IN_FILE_{path}": " ".join(words) for path, words in launch.config.items()}}
    return configuration(roots, launch.pid, launch.words, env, model, launch.reader.status)


def _model(roots: Roots, launch: Launch) -> tuple[GgufHeader | None, dict[str, Value | Unknown]]:
    asked = launch.requested.text("model")
    if not asked:
        if launch.settings_unknown or launch.requested.is_router:
            return None, {}
        return None, {"server.model_path": ""}
    whole = absolute(roots, launch.pid, asked)
    values: dict[str, Value | Unknown] = {"server.model_path": clean(whole)}
    try:
        header = read_model(inside(roots, launch.pid, whole), launch.reader.open)
    except GgufError as error:
        return None, values | GgufHeader.unknown(str(error))
    return header, values | header.signals()
