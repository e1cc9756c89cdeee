"""A preflight of each server that the daemon finds, once, when first seen: from its files and /proc alone, nothing is run."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from sentinel.gguf.header import GgufError
from sentinel.memory.fit import FitVerdict
from sentinel.model.entity import Unknown, Value
from sentinel.model.reading import Reading, Samples
from sentinel.model.text import clean
from sentinel.preflight.build import Build
from sentinel.preflight.build_from_files import build_of, takes
from sentinel.preflight.command import Command, NoCommand, from_process
from sentinel.preflight.examine import examine
from sentinel.preflight.flag_check import accepted_form, words_of
from sentinel.preflight.machine import devices
from sentinel.preflight.report import Report
from sentinel.sources.fs import Roots
from sentinel.sources.processes.procfs import address_space_limit
from sentinel.sources.processes.server_process import ServerProcess

#: A server that started much earlier is not judged: what was free at its start is no longer known. Seconds.
_YOUNG = 60.0
#: Verdicts for which other flags are searched: that takes 0.1 to 0.9 s of a core for a model of 128 layers, the verdict 10 ms.
_IN_NEED: tuple[FitVerdict, ...] = ("tight", "fails")
_FITTING = ("server.fitting_flags", "server.fitting_drops", "server.fitting_why")


class Preflights:
    """Polled; one Samples reading for each server whose start was seen. On its own thread."""

    name = "preflight"
    interval = 1.0
    blocking = True

    def __init__(self, servers: Callable[[], Sequence[ServerProcess]], roots: Roots | None = None) -> None:
        self._servers = servers
        self._roots = Roots() if roots is None else roots
        self._done: set[tuple[int, int]] = set()

    def poll(self, at: float) -> Sequence[Reading]:
        """Signals ``server.preflight*`` and ``server.fitting_*`` of servers not judged yet."""
        servers = self._servers()
        self._done &= {(server.pid, server.ticks) for server in servers}
        fresh = [server for server in servers if server.examined and (server.pid, server.ticks) not in self._done]
        self._done |= {(server.pid, server.ticks) for server in fresh}
        return [reading for server in fresh if at - server.start_time < _YOUNG for reading in self._judge(server, at)]

    def _judge(self, server: ServerProcess, at: float) -> list[Reading]:
        if server.requested.is_router:
            return []
        try:
            # it runs as whoever started it, and the daemon never runs another user's program
            command = replace(from_process(server.pid, self._roots), may_ask=False)
        except NoCommand:
            # ended in between: discovery reports it
            return []
        build = build_of(command, self._roots)
        unknown = self._not_looked_for(server.pid, command, build)
        searched = () if unknown else _IN_NEED
        report = examine(command, self._roots, build, header=server.model or _unread(server), suggest=searched)
        reasons = [why.text for why in report.whys if why.effect != "note"]
        values: dict[str, Value | Unknown] = {
            "server.preflight": report.verdict,
            "server.preflight_why": clean(reasons[0] if reasons else ""),
        }
        values |= dict.fromkeys(_FITTING, Unknown(unknown)) if unknown else fitting(command, build, report)
        return [Samples(at, self.name, server.entity, values)]

    def _not_looked_for(self, pid: int, command: Command, build: Build) -> str:
        """Why no flags can be searched; empty if they can."""
        limit = address_space_limit(self._roots, pid)
        if isinstance(limit, int) and limit >= 0:
            return f"its address space is limited to {limit >> 20} MiB (ulimit -v), and what fits into that is not computed"
        if command.env_unreadable:
            return f"its environment is not known: {command.env_unreadable}"
        if isinstance(build.flags, Unknown):
            return build.flags.why
        asked = command.requested
        gpus, _ = devices(command, build, self._roots)
        if isinstance(gpus, Unknown) and asked.gpu_layers() != 0 and asked.text("device").strip().lower() != "none":
            return f"which GPUs it can use is not known: {gpus.why}"
        return ""


def _unread(server: ServerProcess) -> GgufError | None:
    """Why its model's header is not known: it was tried once, and is not read again."""
    why = server.values.get("server.model_arch")
    return GgufError(why.why) if isinstance(why, Unknown) else None


def fitting(command: Command, build: Build, report: Report) -> Mapping[str, Value | Unknown]:
    """The best flags that fit, as changes to the command line, and what they give up."""
    if report.verdict not in _IN_NEED:
        return dict.fromkeys(_FITTING, Unknown(f"no other flags were looked for: the verdict on these is {report.verdict!r}"))
    before = words_of(accepted_form(command, build), build)
    for one in report.suggestions:
        after = words_of(one.argv, build)
        added = [word for word in after if (word.flag, word.values) not in {(old.flag, old.values) for old in before}]
        left = [word.flag for word in before if word.flag not in {new.flag for new in after}]
        if one.verdict != "fails" and (added or left) and takes(build, {word.flag: word.values for word in added}):
            words = [part for word in added for part in (one.argv[word.at], *word.values)]
            return dict(zip(_FITTING, (clean(shlex.join(words)), clean(shlex.join(left)), clean(one.why)), strict=True))
    return dict.fromkeys(_FITTING, Unknown("no flags were found with which it fits"))
