"""Where the log of a container is, by what its engine says of it."""

from __future__ import annotations

from collections.abc import Mapping

from sentinel.files.reader import Reader
from sentinel.sources.fs import Roots
from sentinel.sources.processes.containers import Container, unread_why
from sentinel.sources.processes.log_source import CURE, Format, LogSource

#: log driver -> how its file is written; every other driver that keeps a file has Docker's cache, in the form of `local`
_FORMATS: Mapping[str, Format] = {"json-file": "docker-json", "local": "docker-local", "k8s-file": "plain"}


def container_log(roots: Roots, found: Container) -> LogSource:
    """A file or entries of the journal; else why neither can be read."""
    where = f"log of container {found.name or found.id[:12]}"
    if found.log:
        return LogSource("file", where, found.log, _FORMATS.get(found.driver, "docker-local"), writer=found.writer or -1)
    if found.driver == "journald" or (found.engine == "podman" and not found.driver):
        # podman's default, and docker's driver of that name (podman-run(1), --log-driver)
        # Anybody can send this field. journald itself adds the user: that of the daemon, or of the monitor, that writes for it.
        user = Reader.of(roots.proc, found.writer).user if found.writer else 0
        return LogSource("journal", f"journal, {where}", match=(("CONTAINER_ID_FULL", found.id), ("_UID", str(user))))
    why, remedy = unread_why(found, ("json-file", "local", "journald"))
    return LogSource("none", where, why=why, remedy=f"{remedy}, or {CURE}")
