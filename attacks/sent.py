"""What a stranger sends to somebody who looks at it: recordings for `sentinel replay`, logs for `sentinel diagnose`.

No daemon is there: the peak is the command's, and it may take its stated bounds (SECURITY.md) and no more.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from attacks.outcome import Attack
from faults.daemon import REPO

#: Seconds of the processor that a replay may take, megabytes of a replay, and both of a diagnosis.
_REPLAY_SECONDS, _REPLAY_MB = 60.0, 250
_LOG_SECONDS, _LOG_MB = 60.0, 350
#: Beside the limit: Python, the rules, and the reading in which the limit is noticed.
_BESIDE = 15.0
_RUN = """
import re, resource, sys
import sentinel.cli.log_files, sentinel.cli.replay as replay
from sentinel.cli.main import main
replay.MOST_SECONDS = float(sys.argv[1])
code = main(sys.argv[2:])
used = resource.getrusage(resource.RUSAGE_SELF)
peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())
print(code, used.ru_utime + used.ru_stime, int(peak[1]) // 1024)
"""
_AT = 1_795_500_000.0
_TICK = b'{"type":"Tick","at":%s}\n'
_FOUND = b'{"type":"ServerFound","at":%d,"source":"process","entity":["server","%s"],"pid":%d,"start_time":1.0,"values":{}}\n'
_GONE = b'{"type":"ServerGone","at":%d,"source":"process","entity":["server","%s"],"pid":%d}\n'
_FAILS = b"0.00.100.000 E srv  llama_server: exiting due to model loading error\n"


def _again(piece: bytes, times: int) -> Iterator[bytes]:
    for _ in range(times // 1000):
        yield piece * 1000


def _recordings(short: bool) -> dict[str, Callable[[], Iterator[bytes]]]:
    """Name and lines after the header."""
    many = 200_000 if short else 1_000_000
    return {
        "numbers of 5,000 digits": lambda: iter([_TICK % (b"9" * 5000)]),
        "a million tiny records": lambda: _again(_TICK % b"1795500000.0", many),
        "a clock that jumps by ten years": lambda: (_TICK % (b"%d" % (_AT + (3e8 if n % 2 else 0))) for n in range(20_000)),
        "a million servers": lambda: (_FOUND % (_AT, b"s%d" % n, n) for n in range(many)),
        "a server that comes and goes": lambda: (
            _FOUND % (_AT + n, b"a", n) + _GONE % (_AT + n, b"a", n) for n in range(many // 10)
        ),
        "deep JSON": lambda: iter([b'{"type":"State","key":"x","value":' + b"[" * 4_000_000 + b"\n"]),
        "a line of 1 GiB, unpacked": lambda: (b"x" * (1 << 20) for _ in range(64 if short else 1024)),
    }


def _measured(seconds: float, *words: str) -> tuple[int, float, int, str]:
    """Exit code, seconds of the processor, megabytes, and what it said on standard error."""
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(seconds), *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        cwd=REPO,
        timeout=600,
    )
    last = done.stdout.splitlines()[-1].split() if done.returncode == 0 and done.stdout else [b"-1", b"0", b"0"]
    said = done.stderr.decode("utf-8", "replace").strip()
    return int(last[0]), float(last[1]), int(last[2]), said


def recordings(*, short: bool) -> Attack:
    """Recordings that cost more than any that a daemon wrote."""
    limit = 3.0 if short else _REPLAY_SECONDS
    row = Attack("`sentinel replay` of hostile recordings, packed to 6 MB at most; the peak is the command's")
    worst, longest = 0, 0.0
    with tempfile.TemporaryDirectory(prefix="attacks-") as folder:
        for name, lines in _recordings(short).items():
            path = Path(folder) / "recording.jsonl.gz"
            with gzip.open(path, "wb", 6) as stream:
                stream.write(b'{"sentinel_recording": 2}\n')
                for line in lines():
                    stream.write(line)
            code, seconds, megabytes, said = _measured(limit, "replay", str(path), "--json")
            worst, longest = max(worst, megabytes), max(longest, seconds)
            row.said = row.said or said.removeprefix(f"sentinel: {path}: ")
            row.expect(code == 2 and said.count("\n") == 0 and "recording.jsonl.gz: " in said, f"{name}: {code}, {said[-300:]}")
            row.expect(seconds < limit + _BESIDE, f"{name}: {seconds:.0f} s of the processor")
            row.expect(megabytes < _REPLAY_MB, f"{name}: {megabytes} MB")
            row.notes.append(f"{name}: {seconds:.1f} s, {megabytes} MB")
    row.peak = float(worst)
    return row


def logs(*, short: bool) -> Attack:
    """Logs that cost more than any of a server."""
    times = 60_000 if short else 700_000
    kinds: dict[str, Iterator[bytes]] = {
        "line ends alone": _again(b"\n", times * 10),
        "a failed load a line": _again(_FAILS, times),
        "a sender a line": (b"s%d | %s" % (n, _FAILS) for n in range(times)),
        "a port a line": (b"[%5d] %s" % (n % 50_000 + 10_000, _FAILS) for n in range(times)),
        "bytes of any kind": _again(bytes(range(256)), times // 4),
        "one line": (b"x" * (1 << 20) for _ in range(16 if short else 1024)),
    }
    most = len(_FAILS) * times / 1e6
    row = Attack(f"`sentinel diagnose` of hostile logs of up to {most:.0f} MB and of a line of 1 GiB; the peak is the command's")
    worst = 0
    with tempfile.TemporaryDirectory(prefix="attacks-") as folder:
        for name, pieces in kinds.items():
            path = Path(folder) / "server.log"
            with path.open("wb") as stream:
                stream.writelines(pieces)
            code, seconds, megabytes, said = _measured(0, "diagnose", str(path))
            worst = max(worst, megabytes)
            row.said = row.said or said.removeprefix(f"sentinel: {path} ")
            row.expect(0 <= code <= 3 and said.count("\n") == 0, f"{name}: {code}, {said[-300:]}")
            row.expect(seconds < _LOG_SECONDS, f"{name}: {seconds:.0f} s of the processor")
            row.expect(megabytes < _LOG_MB, f"{name}: {megabytes} MB")
            row.notes.append(f"{name}: {seconds:.1f} s, {megabytes} MB")
        sparse = Path(folder) / "sparse"
        with sparse.open("wb") as stream:
            os.truncate(stream.fileno(), 200 << 30)
        for path, what in ((sparse, "a hole of 200 GB"), (Path("/dev/zero"), "/dev/zero")):
            code, seconds, megabytes, said = _measured(0, "diagnose", str(path))
            row.expect(code == 2 and said.count("\n") == 0 and said, f"{what}: {code}, {said[-300:]}")
            row.notes.append(f"{what} is refused")
    row.peak = float(worst)
    return row
