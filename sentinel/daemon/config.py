"""The configuration file: TOML, strictly validated, all mistakes reported at once. Without one, everything is discovered."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sentinel.files.xdg import config_files, state_folder
from sentinel.model.problem import ConfigError, Problem
from sentinel.quality.daily.settings import LEAST_EVERY, LEAST_IDLE, LEAST_TOKENS_A_DAY, Chosen, Daily
from sentinel.rulefiles.toml.document import MAX_FILE_BYTES, configuration, placed
from sentinel.rulefiles.toml.tables import Findings, Table

_NAME = "sentinel.toml"
#: rocm-smi is a Python script: one call costs 95 ms of CPU even without a GPU (measured), so this is the minimum interval.
_LEAST_ROCM_SMI = 30.0


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The user's settings for one llama-server; they override what was discovered. At least `log` or `unit` is set."""

    name: str
    #: the server that listens on this port; 0: no process is expected to match
    port: int = 0
    log: Path | None = None
    unit: str = ""
    user_unit: bool = False


@dataclass(frozen=True, slots=True)
class Intervals:
    """Seconds between polls."""

    process: float = 2.0
    host: float = 5.0
    gpu: float = 5.0
    rocm_smi: float = 1800.0


@dataclass(frozen=True, slots=True)
class Config:
    """All settings."""

    file: Path | None
    state_dir: Path
    socket: Path
    rules: tuple[Path, ...] = ()
    servers: tuple[ServerConfig, ...] = ()
    discover: bool = True
    #: poll servers whose log cannot be read, over HTTP on the loopback interface: /health, and /props once
    ask_servers: bool = True
    #: poll /slots of every server on the loopback interface every five seconds
    watch_slots: bool = False
    #: the daily check of what servers answer; off unless it is asked for
    quality: Daily = field(default_factory=Daily)
    #: keep the last readings in memory, and on disk around an alert, for `sentinel record` and `sentinel replay`
    recorder: bool = True
    intervals: Intervals = field(default_factory=Intervals)
    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    dev: Path = Path("/dev")
    journal_socket: Path = Path("/run/systemd/journal/socket")
    #: auto: journald where it runs, else the terminal
    sink: str = "auto"


def drop_in_folders(env: Mapping[str, str]) -> list[Path]:
    """Folders of the machine's and the user's own rule files; a later one takes precedence."""
    return [file.with_name("rules.d") for file in reversed(config_files(env, _NAME))]


def default_socket(env: Mapping[str, str]) -> Path:
    """systemd's RuntimeDirectory, else the user's XDG runtime folder, else /run/sentinel."""
    if given := env.get("SENTINEL_SOCKET"):
        return Path(given)
    if given := env.get("RUNTIME_DIRECTORY"):
        return Path(given.split(":")[0]) / "sentinel.sock"
    if given := env.get("XDG_RUNTIME_DIR"):
        return Path(given) / "sentinel" / "sentinel.sock"
    if os.geteuid() != 0:
        return state_folder(env) / "sentinel.sock"
    return Path("/run/sentinel/sentinel.sock")


def load(path: Path | None, env: Mapping[str, str]) -> Config:
    """Load the given file, else the first default one that exists, else the defaults. Raises ConfigError."""
    if path is None:
        path = next((p for p in config_files(env, _NAME) if p.is_file()), None)
        if path is None:
            return Config(None, state_folder(env), default_socket(env))
    findings = Findings(str(path))
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError([Problem(str(path), "", f"cannot be read: {error.strerror}")]) from error
    config = _config(Table(configuration(data, str(path)), (), findings), path, env)
    if findings.problems:
        raise ConfigError(placed(findings.problems, {str(path): data}))
    return config


def _config(top: Table, file: Path, env: Mapping[str, str]) -> Config:
    paths = top.table("paths")
    intervals = top.table("intervals")
    defaults = Intervals()
    # A relative path must not depend on the working directory sentinel was started in.
    base = file.absolute().parent
    config = Config(
        file=file,
        state_dir=_path(top, "state_dir", state_folder(env), base),
        socket=_path(top, "socket", default_socket(env), base),
        rules=tuple(_resolved(p, base, top, "rules") for p in top.texts("rules")),
        servers=_servers(top, base),
        discover=top.get("discover", bool, True),
        ask_servers=top.get("ask_servers", bool, True),
        watch_slots=top.get("watch_slots", bool, False),
        quality=_quality(top.table("quality"), base),
        recorder=top.get("recorder", bool, True),
        intervals=Intervals(
            process=_interval(intervals, "process", defaults.process, 0.5),
            host=_interval(intervals, "host", defaults.host, 0.5),
            gpu=_interval(intervals, "gpu", defaults.gpu, 0.5),
            rocm_smi=_interval(intervals, "rocm_smi", defaults.rocm_smi, _LEAST_ROCM_SMI),
        ),
        proc=_folder(paths, "proc", Path("/proc"), base),
        sys=_folder(paths, "sys", Path("/sys"), base),
        dev=_folder(paths, "dev", Path("/dev"), base),
        journal_socket=_path(paths, "journal_socket", Path("/run/systemd/journal/socket"), base),
        sink=top.text("sink", "auto", one_of=("auto", "journald", "console")) or "auto",
    )
    paths.done()
    intervals.done()
    top.done()
    return config


def _resolved(text: str, base: Path, table: Table, key: str) -> Path:
    """Resolve a path: `~` expands to a home, a relative path starts at the configuration file's folder."""
    try:
        return base / Path(text).expanduser()
    except RuntimeError:
        table.findings.error(table.at(key), f"'{text:.60}': that home folder is not known; write the whole path")
        return Path(text)


def _path(table: Table, key: str, default: Path, base: Path) -> Path:
    text = table.text(key)
    return _resolved(text, base, table, key) if text else default


def _folder(table: Table, key: str, default: Path, base: Path) -> Path:
    """The root of a kernel file system. A missing one would look like a machine without processes and GPUs."""
    path = _path(table, key, default, base)
    if path != default and not path.is_dir():
        table.findings.error(table.at(key), f"'{path}' is not a folder")
    return path


def _interval(table: Table, key: str, default: float, least: float) -> float:
    seconds = table.duration(key, default)
    if seconds is None:
        return default
    if seconds < least:
        table.findings.error(table.at(key), f"{seconds:g} s is too short; at least {least:g} s")
        return default
    return seconds


def _quality(table: Table, base: Path) -> Daily:
    defaults = Daily()
    tokens = table.get("tokens_a_day", int, defaults.tokens_a_day)
    if tokens < LEAST_TOKENS_A_DAY:
        table.findings.error(table.at("tokens_a_day"), f"{tokens} is too few for any check; at least {LEAST_TOKENS_A_DAY}")
    found = Daily(
        check=table.get("check", bool, defaults.check),
        every=_interval(table, "every", defaults.every, LEAST_EVERY),
        idle=_interval(table, "idle", defaults.idle, LEAST_IDLE),
        tokens_a_day=tokens,
        servers=tuple(_chosen(one, base) for one in table.tables("server")),
    )
    table.done()
    return found


def _chosen(table: Table, base: Path) -> Chosen:
    name, port = table.text("name"), table.get("port", int, 0)
    if bool(name) == bool(port) or not 0 <= port <= 65535:
        table.findings.error(table.keys, "needs 'name' (as `sentinel status` shows it) or 'port', one of them")
    experts = table.texts("experts")
    if experts and len(experts) != 2:
        table.findings.error(
            table.at("experts"), "names two importance matrices: of better weights, and of those that are served"
        )
    key, reference = table.text("api_key_file"), table.text("reference")
    chosen = Chosen(
        name=name,
        port=port,
        check=table.get("check", bool, None),
        api_key_file=_resolved(key, base, table, "api_key_file") if key else None,
        reference=_resolved(reference, base, table, "reference") if reference else None,
        experts=(_resolved(experts[0], base, table, "experts"), _resolved(experts[1], base, table, "experts"))
        if len(experts) == 2
        else None,
    )
    table.done()
    return chosen


def _servers(top: Table, base: Path) -> tuple[ServerConfig, ...]:
    """Every [[server]]. Two that share a value would be read and evaluated twice, or both under one name."""
    servers = [_server(t, base) for t in top.tables("server")]
    for what in ("name", "log", "unit", "port"):
        first: set[str] = set()
        for server in servers:
            value = str(getattr(server, what) or "")
            if value in first:
                top.findings.error(("server",), f"'{value:.200}' is the {what} of two [[server]] tables; each needs its own")
            first |= {value} if value else set()
    return tuple(servers)


def _server(table: Table, base: Path) -> ServerConfig:
    name = table.text("name", required=True)
    if name:
        table.call(f"server '{name:.60}'")
    log, unit = table.text("log"), table.text("unit")
    port = table.get("port", int, 0)
    if not log and not unit:
        table.findings.error(table.keys, "needs 'log' (a file) or 'unit' (a systemd unit)")
    if log and unit:
        table.findings.error(table.keys, "has both 'log' and 'unit'; its lines would be judged twice")
    if not 0 <= port <= 65535:
        table.findings.error(table.at("port"), f"{port} is not a port")
    server = ServerConfig(
        name=name,
        port=port,
        log=_resolved(log, base, table, "log") if log else None,
        unit=unit,
        user_unit=table.get("user_unit", bool, False),
    )
    table.done()
    return server
