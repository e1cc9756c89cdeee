"""The daemon's listening socket: passed by systemd or created here, and created again after its removal."""

from __future__ import annotations

import os
from pathlib import Path

from sentinel.api.server import ApiServer
from sentinel.api.socket import MODE_SERVICE, MODE_USER, Listener, SocketInUse, SocketUnsafe, listen
from sentinel.daemon import systemd
from sentinel.daemon.config import Config
from sentinel.daemon.supervisor import Supervisor


class Listening:
    """Keeps the socket. Without one the API is down, but alerts still reach the journal: a failure is reported and retried."""

    def __init__(self, config: Config, api: ApiServer, supervisor: Supervisor) -> None:
        self._path = config.socket
        self._api = api
        self._supervisor = supervisor
        self._listener: Listener | None = None
        self._passed = False
        #: the path of the socket, for messages
        self.where = str(config.socket)

    async def begin(self) -> None:
        """Listen. Raises SocketInUse where another daemon does."""
        inherited = systemd.listen_fds()
        if inherited:
            self._passed = True
            self.where = str(inherited[0].getsockname())
            # A duplicate: the next run in this process needs the descriptor itself.
            await self._api.start(inherited[0].dup())
            inherited[0].detach()
            return
        await self._listen()

    async def watch(self) -> None:
        """Listen again if the socket's file is gone. Call it periodically."""
        if self._passed:
            self._watch_passed()
            return
        if self._listener is not None and self._listener.is_there():
            return
        state = self._supervisor.state("socket")
        if state.health == "failed" and self._supervisor.now() < state.retry_at:
            return
        lost = self._listener is not None
        self._api.stop_accepting()
        self.close()
        try:
            await self._listen()
        except SocketInUse as used:
            self._supervisor.note("socket", "failed", str(used))
        if lost and self._listener is not None:
            self._supervisor.inform(f"the socket {self._path} was removed; sentinel listens on it again")

    def _watch_passed(self) -> None:
        """A socket passed by systemd can only be created again by systemd."""
        if not Path(self.where).is_socket():
            why = f"the socket {self.where} was removed; sudo systemctl restart sentinel.socket sentinel makes it again"
            self._supervisor.note("socket", "failed", why)
        elif "socket" in self._supervisor.states:
            self._supervisor.note("socket", "up")

    async def _listen(self) -> None:
        mode = MODE_SERVICE if os.environ.get("RUNTIME_DIRECTORY") else MODE_USER
        try:
            self._listener = listen(self._path, mode)
        except SocketUnsafe as unsafe:
            self._supervisor.note("socket", "failed", str(unsafe))
            return
        except OSError as error:
            why = f"cannot listen on {self._path}: {error.strerror}; make its folder writable for sentinel, it is tried again"
            self._supervisor.note("socket", "failed", why)
            return
        if "socket" in self._supervisor.states:
            self._supervisor.note("socket", "up")
        await self._api.start(self._listener.socket)

    def close(self) -> None:
        """Remove the file if it is still ours."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
