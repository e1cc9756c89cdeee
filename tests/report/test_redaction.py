"""A page for others names nobody; one for its owner has no keys."""

from __future__ import annotations

from sample_answers import STATES, alert, server
from sample_pages import collected

from sentinel.diagnose.share import Redactor
from sentinel.report.of_daemon import Collected, page
from sentinel.report.page import render
from sentinel.report.redaction import redacted, without_keys

_KEY = "s3cr3t-value-1"


def _private() -> Collected:
    fix = {"do": "Look at /home/annegret/x", "command": "ssh annegret@tannhauser.example.org\nls", "risk": "", "verify": ""}
    line = {"line": f"Authorization: Bearer {_KEY} from 203.0.113.77", "source": "/home/annegret/llama.log", "n": 1}
    prompt = {"line": 'request: {"prompt": "my diary"}', "source": "x", "n": 2}
    bad = alert("cpu-fallback", "of annegret does not start", name="203.0.113.77:8080", fixes=[fix], evidence=[line, prompt])
    status = {
        **STATES["healthy"],
        "servers": [server(name="203.0.113.77:8080", model_path="/home/annegret/models/Qwen3-4B.gguf", user="annegret")],
        "alerts": [bad],
    }
    command = f"/home/annegret/bin/llama-server -m /home/annegret/models/Qwen3-4B.gguf --api-key {_KEY}"
    return collected(status=status, machine="tannhauser", commands={"203.0.113.77:8080": command})


def test_a_page_to_publish_names_nobody_and_still_says_what_is_wrong() -> None:
    made = render(redacted(page(_private()), Redactor(["tannhauser", "annegret"])))

    for word in ("annegret", "tannhauser", "203.0.113.77", _KEY, "diary", "example.org"):
        assert word not in made.lower(), word
    assert "Qwen3-4B.gguf" in made
    assert "does not start" in made
    assert "were replaced" in made


def test_what_a_later_text_betrays_is_replaced_in_an_earlier_one() -> None:
    """The name of the host is known from a line of syslog, the last text of all."""
    line = {"line": "Nov 12 10:00:00 tannhauser llama-server[90]: x", "source": "x", "n": 1}
    bad = alert("cpu-fallback", "on tannhauser does not start", evidence=[line])
    given = collected(status={**STATES["healthy"], "alerts": [bad]}, transitions=[], machine="")

    assert "tannhauser" not in render(redacted(page(given), Redactor()))


def test_a_page_of_ones_own_has_names_and_no_keys() -> None:
    made = render(without_keys(page(_private()), Redactor()))

    assert "/home/annegret/models/Qwen3-4B.gguf" in made
    assert _KEY not in made
