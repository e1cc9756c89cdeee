"""The servers that the lines of a saved log are from, and the units that systemd's lines are about. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from sentinel.diagnose.senders import Line
from sentinel.engine.log.envelope import strip
from sentinel.engine.log.extractor import Extractor
from sentinel.model.entity import Entity
from sentinel.model.input_limits import MOST_SENDERS_OF_LOG, MOST_SERVERS_OF_LOG

#: The name of a server of which nothing else is known.
UNNAMED = "llama-server"
_UNIT = re.compile(
    rb"^(?P<unit>[A-Za-z0-9:_.\\@-]+\.service): |\b(?:Started|Starting|Stopping|Stopped) (?P<named>[\w:.\\@-]+\.service)\b"
)


@dataclass(slots=True)
class Server:
    """One server of a log: its voices, one after the other for restarts, and its unit if systemd names one."""

    name: str
    voices: set[str] = field(default_factory=set)
    unit: str = ""


def recognised(own: Sequence[Line], extractor: Extractor | None) -> set[str]:
    """The voices of a log in which llama-server is recognised."""
    texts: dict[str, list[bytes]] = {}
    for line in own:
        if line.kind == "llama-server":
            texts.setdefault(line.voice, []).append(line.text)
    if len(texts) == 1 or extractor is None:
        return set(texts)
    newest = list(texts.items())[-MOST_SENDERS_OF_LOG:]
    known = {voice: [match.event for match in islice(extractor.events(b"\n".join(text)), 20)] for voice, text in newest}
    # Any program may print "error: invalid argument"; what loads or serves a model is a llama-server.
    sure = {v for v, events in known.items() if any(event.const.get("server.state") != "failed" for event in events)}
    return sure | {voice for voice, events in known.items() if events and (not sure or "llama" in voice)}


def servers(all_lines: Sequence[Line], speaks: Iterable[str]) -> list[Server]:
    """The servers of a log, in the order of their first line. `speaks`: voices in which llama-server was recognised.

    Consecutive processes of one program are starts of one server; processes whose lines alternate are several servers. Of more
    servers than a log may have the later ones are left out.
    """
    spans: dict[str, tuple[int, int]] = {}
    wanted = set(speaks)
    for line in all_lines:
        if line.voice in wanted and line.kind == "llama-server":
            spans[line.voice] = (spans.get(line.voice, (line.number, 0))[0], line.number)
    found: list[tuple[str, Server, int]] = []
    for voice, (begin, end) in sorted(spans.items(), key=lambda pair: pair[1]):
        program = voice.partition("[")[0]
        for number, (of, server, last) in enumerate(found):
            if of == program and begin > last:
                server.voices.add(voice)
                found[number] = (of, server, end)
                break
        else:
            if len(found) < MOST_SERVERS_OF_LOG:
                found.append((program, Server(voice, {voice}), end))
    out = [server for _, server, _ in found]
    _name_units(all_lines, out)
    return out


def _name_units(all_lines: Sequence[Line], found: Sequence[Server]) -> None:
    """Assign units to servers: the only one, by name, or by the line that follows the unit's start."""
    units = dict.fromkeys(unit for line in all_lines if (unit := unit_of(line)))
    for server in found:
        programs = {voice.partition("[")[0] for voice in server.voices}
        own = next((program for program in programs if program.endswith(".service")), "")
        alike = [unit for unit in units if any(p and _alike(p, unit) for p in programs)]
        after = _started_before(all_lines, server, units)
        if own:
            server.unit = own
        elif after:
            server.unit = after
        elif len(found) == 1 and len(units) == 1:
            server.unit = next(iter(units))
        elif len(alike) == 1 and len(found) == 1:
            server.unit = alike[0]


def _alike(program: str, unit: str) -> bool:
    stem = unit.removesuffix(".service").partition("@")[0]
    return program in stem or stem in program or ("llama" in program and "llama" in stem)


def _started_before(all_lines: Sequence[Line], server: Server, units: Iterable[str]) -> str:
    """The unit whose start is reported directly before the server's first line."""
    before: Line | None = None
    known = set(units)
    for line in all_lines:
        if line.kind == "llama-server" and line.voice in server.voices:
            unit = unit_of(before) if before is not None else ""
            return unit if unit in known and before is not None and b"Start" in before.text else ""
        if line.text.strip():
            before = line
    return ""


def unit_of(line: Line) -> str:
    """The unit that a systemd line is about; empty for none."""
    if line.kind != "systemd":
        return ""
    text = line.text
    if text.startswith(b"{"):
        if line.voice.endswith(".service"):
            return line.voice
        text = strip(text.decode("utf-8", "replace")).message.encode()
    found = _UNIT.search(text)
    return "" if found is None else (found["unit"] or found["named"]).decode()


def named(found: Sequence[Server], first: Entity | None) -> tuple[dict[str, Entity], dict[str, Entity]]:
    """Map voices and units to servers. `first`: the server of the previous logs, which continues in this one."""
    entities: dict[str, Entity] = {}
    units: dict[str, Entity] = {}
    programs = [server.name.partition("[")[0] for server in found]
    for number, server in enumerate(found):
        program = programs[number] or UNNAMED
        name = server.unit or (UNNAMED if len(found) == 1 else program if programs.count(program) == 1 else server.name)
        entity = first if number == 0 and first is not None else Entity("server", name)
        entities |= dict.fromkeys(server.voices, entity)
        if server.unit:
            units[server.unit] = entity
    return entities, units


def end_of_process(text: bytes) -> str:
    """systemd's message about the unrequested end of a unit's process; empty for any other line."""
    message = strip(text.decode("utf-8", "replace")).message if text.startswith(b"{") else text.decode("utf-8", "replace")
    message = message.partition(": ")[2]
    if message.startswith("A process of this unit has been killed") or "systemd-oomd killed" in message:
        return message
    if message.startswith("Main process exited, ") and "status=0/" not in message:
        return message
    return ""
