"""Every fix of every shipped rule, said for every way in which a llama-server is run: nothing that would break it there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from sentinel.engine.rules.conclude import worded
from sentinel.engine.rules.ruleset import CompiledFix, RuleSet
from sentinel.engine.rules.template import Template
from sentinel.llama.flags import OPTION, PRINT_AND_EXIT, same_as
from sentinel.llama.flags_in_text import in_text
from sentinel.llama.runtime_table import RUNTIMES
from sentinel.llama.runtimes import of_name, own_name
from sentinel.model.alert import Fix

UNIT = {"server.unit": "llama.service", "server.user_unit": False, "server.container": "", "server.started_by": "systemd"}
CONTAINER = {
    "server.unit": "",
    "server.container": "0123456789abcdef" * 4,
    "server.container_name": "llm",
    "server.compose_service": "",
    "server.started_by": "containerd-shim",
}
HAND = {"server.unit": "", "server.container": "", "server.started_by": "bash"}
#: places where a server can run, and where its manager can
PLACES: dict[str, dict[str, Any]] = {
    "unit": UNIT,
    "user unit": UNIT | {"server.user_unit": True},
    "unit of a script": UNIT | {"server.started_by": "start.sh"},
    "quadlet": UNIT
    | CONTAINER
    | {"server.unit": "llm.service", "server.container_engine": "podman", "server.started_by": "conmon"},
    "docker": CONTAINER | {"server.container_engine": "docker"},
    "compose": CONTAINER | {"server.container_engine": "docker", "server.compose_service": "llm"},
    "podman": CONTAINER | {"server.container_engine": "podman"},
    "kubernetes": CONTAINER | {"server.container_engine": "kubernetes", "server.container_name": "default/llm-0/server"},
    "hand": HAND,
    "cron": HAND | {"server.started_by": "cron"},
}
MANAGERS = sorted({row.name for row in RUNTIMES if row.name})
RUNS = [
    *((place, "") for place in PLACES),
    *((place, name) for place in ("unit", "docker", "hand") for name in MANAGERS),
]
#: a value for every name that a text may show: a fix is judged by its words, not by when it is shown
ANYTHING = "7"


def server(place: str, manager: str) -> dict[str, Any]:
    about = dict(PLACES[place]) | {"server.front_end": manager}
    if manager:
        about["server.started_by"] = {"llama-server": "llama-server"}.get(manager, manager)
        if about["server.unit"]:
            about["server.unit"] = f"{manager}.service"
    return about


def fixes(ruleset: RuleSet) -> Iterator[tuple[str, CompiledFix]]:
    for name, compiled in sorted(ruleset.rules.items()):
        for cause in compiled.causes:
            for number, fix in enumerate(cause.fixes):
                yield f"{name}, {cause.cause.id}, fix {number}", fix


def said(fix: CompiledFix, about: dict[str, Any]) -> Fix | None:
    """The fix as it is shown for this server, whatever its condition is."""
    numbers = {
        name for text in (fix.do, fix.command, fix.verify, fix.risk, fix.flags, *fix.settings.values()) for name in _numbers(text)
    }

    #: flags that are computed whole
    first = {parts[0][1] for _, parts in fix.flags.sections if parts and not parts[0][0] and parts[0][1]}

    def look_up(name: str) -> Any:
        if name in about or name in ("server.preset",):
            # An empty text is a value: of a server in no unit, not of one of which that is not known.
            return about.get(name)
        if name in first:
            return "-c 4096"
        return 7 if name in numbers else ANYTHING

    fix = fix.of_user if about.get("server.user_unit") is True and fix.of_user is not None else fix
    return worded(fix, look_up)


def _numbers(text: Template) -> Iterator[str]:
    for _, parts in text.sections:
        for _, name, form in parts:
            if name and form and form != "words":
                yield name


@pytest.mark.parametrize(("place", "manager"), RUNS, ids=lambda value: value or "alone")
def test_every_fix_is_said_in_the_terms_of_what_runs_the_server(ruleset: RuleSet, place: str, manager: str) -> None:
    about = server(place, manager)
    foreign = bool(manager) or place in ("unit of a script", "quadlet")
    row = of_name(manager)
    wrong: list[str] = []
    shown = 0
    for name, fix in fixes(ruleset):
        found = said(fix, about)
        if found is None:
            continue
        shown += 1
        text = f"{found.do}\n{found.command}"
        for fault in faults(name, fix.fix.when, text, found, about, foreign, place, manager, row):
            wrong.append(f"{name}: {fault}\n    {found.do}\n    {found.command}")
    assert shown > 40, "most causes can be cured everywhere"
    assert not wrong, f"{len(wrong)} of {shown}\n" + "\n".join(wrong[:12])


def faults(
    name: str, when: str, text: str, fix: Fix, about: dict[str, Any], foreign: bool, place: str, manager: str, row: Any
) -> Iterator[str]:
    # What systemd could not run is a unit's own program, whatever that is.
    if "ExecStart=" in text and "program-not-there" not in name and (foreign or place not in ("unit", "user unit")):
        yield "edits an ExecStart= that is not llama-server's"
    if (
        re.search(r"systemctl (?:--user )?edit", fix.command)
        and "program-not-there" not in name
        and place == "unit of a script"
        and "program-not-there" not in name
        and not re.search(r"\[Service\]|ExecStartPre", text)
    ):
        yield "edits the unit of a script"
    yield from of_engines(when, text, fix, about.get("server.container_engine", ""), place)
    if place == "user unit" and re.search(r"sudo systemctl (?:restart|edit|stop) llama\.service", text):
        yield "asks the system's systemd for a user's unit"
    if place == "cron" and "(in the shell that starts" in text:
        yield "sends somebody to a shell that is not there"
    if row is None:
        return
    if manager != "llama-server" and re.match(r"llama-server\b", fix.command):
        yield "starts llama-server beside its manager"
    # of a container's engine
    theirs = {"-e", "--device"} if re.search(r"`-e |--device (?:/dev/|nvidia)", fix.do) else set()
    mentioned = [flag for flag in in_text(fix.do) if flag in OPTION and flag not in PRINT_AND_EXIT and flag not in theirs]
    terms = row.within.strip(" :") or row.passes or "preset"
    for flag in mentioned:
        own = own_name(row, flag)
        if own and own.split(",")[0] not in fix.do:
            yield f"{flag} without its name there, {own}"
        if not own and terms not in fix.do and row.title not in fix.do and row.place[:20] not in fix.do:
            yield f"{flag} without a word on where it belongs"
        refused = fix.do.partition("no setting for ")[2]
        if row.reserved.intersection(same_as(flag)) and flag not in refused and not own:
            yield f"{flag}, which {row.title} accepts from nobody"


def of_engines(when: str, text: str, fix: Fix, engine: str, place: str) -> Iterator[str]:
    # a fix that is shown for one engine only
    if "podman" in when or "docker" in when:
        engine = ""
    if engine == "podman" and re.search(r"(?<!in place of `)\bdocker (?:run|restart|stop|exec)", text):
        yield "says docker where podman runs it"
    if engine == "docker" and "keep-groups" not in text and re.search(r"\bpodman (?:run|restart|stop|exec)", text):
        yield "says podman where docker runs it"
    if engine == "kubernetes" and re.search(r"\bdocker (?:restart|stop|exec)", fix.command):
        yield "gives a command of docker where Kubernetes runs it"
    if place in ("compose", "kubernetes", "quadlet") and "docker run command" in fix.do:
        yield "adds options to a docker run that nobody typed"
    if engine == "podman" and "--gpus" in text:
        yield "gives podman an option that it has not"
    if place == "quadlet" and (re.search(r"PodmanArgs=(?![- ])", fix.do) or re.search(r"PodmanArgs=[^)]*\$\(", fix.do)):
        yield "writes into a .container file what is no option of podman run"
