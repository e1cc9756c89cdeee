"""The configuration of `sentinel notify`: TOML, strictly validated, every mistake with one sentence, all at once."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sentinel.model.alert import SEVERITY_RANK
from sentinel.model.problem import ConfigError, Problem
from sentinel.model.text import escape
from sentinel.notify import quiet, template
from sentinel.notify.choice import Filter
from sentinel.notify.plan import Policy
from sentinel.notify.quiet import Quiet
from sentinel.notify.secrets import SYSTEM_FOLDER, NoSecret, Secrets, is_credential, others_read, secret_parts
from sentinel.notify.settings import SYSTEM_FILE, Channel, Config, default_files
from sentinel.notify.values import check_address, policy_of, seconds_of
from sentinel.rulefiles.toml.document import MAX_FILE_BYTES, configuration, placed
from sentinel.rulefiles.toml.tables import Findings, Table

_TYPES = ("apprise", "webhook", "command", "alertmanager")
_NAME = re.compile(r"^[a-z0-9][a-z0-9_-]{0,31}$")
_MOST_CHANNELS = 20
#: What a channel of the type alertmanager does not have: it is sent all that fires.
_ALERTMANAGERS = ("quiet", "urgent", "resolved", "group_wait", "group_interval", "retry")
#: Headers that say how long a request is and what becomes of its connection.
_OURS = ("content-length", "transfer-encoding", "connection")


def load(path: Path | None, env: Mapping[str, str] = os.environ) -> Config:
    """The given file, else the first default one that is there. Raises ConfigError."""
    if path is None:
        files = default_files(env)
        path = next((p for p in files if p.is_file()), None)
        if path is None:
            said = f"is not there; write it (docs/notify.md has examples) or name one with --config; also looked for {files[0]}"
            raise ConfigError([Problem(str(SYSTEM_FILE), "", said if files[0] != SYSTEM_FILE else said.partition("; also")[0])])
    findings = Findings(str(path))
    try:
        with path.open("rb") as stream:
            # systemd hands over a copy; what counts is who may read the file that it was made of.
            status = os.fstat(stream.fileno()) if not is_credential(path, env) else _status(SYSTEM_FILE)
            open_to_others = status is not None and others_read(status)
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError([Problem(str(path), "", f"cannot be read: {error.strerror}")]) from error
    reader = _Reader(Table(configuration(data, str(path)), (), findings), path, env, open_to_others)
    config = reader.config()
    if findings.problems:
        raise ConfigError(placed(findings.problems, {str(path): data}))
    return config


class _Reader:
    """Reads the file. `open_to_others`: more than its owner may read it."""

    def __init__(self, top: Table, file: Path, env: Mapping[str, str], open_to_others: bool) -> None:
        self._top = top
        self._file = file
        self._env = env
        self._open = open_to_others
        #: the file for people: systemd's copy of it says nothing to them
        self._shown = SYSTEM_FILE if is_credential(file, env) else file
        self._folder = file.absolute().parent / SYSTEM_FOLDER.name

    def config(self) -> Config:
        """Everything; mistakes are noted."""
        top = self._top
        policy = policy_of(top, Policy())
        spans = self._quiet(top, Quiet())
        urgent = _urgent(top, frozenset({"critical"}))
        channels = tuple(self._channel(table, policy, spans, urgent) for table in top.tables("channel"))
        if not channels and not top.findings.problems:
            top.findings.error(("channel",), "there is none; add a [[channel]] with name and type")
        if len(channels) > _MOST_CHANNELS:
            top.findings.error(("channel",), f"{len(channels)} are too many; at most {_MOST_CHANNELS}")
        names = [channel.name for channel in channels]
        for name in sorted({name for name in names if name and names.count(name) > 1}):
            top.findings.error(("channel",), f"'{name}' is the name of two channels; each needs its own")
        runbook = top.text("runbook")
        if runbook and urlsplit(runbook).scheme not in ("http", "https"):
            top.findings.error(top.at("runbook"), "is no address; write https://.../{rule}.html#{cause}")
        host = top.text("host")
        if escape(host) != host:
            top.findings.error(top.at("host"), "must be one line of text")
        config = Config(self._file, host or socket.gethostname(), top.text("socket"), runbook, channels)
        top.done()
        return config

    def _channel(self, table: Table, policy: Policy, spans: Quiet, urgent: frozenset[str]) -> Channel:
        name = table.text("name", required=True)
        if name:
            table.call(f"channel '{name:.40}'")
            if not _NAME.match(name):
                table.findings.error(table.at("name"), "a name is lower-case letters, digits, - and _, at most 32")
        kind = table.text("type", required=True, one_of=_TYPES)
        secrets = Secrets(self._folder, self._env)
        url = "" if kind == "command" else self._url(table, kind, secrets)
        headers = self._headers(table, secrets) if kind in ("webhook", "alertmanager") else {}
        body = self._body(table, secrets) if kind == "webhook" else None
        command = self._command(table) if kind == "command" else ()
        for key in _ALERTMANAGERS if kind == "alertmanager" else ():
            if any(table.holds(key, kind_of_value) for kind_of_value in (str, list, bool)):
                table.leave(key)
                table.findings.error(table.at(key), "is a matter of Alertmanager's own configuration; leave it out")
        severities = table.texts("severities", one_of=SEVERITY_RANK) or ("critical", "warning")
        channel = Channel(
            name=name,
            kind=kind,
            chosen=Filter(
                frozenset(severities),
                frozenset(table.texts("rules")),
                frozenset(table.texts("not_rules")),
                table.get("resolved", bool, True),
            ),
            policy=policy if kind == "alertmanager" else policy_of(table, policy),
            quiet=self._quiet(table, spans),
            urgent=_urgent(table, urgent),
            url=url,
            headers=headers,
            body=body,
            command=command,
            seconds=seconds_of(table, "timeout", 30.0 if kind == "command" else 10.0, least=1.0, most=300.0),
            secrets=(*secrets.used, *secret_parts(kind, url), *headers.values()),
        )
        table.done()
        return channel

    def _url(self, table: Table, kind: str, secrets: Secrets) -> str:
        raw = table.text("url", required=True)
        url = self._filled(table, "url", raw, secrets)
        if url and kind in ("webhook", "alertmanager"):
            check_address(table, url)
        literal = raw and "{secret:" not in raw
        if literal and self._open and (kind != "alertmanager" or "@" in urlsplit(raw).netloc):
            folder = self._shown.absolute().parent / SYSTEM_FOLDER.name
            remedy = f"chmod 600 {self._shown}, or write {{secret:NAME}} and the value into {folder}/NAME"
            table.findings.error(table.at("url"), f"is a secret, and others may read this file; {remedy}")
        return url

    def _headers(self, table: Table, secrets: Secrets) -> dict[str, str]:
        out = {}
        for name, value in table.mapping("headers").items():
            if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9-]{1,60}", name) or "\n" in value or "\r" in value:
                table.findings.error(table.at("headers", name), "must be a line of text under a name of letters, digits and -")
                continue
            if self._open and "{secret:" not in value and name.lower() not in ("accept", "content-type", "user-agent"):
                table.findings.error(
                    table.at("headers", name),
                    "may be a secret, and others may read this file; chmod 600 it, or write {secret:NAME}",
                )
            out[name] = self._filled(table, "headers", value, secrets)
            if not (out[name].isascii() and out[name].isprintable()):
                table.findings.error(table.at("headers", name), "holds a character that no header can hold; write it in ASCII")
            if name.lower() in _OURS:
                table.findings.error(table.at("headers", name), "is set by sentinel; leave it out")
        return out

    def _filled(self, table: Table, key: str, text: str, secrets: Secrets) -> str:
        try:
            return secrets.fill(text)
        except NoSecret as error:
            table.findings.error(table.at(key), str(error))
            return ""

    def _body(self, table: Table, secrets: Secrets) -> Mapping[str, Any] | None:
        if not table.holds("body", dict):
            table.get("body", dict, {})
            return None
        body = table.mapping("body")
        for sentence in template.mistakes(body):
            table.findings.error(table.at("body"), sentence)
        try:
            filled: dict[str, Any] = secrets.fill_all(body, template.literal)
        except NoSecret as error:
            table.findings.error(table.at("body"), str(error))
            return None
        return filled

    def _command(self, table: Table) -> tuple[str, ...]:
        if table.holds("command", str):
            table.leave("command")
            table.findings.error(table.at("command"), "must be a list of words, ['/path/to/program', 'word']: there is no shell")
            return ()
        words = table.texts("command")
        if not words:
            table.findings.error(table.at("command"), "is missing; write ['/path/to/program', 'word']")
        elif not words[0].startswith("/"):
            table.findings.error(table.at("command"), f"'{words[0]:.60}' must be the whole path of the program")
        elif not os.access(words[0], os.X_OK):
            table.findings.error(table.at("command"), f"{words[0]:.200} is no program that may be run")
        elif any("{secret:" in word for word in words):
            said = "holds a secret, and everybody on the machine sees the words of a command; let the program read it from a file"
            table.findings.error(table.at("command"), said)
        return words

    def _quiet(self, table: Table, default: Quiet) -> Quiet:
        spans = []
        for text in table.texts_or_text("quiet"):
            span = quiet.parse(text)
            if span is None:
                table.findings.error(table.at("quiet"), f"'{text:.40}' is no time of the day; write '22:00-07:00'")
            else:
                spans.append(span)
        return Quiet(tuple(spans)) if table.holds("quiet", list) or spans else default


def _urgent(table: Table, default: frozenset[str]) -> frozenset[str]:
    """The default where there is none; an empty list is none that is urgent."""
    found = frozenset(table.texts("urgent", one_of=SEVERITY_RANK))
    return found if table.holds("urgent", list) else default


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
