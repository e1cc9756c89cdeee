"""The configuration of `sentinel cure`: TOML, strictly validated, every mistake with one sentence, all at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sentinel.cure.decide import HOUR, Action
from sentinel.files.xdg import config_files
from sentinel.model.problem import ConfigError, Problem
from sentinel.rulefiles.toml.document import MAX_FILE_BYTES, configuration, placed
from sentinel.rulefiles.toml.tables import Findings, Table

_FILE = "cure.toml"
_MOST_ACTIONS = 50
#: systemd.unit(5), without what a command or the polkit rule would have to escape; an instance may be named, a template not.
_UNIT = re.compile(r"[A-Za-z0-9:_.-]{1,200}(@[A-Za-z0-9:_.-]{1,200})?\.service")
_RULE = re.compile(r"[a-z0-9-]{1,64}")
_MOST_PER_HOUR = 12
#: Faster than this no model is loaded and no alert judged. Seconds.
_LEAST_PAUSE = 60.0


@dataclass(frozen=True, slots=True)
class Config:
    """All settings."""

    file: Path
    socket: str
    actions: tuple[Action, ...]


def load(path: Path | None, env: Mapping[str, str]) -> Config:
    """The given file, else the first default one that is there. Raises ConfigError."""
    if path is None:
        files = config_files(env, _FILE)
        path = next((one for one in files if one.is_file()), None)
        if path is None:
            said = "is not there; write it (docs/cure.md has an example) or name one with --config"
            raise ConfigError([Problem(str(files[-1]), "", said)])
    findings = Findings(str(path))
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError([Problem(str(path), "", f"cannot be read: {error.strerror}")]) from error
    top = Table(configuration(data, str(path)), (), findings)
    actions = tuple(_action(table) for table in top.tables("action"))
    if not actions and not findings.problems:
        findings.error(("action",), "there is none; add an [[action]] with restart and rules")
    if len(actions) > _MOST_ACTIONS:
        findings.error(("action",), f"{len(actions)} are too many; at most {_MOST_ACTIONS}")
    config = Config(path, top.text("socket"), actions)
    top.done()
    if findings.problems:
        raise ConfigError(placed(findings.problems, {str(path): data}))
    return config


def _action(table: Table) -> Action:
    unit = table.text("restart", required=True)
    if unit:
        table.call(f"action '{unit:.40}'")
        if not _UNIT.fullmatch(unit):
            table.findings.error(table.at("restart"), "must be the name of one service, such as llama.service")
    rules = table.texts_or_text("rules")
    if not rules and table.holds("rules", list):
        table.findings.error(table.at("rules"), "names no rule")
    elif not rules:
        table.findings.error(table.at("rules"), 'is missing; name the rules, for example rules = ["server-wedged"]')
    for rule in rules:
        if not _RULE.fullmatch(rule):
            table.findings.error(table.at("rules"), f"'{rule:.60}' is no name of a rule; `sentinel rules list` shows all")
    per_hour = table.get("per_hour", int, 2)
    if not 1 <= per_hour <= _MOST_PER_HOUR:
        table.findings.error(table.at("per_hour"), f"must be from 1 to {_MOST_PER_HOUR}")
    pause = table.duration("pause", 600.0)
    if pause is not None and not _LEAST_PAUSE <= pause <= HOUR:
        table.findings.error(table.at("pause"), "must be from 1m to 1h")
    after = table.duration("after", 0.0)
    action = Action(
        unit=unit,
        rules=frozenset(rules),
        causes=frozenset(table.texts_or_text("causes")),
        server=table.text("server", unit),
        per_hour=per_hour,
        pause=pause or 0.0,
        after=after or 0.0,
    )
    table.done()
    return action
