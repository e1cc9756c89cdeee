"""The real daemon does what docs/openapi.json says, and survives what nobody would say. SENTINEL_FUZZ sets how many requests."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import pytest
from live import REPO, Sentinel
from malformed import requests
from sample_transitions import firing
from tcp_bridge import bridge

from sentinel.api import openapi
from sentinel.api.client import get, post
from sentinel.cli.main import main
from sentinel.engine.engine import Engine
from sentinel.engine.inspect import explain, status
from sentinel.engine.inspect.blind_spots import blind_spots
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.history import History
from sentinel.rulefiles.testing.readings import EPOCH, readings

_ROUNDS = int(os.environ.get("SENTINEL_FUZZ", "600"))
_AT_ONCE = 16


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sentinel]:
    """A real one that looks for no servers, so that it does the same on each machine."""
    sentinel = Sentinel(tmp_path_factory.mktemp("daemon"), "discover = false").start()
    yield sentinel
    assert sentinel.end() == 0


def _well(daemon: Sentinel) -> None:
    assert daemon.process is not None
    assert daemon.process.poll() is None
    assert "bug of sentinel" not in daemon.said()
    assert "Traceback" not in daemon.said()
    assert get("/v1/status", [daemon.socket])[0] == 200


def test_malformed_requests_change_nothing(daemon: Sentinel) -> None:
    """Each is answered, with no code 500, or hung up on, within seconds; nothing is left open, and memory does not grow."""
    assert daemon.process is not None
    process = psutil.Process(daemon.process.pid)
    seen: dict[int, int] = {}

    async def one(data: bytes) -> None:
        reader, writer = await asyncio.open_unix_connection(str(daemon.socket), limit=1 << 24)
        writer.write(data)
        writer.write_eof()
        try:
            answer = await asyncio.wait_for(reader.read(), 15.0)
        except ConnectionResetError:
            answer = b""
        writer.close()
        code = int(answer.split(b" ", 2)[1]) if answer else 0
        seen[code] = seen.get(code, 0) + 1
        assert code != 500, data
        assert answer == b"" or answer.startswith(b"HTTP/1.1 "), data

    async def some(count: int, seed: int) -> None:
        dice = requests(seed)
        for _ in range(count // _AT_ONCE):
            await asyncio.gather(*map(one, islice(dice, _AT_ONCE)))

    asyncio.run(some(min(_ROUNDS // 2, 2_000), 1))
    before = (process.num_fds(), process.num_threads(), process.memory_info().rss)
    asyncio.run(some(_ROUNDS, 20_261_126))

    _well(daemon)
    assert process.num_fds() <= before[0] + 2
    assert process.num_threads() <= before[1] + 2
    assert process.memory_info().rss < before[2] + 12_000_000
    # The campaign is about malformed requests, and met the sound ones among them as well.
    assert seen[400] > _ROUNDS / 5
    assert {200, 404, 405} <= seen.keys()


def _strict(schema: Any) -> Any:
    """A key that is not described fails: then it belongs into sentinel/api/schema.py or one of the *_forms.py beside it."""
    if isinstance(schema, dict):
        closed = {key: _strict(value) for key, value in schema.items()}
        return {**closed, "additionalProperties": False} if "properties" in schema and "oneOf" not in schema else closed
    return [_strict(item) for item in schema] if isinstance(schema, list) else schema


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return dict(_strict(openapi.document()))


def _objections(described: dict[str, Any], name: str, value: Any) -> list[str]:
    jsonschema = pytest.importorskip("jsonschema_rs", reason="needs schemathesis")
    schema = {"$ref": f"#/components/schemas/{name}", "components": described["components"]}
    found = jsonschema.Draft202012Validator(schema).iter_errors(value)
    return [f"{name}: {error.message[:300]} at {'/'.join(map(str, error.instance_path))}" for error in found]


def test_the_daemon_answers_as_described(daemon: Sentinel, described: dict[str, Any]) -> None:
    """Every path without a part in it, key by key."""
    asked = 0
    for path, operations in described["paths"].items():
        content = operations.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        ref = content.get("application/json", {}).get("schema", {}).get("$ref")
        if "{" in path or ref is None:
            continue
        status, answer = get(path, [daemon.socket])
        assert status == 200
        assert _objections(described, ref.rpartition("/")[2], answer) == []
        asked += 1
    assert asked >= 6
    assert get("/v1/openapi.json", [daemon.socket]) == (200, {"api_version": 1, **openapi.document()})
    assert _objections(described, "Why", get("/v1/why/cpu-fallback", [daemon.socket])[1]) == []
    assert _objections(described, "Reloaded", post("/v1/reload", None, [daemon.socket])[1]) == []
    assert _objections(described, "Refusal", get("/v1/why/nothing", [daemon.socket])[1]) == []


def test_what_rules_report_is_as_described(ruleset: RuleSet, described: dict[str, Any]) -> None:
    """The alerts, reasons and facts of one firing test of each shipped rule."""
    for rule_id, compiled in ruleset.rules.items():
        case = next(case for case in compiled.rule.tests if case.expect.state == "firing")
        engine = Engine(ruleset)
        for reading in readings(compiled.rule, case):
            engine.step(reading)
        at = EPOCH + case.at
        forms = {
            "AlertForm": status.alerts(engine, at, pending=True),
            "ServerForm": status.servers(engine, at),
            "BlindSpotForm": blind_spots(engine, at),
            "SignalForm": status.signals(engine, at),
            "Why": [{"api_version": 1, **explain.why(engine, rule_id, "", at)}],
        }
        assert forms["AlertForm"], rule_id
        assert [
            objection for name, rows in forms.items() for row in rows for objection in _objections(described, name, row)
        ] == []


def test_schemathesis_finds_nothing(daemon: Sentinel, tmp_path: Path) -> None:
    """Sound and unsound requests made from the description, and the answers held against it, through a port of the loopback."""
    program = Path(sys.executable).with_name("schemathesis")
    if not program.exists() and shutil.which("schemathesis") is None:
        pytest.skip("needs schemathesis (pip install -e '.[dev]')")
    examples = max(2, _ROUNDS // 400)
    with bridge(daemon.socket) as port:
        command = [
            str(program), "run", str(REPO / "docs/openapi.json"), "--url", f"http://127.0.0.1:{port}", "--checks", "all",
            "--exclude-path", "/v1/events", "--phases", "fuzzing" if _ROUNDS < 20_000 else "coverage,fuzzing,stateful",
            "--max-examples", str(examples), "--seed", "20261126", "--generation-database", "none", "--no-color",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1500, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    _well(daemon)


def test_the_whole_history_comes_in_pages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`alerts --all` ended at the newest 1000 without a word."""
    (tmp_path / "state").mkdir()
    history = History(tmp_path / "state/history.sqlite")
    now = time.time()
    history.commit([replace(firing(number), at=now - 5000 + number) for number in range(2500)])
    history.close()
    sentinel = Sentinel(tmp_path, "discover = false").start()

    def page(limit: int, before: int) -> dict[str, Any]:
        code, answer = get(f"/v1/history?limit={limit}&before={before}", [sentinel.socket])
        assert code == 200
        return answer

    code, newest = get("/v1/history?limit=10", [sentinel.socket])
    assert code == 200
    second = page(10, newest["earlier"])
    third = page(10, second["earlier"])
    assert third["transitions"] + second["transitions"] == page(20, newest["earlier"])["transitions"]

    for words, first in ((["--all"], 0), (["--since", "50m"], 2001)):
        assert main(["alerts", *words, "--json", "--socket", str(sentinel.socket)]) == 0
        answer = json.loads(capsys.readouterr().out)
        # beside what the machine's own kernel said in the last minutes
        numbers = [int(one["summary"].split()[1]) for one in answer["transitions"] if one["summary"].startswith("number ")]
        assert numbers == list(range(numbers[0], 2500))
        # the daemon needed a moment to start
        assert first <= numbers[0] <= first + (60 if first else 0)
    assert sentinel.end() == 0


def test_the_description_is_not_stale() -> None:
    made = json.dumps(openapi.document(), indent=1) + "\n"
    assert (REPO / "docs/openapi.json").read_text(encoding="utf-8") == made, "run: make docs"


def test_a_number_is_written_as_json_has_it(daemon: Sentinel) -> None:
    """schemathesis found the exponent refused."""
    for since in ("0", "1795449912.345", "3.846806465162212e-242", "1e3", "1E%2B03"):
        assert get(f"/v1/history?since={since}", [daemon.socket])[0] == 200


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/history?sicne=5", "/v1/history has no field 'sicne'; did you mean 'since'"),
        ("/v1/status?a=1", "it has none"),
        ("/v1/history?since=nan", "since is 'nan'; write a number from 0 to 1000000000000"),
        ("/v1/history?since=1_0", "since is '1_0'"),
        ("/v1/history?since=1e999", "since is '1e999'"),
        ("/v1/history?since=-1", "since is '-1'"),
        ("/v1/history?limit=0", "limit is '0'; write a whole number from 1 to 1000"),
        ("/v1/history?limit=2.5", "a whole number"),
        (
            "/v1/history?before=4611686018427387905",
            "before is '4611686018427387905'; write a whole number from 1 to 4611686018427387904",
        ),
        ("/v1/history?limit=%D9%A1", "a whole number"),
        ("/v1/alerts?pending=maybe", "pending is 'maybe'; write 1 or 0"),
    ],
)
def test_a_wrong_field_gets_one_sentence(daemon: Sentinel, path: str, words: str) -> None:
    code, answer = get(path, [daemon.socket])
    assert code == 400
    assert words in answer["error"]["message"]
