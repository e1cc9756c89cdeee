"""An end that no rule knows: the log's own error is quoted in the cause, which claims nothing beyond it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sentinel.cli import diagnose
from sentinel.cli.parser import parser
from sentinel.engine.rules.ruleset import RuleSet

#: heads of a log by era, as far as the model's load
HEADS = {
    "2024": "build: 3600 (0123abcd) with cc\n"
    "llama_model_loader: loaded meta data with 30 key-value pairs and 300 tensors from m.gguf\n",
    "2025": "build: 6800 (0123abcd) with cc\nmain: loading model\nsrv    load_model: loading model 'm.gguf'\n",
    "stamped": "0.00.001.000 I build: 9800 (0123abcd) with cc\n0.00.002.000 I srv    load_model: loading model 'm.gguf'\n",
}
SERVES = "main: model loaded\nmain: server is listening on http://127.0.0.1:8080 - starting the main loop\n"
UNHEARD_OF = "flange_plugin: error: the flange is bent (77)"
ENDS = {
    "a segmentation fault": "Segmentation fault (core dumped)\n",
    "an abort": "Aborted (core dumped)\n",
    "an assertion": "/src/ggml/src/flange.cpp:7: GGML_ASSERT(flange == 7) failed\nAborted (core dumped)\n",
    "an exception": "terminate called after throwing an instance of 'std::runtime_error'\n  what():  bent\n",
    "a load given up": "srv    load_model: failed to load model, 'm.gguf'\nmain: exiting due to model loading error\n",
}


def answer(tmp_path: Path, ruleset: RuleSet, log: str, capsys: pytest.CaptureFixture[str]) -> tuple[str, list[dict[str, Any]]]:
    file = tmp_path / "server.log"
    file.write_text(log)
    said = []
    for options in ((), ("--json",)):
        diagnose.judge(ruleset, parser().parse_args(["diagnose", str(file), *options]))
        said.append(capsys.readouterr().out)
    told = [json.loads(line) for line in said[1].splitlines()]
    return said[0], [one for one in told if one.get("state") == "firing"]


@pytest.mark.parametrize("era", sorted(HEADS))
@pytest.mark.parametrize("end", sorted(ENDS))
def test_the_error_before_an_unknown_end_stands_in_the_cause_which_is_a_guess(
    tmp_path: Path, ruleset: RuleSet, capsys: pytest.CaptureFixture[str], era: str, end: str
) -> None:
    starts = end == "a load given up"
    log = HEADS[era] + ("" if starts else SERVES) + UNHEARD_OF + "\n" + ENDS[end]
    said, told = answer(tmp_path, ruleset, log, capsys)

    assert "no failure is named" not in said
    (one,) = told
    assert one["rule"] == ("start-failed" if starts else "server-crashed")
    assert one["cause"]["confidence"] == "low"
    assert UNHEARD_OF in one["cause"]["text"]


def test_the_error_of_another_server_in_the_same_file_is_not_quoted(
    tmp_path: Path, ruleset: RuleSet, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (HEADS["2025"] + SERVES + ENDS["a segmentation fault"]).splitlines()
    mixed = [f"llm-1    | {line}" for line in lines]
    mixed.insert(-1, f"other-1  | {UNHEARD_OF}")
    _, told = answer(tmp_path, ruleset, "\n".join(mixed) + "\n", capsys)

    assert told
    assert not any(UNHEARD_OF in one["cause"]["text"] for one in told)


def test_a_known_cause_is_left_as_it_is(tmp_path: Path, ruleset: RuleSet, capsys: pytest.CaptureFixture[str]) -> None:
    full = "CUDA error: out of memory\n  current device: 0, in function alloc at /src/ggml-cuda.cu:1\n"
    _, (one,) = answer(tmp_path, ruleset, HEADS["2025"] + SERVES + UNHEARD_OF + "\n" + full, capsys)

    assert one["cause"]["confidence"] == "high"
    assert UNHEARD_OF not in one["cause"]["text"]


@pytest.mark.parametrize("last", [UNHEARD_OF, "flange: turning the flange"])
def test_of_a_log_that_stops_while_the_model_loads_the_last_line_is_shown(
    tmp_path: Path, ruleset: RuleSet, capsys: pytest.CaptureFixture[str], last: str
) -> None:
    said, _ = answer(tmp_path, ruleset, HEADS["2025"] + last + "\n", capsys)

    assert last in " ".join(said.split())


def test_an_unknown_error_as_the_last_line_is_never_passed_over(
    tmp_path: Path, ruleset: RuleSet, capsys: pytest.CaptureFixture[str]
) -> None:
    said, _ = answer(tmp_path, ruleset, HEADS["2025"] + SERVES + UNHEARD_OF + "\n", capsys)

    assert "no failure is named" not in said
    assert UNHEARD_OF in " ".join(said.split())
