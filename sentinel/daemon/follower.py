"""A log that is followed: for which server, by which task, and what is known of its lines."""

from __future__ import annotations

import asyncio
import re

from sentinel.model.entity import Entity
from sentinel.sources.logs.docker_local import DockerLocal
from sentinel.sources.logs.file import LogFile

#: What llama.cpp begins its messages with: of the lines of a program that copies them, these are the server's.
OF_LLAMA_SERVER = re.compile(
    rb"(?m)(?:^|[\]) :|])(?:srv  |slot  ?|cmn  |llama_|load_tensors: |print_info: |ggml_|main: |common_|llm_load_|system_info: "
    rb"|build: \d)"
)


class Follower:
    """A log that is followed."""

    def __init__(self, entity: Entity, key: str, task: asyncio.Task[None], since: float) -> None:
        self.entity = entity
        self.key = key
        self.task = task
        self.since = since
        self.file: LogFile | DockerLocal | None = None
        #: whether the journal had entries; with a saved cursor, an earlier run has read some
        self.heard = False
        #: another program is taken to copy the lines there
        self.copied = False
        #: lines of it that were cut so far
        self.cut = 0
        #: start time of the process whose timestamps are in the file
        self.base: float | None = None
        self.unwanted_since: float | None = None
        #: several servers write it, and no line says whose it is: nothing of it is passed on
        self.shared = False
        #: the file is read by one call at a time
        self.reading = asyncio.Lock()
        #: user whose process named the file; None for the configuration
        self.owner: int | None = None
        #: a read is in progress, which may outlive the task
        self.busy = False
        #: nothing more is read: the file is closed when no read is in progress
        self.ended = False
