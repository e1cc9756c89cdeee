"""What an attacker names by path: logs, models, and what stands in their place."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from attacks.ground import ATTACKER, HONEST, Ground, ground
from attacks.outcome import Attack
from faults.daemon import REPO, wait_for
from faults.lines import SLEEPS

_SECRET = "gamma-secret"


def _line(text: str) -> bytes:
    """A line that raises an alert, with a text that must not be seen."""
    return f"0.00.000.000 E srv  load_model: failed to load model, '/{text}.gguf'\n".encode()


def _leak(here: Ground, what: str) -> None:
    """Whether the text got out: by the API, the journal or the daemon's own log."""
    places = {target: str(here.daemon.get(target)) for target in ("/v1/signals", "/v1/status", "/v1/alerts")}
    places["the journal"] = str([vars(entry) for entry in here.daemon.journal.entries])
    places["its own log"] = here.daemon.said()
    found = [place for place, text in places.items() if _SECRET in text]
    here.row.leaked = f"{what}, in {', '.join(found)}" if found else "nothing"
    here.row.expect(not found, f"{what} leaked in {', '.join(found)}")


def _why(here: Ground, signal: str, port: str) -> str:
    """Why a signal of the attacker's server is unknown."""
    rows = (here.daemon.get("/v1/signals") or {}).get("signals", [])
    found = [row for row in rows if row.get("signal") == signal and port in str(row.get("entity", {}).get("name"))]
    return " ".join(str(row.get("why", row)) for row in found)[:300]


def _source(here: Ground, path: Path) -> str:
    return str(here.daemon.source(f"file:{path}").get("why", ""))


def sparse_log(*, short: bool) -> Attack:
    """A log that grows by 200 GB of nothing."""
    del short
    with ground("the attacker's log, followed, grows by a hole of 200 GB; then SIGTERM") as here:
        log = here.file("own.log", b"0.00.000.000 I srv  load_model: loading model\n")
        here.server("--log-file", str(log), "--port", "18081")
        time.sleep(2)
        os.truncate(log, 200 << 30)
        here.endure(3)
        begin = time.monotonic()
        code = here.daemon.stop()
        took = time.monotonic() - begin
        here.row.notes.append(f"SIGTERM: ended with {code} after {took:.1f} s")
        here.row.expect(code == 0 and took < 5, f"SIGTERM: ended with {code} after {took:.1f} s")
    return here.row


def endless_line(*, short: bool) -> Attack:
    """A log of real bytes without a line end."""
    size = 64 << 20 if short else 1 << 30
    with ground(f"the attacker's log, followed, gets {size >> 20} MiB without a line end") as here:
        log = here.file("own.log", b"0.00.000.000 I srv  load_model: loading model\n")
        here.server("--log-file", str(log), "--port", "18081")
        time.sleep(2)
        with log.open("ab") as file:
            for _ in range(size >> 20):
                file.write(b"x" * (1 << 20))
        here.endure(3)
    return here.row


def links_beside_a_log(*, short: bool) -> Attack:
    """Hard links that look like rotated logs."""
    count = 20_000 if short else 100_000
    with ground(f"{count:,} hard links a.log.N beside the attacker's log, which is renamed again and again") as here:
        log = here.file("links/a.log", b"0.00.000.000 I srv  load_model: loading model\n")
        os.chown(log.parent, ATTACKER, ATTACKER)
        here.server("--log-file", str(log), "--port", "18081")
        time.sleep(2)
        for number in range(1, count):
            # a file of ext4 has 65,000 links at most
            target = log.with_name(f"b{number // 50_000}")
            if not target.exists():
                target.write_bytes(b"x\n")
            os.link(target, log.with_name(f"a.log.{number}"))
        for number in range(5):
            log.rename(log.with_name(f"a.log.{count + number}"))
            log.write_bytes(b"0.00.000.000 I srv  load_model: loading model\n")
            time.sleep(0.6)
        here.endure(2)
        here.row.said = here.said("a.log")
    return here.row


def _gguf_bomb(path: Path) -> None:
    """28 KB on the disk: arrays of four million empty strings each, in a hole."""
    with path.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, 0, 7))
        for number in range(7):
            key = b"tokenizer.a%d" % number
            file.write(struct.pack("<Q", len(key)) + key + struct.pack("<IIQ", 9, 8, 1 << 22))
            file.seek(8 << 22, os.SEEK_CUR)
        file.truncate(file.tell())
    os.chown(path, ATTACKER, ATTACKER)


def _runs(here: Ground, pid: int) -> bool:
    servers = (here.daemon.get("/v1/status") or {}).get("servers", [])
    return any(one.get("pid") == pid and one.get("running") for one in servers)


def gguf_bomb(*, short: bool) -> Attack:
    """Models whose headers take minutes."""
    count = 20 if short else 100
    with ground(f"a sparse model whose header is seven arrays of four million strings, as {count} splits by symlink") as here:
        bomb = here.folder / f"m-00001-of-{count:05d}.gguf"
        _gguf_bomb(bomb)
        for number in range(2, count + 1):
            bomb.with_name(f"m-{number:05d}-of-{count:05d}.gguf").symlink_to(bomb)
        for number in range(3):
            here.server("-m", str(bomb), "--port", str(18081 + number))
        time.sleep(1)
        begin = time.monotonic()
        late = here.server("--port", "18099", user=HONEST)
        while not here.named(late.pid) and time.monotonic() - begin < 30:
            time.sleep(0.1)
        took = time.monotonic() - begin
        here.row.notes.append(f"another user's new server was seen after {took:.1f} s")
        here.row.expect(took < 5, f"another user's new server was seen after {took:.1f} s")
        late.kill()
        late.wait()
        begin = time.monotonic()
        while _runs(here, late.pid) and time.monotonic() - begin < 30:
            time.sleep(0.1)
        here.row.expect(time.monotonic() - begin < 5, f"its end was seen after {time.monotonic() - begin:.1f} s")
        here.endure(2)
        here.row.said = _why(here, "server.model_arch", "18081")
    return here.row


def private_log(*, short: bool) -> Attack:
    """A log below a private home, seen through a mount namespace of the attacker's own."""
    del short
    with ground(
        "a readable log in another user's private folder (0700), named directly, by a symlink, and through a bind mount "
        "in a mount namespace of the attacker's (unshare -Urm)"
    ) as here:
        logs = here.private / "logs"
        logs.mkdir()
        secret = logs / "secret.log"
        secret.write_bytes(_line(_SECRET))
        secret.chmod(0o644)
        link, deep = here.folder / "link.log", here.folder / "deep"
        link.symlink_to(secret)
        # What the link leads to is open to all; what is above that is not.
        deep.symlink_to("m/private/logs")
        here.server("--log-file", str(secret), "--port", "18081")
        here.server("--log-file", str(link), "--port", "18082")
        program = here.program()
        for number, path in enumerate((f"{here.folder}/m/private/logs/secret.log", f"{deep}/secret.log")):
            here.run(
                "unshare", "-Urm", "sh", "-c",
                f"mkdir -p {here.folder}/m && mount --rbind {here.home} {here.folder}/m; "
                f"exec {program} -c 'read never' llama-server --port {18083 + number} --log-file {path}",
            )  # fmt: skip
        here.endure(4)
        _leak(here, "a line of a private log")
        read = [f"127.0.0.1:{port}" for port in range(18081, 18085)]
        read = [name for name in read if here.daemon.signals(name).get("server.state") == "failed"]
        if read:
            here.row.leak(f"what a private log says, as the state of {', '.join(read)}")
        here.row.said = _source(here, secret)
        here.row.expect("permission" in here.row.said or "may read" in here.row.said, f"of the log was said: {here.row.said!r}")
    return here.row


def borrowed_logger(*, short: bool) -> Attack:
    """A log that only root may read, of a logger of root's to which everybody may write."""
    del short
    with ground(
        "output into a named pipe of root's into which everybody may write, and which a logger of root's keeps for root alone"
    ) as here:
        ways = here.top / "logger"
        ways.mkdir(mode=0o755)
        secret, fifo = ways / "secret.log", ways / "everybody"
        secret.touch(mode=0o600)
        os.mkfifo(fifo)
        fifo.chmod(0o622)
        here.run("sh", "-c", f"exec cat < {fifo} > {secret}", user=0)
        with fifo.open("wb") as pipe:
            # Below a shell: the parent of the others here is the first process of its namespace, above which nobody looks.
            command = f"{here.program()} -c 'read never' llama-server --port 18081; true"
            here.run("sh", "-c", command, stderr=pipe, stdout=pipe)
            wait_for(lambda: here.daemon.signals("127.0.0.1:18081"), "the server at the pipe is found", 20)
            time.sleep(2)
            with secret.open("ab") as file:
                file.write(_line(_SECRET))
            here.endure(2)
        _leak(here, "a line of root's log")
        here.row.said = str(here.daemon.signals("127.0.0.1:18081").get("server.log_where"))
    return here.row


#: Connects, goes on as su in the same process, and has a child of it report a start over the connection that is left.
_REPORTS_AS_ROOT = """
import json, os, socket, sys, time
to, log, su = sys.argv[1:]
kept = socket.socket(socket.AF_UNIX)
kept.connect(to)
if os.fork():
    os.execv(su, [su])
while os.stat(f"/proc/{os.getppid()}").st_uid:
    time.sleep(0.05)
body = json.dumps({"pid": 0, "at": time.time(), "argv": ["llama-server", "--port", "18081"], "log": log, "code": 256}).encode()
kept.sendall(b"POST /v1/starts HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
print(kept.recv(4096).decode(), flush=True)
"""


def borrowed_rights(*, short: bool) -> Attack:
    """A log that only root may read, reported over a connection whose process goes on as a program of root's (set-user-ID)."""
    del short
    with ground("a start with a log of root's (0600), reported over a connection of a process that goes on as su(1)") as here:
        place = here.top / "roots"
        place.mkdir(mode=0o755)
        secret = place / "secret.log"
        secret.write_bytes(_line(_SECRET))
        secret.chmod(0o600)
        here.daemon.socket.chmod(0o666)
        answer = here.file("answer")
        with answer.open("wb") as kept:
            words = (str(here.daemon.socket), str(secret), str(shutil.which("su")))
            here.run("/usr/bin/python3", "-c", _REPORTS_AS_ROOT, *words, stdout=kept, stderr=kept)
            wait_for(lambda: b"HTTP" in answer.read_bytes(), "the report is answered", 20)
        here.endure(5)
        _leak(here, "a line of root's log")
        here.row.said = _source(here, secret)
    return here.row


def private_model(*, short: bool) -> Attack:
    """The header of a model that only its owner may read."""
    del short
    with ground("-m names a model (0600) in another user's private folder, and a file there that does not exist") as here:
        model = here.private / "model.gguf"
        arch = _SECRET.encode()
        key = b"general.architecture"
        model.write_bytes(
            b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(arch)) + arch
        )
        model.chmod(0o600)
        os.chown(model, HONEST, HONEST)
        here.server("-m", str(model), "--port", "18081")
        here.server("-m", str(model.with_name("absent.gguf")), "--port", "18082")
        here.endure(4)
        _leak(here, "the architecture of a private model")
        there, absent = (_why(here, "server.model_arch", port) for port in ("18081", "18082"))
        here.row.said = there
        same = there.replace("model.gguf", "") == absent.replace("absent.gguf", "")
        here.row.expect(same, f"whether a private file exists can be told: {there!r}, {absent!r}")
    return here.row


def fifo_model(*, short: bool) -> Attack:
    """A pipe of another user as a model."""
    del short
    with ground("-m names a named pipe into which another user's program writes") as here:
        pipe = here.home / "pipe"
        os.mkfifo(pipe, 0o644)
        os.chown(pipe, HONEST, HONEST)
        # It waits in open(2) until somebody reads; that somebody leaving again would end it.
        writer = here.run("sh", "-c", f"while :; do echo x; sleep 0.1; done > {pipe}", user=HONEST)
        here.server("-m", str(pipe), "--log-file", str(pipe), "--port", "18081")
        here.endure(4)
        here.row.expect(writer.poll() is None, f"the writer of the pipe ended with {writer.poll()}")
        here.row.said = here.said("pipe")
    return here.row


#: fanotify_init(2), fanotify_mark(2)
_FAN_CLASS_CONTENT, _FAN_MARK_ADD, _FAN_OPEN_PERM, _FAN_ACCESS_PERM, _AT_FDCWD = 0x4, 0x1, 0x10000, 0x20000, -100


@contextlib.contextmanager
def _hanging(*paths: Path) -> Iterator[None]:
    """Every open and read of these files waits, as on a network file system whose server is gone: nobody answers the kernel."""
    libc = ctypes.CDLL(None, use_errno=True)
    asked = libc.fanotify_init(_FAN_CLASS_CONTENT, os.O_RDONLY)
    if asked < 0:
        raise OSError(ctypes.get_errno(), "fanotify_init")
    try:
        for path in paths:
            events = ctypes.c_uint64(_FAN_OPEN_PERM | _FAN_ACCESS_PERM)
            if libc.fanotify_mark(asked, _FAN_MARK_ADD, events, _AT_FDCWD, os.fsencode(path)) != 0:
                raise OSError(ctypes.get_errno(), "fanotify_mark")
        yield
    finally:
        # The end of the one who was asked is an answer: yes.
        os.close(asked)


def hanging_files(*, short: bool) -> Attack:
    """Logs and models on a file system that does not answer."""
    count = 8 if short else 30
    with ground(f"{count} servers whose logs and models are on a file system that does not answer; then SIGTERM") as here:
        logs = [here.file(f"hung/{n}.log", b"0.00.000.000 I srv  load_model: loading model\n") for n in range(count)]
        models = [here.file(f"hung/{n}.gguf", b"GGUF") for n in range(count)]
        with _hanging(*logs, *models):
            for number, (log, model) in enumerate(zip(logs, models, strict=True)):
                here.server("--log-file", str(log), "-m", str(model), "--port", str(18100 + number))
            time.sleep(8)
            late = here.server("--port", "18099", user=HONEST)
            begin = time.monotonic()
            while not here.named(late.pid) and time.monotonic() - begin < 30:
                time.sleep(0.1)
            took = time.monotonic() - begin
            here.row.notes.append(f"another user's new server was seen after {took:.1f} s")
            here.row.expect(took < 5, f"another user's new server was seen after {took:.1f} s")
            where = [str(here.daemon.signals(f"127.0.0.1:{18100 + n}").get("server.log_where")) for n in range(count)]
            here.row.said = where[0]
            here.row.expect(all("hang" in one for one in where), f"of the hanging files was said: {where}")
            here.endure(0)
            begin = time.monotonic()
            code = here.daemon.stop()
            here.row.expect(code == 0 and time.monotonic() - begin < 5, f"SIGTERM: {code} after {time.monotonic() - begin:.1f} s")
    return here.row


def descriptors(*, short: bool) -> Attack:
    """More logs than file descriptors, and processes that come and go."""
    del short
    count = 80
    few = ("sh", "-c", 'ulimit -n 64; exec "$@"', "sh")
    with ground(f"{count} logs and 25 short-lived servers with a limit of 64 file descriptors", wrap=few) as here:
        for number in range(count):
            log = here.file(f"logs/{number}.log", b"0.00.000.000 I srv  load_model: loading model\n")
            here.server("--log-file", str(log), "--port", str(18100 + number))
        for number in range(25):
            log = here.file(f"short/{number}.log", b"0.00.000.000 I srv  load_model: loading model\n")
            short_lived = here.server("--log-file", str(log), "--port", str(19100 + number))
            time.sleep(0.05)
            short_lived.kill()
        here.endure(6)
        here.row.said = here.said("descriptor")
    return here.row


def configured_port(*, short: bool) -> Attack:
    """A second process with the port of a server in the configuration."""
    del short
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="attacks-")))
        folder.chmod(0o755)
        log = folder / "big.log"
        log.write_bytes(b"0.00.000.000 I srv  llama_server: loading model\n")
        top = ["[[server]]", 'name = "big"', "port = 18077", f'log = "{log}"']
        here = stack.enter_context(
            ground("a process that claims the port of a server in the configuration ([[server]] port=, log=)", top=top)
        )
        mine = here.server("--port", "18077", "--log-file", str(log), user=HONEST)
        time.sleep(2)
        here.server("--port", "18077", "--log-file", str(here.file("other.log", b"")))
        time.sleep(4)
        here.row.expect(here.named(mine.pid) == "big", f"the configured server is called {here.named(mine.pid)!r}")
        with log.open("ab") as file:
            file.write(SLEEPS)
        here.daemon.await_entry("fault-1", "firing", "big", within=10)
        here.endure(2)
        told = [e.state for e in here.daemon.journal.of("fault-1", "big")]
        here.row.expect(told == ["firing"], f"the configured server's alert was notified as {told}")
        here.row.expect(not here.told_of("big"), f"told of the configured server: {here.told_of('big')}")
    return here.row


def silent_servers(*, short: bool) -> Attack:
    """Servers that take a connection and never answer."""
    del short
    with (
        ground("50 servers without a log that take connections on one port and never answer") as here,
        socket.create_server(("127.0.0.1", 0), backlog=128) as silent,
    ):
        for _ in range(50):
            here.server("--port", str(silent.getsockname()[1]), pass_fds=(silent.fileno(),))
        time.sleep(3)
        late = here.server("--port", str(here.port), user=HONEST, pass_fds=(here.well,))
        begin = time.monotonic()
        ready = False
        while not ready and time.monotonic() - begin < 30:
            time.sleep(0.1)
            ready = here.daemon.signals(here.named(late.pid)).get("server.state") == "ready"
        here.row.notes.append(f"an honest server without a log was known to be ready after {time.monotonic() - begin:.1f} s")
        here.row.expect(ready and time.monotonic() - begin < 10, "an honest server was not known to be ready within 10 s")
        here.endure(1)
    return here.row


def preflight_bait(*, short: bool) -> Attack:
    """A folder in which the program is a link to a shell, and the model is a script."""
    del short
    with ground(
        "root runs `sentinel preflight -- DIR/llama-server DIR/model.gguf` in the attacker's folder: the program is a link to "
        "a shell and the model a script, with search paths that lead there"
    ) as here:
        proof = here.folder / "ran"
        (here.folder / "llama-server").symlink_to("/bin/bash")
        model = here.file("model.gguf", f"#!/bin/bash\nid > {proof}\n".encode(), mode=0o755)
        for name in ("busctl", "journalctl", "unshare"):
            here.file(name, f"#!/bin/bash\nid > {proof}\n".encode(), mode=0o755)
        env = {**os.environ, "PYTHONPATH": str(REPO), "LD_LIBRARY_PATH": f":{here.folder}", "GGML_BACKEND_PATH": str(here.folder)}
        env["PATH"] = f":.:{os.environ['PATH']}"
        for words in (
            ["--", f"{here.folder}/llama-server", str(model)],
            ["--", "./llama-server", "-m", str(model)],
            ["--unit", "x"],
        ):
            command = [sys.executable, "-m", "sentinel", "preflight", *words]
            done = subprocess.run(command, cwd=here.folder, env=env, capture_output=True, text=True, check=False, timeout=60)
            here.row.said = next((line.strip() for line in done.stdout.splitlines() if "was not asked" in line), here.row.said)
        if proof.exists():
            here.row.leak(f"a script of the attacker ran as {proof.read_text().split()[0]}")
        here.row.expect("was not asked" in here.row.said, f"preflight said {here.row.said!r}")
        here.endure(0)
    return here.row
