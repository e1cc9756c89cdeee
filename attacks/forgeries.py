"""What an attacker says in another's name: prefixes of ports, lines through an HTTP client, a name taken first."""

from __future__ import annotations

import socket
import time

from attacks.ground import ground
from attacks.outcome import Attack
from faults.daemon import wait_for


def port_prefix(*, short: bool) -> Attack:
    """Lines with the port of somebody else's server in front."""
    del short
    with ground(
        "lines with the honest server's port in front, in the attacker's own log: its load failed, it is asleep, it woke"
    ) as here:
        log = here.file("own.log")
        here.server("--log-file", str(log), "--port", "18080")
        time.sleep(2)
        port = f"[{here.port:5d}]".encode()
        with log.open("ab") as file:
            file.write(port + b" 0.02.000.000 E srv  llama_server: exiting due to model loading error\n")
            file.write(port + b" 0.02.100.000 I srv  handle_sleep: server is entering sleeping state\n")
        time.sleep(2)
        here.row.expect(
            not here.daemon.journal.of("fault-1", here.honest), "the attacker's line raised an alert of the honest server"
        )
        here.endure(0)
        with log.open("ab") as file:
            file.write(port + b" 0.02.200.000 I srv  handle_sleep: server is exiting sleeping state\n")
        time.sleep(2)
        ended = [e.state for e in here.daemon.journal.of("fault-1", here.honest)]
        here.row.expect(ended == ["firing"], f"the alert of the honest server was notified as {ended}")
        here.row.expect(not here.told_of(here.honest), f"told of the honest server: {here.told_of(here.honest)}")
        here.row.said = here.said("port in front")
    return here.row


def client_text(*, short: bool) -> Attack:
    """Lines that a client can have printed by a server, through a grammar with line ends."""
    del short
    with ground(
        "a request whose grammar holds line ends and messages of a server that fails to load, printed by the honest server"
    ) as here:
        time.sleep(1)
        here.tell(
            b"0.02.000.000 E parse: error parsing grammar: expecting name at \n"
            b"llama_model_load: error loading model: unknown model architecture: 'evil'\n"
            b"llama_model_load_from_file_impl: failed to load model\n"
            b"0.00.001.000 E srv    load_model: failed to load model, '/evil.gguf'\n"
            b"0.00.001.100 E srv  llama_server: exiting due to model loading error\n"
        )
        here.endure(3)
        # That the grammar of a request was refused is true.
        told = [rule for rule in here.told_of(here.honest) if rule != "requests-failing"]
        here.row.expect(not told, f"notified about the healthy server: {', '.join(told)}")
        state = here.daemon.signals(here.honest).get("server.state")
        here.row.expect(state in ("ready", "sleeping"), f"the healthy server is said to be {state}")
        here.row.said = here.said(here.honest, "lines of its log")
    return here.row


def name_first(*, short: bool) -> Attack:
    """A process that says the address of another one first."""
    del short
    with ground("a process that claims an address first; then another user's server comes that listens there") as here:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        impostor = here.server("--port", str(port))
        wait_for(lambda: here.named(impostor.pid), "the impostor is found", 20)
        with socket.create_server(("127.0.0.1", port)) as well:
            # As the honest server's own: the socket's user is who made it.
            real = here.listening(port, well)
            address = f"127.0.0.1:{port}"
            wait_for(lambda: here.named(real.pid) == address, f"the one who listens is {address}", 30)
            here.row.said = f"{address} is the server that listens, {here.named(impostor.pid) or 'nothing yet'} the other"
            here.endure(1)
            other = here.named(impostor.pid)
            here.row.expect(other.startswith(f"{address}@"), f"the impostor is named {other}")
    return here.row
