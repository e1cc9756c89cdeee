"""The short form of `make fuzz`, and what its campaigns found."""

from __future__ import annotations

import sys
import time

import pytest
from effort import examples
from places import REPO
from sample_rules import GOOD

from sentinel.engine.log.extractor import Extractor
from sentinel.engine.rules.expression import MAX_SOURCE, Condition, ExpressionError
from sentinel.model.builds import BuildRange
from sentinel.model.event import EventDef, FieldType, Pattern
from sentinel.rulefiles.files import read, shipped
from sentinel.rulefiles.load import load
from sentinel.rulefiles.toml.document import decode

sys.path.insert(0, str(REPO / "fuzz"))
import run as fuzz


@pytest.mark.parametrize("seed", [20261125])
def test_mutated_rule_files_are_answered_with_findings_and_mutated_lines_with_nothing(seed: int) -> None:
    for campaign in (fuzz.rule_files(examples(120), seed), fuzz.log_lines(examples(1200), seed)):
        assert campaign.found == []
        assert campaign.accepted > 0, "some mutants must get as far as the engine"


@pytest.mark.parametrize(
    ("source", "what"),
    [
        # Each of these ended the process or kept it for minutes.
        ("+".join(["1"] * 20_000), f"{MAX_SOURCE} at most"),
        ("a" + ".b" * 20_000, f"{MAX_SOURCE} at most"),
        ("size(" * 20_000 + "'x'" + ")" * 20_000, f"{MAX_SOURCE} at most"),
        ("[1].map(x, [1].map(y, [1].map(z, 1)))", "goes over lists more than once"),
        ("(" * 300 + "true" + ")" * 300, "nested too deeply"),
    ],
)
def test_an_expression_that_would_end_or_hold_up_the_process_is_refused(source: str, what: str) -> None:
    with pytest.raises(ExpressionError, match=what):
        Condition(source)


def test_the_largest_expression_that_is_read_is_evaluated_too() -> None:
    assert Condition("+".join(["1"] * (MAX_SOURCE // 2))).evaluate({}) == MAX_SOURCE // 2


@pytest.mark.parametrize(
    "data",
    [
        b"schema = 1\n" + b".".join([b"a"] * 300_000) + b" = 1\n",
        b"schema = 1\nx = { " + b".".join([b"a"] * 100_000) + b" = 1 }\n",
        b"schema = 1\nx = [" + b"'" * 900_000,
        b"schema = 1\n" + b"[[a]]\n" * 150_000,
        b"schema = 1\nx = " + b"[" * 400_000 + b"]" * 400_000,
        b'schema = 1\nx = """' + b'\\"' * 400_000,
    ],
)
def test_a_file_made_to_keep_a_decoder_busy_is_answered_at_once(data: bytes) -> None:
    began = time.process_time()
    decode(data, "x.toml")
    assert time.process_time() - began < 10.0


def test_texts_that_double_from_value_to_value_are_refused() -> None:
    values = "\n".join(f'v{i} = "v{i - 1} + v{i - 1}"' for i in range(1, 40))
    text = GOOD.replace("[value]\n", f'[value]\nv0 = "server.user"\n{values}\n')
    problems = load({"r.toml": text.encode()}, read([shipped()])[1])[1]
    assert any("makes a text of" in p.what for p in problems)


@pytest.mark.parametrize("digits", [19, 20, 305, 5000])
@pytest.mark.parametrize("kind", ["int", "MiB", "GiB", "kB", "float"])
def test_a_number_of_a_line_that_no_rule_can_compute_with_is_not_taken(digits: int, kind: FieldType) -> None:
    """One of 305 digits ended the daemon, one of 20 made rules raise."""
    event = EventDef("e", "llama-server", (Pattern(r"^n (?P<n>\d+)", "n 1", BuildRange(None, None)),), {"n": kind})
    (match,) = Extractor([event]).events(b"n " + b"9" * digits)
    value = match.fields.get("n")
    assert value is None or isinstance(value, float)
