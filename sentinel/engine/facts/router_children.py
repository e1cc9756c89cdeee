"""The children of routers: whose a line with a port in front is. A router prints its children's lines in its own log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sentinel.engine.facts.state import EngineState
from sentinel.model.entity import Entity, Unknown, Value
from sentinel.model.input_limits import MOST_CHILDREN, MOST_CHILDREN_OF_OWNER


class RouterChildren:
    """Children by their router and port. The router is the parent of the process, as the kernel has it."""

    def __init__(self, state: EngineState) -> None:
        self._state = state
        self._known: dict[tuple[str, int], Entity] = {}
        #: children whose process is not known yet
        self._nameless: dict[tuple[str, int], Entity] = {}
        #: until a child serves: those that had its preset before, under the names of other ports
        self._earlier: dict[Entity, list[Entity]] = {}

    def found(self, entity: Entity, values: Mapping[str, Value | Unknown]) -> None:
        """A server's process is known; it may be a router's child."""
        port, router = values.get("server.port"), values.get("server.router")
        if isinstance(port, int) and isinstance(router, str):
            self._known[(router, port)] = entity

    def of_line(self, parent: Entity, port: int | None) -> Entity | None:
        """The child that printed a line: a router prints its children's lines with their port in front.

        Such a prefix counts only for a child of the very server whose log it is in, or anybody could speak for any port. None: it
        is nobody's line, for the server is no router, or the log names more ports than a router has children.
        """
        if port is None:
            return parent
        key = (parent.name, port)
        known = self._known.get(key) or self._nameless.get(key)
        if known is not None:
            return known
        run = self._state.runs.get(parent)
        is_router = self._state.facts.last(parent, "server.is_router")
        if run is not None and run.watched and is_router is not None and is_router.value is False:
            self._state.cuts.add(parent, "lines with a port in front in the log of a server that is no router")
            return None
        if len(self.nameless_of(parent.name)) >= MOST_CHILDREN:
            self._state.cuts.add(parent, f"lines with a port in front beyond the first {MOST_CHILDREN} ports of one log")
            return None
        if self._is_crowded(parent):
            self._state.cuts.add(parent, f"lines with a port in front beyond {MOST_CHILDREN_OF_OWNER} of one user's routers")
            return None
        child = self._nameless[key] = Entity("server", f"{parent.name}[{port}]")
        return child

    def _is_crowded(self, parent: Entity) -> bool:
        """The logs of one user's servers name more children than any machine has."""
        mine = self._state.owner(parent)
        owners = [self._state.owner(Entity("server", name)) for name, _ in self._nameless]
        return owners.count(mine) >= MOST_CHILDREN_OF_OWNER

    def adopt(self, entity: Entity, values: Mapping[str, Value | Unknown]) -> Entity | None:
        """The provisional name under which a child's lines came before its process was found, if there is one."""
        port, router = values.get("server.port"), values.get("server.router")
        makeshift = self._nameless.pop((router, port), None) if isinstance(port, int) and isinstance(router, str) else None
        if makeshift in self._earlier:
            self._earlier[entity] = self._earlier.pop(makeshift)
        return makeshift

    def follows(self, child: Entity, earlier: Entity) -> None:
        """A router starts the preset of an earlier child again, on another port."""
        self._earlier.setdefault(child, []).extend([*self._earlier.pop(earlier, []), earlier])

    def served(self, child: Entity) -> list[Entity]:
        """The earlier children whose failures are over, for this one serves."""
        return self._earlier.pop(child, []) if self._earlier else []

    def nameless_of(self, router: str) -> list[Entity]:
        """The children of a router whose process is not known."""
        return [child for (name, _), child in self._nameless.items() if name == router]

    def forget(self, entity: Entity) -> None:
        """An entity was dropped."""
        for table in (self._known, self._nameless):
            for key in [key for key, child in table.items() if child == entity or key[0] == entity.name]:
                del table[key]
        self._earlier = {
            child: left
            for child, names in self._earlier.items()
            if child != entity and (left := [name for name in names if name != entity])
        }

    def dump(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {
            "children": [[router, port, e.name] for (router, port), e in self._known.items()],
            "nameless": [[port, e.scope, e.name] for (_, port), e in self._nameless.items()],
            "earlier": [[child.name, [e.name for e in names]] for child, names in self._earlier.items()],
        }

    def load(self, data: Mapping[str, Any]) -> None:
        """Restore what `dump` returned."""
        self._nameless = {(name.rpartition("[")[0], port): Entity(scope, name) for port, scope, name in data["nameless"]}
        # recordings made before these existed have none
        self._known = {(router, port): Entity("server", name) for router, port, name in data.get("children") or []}
        self._earlier = {
            Entity("server", child): [Entity("server", name) for name in names] for child, names in data.get("earlier") or []
        }
