"""What a log from anybody costs: bytes, lines, servers and seconds are bounded, and what was left out is said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from places import REPO

from sentinel.cli import diagnose as command
from sentinel.cli import log_files
from sentinel.cli.main import main
from sentinel.diagnose.diagnosis import diagnose
from sentinel.diagnose.remarks import remarks
from sentinel.engine.rules.ruleset import RuleSet

BEGINS = b"0.00.100.000 I srv  llama_server: loading model\n"
FAILS = b"0.00.200.000 E srv  llama_server: exiting due to model loading error\n"
FILLER = b"0.00.150.000 I cmn  whatever it says: nothing that a pattern knows\n"


def test_of_a_large_log_the_ends_are_judged_and_lines_keep_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """50 MB took 23 s and 402 MB."""
    monkeypatch.setattr(log_files, "MOST_JUDGED_BYTES", 1 << 20)
    log = tmp_path / "server.log"
    log.write_bytes(BEGINS + FILLER * 30_000 + FAILS)

    (taken,) = log_files.read_all([str(log)])
    assert len(taken.data) <= 1 << 20
    assert taken.data.startswith(BEGINS)
    assert taken.data.endswith(FAILS)
    assert taken.data.count(b"\n") + taken.jump == 30_002

    assert main(["diagnose", str(log), "--json"]) != 0
    said = capsys.readouterr()
    first, last = taken.head + 1, taken.head + taken.jump
    assert said.err == (
        f"sentinel: {log} has 2 MiB, more than is judged at once: lines {first} to {last} were left out; "
        f"for these, give a part of it (`sed -n {first},{last}p`)\n"
    )
    assert '"n":30002' in said.out.replace(" ", "")


def test_of_more_lines_than_are_judged_few_are_held(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """5 MB of line ends took 1.2 GB."""
    monkeypatch.setattr(log_files, "MOST_JUDGED_LINES", 200_000)
    log = tmp_path / "x"
    log.write_bytes(b"\n" * 3_000_000)
    small = tmp_path / "y"
    small.write_bytes(BEGINS)
    both = log_files.read_all([str(log), str(small)])
    assert sum(one.data.count(b"\n") for one in both) <= 200_000
    assert both[1].data == BEGINS
    assert both[0].jump > 2_800_000


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/dev/zero", "/dev/zero is a device and no log; name a file, or - for standard input"),
        ("SPARSE", "is larger than 4 GiB, and is not read; give the end of it: `tail -c 24M FILE | sentinel diagnose -`"),
    ],
)
def test_what_has_no_end_is_not_read(name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if name == "SPARSE":
        name = str(tmp_path / "sparse")
        with Path(name).open("wb") as file:
            file.truncate(200 << 30)
    assert main(["diagnose", name]) == 2
    assert capsys.readouterr().err.endswith(f"{said}\n")


def test_endless_standard_input_is_given_up() -> None:
    """Of a pipe too the end is looked for, within a bound."""
    code = (
        "import sentinel.cli.log_files as f; from sentinel.cli.main import main; "
        "f.MOST_READ_BYTES = 1 << 24; exit(main(['diagnose', '-']))"
    )
    with Path("/dev/zero").open("rb") as endless:
        cat = subprocess.Popen(["cat"], stdin=endless, stdout=subprocess.PIPE)
    done = subprocess.run([sys.executable, "-c", code], stdin=cat.stdout, capture_output=True, check=False, cwd=REPO, timeout=100)
    assert cat.stdout is not None
    cat.stdout.close()
    cat.wait()
    assert done.returncode == 2
    assert b"- is larger than " in done.stderr


def test_what_takes_too_long_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def endless(*_: object, **__: object) -> None:
        while True:
            os.getpid()

    monkeypatch.setattr(log_files, "MOST_SECONDS", 0.2)
    monkeypatch.setattr(command, "judge", endless)
    (tmp_path / "x").write_bytes(BEGINS)
    assert main(["diagnose", str(tmp_path / "x")]) == 2
    assert "of the processor, as no log of a server is: give a part of it" in capsys.readouterr().err


def test_of_more_servers_than_a_log_may_have_the_rest_is_counted(ruleset: RuleSet) -> None:
    """5 MB with a sender a line were not judged within two minutes: each was compared with all others."""
    data = b"".join(b"s%d | %s" % (number, FAILS) for number in range(50)) * 2
    found = diagnose(ruleset, [("log", data)], [], {})
    assert found.left_out == 18
    assert "18 more processes of llama-server in the log are too many to be judged" in "\n".join(remarks(found, kernel=False))
