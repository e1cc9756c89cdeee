"""Rewrites a fix in the terms of what runs the server: Ollama has no `-c`, a preset no dashes, podman no `docker`."""

from __future__ import annotations

import re

from sentinel.engine.rules.container_options import IN_RULES, added, in_quadlet, of_engine
from sentinel.engine.rules.on_system import BRING_THEIR_OWN
from sentinel.engine.rules.runtime import OR_PODMAN, Supervision
from sentinel.llama.flags import OPTION, PRINT_AND_EXIT, same_as, spelled
from sentinel.llama.flags_in_text import in_text
from sentinel.llama.runtime_table import Runtime
from sentinel.llama.runtimes import of_name, own_name

#: what only a person's own shell has: it starts llama-server itself, or asks it something
_RUNS_IT = re.compile(r"^(?:which -a )?llama-server\b")
_UPDATE = re.compile(r"\b([Uu])pdate llama\.cpp\b")
#: `--device` of a container's engine, not of llama-server
_NODE = re.compile(r"--device (?:/dev/|nvidia\.com)")
_DOCKER = re.compile(r"\bdocker (?=run|restart|stop|start|update|stats|exec|logs|inspect|rm|ps|compose)")


def in_terms(do: str, command: str, placed: str, where: Supervision) -> tuple[str, str] | None:
    """Text and command of a fix for this server; None if it is about flags alone, none of which its manager can set.

    `placed` are the flags that the fix puts somewhere by itself: those are said already.
    """
    if where.kind == "container" and (where.service or where.engine in ("podman", "kubernetes")):
        do = IN_RULES.sub(lambda found: f"({added(found[1], where.engine, where.service)})", do)
    elif where.kind == "unit" and where.engine:
        do = IN_RULES.sub(lambda found: f"({in_quadlet(found[1], where.name, of_user=where.of_user)})", do)
    if where.engine == "podman":
        do, command = (_DOCKER.sub("podman ", of_engine(text, "podman")) for text in (do, command))
    elif where.engine == "kubernetes" and _DOCKER.search(command):
        command = ""
    elif where.kind == "container" and not where.engine and _DOCKER.match(command):
        do += OR_PODMAN
    row = of_name(where.front_end)
    if row is None:
        return do, command
    flags = dict.fromkeys(spelled(flag) for flag in in_text(do) if spelled(flag) in OPTION)
    said = {spelled(word) for word in placed.split() if word.startswith("-")}
    flags = {flag: None for flag in flags if flag not in PRINT_AND_EXIT and not set(same_as(flag)) & said}
    if _NODE.search(do):
        flags.pop("--device", None)
    if _RUNS_IT.match(command) and row.name != "llama-server":
        command = ""
    if row.name in BRING_THEIR_OWN or (row.name != "llama-server" and not row.place):
        do = _UPDATE.sub(rf"\1pdate {row.title}, which brings its own llama.cpp", do)
    if not flags:
        return do, command
    if row.name == "llama-server":
        keys = ", ".join(f"{flag} is {key}" for flag in flags if (key := _preset_key(flag)))
        section = f"the section [{where.preset}]" if where.preset else "this model's section"
        return f"{do} (in {section} of the router's preset{': ' + keys if keys else ''})", command
    text, any_set = _in_terms(row, list(flags))
    # Without its flags a fix may still look at something, or set others.
    return (f"{do} ({text})", command) if any_set or command or placed else None


def _in_terms(row: Runtime, flags: list[str]) -> tuple[str, bool]:
    """Where each flag is set, and whether one can be."""
    own = {flag: name for flag in flags if (name := own_name(row, flag))}
    parts = [f"{flag} is {name}" for flag, name in own.items()]
    others = [flag for flag in flags if flag not in own]
    passed = [flag for flag in others if row.place and not row.reserved.intersection(same_as(flag))]
    if passed:
        parts.append(f"{' and '.join(passed)} {'belongs' if len(passed) == 1 else 'belong'} into {row.passes}")
    any_set = bool(parts)
    if refused := [flag for flag in others if flag not in passed]:
        parts.append(f"it has no setting for {' and '.join(refused)}")
    return f"in {row.title}: {'; '.join(parts)}", any_set


def _preset_key(flag: str) -> str:
    if flag in OPTION[flag].negated:
        return ""
    return max((name for name in same_as(flag) if name.startswith("--")), key=len, default="").lstrip("-")
