"""How a server is restarted, and where its flags and settings are written: its unit, its container, its manager, or a person.

The one place that turns what a fix says for every server (`flags`, `restart`, `unit`) into words and commands for this one.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from sentinel.engine.rules import crontab
from sentinel.engine.rules.container_options import added, quadlet_setting
from sentinel.llama.flags import OPTION, same_as, spelled
from sentinel.llama.runtime_table import CRONS
from sentinel.llama.runtimes import of_name, of_starter, placed, titled

#: Signals that this reads.
READS = (
    "server.unit",
    "server.user_unit",
    "server.container",
    "server.container_name",
    "server.container_engine",
    "server.compose_service",
    "server.started_by",
    "server.front_end",
    "server.preset",
    "server.system",
    "server.fork",
    "server.ctx_explicit",
    "server.gpu_layers_explicit",
    "server.slots_requested",
    "server.cache_ram_asked",
)
#: of a container whose engine is not known
OR_PODMAN = " (`podman` in place of `docker` where that runs it)"
Look = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Supervision:
    """What a server runs in: a unit, a container, neither, or unknown."""

    kind: Literal["unit", "container", "hand", "unknown"]
    #: name of the unit or the container, quoted for a shell
    name: str = ""
    of_user: bool = False
    #: the command of the container's engine; empty if unknown
    engine: str = ""
    #: the process that started it, if known
    started_by: str = ""
    #: the program that writes its command line; empty if a person does
    front_end: str = ""
    #: the section of a router's preset that it is started from
    preset: str = ""
    #: its service in a compose file, quoted for a shell; empty if it has none, or it is unknown
    service: str = ""
    #: flags that are on its command line (or in its environment) already, of those that fixes set most
    given: frozenset[str] = frozenset()

    @property
    def systemctl(self) -> str:
        """The systemctl command for its systemd."""
        return "systemctl --user" if self.of_user else "sudo systemctl"

    @property
    def manager(self) -> str:
        """What people call the program that starts it."""
        return titled(self.front_end)


def runtime_of(look_up: Look) -> Supervision:
    """What the server runs in."""
    return replace(_runs_in(look_up), given=frozenset(flag for flag, is_given in _GIVEN.items() if is_given(look_up)))


def _runs_in(look_up: Look) -> Supervision:
    unit, container = look_up("server.unit"), look_up("server.container")
    by, engine, front_end = look_up("server.started_by"), look_up("server.container_engine"), look_up("server.front_end")
    by = by if isinstance(by, str) else ""
    if not front_end and by:
        # The parent of a router's child is a llama-server.
        starter = of_starter("", (by,))
        front_end = "" if starter is None else starter.name
    front_end, preset = front_end or "", look_up("server.preset") or ""
    if unit:
        inside = "podman" if container else ""
        name = shlex.quote(unit)
        return Supervision("unit", name, look_up("server.user_unit") is True, inside, by, front_end, preset)
    if container:
        name = shlex.quote(look_up("server.container_name") or container[:12])
        service = shlex.quote(look_up("server.compose_service") or "") if look_up("server.compose_service") else ""
        return Supervision("container", name, False, engine or "", by, front_end, preset, service)
    return Supervision("unknown" if unit is None else "hand", started_by=by, front_end=front_end, preset=preset)


#: flag -> whether it was given; a signal that is unknown is None here
_GIVEN: Mapping[str, Callable[[Look], bool]] = {
    "-c": lambda look_up: look_up("server.ctx_explicit") is True,
    "-ngl": lambda look_up: look_up("server.gpu_layers_explicit") is True,
    "-np": lambda look_up: isinstance(found := look_up("server.slots_requested"), int) and found >= 0,
    "--cache-ram": lambda look_up: isinstance(found := look_up("server.cache_ram_asked"), int) and found != -2,
}


def _in_place(flags: str, where: Supervision) -> str:
    """What of that stands on the command line already; of two the last one counts, and two are a trap for who reads them next."""
    there = [flag for flag in flags.split() if flag in where.given]
    return f", in place of the {' and '.join(there)} that {'is' if len(there) == 1 else 'are'} there" if there else ""


def control(verb: Literal["restart", "stop"], command: str, where: Supervision) -> tuple[str, str]:
    """The text added to a fix that restarts or stops the server, and its command with the restart or stop appended."""
    done = ""
    if where.kind == "unit":
        done = f"{where.systemctl} {verb} {where.name}"
    elif where.kind == "container" and where.engine == "kubernetes":
        # kubectl knows pods by name and namespace; a container that ends is started again by the kubelet.
        after = " (delete its pod, and its controller makes a new one)" if verb == "restart" else " (scale its controller to 0)"
        return after, command.removesuffix(";")
    elif where.kind == "container":
        done = f"{where.engine or 'docker'} {verb} {where.name}"
    if done:
        both = f"{command} {done}" if command.endswith(";") else f"{command} && {done}" if command else done
        return "" if where.engine or where.kind == "unit" else OR_PODMAN, both
    if where.kind == "unknown":
        return "", command.removesuffix(";")
    again = " and start it again" if verb == "restart" else ""
    return f" (stop {where.manager or 'it'}{again})", command.removesuffix(";")


def with_flags(flags: str, where: Supervision) -> tuple[str, str] | None:
    """How flags get onto a command line: by hand, in the unit, or in the front end; None if that cannot express them.

    A drop-in cannot add to ExecStart=, only replace it (systemd.service(5)); of two equal flags the last one wins
    (common/arg.cpp), so that the old command line may stay as it is.
    """
    if not flags:
        return "", ""
    if where.front_end == "llama-server":
        section = f"the section [{where.preset}]" if where.preset else "this model's section"
        keys = "".join(f", as `{key}`" for key in preset_keys(flags))
        return f" (add `{flags}` to {section} of the router's preset{keys}, or to the router's own command line)", control(
            "restart", "", where
        )[1]
    if where.front_end:
        terms = placed(flags, where.front_end)
        return None if terms is None else (terms, "")
    instead = _in_place(flags, where)
    if where.kind == "unit" and where.engine:
        # A container that systemd runs (podman-systemd.unit(5)) has its command line in a file of its own.
        return f" (add `{flags}` at the end of Exec= in the .container file of {_plain(where.name)}{instead})", _look(where)
    if where.kind == "unit" and where.started_by in ("", "systemd"):
        lines = (
            f"[Service], then ExecStart= with nothing behind it, then ExecStart= with the old command line and {flags} at its end"
        )
        return f" (add `{flags}` at the end of the command line of llama-server in {_plain(where.name)}{instead})", _edit(
            where, lines
        )
    if where.kind == "unit":
        # The unit starts something else, for example a script: flags added to its ExecStart= may never reach llama-server.
        return (
            f" (add `{flags}` to the command line of llama-server, which `{where.started_by}` in {_plain(where.name)} "
            f"starts{instead})",
            _look(where),
        )
    if where.kind == "container":
        return f" (add `{flags}` {_in_container(where)}{instead})", ""
    if where.started_by in CRONS:
        return crontab.with_flags(flags, instead), ""
    return f" (add `{flags}` to the command line of llama-server{instead})", ""


def _in_container(where: Supervision) -> str:
    """Where the command line of a container's server is written, and how it takes effect."""
    if where.engine == "kubernetes":
        return "to args: of llama-server's container in the manifest of its pod, and apply it"
    if where.service:
        name = _plain(where.service)
        return f"to command: of the service {name} in its compose file, and run `{where.engine} compose up -d {where.service}`"
    run = f"behind the image's name in its {where.engine or 'docker'} run"
    return f"to the command line of llama-server in its container ({run}, or to command: in a compose file), and recreate it"


def preset_keys(flags: str) -> list[str]:
    """Flags as a router's preset writes them (`ctx-size = 8192`): the long name without dashes; empty if that is uncertain."""
    out: list[str] = []
    words = flags.split()
    while words:
        flag = spelled(words.pop(0))
        if flag not in OPTION or flag in OPTION[flag].negated:
            return []
        name = max((name for name in same_as(flag) if name.startswith("--")), key=len, default="")
        value = words.pop(0) if words and not words[0].startswith("-") else "true"
        if not name:
            return []
        out.append(f"{name.lstrip('-')} = {value}")
    return out


def with_settings(settings: Mapping[str, str], where: Supervision) -> tuple[str, str] | None:
    """How to set something that is not a flag where the server is started: `unit`, `container` and `shell` say it for each place.

    `env` and `unset` name an environment variable, which every place can set and remove. What a manager is given, it passes on
    to the servers that it starts. None: there is no place for it.
    """
    said = dict(settings)
    manager = of_name(where.front_end)
    variable, name = said.pop("env", ""), said.pop("unset", "")
    if manager is not None and manager.variables is None:
        return None
    if variable and manager is not None and manager.variables:
        return f" ({manager.variables.format(variable=_plain(variable))})", ""
    if variable:
        said = {"unit": f"Environment={variable}", "container": f"-e {variable}", "shell": f"export {variable}"}
    if name:
        said = {"unit": f"UnsetEnvironment={name}", "container": f"-e {name}", "shell": f"unset {name}"}
    if where.kind == "unit" and where.engine:
        done = quadlet_setting(said, variable, name, _plain(where.name), of_user=where.of_user)
        return None if done is None else (f" ({done})", _look(where))
    if where.kind == "unit" and "unit" in said:
        return "", _edit(where, f"[Service] {said['unit']}")
    if where.kind == "container" and "container" in said:
        return _for_container(said["container"], variable or name, bool(name), where), ""
    if where.kind == "hand" and where.started_by in CRONS:
        return crontab.with_settings(said, _plain(variable) if variable else "", name), ""
    if where.kind == "hand" and "shell" in said:
        return f" (in the shell that starts {where.manager or 'it'}, then start it again)", said["shell"]
    run = f"{where.engine or 'docker'} run"
    places = {"unit": "`{}` in its unit", "container": f"`{{}}` for `{run}`", "shell": "`{}` in the shell that starts it"}
    return f" ({', '.join(places[place].format(text) for place, text in said.items())})", ""


def _for_container(option: str, variable: str, remove: bool, where: Supervision) -> str:
    """How a variable, or an option of its `run`, is given to a container's engine."""
    verb, of = ("leave", "out of") if remove else ("add", "to")
    if not variable:
        again = "" if where.service or where.engine == "kubernetes" else ", and recreate the container"
        return f" ({added(option, where.engine, where.service)}{again})"
    if where.engine == "kubernetes":
        return f" ({verb} `{_plain(variable)}` {of} env: of llama-server's container in its pod's manifest, and apply it)"
    if where.service:
        up = f"`{where.engine} compose up -d {where.service}`"
        place = f"environment: of the service {_plain(where.service)} in its compose file"
        return f" ({verb} `{_plain(variable)}` {of} {place}, and run {up})"
    return f" ({verb} `{option}` {of} the {where.engine or 'docker'} run command, and recreate the container)"


def _look(where: Supervision) -> str:
    return f"systemctl {'--user ' * where.of_user}cat {where.name}"


def _edit(where: Supervision, lines: str) -> str:
    return f"{where.systemctl} edit {where.name} && {where.systemctl} restart {where.name}   # {lines}"


def _plain(name: str) -> str:
    return shlex.split(name)[0]
