"""The runtimes of the matrix: how each starts a llama-server, and what of it is real."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import real_server

from eval.servers_containers import in_compose, in_docker, in_podman, why_no_compose, why_no_docker, why_no_podman

STAND_INS = Path(__file__).resolve().parent / "stand_ins"


@dataclass
class Case:
    """One start: its model, what a user adds to the command line, and the words by which it is known again."""

    name: str
    model: Path
    port: int
    extra: tuple[str, ...] = ()
    #: somebody else listens on the port already
    taken: bool = False

    @property
    def word(self) -> str:
        return self.model.stem


@dataclass
class Lab:
    """The folder of one run, the model, and programs under other names."""

    folder: Path
    model: Path
    server: Path
    counter: int = 0
    #: ports that are taken on purpose
    taken: list[socket.socket] = field(default_factory=list)
    #: what ends what was started for several cases
    ends: list[Callable[[], None]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    @contextmanager
    def made(cls, folder: Path) -> Iterator[Lab]:
        """A tiny model and the real server."""
        from make_models import write_moe

        model = folder / "dense.gguf"
        write_moe(model, experts=0)
        lab = cls(folder, model, real_server.binary())
        try:
            yield lab
        finally:
            for one in lab.taken:
                one.close()
            for end in lab.ends:
                end()

    def case(self, name: str, *, model: Path, extra: Sequence[str] = (), taken: bool = False) -> Case:
        """A case with a port and, where there is a model, a name of it that nothing else has."""
        self.counter += 1
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if taken:
            held = socket.create_server(("127.0.0.1", port))
            self.taken.append(held)
        mine = model
        if model.exists():
            mine = self.folder / f"lab{self.counter}-{port}.gguf"
            mine.symlink_to(model)
        return Case(name, mine, port, tuple(extra), taken)

    def named(self, name: str) -> Path:
        """The real program under another name."""
        path = self.folder / "programs" / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            shutil.copy(self.server, path)
        return path

    def environ(self, case: Case, server: Path | None = None, **more: str) -> dict[str, str]:
        """What a stand-in reads, and where the libraries are."""
        mine = {
            "LAB_SERVER": str(server or self.server),
            "LAB_MODEL": str(case.model),
            "LAB_PORT": str(case.port),
            "LAB_EXTRA": " ".join(case.extra),
        }
        return real_server.environment() | mine | more

    def ask(self, case: Case) -> None:
        """One request, so that it has worked."""
        body = json.dumps({"prompt": "once", "n_predict": 4}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{case.port}/completion", body, {"Content-Type": "application/json"})
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()

    def wait_ready(self, case: Case) -> None:
        """Until it answers; for half a minute."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{case.port}/health", timeout=2) as answer,
            ):
                if answer.status == 200:
                    return
            time.sleep(0.2)

    def pids(self, case: Case) -> list[int]:
        """The processes of a case that serve: those with its model in their command line, the youngest first."""
        found = []
        for process in psutil.process_iter(["cmdline", "name", "create_time"]):
            words = process.info["cmdline"] or []
            if str(case.model) in words or f"/models/{case.model.name}" in words:
                found.append((process.info["create_time"], process.pid))
        return [pid for _, pid in sorted(found, reverse=True)]

    def crash(self, case: Case) -> None:
        """What a defect of the program does to it."""
        for pid in self.pids(case)[:1]:
            os.kill(pid, signal.SIGABRT)


Start = Callable[[Lab, Case], "contextlib.AbstractContextManager[object]"]


@dataclass(frozen=True)
class Runtime:
    """A row of the matrix."""

    name: str
    #: what is real, and what is imitated
    real: str
    start: Start
    front_end: str = ""
    booted: bool = False
    #: needs a journald, which runs in a mount namespace of its own
    journal: bool = False
    #: sentinel itself runs in a container, with the host's processes
    contained: bool = False
    in_short: bool = False
    #: failures that it cannot have, or that cannot be made there, with the reason
    cannot: Mapping[str, str] = field(default_factory=dict)
    needs: Callable[[Lab], str] = lambda _lab: ""

    @property
    def word(self) -> str:
        return "".join(letter if letter.isalnum() else "-" for letter in self.name)

    def why_not(self, lab: Lab) -> str:
        return self.needs(lab)


@contextmanager
def running(words: Sequence[str], environ: Mapping[str, str], output: Path | int) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a session of its own, which is ended whole."""
    stream = output if isinstance(output, int) else output.open("ab")
    process = subprocess.Popen(
        words, env=dict(environ), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if not isinstance(stream, int):
            stream.close()


def _words(lab: Lab, case: Case, server: Path | None = None) -> list[str]:
    return [str(server or lab.server), "-m", str(case.model), "--port", str(case.port), "-c", "2048", *case.extra]


def by_hand(lab: Lab, case: Case) -> contextlib.AbstractContextManager[object]:
    return running(_words(lab, case), lab.environ(case), lab.folder / f"{case.port}.log")


def with_log_file(lab: Lab, case: Case) -> contextlib.AbstractContextManager[object]:
    words = [*_words(lab, case), "--log-file", str(lab.folder / "log-file.log")]
    return running(words, lab.environ(case), subprocess.DEVNULL)


def through_tee(lab: Lab, case: Case) -> contextlib.AbstractContextManager[object]:
    line = f'"$@" 2>&1 | tee -a {lab.folder / "tee.log"}'
    return running(["/bin/bash", "-c", line, "bash", *_words(lab, case)], lab.environ(case), subprocess.DEVNULL)


@contextmanager
def by_cron(lab: Lab, case: Case) -> Iterator[None]:
    """A job of a real cron, with its tables in a mount namespace of their own; @reboot, so that nobody waits for a minute.

    Debian's keeps what a job prints in a file without a name, for a mail once the job has ended.
    """
    words = shlex.join(_words(lab, case)).replace("%", "\\%")
    libraries = lab.environ(case)["LD_LIBRARY_PATH"]
    table = lab.folder / f"cron-{case.port}"
    table.write_text(f"LD_LIBRARY_PATH={libraries}\n@reboot root {words}\n")
    script = (
        "mount --make-rprivate / && mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /etc/cron.d && : >/etc/cron.d/.keep\n"
        'mount -t tmpfs tmpfs /var/spool/cron && install -m 644 "$1" /etc/cron.d/lab && exec cron -f'
    )
    try:
        with running(["unshare", "--mount", "sh", "-c", script, "sh", str(table)], os.environ, subprocess.DEVNULL):
            yield
    finally:
        # Each job has a session of its own.
        for pid in lab.pids(case):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _why_no_cron(_lab: Lab) -> str:
    if os.geteuid() != 0:
        return "needs root"
    return "" if shutil.which("cron") else "needs cron"


def by_name(name: str) -> Start:
    def start(lab: Lab, case: Case) -> contextlib.AbstractContextManager[object]:
        return running(_words(lab, case, lab.named(name)), lab.environ(case), lab.folder / f"{name}.log")

    return start


def unified(lab: Lab, case: Case) -> contextlib.AbstractContextManager[object]:
    program = _unified(lab)
    words = [str(program), "serve", *_words(lab, case)[1:]]
    return running(words, lab.environ(case), lab.folder / "unified.log")


def _unified(lab: Lab) -> Path:
    """The program `llama`: a main that calls the subcommand of its first word, with llama.cpp's own libraries (app/llama.cpp)."""
    program = lab.folder / "programs" / "llama"
    if not program.exists():
        program.parent.mkdir(exist_ok=True)
        source = lab.folder / "llama.cpp"
        source.write_text(
            "#include <string>\nint llama_server(int, char **);\nint main(int argc, char ** argv) {\n"
            'if (argc > 1 && std::string(argv[1]) == "serve") return llama_server(argc - 1, argv + 1);\nreturn 1; }\n'
        )
        libraries = lab.server.parent
        command = ["g++", "-o", str(program), str(source), f"-L{libraries}", "-lllama-server-impl"]
        subprocess.run([*command, "-Wl,--unresolved-symbols=ignore-in-shared-libs"], check=True)
    return program


def stand_in(name: str, words: Sequence[str] = (), program: str = "", **more: str) -> Start:
    """Another program's stand-in, by hand, with its output in a file."""

    def start(lab: Lab, case: Case) -> contextlib.AbstractContextManager[object]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            listen = str(probe.getsockname()[1])
        environ = lab.environ(
            case, lab.named(program) if program else None, LAB_LISTEN=listen, LAB_SOCKET=f"{case.port}.sock", **more
        )
        return running([str(STAND_INS / name), *words], environ, lab.folder / f"{name}.log")

    return start


def xllamacpp(lab: Lab, case: Case, before: Sequence[str] = ()) -> contextlib.AbstractContextManager[object]:
    code = (
        "import sys, time, xllamacpp as x\np = x.CommonParams()\np.model.path = sys.argv[1]\np.port = int(sys.argv[2])\n"
        "p.n_ctx = 2048\np.n_parallel = 1\ns = x.Server(p)\ntime.sleep(600)\n"
    )
    words = [*before, str(_python_with_xllamacpp(lab)), "-c", code, str(case.model), str(case.port)]
    return running(words, os.environ, lab.folder / f"xllamacpp-{case.port}.log")


def by_uv(lab: Lab, case: Case) -> contextlib.AbstractContextManager[object]:
    return xllamacpp(lab, case, ("uv", "run", "--no-project", "--no-config", "--offline"))


def _python_with_xllamacpp(lab: Lab) -> Path:
    place = Path(os.environ.get("XLLAMACPP", real_server.cache() / "xllamacpp"))
    python = place / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True, capture_output=True)
        install = [str(python), "-m", "pip", "install", "-q", "xllamacpp==2026.10.11549"]
        subprocess.run(install, check=False, capture_output=True, timeout=180)
    return python


def _xllamacpp_missing(lab: Lab) -> str:
    done = subprocess.run([str(_python_with_xllamacpp(lab)), "-c", "import xllamacpp"], capture_output=True, check=False)
    return "" if done.returncode == 0 else "xllamacpp's wheel cannot be installed here"


@contextmanager
def under_systemd(lab: Lab, case: Case, unit: str, words: Sequence[str], environ: Mapping[str, str]) -> Iterator[None]:
    """A transient unit of a real systemd."""
    options = [f"--setenv={name}={value}" for name, value in environ.items() if name.startswith(("LAB_", "LD_"))]
    command = ["systemd-run", "--quiet", f"--unit={unit}", "--collect", "-p", "Restart=no", *options, *words]
    subprocess.run(command, check=True)
    try:
        yield
    finally:
        subprocess.run(["systemctl", "kill", "--signal=KILL", unit], check=False, capture_output=True)
        subprocess.run(["systemctl", "stop", unit], check=False, capture_output=True)
        subprocess.run(["systemctl", "reset-failed", unit], check=False, capture_output=True)


def as_unit(lab: Lab, case: Case) -> contextlib.AbstractContextManager[object]:
    return under_systemd(lab, case, "llama.service", _words(lab, case), lab.environ(case))


def managed_unit(name: str, unit: str) -> Start:
    def start(lab: Lab, case: Case) -> contextlib.AbstractContextManager[object]:
        return under_systemd(lab, case, unit, [str(STAND_INS / name), "serve"], lab.environ(case, LAB_LISTEN="18080"))

    return start


#: of a program in Python that holds the server
_IN_PYTHON = {
    "no model file": "an exception of the Python program",
    "port taken": "an exception of the Python program",
    "flag refused": "has no command line",
    "on the CPU": "nothing asks for a GPU",
}
RUNTIMES: tuple[Runtime, ...] = (
    Runtime("by hand, output in a file", "all", by_hand, in_short=True),
    Runtime("by hand, --log-file", "all", with_log_file),
    Runtime("by hand, through tee", "all", through_tee),
    Runtime("llama serve", "libraries; main() of 5 lines", unified, needs=lambda _: "" if shutil.which("g++") else "needs g++"),
    Runtime("ik-llama-server", "the name alone", by_name("ik-llama-server")),
    Runtime("llamafile", "the name alone", by_name("model.llamafile")),
    Runtime("llama-box", "the name alone", by_name("llama-box")),
    Runtime(
        "xllamacpp in Python",
        "all (b11549)",
        xllamacpp,
        front_end="xllamacpp",
        needs=_xllamacpp_missing,
        cannot=_IN_PYTHON,
    ),
    Runtime(
        "uv run, xllamacpp",
        "all (b11549)",
        by_uv,
        front_end="xllamacpp",
        needs=lambda lab: _xllamacpp_missing(lab) if shutil.which("uv") else "needs uv",
        cannot=_IN_PYTHON,
    ),
    Runtime(
        "cron, a @reboot job",
        "all (Debian's)",
        by_cron,
        needs=_why_no_cron,
    ),
    Runtime("Ollama by hand", "stand-in", stand_in("ollama", ("serve",)), front_end="ollama", in_short=True),
    Runtime("llama-swap by hand", "stand-in", stand_in("llama-swap"), front_end="llama-swap", in_short=True),
    Runtime("Lemonade by hand", "stand-in", stand_in("lemond"), front_end="lemonade"),
    Runtime("Docker, json-file", "all", in_docker("json-file"), needs=why_no_docker),
    Runtime("Docker, local", "all", in_docker("local"), needs=why_no_docker),
    Runtime("Docker, journald", "all", in_docker("journald"), needs=why_no_docker, journal=True),
    Runtime("Docker, --pid=host", "all", in_docker("json-file", "--pid", "host"), needs=why_no_docker),
    Runtime("Docker, sentinel in a container", "all", in_docker("json-file"), needs=why_no_docker, contained=True),
    Runtime("docker compose", "all (docker-compose 1.29)", in_compose, needs=why_no_compose),
    Runtime("podman, journald", "all", in_podman("journald"), needs=why_no_podman, journal=True),
    Runtime("podman, k8s-file", "all", in_podman("k8s-file"), needs=why_no_podman),
    Runtime("systemd unit", "all", as_unit, booted=True),
    Runtime(
        "Ollama, ollama.service", "systemd, journald; stand-in", managed_unit("ollama", "ollama.service"), "ollama", booted=True
    ),
    Runtime(
        "llama-swap, a unit", "systemd; stand-in", managed_unit("llama-swap", "llama-swap.service"), "llama-swap", booted=True
    ),
    Runtime(
        "Lemonade, lemond.service",
        "systemd, journald; stand-in",
        managed_unit("lemond", "lemond.service"),
        "lemonade",
        booted=True,
    ),
)
