"""Starts of llama-server that fail, each in several ways to start it: how many of n are named, with which delay.

The real llama-server and the real daemon. By hand: output redirected to a file, `--log-file`, a shell loop that starts it again,
and `sentinel exec`. Under a booted systemd (a container of systemd-nspawn): a system unit and a user's unit. Nothing of a server
is known to the daemon before its start fails; each has a name and a log of its own. Seen means: an alert of the right rule with
the right cause within five seconds of the death.
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
for folder in (ROOT, ROOT / "demo", ROOT / "tests/support", ROOT / "tests/fixtures"):
    sys.path.insert(0, str(folder))

from real_server import binary, environment, free_port  # noqa: E402

#: Seconds from the death until the alert must be there.
WITHIN = 5.0
#: Seconds after which what comes is not even late.
_GIVEN_UP = 20.0
COMMON = ("-c", "512", "-np", "1", "--no-warmup")


@dataclass(frozen=True)
class Case:
    """One way to fail. `causes` are those of the rule that are right."""

    name: str
    rule: str
    causes: tuple[str, ...]
    #: words behind the program
    words: tuple[str, ...]
    program: str = ""
    env: Mapping[str, str] | None = None
    #: the port is held by another program
    taken: bool = False
    #: cause of start-failed that is right where what it says cannot be read: it went to a pipe, before it opens --log-file; the
    #: program was gone before its log was found; the log ends before the reason (llama-server's own last lines are lost at times)
    alone: str = ""


@dataclass
class Row:
    """What was seen of one case in one way."""

    case: str
    way: str
    of: int = 0
    delays: list[float] = field(default_factory=list)
    lived: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    #: of those seen, how many by the exit status and the command line alone
    alone: int = 0


def cases(place: Path) -> list[Case]:
    """The failures, with what they need written into `place`."""
    from make_models import write_moe

    whole = write_moe(place / "dense.gguf", experts=0)
    cut = place / "cut.gguf"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    alone = place / "alone"
    alone.mkdir()
    shutil.copy(binary(), alone / "llama-server")
    ill = place / "ill"
    ill.mkdir()
    shutil.copytree(binary().parent, ill, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    _illegal(ill / binary().name)
    usual = {"LD_LIBRARY_PATH": environment()["LD_LIBRARY_PATH"]}
    model = ("-m", str(whole))
    # By its command line, where its own last lines never got into its log: llama-server loses them at times as it exits.
    guessed = ("unfit-as-it-started",)
    return [
        Case("model missing", "start-failed", ("file-missing", *guessed), ("-m", str(place / "nope.gguf")), env=usual),
        Case("port taken", "start-failed", ("port-taken", "port-held-as-it-started"), model, env=usual, taken=True),
        Case("unknown flag", "flags-rejected", ("not-accepted",), (*model, "--no-such-flag"), env=usual, alone="flag-not-known"),
        Case("file truncated", "unsupported-model", ("incomplete-file",), ("-m", str(cut)), env=usual),
        Case(
            "library missing",
            "start-failed",
            ("own-library-missing", "library-missing"),
            model,
            str(alone / "llama-server"),
            {"LD_LIBRARY_PATH": "/nonexistent"},
            alone="not-loaded",
        ),
        Case("illegal instruction", "server-crashed", ("illegal-instruction",), model, str(ill / binary().name), usual),
    ]


def _illegal(program: Path) -> None:
    """Put an instruction that no processor has at the program's entry (ELF header, e_entry; psABI: ud2)."""
    import struct

    data = bytearray(program.read_bytes())
    entry = struct.unpack_from("<Q", data, 24)[0]
    headers, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    for number in range(count):
        kind, _flags, offset, address, _paddr, length = struct.unpack_from("<IIQQQQ", data, headers + number * size)
        if kind == 1 and address <= entry < address + length:
            at = offset + entry - address
            data[at : at + 2] = b"\x0f\x0b"
    program.unlink()
    program.write_bytes(data)
    program.chmod(0o755)


#: shells that go on when the first death was seen
LOOPS: list[subprocess.Popen[bytes]] = []
Start = Callable[[list[str], Mapping[str, str], Path], float]


def redirected(command: list[str], env: Mapping[str, str], log: Path) -> float:
    """Output to a file; the time of the death."""
    with log.open("wb") as stream:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env={**os.environ, **env}, check=False)
    return time.time()


def log_file(command: list[str], env: Mapping[str, str], log: Path) -> float:
    """llama-server's own --log-file; its output to a pipe that nobody else reads."""
    subprocess.run(
        [*command, "--log-file", str(log)], stdin=subprocess.DEVNULL, capture_output=True, env={**os.environ, **env}, check=False
    )
    return time.time()


def loop(command: list[str], env: Mapping[str, str], log: Path) -> float:
    """A shell that starts it again and again; the death is the first one's."""
    script = f"for i in 1 2 3; do {shlex.join(command)} >>{shlex.quote(str(log))} 2>&1; [ $i = 1 ] && date +%s.%N; sleep 1; done"
    process = subprocess.Popen(
        ["sh", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env={**os.environ, **env},
        start_new_session=True,
    )
    LOOPS.append(process)
    assert process.stdout is not None
    return float(process.stdout.readline())


def wrapped(command: list[str], env: Mapping[str, str], log: Path) -> float:
    """`sentinel exec`, output to a terminal's stand-in."""
    words = [sys.executable, "-m", "sentinel", "exec", "--log", str(log), "--", *command]
    subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, env={**os.environ, **env}, check=False, cwd=ROOT)
    return time.time()


WAYS: Mapping[str, Start] = {"redirected": redirected, "--log-file": log_file, "shell loop": loop, "sentinel exec": wrapped}


#: The rights of the shipped unit, for a daemon outside of systemd: its capabilities and no others, and no way to gain one. The
#: filter of system calls is left out, which a booted test tries (tests/e2e/test_booted.py).
_OF_SERVICE = ("sys_ptrace", "syslog", "dac_read_search")


def as_service(*more: str) -> list[str]:
    """The words before the daemon: nobody, with the capabilities of the unit and `more`."""
    held = ",".join(f"+{name}" for name in (*_OF_SERVICE, *more))
    sets = [f"--{kind}=-all,{held}" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *sets, "--no-new-privs"]


def by_hand(ways: Sequence[str], wanted: Sequence[str], times: int, before: Sequence[str] = ()) -> list[Row]:
    """All cases in the ways that need no systemd."""
    with tempfile.TemporaryDirectory(prefix="starts-") as name:
        place = Path(name)
        return _each(place, ways, [case for case in cases(place) if not wanted or case.name in wanted], times, before)


def _each(place: Path, ways: Sequence[str], chosen: Sequence[Case], times: int, before: Sequence[str] = ()) -> list[Row]:
    """Every case in every way, each with a daemon of its own: it keeps a hundred servers of a user, the ended ones among them."""
    from live import Sentinel

    rows = []
    for way in ways:
        for number, case in enumerate(chosen):
            state = place / f"{way}-{number}".replace(" ", "-")
            state.mkdir()
            sentinel = Sentinel(state)
            if before:
                sentinel.before = before
                shutil.chown(state, "nobody")
            if way == "user unit":
                # A person's own daemon reads the journals of his own units.
                sentinel.before = as_user()
                shutil.chown(state, USER, USER)
            sentinel.start()
            os.environ["SENTINEL_SOCKET"] = str(sentinel.socket)
            try:
                settled(sentinel)
                rows.append(tried(sentinel, place, case, way, times))
            finally:
                sentinel.end()
            print(f"  {case.name}, {way}: {len(rows[-1].delays)} of {times} {rows[-1].wrong[:1]}", file=sys.stderr)
    return rows


def in_unit(command: list[str], env: Mapping[str, str], log: Path) -> float:
    """A unit of the machine, started right after it was written; the time at which systemd has it as failed."""
    name = f"{log.stem}.service"
    variables = "".join(f"Environment={key}={value}\n" for key, value in env.items())
    mode = "KillMode=mixed\n" if "exec" in command[:4] else ""
    Path("/etc/systemd/system", name).write_text(f"[Service]\n{variables}{mode}ExecStart={shlex.join(command)}\n")
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    subprocess.run(["systemctl", "start", name], check=False, stderr=subprocess.DEVNULL)
    begun = time.time()
    while subprocess.run(["systemctl", "is-failed", "-q", name], check=False).returncode and time.time() - begun < 60:
        time.sleep(0.02)
    return time.time()


def wrapped_in_unit(command: list[str], env: Mapping[str, str], log: Path) -> float:
    """The same with `sentinel exec --` before the command."""
    return in_unit([sys.executable, "-m", "sentinel", "exec", "--", *command], {**env, "PYTHONPATH": str(ROOT)}, log)


#: a user of the booted system, with a systemd of its own
USER = "joe"


def as_user() -> list[str]:
    """The words before what that user does."""
    home, number = f"/home/{USER}", pwd.getpwnam(USER).pw_uid
    variables = (f"HOME={home}", f"XDG_CONFIG_HOME={home}/.config", f"XDG_RUNTIME_DIR=/run/user/{number}")
    return ["runuser", "-u", USER, "--", "env", *variables]


def in_user_unit(command: list[str], env: Mapping[str, str], log: Path) -> float:
    """The same as `in_unit` in the user's own systemd."""
    name = f"{log.stem}.service"
    variables = "".join(f"Environment={key}={value}\n" for key, value in env.items())
    Path(_folder_of_units("user unit"), name).write_text(f"[Service]\n{variables}ExecStart={shlex.join(command)}\n")
    subprocess.run([*as_user(), "systemctl", "--user", "daemon-reload"], check=True)
    subprocess.run([*as_user(), "systemctl", "--user", "start", name], check=False, stderr=subprocess.DEVNULL)
    begun = time.time()
    failed = [*as_user(), "systemctl", "--user", "is-failed", "-q", name]
    while subprocess.run(failed, check=False).returncode and time.time() - begun < 60:
        time.sleep(0.02)
    return time.time()


def _folder_of_units(way: str) -> str:
    return f"/home/{USER}/.config/systemd/user" if way == "user unit" else "/etc/systemd/system"


def _make_user() -> bool:
    """Whether the machine's systemd has a part for users."""
    # The interpreter may lie in root's home, which nobody else may enter; this is a copy that is thrown away.
    Path("/root").chmod(0o711)
    subprocess.run(["useradd", "--create-home", USER], check=True)
    folder = Path(_folder_of_units("user unit"))
    folder.mkdir(parents=True)
    # A journal in memory has no part that its user may read.
    Path("/var/log/journal").mkdir(exist_ok=True)
    subprocess.run(["journalctl", "--flush"], check=True)
    subprocess.run(["chown", "-R", f"{USER}:", f"/home/{USER}"], check=True)
    return subprocess.run(["systemctl", "start", f"user@{pwd.getpwnam(USER).pw_uid}.service"], check=False).returncode == 0


UNITS: Mapping[str, Start] = {"system unit": in_unit, "sentinel exec in a unit": wrapped_in_unit, "user unit": in_user_unit}


def booted(times: int, wanted: Sequence[str], ways: Sequence[str]) -> list[Row]:
    """The units, on a booted system: this very file runs inside it."""
    from boot import boot

    words = shlex.join(
        [sys.executable, str(Path(__file__).resolve()), "-n", str(times), *(f"--way={way}" for way in ways), "--inside", *wanted]
    )
    with tempfile.TemporaryDirectory(prefix="starts-") as name:
        work = Path(name)
        (work / "files").mkdir()
        found = boot(work / "boot", f"{words} > $OUT/rows.json", work / "files", seconds=1500)
        print(found.stderr, file=sys.stderr)
        return [Row(**row) for row in json.loads(found.text("rows.json"))]


def inside(times: int, wanted: Sequence[str], ways: Sequence[str]) -> list[Row]:
    """What `booted` runs: the daemon as root, or as the user whose units they are, then each case in each kind of unit."""
    place = Path("/opt/starts")
    place.mkdir()
    gone = Case("program missing", "start-failed", ("program-not-there",), (), "/opt/starts/none/llama-server")
    (place / "none").mkdir()
    chosen = [case for case in (*cases(place), gone) if not wanted or case.name in wanted]
    ways = [way for way in UNITS if not ways or way in ways]
    if "user unit" in ways and not _make_user():
        print("  the machine's systemd has no part for users", file=sys.stderr)
        ways.remove("user unit")
    return _each(place, ways, chosen, times)


def settled(sentinel: Any) -> None:
    """The daemon watches for starts."""
    from live import wait_for

    wait_for(lambda: "starts" in {s["name"] for s in sentinel.ask("status")["sources"]}, "starts are watched", 30)


def tried(sentinel: Any, place: Path, case: Case, way: str, times: int) -> Row:
    row = Row(case.name, way, times)
    for number in range(times):
        with ExitStack() as stack:
            port = stack.enter_context(_held()) if case.taken else free_port()
            log = place / f"{case.name}-{way}-{number}.log".replace(" ", "-").replace("--", "-")
            command = [case.program or str(binary()), *case.words, *COMMON, "--port", str(port)]
            begun = time.time()
            died = {**WAYS, **UNITS}[way](command, case.env or {}, log)
            row.lived.append(died - begun)
            name = f"{log.stem}.service" if way in UNITS else f":{port}"
            told = _told(sentinel, case, name, died)
            if not isinstance(told, str):
                row.delays.append(told[0])
                row.alone += told[1]
            else:
                row.wrong.append(told)
            if way in UNITS:
                # Only so many units are followed.
                Path(_folder_of_units(way), name).unlink()
            while LOOPS:
                # A later turn may find its port free, and serve.
                shell = LOOPS.pop()
                os.killpg(shell.pid, signal.SIGKILL)
                shell.wait()
    return row


@contextmanager
def _held() -> Iterator[int]:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def _told(sentinel: Any, case: Case, name: str, died: float) -> tuple[float, bool] | str:
    """Seconds from the death until the alert, and whether by the exit status alone; what was reported instead."""
    from sentinel.api import client

    mine: list[dict[str, Any]] = []
    while (waited := time.time() - died) < _GIVEN_UP:
        _, answer = client.get("/v1/alerts", [sentinel.socket])
        mine = [alert for alert in answer["alerts"] if name in alert["entity"]["name"]]
        for alert in mine:
            cause = alert["cause"]["id"] if alert["cause"] else ""
            alone = bool(case.alone) and (alert["rule"], cause) == ("start-failed", case.alone)
            if alone or (alert["rule"] == case.rule and cause in case.causes):
                took = max(0.0, time.time() - died)
                return f"late: {took:.1f} s" if took > WITHIN else (took, alone or cause.endswith("-as-it-started"))
        # A start that nothing is known of costs no more time.
        if waited > WITHIN + 1 and not mine and not _found(sentinel, name):
            break
        time.sleep(0.05)
    return "; ".join(f"{a['rule']}/{a['cause']['id'] if a['cause'] else '-'}" for a in mine) or "nothing"


def _found(sentinel: Any, name: str) -> bool:
    return any(name in server["name"] for server in sentinel.ask("status")["servers"])


def page(rows: Sequence[Row]) -> str:
    """The table."""
    out = ["| case | way of start | seen | delay, median (worst) s | lived s |", "|---|---|---|---|---|"]
    for row in rows:
        delay = f"{statistics.median(row.delays):.1f} ({max(row.delays):.1f})" if row.delays else "-"
        lived = f"{statistics.median(row.lived):.2f}" if row.lived else "-"
        instead = f" ({row.wrong[0]})" if row.wrong else ""
        instead += f", {row.alone} of them without a line of its log" if row.alone else ""
        out.append(f"| {row.case} | {row.way} | {len(row.delays)} of {row.of}{instead} | {delay} | {lived} |")
    return "\n".join(out)


def main() -> int:
    """Measure and print; 1 if a start was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=20, help="starts of each kind (default: 20)")
    parser.add_argument("--way", action="append", default=[], choices=[*WAYS, *UNITS])
    parser.add_argument("--case", action="append", default=[])
    parser.add_argument("--service", action="store_true", help="the daemon with the rights of the shipped unit, not as root")
    parser.add_argument("--realtime", action="store_true", help="and with CAP_SYS_NICE in place of the unit's LimitRTPRIO=")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--booted", action="store_true", help="units of systemd, in a container that is booted for it (root)")
    parser.add_argument("--inside", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside is not None:
        print(json.dumps([vars(row) for row in inside(arguments.n, arguments.inside, arguments.way)]))
        return 0
    if arguments.booted:
        rows = booted(arguments.n, arguments.case, arguments.way)
    else:
        before = as_service(*["sys_nice"] * arguments.realtime) if arguments.service or arguments.realtime else ()
        rows = by_hand(arguments.way or list(WAYS), arguments.case, arguments.n, before)
    print(json.dumps([vars(row) for row in rows]) if arguments.json else page(rows))
    return int(any(len(row.delays) < row.of for row in rows))


if __name__ == "__main__":
    sys.exit(main())
