"""Where two causes fit, both are named, the likelier first; one that is certain stands alone."""

from __future__ import annotations

from sample_rules import GOOD

from sentinel.engine.engine import Engine
from sentinel.model.alert import Transition
from sentinel.model.entity import Entity
from sentinel.model.reading import LogLines, Reading, Samples, ServerFound, Tick
from sentinel.rulefiles.files import read, shipped
from sentinel.rulefiles.load import load
from sentinel.rulefiles.testing.readings import EPOCH

SERVER = Entity("server", "llama.service")
_REFUSED = b"ggml_cuda_init: failed to initialize ROCm: no ROCm-capable device is detected\n"
BOTH = GOOD.replace('id = "no-gpu"\n', 'id = "no-gpu"\nalso = ["other"]\n')


def fired(text: str, line: bytes) -> Transition:
    ruleset, problems = load({"r.toml": text.encode()}, read([shipped()])[1])
    assert ruleset is not None, problems
    engine = Engine(ruleset)
    readings: list[Reading] = [ServerFound(EPOCH, "proc", SERVER, 7, EPOCH, {"server.log_readable": True})]
    readings += [LogLines(EPOCH + 1, "log", SERVER, line)] if line else []
    for second in range(2, 12):
        readings += [Samples(EPOCH + second, "log", SERVER, {"server.generation_tps": 0.5}), Tick(EPOCH + second)]
    told = [transition for reading in readings for transition in engine.step(reading)]
    (firing,) = [one for one in told if one.state == "firing"]
    return firing


def test_the_likelier_is_the_cause_and_the_other_follows_in_its_text_with_a_fix_of_its_own() -> None:
    alone, both = fired(GOOD, _REFUSED), fired(BOTH, _REFUSED)
    assert alone.cause is not None and both.cause is not None
    assert both.cause.id == alone.cause.id == "no-gpu"
    assert both.cause.text == f"{alone.cause.text}. Less likely, but it fits as well: not known"
    assert both.fixes[:-1] == alone.fixes
    assert both.fixes[-1].do == "If it is the less likely one: look"


def test_a_cause_that_is_not_true_is_not_named() -> None:
    text = GOOD.replace('id = "other"\n', 'id = "other"\nalso = ["no-gpu"]\n')
    said = fired(text, b"")
    assert said.cause is not None
    assert (said.cause.id, said.cause.text) == ("other", "not known")


def test_a_name_that_is_none_is_refused_with_its_place() -> None:
    _, problems = load({"r.toml": BOTH.replace('["other"]', '["othr"]').encode()}, {})
    assert any("cause 'no-gpu'.also" in str(one) and "did you mean 'other'" in str(one) for one in problems), problems
