"""GPU usage of the running llama-servers; a separate source, because these reads go through the driver and hang with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sentinel.model.entity import Unknown, Value
from sentinel.sources.fs import Roots, read_number, read_text, unread
from sentinel.sources.gpu import backends, usage
from sentinel.sources.gpu.amdgpu import hwmon, is_apu
from sentinel.sources.gpu.nvml_gpu import Holding
from sentinel.sources.processes.per_server import Cadence, PerServer, ServerState
from sentinel.sources.processes.procfs import Stat, credentials
from sentinel.sources.processes.server_process import ServerProcess

_CADENCES = (("nodes", Cadence(5.0, 10.0)), ("maps", Cadence(5.0, 30.0)), ("refused", Cadence(60.0, 120.0)))
_CARD = ("server.gpu_vram_total_bytes", "server.gpu_vram_free_bytes", "server.gpu_on_apu", "server.gpu_visible_bytes")


@dataclass(slots=True)
class _State(ServerState):
    nodes: usage.OpenNodes | Unknown = Unknown("not read yet")  # noqa: RUF009 - Unknown is frozen
    bytes: int = 0


class ServerGpus(PerServer[_State]):
    """Device nodes, memory and libraries of the processes."""

    name = "process_gpu"

    def __init__(
        self,
        servers: Callable[[], Sequence[ServerProcess]],
        roots: Roots | None = None,
        nvidia: Callable[[int], Holding | None] = lambda _pid: None,
    ) -> None:
        super().__init__(servers, roots, _State)
        self._nvidia = nvidia

    def bytes_of(self, pid: int) -> int:
        """GPU memory of a process as last read, including host memory mapped by the GPU; 0 when unknown. Any thread."""
        state = self._states.get(pid)
        return state.bytes if state is not None else 0

    def _cadences(self, state: _State) -> Sequence[tuple[str, Cadence]]:
        return _CADENCES

    def _sample(self, server: ServerProcess, state: _State, stat: Stat, due: set[str], at: float) -> dict[str, Value | Unknown]:
        values: dict[str, Value | Unknown] = {}
        if "nodes" in due:
            values |= self._memory(server, state)
        if "maps" in due:
            values |= backends.mapped(self._roots, server.pid, state.nodes)
        if "refused" in due:
            values["server.gpu_nodes_refused"] = self._refused(server.pid)
            values["server.gpu_nodes_in_reach"] = usage.in_reach(self._roots, server.pid)
        return values

    def _memory(self, server: ServerProcess, state: _State) -> dict[str, Value | Unknown]:
        state.nodes = nodes = usage.open_nodes(self._roots, server.pid)
        values = usage.memory(self._roots, server.pid, nodes)
        if not isinstance(nodes, Unknown) and "nvidia" in nodes.kinds:
            values |= usage.with_nvidia(values, self._nvidia(server.pid))
        held = (values["server.gpu_memory_bytes"], values["server.gpu_gtt_bytes"])
        state.bytes = sum(int(value) for value in held if not isinstance(value, Unknown))
        values |= self._fullest(values["server.gpus"])
        values["server.gpu_use_readable"] = not isinstance(nodes, Unknown)
        if isinstance(nodes, Unknown):
            return values | {"server.gpu_nodes_open": nodes, "server.gpu_node_kinds": nodes}
        return values | {"server.gpu_nodes_open": len(nodes.nodes), "server.gpu_node_kinds": nodes.kinds}

    def _fullest(self, addresses: Value | Unknown) -> dict[str, Value | Unknown]:
        """Video memory of the fullest GPU among those the process holds memory on."""
        if isinstance(addresses, Unknown):
            return dict.fromkeys(_CARD, addresses)
        found: list[tuple[int, int]] = []
        visible: list[int | Unknown] = []
        apus: list[bool | Unknown] = []
        for address in str(addresses).split(",") if addresses else ():
            device = self._roots.sys / "bus/pci/devices" / address
            total, used = read_number(device / "mem_info_vram_total"), read_number(device / "mem_info_vram_used")
            if isinstance(total, Unknown) or isinstance(used, Unknown):
                unread = total if isinstance(total, Unknown) else used
                return dict.fromkeys(_CARD, unread)
            found.append((max(total - used, 0), total))
            # Without Resizable BAR the processor sees a window of 256 MiB of it (amdgpu_vram_mgr.c).
            visible.append(read_number(device / "mem_info_vis_vram_total"))
            apus.append(is_apu(hwmon(device)))
        if not found:
            return dict.fromkeys(_CARD, Unknown("it holds memory on no GPU whose driver is amdgpu"))
        free, total = min(found)
        unclear = [apu for apu in apus if isinstance(apu, Unknown)]
        on_apu: bool | Unknown = True in apus or (unclear[0] if unclear else False)
        unread_windows = [size for size in visible if isinstance(size, Unknown)]
        window = unread_windows[0] if unread_windows else min(size for size in visible if not isinstance(size, Unknown))
        return dict(zip(_CARD, (total, free, on_apu, window), strict=True))

    def _refused(self, pid: int) -> str | Unknown:
        path = f"{self._roots.proc}/{pid}/status"
        try:
            user, groups = credentials(read_text(path, 1 << 16))
        except OSError as error:
            return unread(path, error)
        return usage.refused(self._roots, user, groups)
