"""Options of `docker run` as another engine, a compose file or a pod's manifest takes them. Pure.

Rules write them once, for Docker: "(add `--device /dev/dri` to the docker run command)".
"""

from __future__ import annotations

import re
from collections.abc import Mapping

#: as rules write them
IN_RULES = re.compile(r"\(add `(--[^`]+)` to the docker run command\)")
_OPTION = re.compile(r"--([a-z-]+)[ =](\$\([^)]*\)|\S+)")
_GROUP = re.compile(r"\$\(getent group (\w+) \|[^)]*\)")
_TO_GROUPS = re.compile(r"--group-add \$\([^)]*\) ?")
#: podman has no --gpus before its version 5, and hands NVIDIA's GPUs over by CDI (podman-run(1), --device)
_GPUS, _BY_CDI = "--gpus all", "--device nvidia.com/gpu=all"


def of_engine(options: str, engine: str) -> str:
    """The same options for that engine's `run`."""
    return options.replace(_GPUS, _BY_CDI) if engine == "podman" else options


def added(options: str, engine: str, service: str) -> str:
    """Where and how they are given to a container. `service` is its service in a compose file, quoted for a shell, or empty."""
    if engine == "kubernetes":
        return f"what `docker run {options}` does, in the manifest of its pod, and apply it"
    if service:
        keys = compose_keys(options)
        return f"add {keys} to the service {service} in its compose file, and run `{engine or 'docker'} compose up -d {service}`"
    to_groups = engine == "podman" and "--group-add" in options
    rootless = "; rootless, `--group-add keep-groups` in place of the groups" if to_groups else ""
    return f"add `{of_engine(options, engine)}` to the {engine or 'docker'} run command{rootless}"


def in_quadlet(options: str, unit: str, *, of_user: bool) -> str:
    """Options of `podman run` for a container that systemd runs (podman-systemd.unit(5)); there is no shell for $(...)."""
    groups = [] if of_user else _GROUP.findall(options)
    said = of_engine(options, "podman")
    if of_user and (others := _TO_GROUPS.sub("", said)) != said:
        said = f"{others.strip()} --group-add keep-groups".strip()
    said = _GROUP.sub(lambda found: found[1].upper(), said)
    numbers = f" ({' and '.join(map(str.upper, groups))}: what `getent group {' '.join(groups)}` prints)" if groups else ""
    return f"as PodmanArgs={said} in {_file_of(unit)}{numbers}"


def quadlet_setting(said: Mapping[str, str], variable: str, removed: str, unit: str, *, of_user: bool) -> str | None:
    """A variable, or an option of `podman run`, for such a container; None for what systemd gives its services."""
    if variable:
        return f"as Environment={variable} in {_file_of(unit)}"
    if removed:
        return f"leave {removed} out of Environment= and PodmanArgs= in {_file_of(unit)}"
    return in_quadlet(said["container"], unit, of_user=of_user) if "container" in said else None


def _file_of(unit: str) -> str:
    return f"the .container file of {unit}"


def compose_keys(options: str) -> str:
    """Keys of a service (compose-spec, 05-services.md). A shell's $(...) means nothing in a compose file."""
    devices, groups, others = [], [], []
    for name, value in _OPTION.findall(options):
        if name == "device":
            devices.append(value if "=" in value or ":" in value else f"{value}:{value}")
        elif name == "group-add":
            groups.append(_GROUP.sub(r"\1", value))
        elif name == "gpus":
            others.append(f"`gpus: {value}` (Compose 2.30 and newer; before, a device reservation with the driver nvidia)")
        elif name == "ulimit":
            limit, _, bounds = value.partition("=")
            others.append(f"`ulimits: {{{limit}: {bounds.partition(':')[0]}}}`")
        else:
            others.append(f"`{name.replace('-', '_')}: [{value}]`")
    said = [f"`devices: [{', '.join(devices)}]`"] if devices else []
    if groups:
        said.append(f"group_add: with the numbers that `getent group {' '.join(groups)}` prints")
    return " and ".join([*said, *others])
