"""`sentinel status --host`: a row for each machine, whatever it answers. `ssh` is a program of ours that answers for each."""

from __future__ import annotations

import json
import os
import signal
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from sentinel.cli import hosts
from sentinel.cli.main import main

ALERT = {"rule": "load-oom", "severity": "critical", "summary": "gemma was killed", "entity": {"scope": "server", "name": "a"}}
GOOD = {"servers": [{"running": True}, {"running": False}], "alerts": []}


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what each host prints; one that is not there cannot be reached. `ssh` notes how it was called."""
    folder = tmp_path / "hosts"
    folder.mkdir()
    program = tmp_path / "bin/ssh"
    program.parent.mkdir()
    program.write_text(
        f"""#!/bin/sh
printf '%s\\n' "$*" >>{tmp_path}/calls
while [ "$1" != -- ]; do shift; done
[ -e "{folder}/$2" ] || {{ echo "ssh: connect to host $2 port 22: No route to host" >&2; exit 255; }}
[ "$2" != hangs ] || exec sleep 60
[ "$2" != endless ] || exec cat /dev/zero
[ "$2" != talks ] || {{ cat /dev/zero >&2; exit; }}
[ "$2" != stays ] || {{ cat "{folder}/$2"; exec >&-; exec sleep 60; }}
[ "$2" != kept ] || {{ sleep 60 >/dev/null & echo $! >"{folder}/left"; }}
cat "{folder}/$2"
"""
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("COLUMNS", "100")
    return folder


def answers(folder: Path, **of: Any) -> None:
    for name, what in of.items():
        (folder / name).write_text(what if isinstance(what, str) else json.dumps(what))


def test_each_host_is_a_row_with_its_worst_alert(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers(network, well=GOOD, ill={**GOOD, "alerts": [ALERT]}, hushed={**GOOD, "alerts": [{**ALERT, "silenced": 3}]})
    assert main(["status", "--host", "well,ill,hushed,gone"]) == 2
    head, well, ill, hushed, gone = capsys.readouterr().out.splitlines()
    assert head.split() == ["HOST", "STATE", "SERVERS", "ALERTS", "WORST"]
    assert well.split() == ["well", "ok", "1"]
    assert ill.split()[:4] == ["ill", "critical", "1", "1"]
    assert ill.endswith("gemma was killed")
    assert hushed.split() == ["hushed", "ok", "1"]
    assert gone.split()[:2] == ["gone", "unknown"]
    assert gone.endswith("No route to host")


def test_the_exit_code_is_the_worst_of_all(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers(network, well=GOOD, slow={**GOOD, "alerts": [{**ALERT, "severity": "warning"}]})
    assert main(["status", "--host", "well"]) == 0
    assert main(["status", "--host", "well,slow,gone"]) == 1
    assert main(["status", "--host", "well,gone"]) == 3
    capsys.readouterr()


@pytest.mark.parametrize(
    "said",
    ["", "{", "[]", '{"servers": 1, "alerts": []}', '{"servers": [], "alerts": [{"severity": "worst"}]}',
     '{"servers": [], "alerts": [7]}',
     "[" * 100_000, "Last login: today\n{}"],
    ids=range(8),
)  # fmt: skip
def test_what_is_no_status_is_a_row_that_says_so(network: Path, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    answers(network, odd=said)
    assert main(["status", "--host", "odd"]) == 3
    assert "without a status" in capsys.readouterr().out


def test_a_hostile_answer_moves_nothing_on_the_screen(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers(network, evil={**GOOD, "alerts": [{**ALERT, "summary": "x\x1b[2J\x1b]0;y\x07\nHOST"}]})
    main(["status", "--host", "evil"])
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert len(said.splitlines()) == 2


def test_a_host_that_hangs_holds_up_nobody_for_longer_than_its_time(
    network: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hosts, "_SECONDS", 0.5)
    answers(network, hangs="", well=GOOD)
    begun = time.monotonic()
    assert main(["status", "--host", "hangs,well", "--json"]) == 3
    assert time.monotonic() - begun < 30
    found = {one["host"]: one["why"] for one in json.loads(capsys.readouterr().out)["hosts"]}
    assert found == {"hangs": "no answer within 0.5 s", "well": ""}


@pytest.mark.parametrize("name", ["-oProxyCommand=reboot", "a;b", "$(x)", "a b;c", ""])
def test_a_name_is_never_an_option_or_a_command(network: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", f"--host={name}"]) in (2, 3)
    capsys.readouterr()
    calls = network.parent / "calls"
    assert not calls.exists() or "Proxy" not in calls.read_text()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "_ENDING", 0.2)


def test_an_answer_without_end_is_not_kept_in_memory(
    network: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hosts, "_MOST_BYTES", 1 << 20)
    answers(network, endless="")
    tracemalloc.start()
    try:
        assert main(["status", "--host", "endless"]) == 3
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 16 << 20
    assert "its answer is larger than 1 MiB" in capsys.readouterr().out


def test_what_is_said_beside_the_answer_without_end_is_not_kept_either(
    network: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hosts, "_SECONDS", 1.0)
    answers(network, talks="")
    tracemalloc.start()
    try:
        assert main(["status", "--host", "talks"]) == 3
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 16 << 20
    assert "no answer within 1 s" in capsys.readouterr().out


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("host", ["stays", "kept"])
def test_an_answer_counts_although_something_is_left_open_behind_it(
    network: Path, host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """ssh's ControlPersist leaves a process that holds standard error; a command may close its output and go on."""
    answers(network, **{host: GOOD})
    begun = time.monotonic()
    assert main(["status", "--host", host]) == 0
    assert time.monotonic() - begun < 10
    assert capsys.readouterr().out.splitlines()[1].split() == [host, "ok", "1"]
    if (left := network / "left").exists():
        os.kill(int(left.read_text()), signal.SIGKILL)


def test_a_lone_half_of_a_character_is_shown(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers(network, odd={**GOOD, "alerts": [{**ALERT, "summary": "half \ud800 of it"}]})
    assert main(["status", "--host", "odd"]) == 2
    capsys.readouterr().out.encode()
    assert main(["status", "--host", "odd", "--json"]) == 2
    capsys.readouterr().out.encode()
