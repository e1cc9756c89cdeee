"""The daemon loads what it uses: what a library brings along and nobody needs stays out of its memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from places import TESTS

_LOADED = """
import sentinel.cli.run, json, sys
print(json.dumps([name for name, module in sys.modules.items() if module is not None]))
"""
_METRICS = """
import sentinel.cli.run, sentinel.api.prometheus, json, sys
print(json.dumps([name for name, module in sys.modules.items() if module is not None]))
import urllib.request, http.server, wsgiref.simple_server, ssl
print(urllib.request.urlopen is not None, issubclass(wsgiref.simple_server.WSGIServer, http.server.HTTPServer))
"""
_JUDGING = """
import sys
from pathlib import Path
from sentinel.diagnose.diagnosis import diagnose
from sentinel.daemon.load_in_child import load_first
from sentinel.rulefiles.files import RuleFiles
ruleset = load_first(RuleFiles()).ruleset
found = [diagnose(ruleset, [(log, Path(log).read_bytes())], [], {}) for log in sys.argv[1:]]
print(sum(len(one.transitions) for one in found), "/cel" in Path("/proc/self/maps").read_text())
"""
_LATER = """
import sentinel.cli.run
import ssl, hashlib, asyncio
print(hashlib.sha256(b"").hexdigest()[:8], hashlib.blake2b(b"", digest_size=4).hexdigest())
print(ssl.create_default_context() is not None)
"""


def _python(code: str, *arguments: str) -> str:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    return set(json.loads(_python(_LOADED)))


_HEAVY = [
    *("ssl", "_ssl", "_hashlib", "rich", "cel.cli", "http.client", "prompt_toolkit", "pygments", "prometheus_client"),
    *("email", "importlib.metadata", "multiprocessing", "difflib", "textual", "sentinel.report"),
    *("colorama", "typing_extensions", "sentinel.rulefiles.load", "sentinel.rulefiles.lint.rule", "sentinel.rulefiles.library"),
    *("starlette", "uvicorn", "bcrypt", "yaml", "mcp", "sentinel.web"),
]


@pytest.mark.parametrize("module", _HEAVY)
def test_the_daemon_does_not_load(loaded: set[str], module: str) -> None:
    assert module not in loaded


def test_judging_with_valid_rules_does_not_load_cel() -> None:
    """All that the shipped rules ask of a log has a form in Python."""
    logs = sorted(map(str, (TESTS / "fixtures/logs").glob("*.log")))
    alerts, loaded = _python(_JUDGING, *logs).split()
    assert int(alerts) > 0
    assert loaded == "False"


def test_what_was_held_back_can_still_be_loaded() -> None:
    """A library that needs TLS finds it, and Python's own hashes give what OpenSSL's gave."""
    assert _python(_LATER).split() == ["e3b0c442", "1271cf25", "True"]


def test_how_python_was_built_is_not_read_and_the_question_is_not_left_behind(loaded: set[str]) -> None:
    """Time zones are found all the same; what the daemon starts does not inherit the answer."""
    assert not [name for name in loaded if name.startswith("_sysconfigdata")]
    code = "import os, sentinel.cli.run, zoneinfo; print(os.environ.get('PYTHONTZPATH'), zoneinfo.TZPATH)"
    told, _, paths = _python(code).strip().partition(" ")
    assert told == os.environ.get("PYTHONTZPATH", "None")
    assert "/usr/share/zoneinfo" in paths


def test_metrics_bring_neither_openssl_nor_a_web_server() -> None:
    """prometheus_client is loaded at the first /metrics; what it could serve with is not, and can still be loaded."""
    names, later = _python(_METRICS).splitlines()
    loaded = set(json.loads(names))
    assert "prometheus_client" in loaded
    assert not loaded & {"ssl", "_ssl", "http.server", "wsgiref.simple_server", "urllib.request"}
    assert later == "True True"


_ASKING = """
import json, sys
sys.argv = ["sentinel"]
from sentinel.cli import main
from sentinel.cli.parser import parser
parser("{verb}")
import sentinel.cli.{verb}
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize("verb", ["status", "alerts", "why", "silence", "watch"])
def test_a_command_that_asks_the_daemon_loads_little(verb: str) -> None:
    """Each of these costs 4 to 25 ms of processor time; status, alerts and why may take 100 together."""
    loaded = set(json.loads(_python(_ASKING.format(verb=verb))))
    unwanted = {"http.client", "email", "ssl", "asyncio", "dataclasses", "inspect", "shutil", "pathlib", "hashlib", "difflib"}
    assert loaded & (unwanted | {"sentinel.engine.engine", "sentinel.api.server", "sentinel.sinks"}) == set()


_DIAGNOSING = """
import json, sys
from sentinel.cli import main
main.main(["diagnose", "--json", sys.argv[1]])
print()
print(json.dumps(sorted(sys.modules)))
"""


def test_judging_a_log_loads_nothing_of_a_machine_that_runs() -> None:
    """They took a fifth of what `diagnose` of a short log costs: readers of /proc, model files, what a server needs."""
    said = _python(_DIAGNOSING, str(TESTS / "fixtures/logs/b10434-two-slots.log"))
    loaded = set(json.loads(said.splitlines()[-1]))
    unwanted = {"psutil", "asyncio", "sentinel.memory", "sentinel.gguf", "sentinel.sources.gpu", "sentinel.preflight.command"}
    assert loaded & (unwanted | {"sentinel.report", "sentinel.diagnose.share", "sentinel.cli.why"}) == set()
