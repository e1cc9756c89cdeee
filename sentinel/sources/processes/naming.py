"""What a server is called: its systemd unit, its container, else its address.

Silences, dashboards and open alerts follow the name, so that it must not be had by saying it first. A name belongs to a user: a
unit of the system to root, an address to whoever the kernel shows as listening on it. Another user who claims it gets a name with
his own behind it (``127.0.0.1:8080@alice``), and has to give it back where he had it first without listening.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sentinel.model.cuts import text
from sentinel.model.entity import Unknown, Value
from sentinel.model.input_limits import MOST_ENDED_NAMES, MOST_NAME
from sentinel.model.text import clean
from sentinel.sources.processes.cgroup import Membership
from sentinel.sources.processes.procfs import user_name

#: A name stays its last owner's as long as the engine keeps what it knows under it. Seconds.
_KEPT = 3600.0
_ROOT = 0


@dataclass(frozen=True, slots=True)
class NameClaim:
    """A name that a process may have, and the user who would own it."""

    name: str
    user: int
    #: an address, which the one who listens there has before all others
    is_address: bool = False


def claims(values: Mapping[str, Value | Unknown], member: Membership, pid: int, user: int) -> list[NameClaim]:
    """Names that fit a process, the best first; the last is its address."""
    host, port = values["server.host"], values["server.port"]
    address = f"{host}:{port}"
    if isinstance(host, Unknown) or isinstance(port, Unknown):
        address = f"pid-{pid}" if isinstance(port, Unknown) else f"port-{port}"
    if isinstance(host, str) and host.endswith(".sock"):
        address = host
    # A container may have any name, a unit's too.
    container = str(values["server.container_name"]) or str(values["server.container"])[:12]
    found = [
        NameClaim(clean(member.unit), user if member.is_user_unit else _ROOT),
        NameClaim("" if container.endswith(".service") else container, user),
        NameClaim(address, user, is_address=True),
    ]
    return [NameClaim(text(one.name, MOST_NAME), one.user, one.is_address) for one in found if one.name]


class NameOwners:
    """Who owns which name."""

    def __init__(self) -> None:
        self._owners: dict[str, tuple[int, float]] = {}

    def choose(
        self, found: list[NameClaim], pid: int, taken: Mapping[str, int], listener: int | None, at: float, *, known: bool = True
    ) -> str:
        """The name of a process. `taken`: names of running servers with their owners; `listener`: the user who listens on the
        port of its address, if anybody does; `known`: its user is known."""
        others = False
        for claim in found:
            holder = taken.get(claim.name)
            if claim.is_address and listener is not None and known and listener != claim.user:
                others = True
            elif holder is not None:
                others = others or (claim.is_address and known and holder != claim.user)
            elif known and self._is_of_another(claim, at) and claim.user != listener:
                others = True
            else:
                return claim.name
        address, user = found[-1].name, found[-1].user
        if others:
            own = f"{address}@{clean(user_name(user))}"
            return own if own not in taken else f"{own}:{pid}"
        return f"{address}:{pid}"

    def _is_of_another(self, claim: NameClaim, at: float) -> bool:
        owner, until = self._owners.get(claim.name, (claim.user, 0.0))
        return owner != claim.user and at < until and claim.user != _ROOT

    def proved(self, name: str, user: int, at: float) -> None:
        """The process of that name has it by right."""
        self._owners.pop(name, None)
        self._owners[name] = (user, at + _KEPT)
        while len(self._owners) > MOST_ENDED_NAMES:
            del self._owners[next(iter(self._owners))]
