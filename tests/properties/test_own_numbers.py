"""No alert contradicts its own numbers: what it says was asked, got, limited or usual is compared as it is shown.

"a slot has 32768 tokens of context, 4096 were asked for" was said in earnest, of a log that two servers wrote. Each comparison
that a text of the shipped rules makes is a claim here; the inline tests of all rules are run with other numbers in them, equal
ones and swapped ones above all, and whatever is said then must keep to its claim.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from shipped_rules import shipped_rules

from sentinel.engine.rules.ruleset import CompiledRule
from sentinel.engine.rules.template import Template
from sentinel.model.entity import Value
from sentinel.model.rule import CaseDef
from sentinel.rulefiles.testing.runner import run_case

_N = r"(\d[\d,]*(?:\.\d+)?(?: (?:KiB|MiB|GiB|%))?)"


@dataclass(frozen=True)
class Claim:
    """Numbers in a text, each N, and what must hold of them."""

    pattern: re.Pattern[str]
    holds: Callable[..., bool]


def claim(text: str, holds: Callable[..., bool]) -> Claim:
    return Claim(re.compile(text.replace("N", _N)), holds)


_LESS, _MORE, _AT_MOST, _AT_LEAST = operator.lt, operator.gt, operator.le, operator.ge
CLAIMS = (
    # context-collapse
    claim(r"a slot has N tokens of context, N were asked for", _LESS),
    claim(r"each of N slots has N tokens \(-c N is divided", lambda slots, each, asked: abs(asked / slots - each) <= 256),
    claim(r"a context of N tokens is cut to the N that", _MORE),
    claim(r"loaded the model with \(N tokens, in a context of N\)", _AT_LEAST),
    claim(r"N tokens were asked for with \d+ slots, and a slot got N", _MORE),
    claim(r"the last had N tokens, and N are there", _MORE),
    claim(r"the last had N tokens, a slot has N", _AT_LEAST),
    claim(r"reduced the context from N to N tokens", _MORE),
    claim(r"with the N tokens that Ollama had chosen by itself, so Ollama loaded it with N,", _MORE),
    claim(r"a slot has N of the N tokens that the model was trained for", _LESS),
    claim(r"ran on for N tokens, until the N of its slot were full", lambda answer, slot: answer <= slot <= 2 * answer),
    # slow-answers, of figures that are rounded
    claim(r"is read at N tokens a second, hardly faster than .* \(N a second", lambda read, write: read <= 3 * write + 2),
    claim(r"-ub, N tokens here\), .* the last with N tokens", _LESS),
    claim(r"N tokens for N slots are N each", lambda asked, slots, each: abs(asked / slots - each) <= 256),
    claim(r"then take 4096, although this model was trained for N tokens", lambda train: train > 4096),
    claim(r"was started with \(N tokens, N fit\)", _AT_LEAST),
    # allocation-failed
    claim(r"refused the GPU memory: N on \S+, although N were free", _AT_MOST),
    claim(r"only N of the N of \S+ were free .*, and N were asked", lambda free, total, asked: free < total and asked >= free),
    claim(r"N on \S+ were refused, although N were free there", _AT_MOST),
    # cpu-fallback
    claim(r"N tokens/s where N are usual", _LESS),
    claim(r"so N of its N layers are computed by", _LESS),
    claim(r"N of it are on GPUs, where this very .* usually have N;", _LESS),
    claim(r"the GPUs draw N W, where it usually makes them draw N W", _LESS),
    # server-crashed
    claim(r"N of weights, and N free", _MORE),
    # gpu-memory-spill, small-bar
    claim(r"N of N free on the fullest GPU", _AT_MOST),
    claim(r"answers come at N tokens/s, N before", _LESS),
    claim(r"of N on the GPU the processor sees N:", _MORE),
    # load-oom-forecast
    claim(r"can give it N, it needs at least N", _LESS),
    claim(r"can give it N(?:, it needs .* unreclaimable memory)?, at this rate it will be about N", _LESS),
    claim(r"it needs at least N of unreclaimable memory, and .* has N for it", _AT_LEAST),
    claim(r"At this rate it will be about N, and .* has N for it", _MORE),
    claim(r"N of weights are to be locked in memory, N of .* has N for it", lambda own, cache, has: own + cache > 0.99 * has),
    claim(r"leaves it N, N too little for the", lambda _budget, missing: missing > 0),
    claim(r"leaves it N, .* too little for the N that", _LESS),
    claim(r"takes N(?: for [\d,]+ tokens)? \(.*\), and .* has .* dropped: N too little", lambda _takes, missing: missing > 0),
    claim(r"N of weights are to be locked .* has .* for it: N too little", lambda _weights, missing: missing > 0),
    claim(r"N of memory of its own, .* has .* for it: N too little", lambda _weights, missing: missing > 0),
    # load-oom
    claim(r"prompts held N although the limit is N", _MORE),
    claim(r"of the model was in memory, N of N", _AT_MOST),
    claim(r"checkpoints of a conversation in main memory, N of N for one slot", _AT_MOST),
    # memory-thrash, mlock-denied, prompt-cache-growth
    # each of the three is rounded
    claim(r"N were refused after N; it may lock N", lambda more, locked, limit: more + locked >= limit),
    claim(r"kept in host memory, N of at most N", lambda held, limit: held <= 1.25 * limit),
    claim(r"N of N are in memory", _LESS),
    claim(r"may have N, page cache of the model included; the model has N", lambda limit, model: model > 0.7 * limit),
    claim(r"the model has N, the machine N:", lambda model, machine: model > 0.7 * machine),
    claim(r"holds N of the N that --cache-ram allows", lambda held, limit: held <= 1.25 * limit),
    # prompt-reprocessing
    claim(r"the last time N of N tokens", _AT_MOST),
    claim(r"its state of N is larger than all that the cache in main memory may hold \(N,", _MORE),
    # flags-rejected, start-failed, thermal-throttle
    claim(r"the GPU number N is to be used alone .*, and this build sees N devices", _AT_LEAST),
    claim(r"the hottest spot is N degrees and the edge only N:", _MORE),
    claim(r"N restarts in ten minutes, N in all", _AT_MOST),
    claim(r"from about bN on\), the last that sentinel knows to take it is about bN", _AT_MOST),
    # slow-answers; what is shown is rounded
    claim(r"come at N a second, and a prompt is read at only N a second", lambda tps, read: read < 4 * (tps + 0.005) + 0.005),
    claim(r"N of weights are to lie in main memory, and the machine has N:", _AT_LEAST),
    claim(
        r"N of the weights lie in main memory, beside N on the GPU: .* \(N tokens a second\)\. Less than one",
        lambda main, gpu, tps: 4 * (main + 2**30 / 20) >= gpu - 2**30 / 20 and tps < 1,
    ),
    # slow-attention, routing-noise
    claim(r"into N parts instead of 2 or 3", lambda splits: splits > 3),
    claim(r"has experts below 3 bits: N bits per weight", lambda bits: bits < 3),
    claim(r"gives vectors of N numbers, and the model takes N:", operator.ne),
)
#: Texts with several numbers of one kind of which none is held against another.
NO_COMPARISON = {
    ("context-collapse", "shared-pool-exhausted"),
    ("cpu-fallback", "carve-out-too-small-for-rocm"),
    ("gpu-memory-spill", "card-is-full"),
    *(("load-oom", cause) for cause in ("grew-to-a-limit", "cgroup-limit", "locked-while-loading", "anonymous-while-loading")),
    *(("load-oom", cause) for cause in ("memory-full-while-loading", "grew-while-serving", "killed-by-kernel")),
    ("prompt-cache-growth", "summary"),
    ("server-wedged", "summary"),
}


def number(text: str) -> float:
    amount, _, unit = text.replace(",", "").partition(" ")
    return float(amount) * {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}.get(unit, 1)


def broken(text: str) -> Iterator[str]:
    """The claims of a text that its own numbers do not keep."""
    for one in CLAIMS:
        for match in one.pattern.finditer(text):
            if not one.holds(*(number(word) for word in match.groups())):
                yield f"{match[0]!r} in {text!r}"


def said(compiled: CompiledRule, case: CaseDef) -> Iterator[str]:
    """Summary and cause of every transition."""
    for transition in run_case(compiled, case, shipped_rules()).transitions:
        if transition.state != "resolved":
            yield transition.summary
            if transition.cause is not None:
                yield transition.cause.text


_DIGITS = re.compile(r"(?<![\w.])\d{1,12}(?:\.\d+)?(?![\w.]*\w)")


@st.composite
def mutants(draw: st.DrawFn) -> tuple[CompiledRule, CaseDef]:
    """A rule's inline test with some of its numbers replaced by its other numbers, or by near ones."""
    compiled, case = draw(st.sampled_from(CASES))
    pool = sorted(
        {abs(v) for v in case.given.values() if isinstance(v, int | float) and not isinstance(v, bool)} | _in_lines(case)
    )
    values: dict[str, Value] = dict(case.given)
    names = sorted(n for n, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool) and n != "server.pid")
    for name in draw(st.lists(st.sampled_from(names), max_size=3, unique=True)) if names else ():
        old = values[name]
        assert isinstance(old, int | float)
        values[name] = type(old)(draw(near(old, pool)))
    lines = tuple((at, _changed(draw, line, pool)) for at, line in case.log)
    later = tuple((at, {n: _other(draw, v, pool) for n, v in changed.items()}) for at, changed in case.later)
    return compiled, replace(case, given=values, log=lines, later=later, earlier=())


def near(old: float, pool: list[float]) -> st.SearchStrategy[float]:
    return st.sampled_from([old, old * 2, old / 2, old * 0.999, old * 1.001, *pool])


def _other(draw: st.DrawFn, value: Value, pool: list[float]) -> Value:
    if isinstance(value, bool | str) or not draw(st.booleans()):
        return value
    return type(value)(draw(near(value, pool)))


def _in_lines(case: CaseDef) -> set[float]:
    return {float(word) for _, line in case.log for word in _DIGITS.findall(line)}


def _changed(draw: st.DrawFn, line: str, pool: list[float]) -> str:
    words = list(_DIGITS.finditer(line))
    if not words or not draw(st.booleans()):
        return line
    word = draw(st.sampled_from(words))
    new = draw(near(float(word[0]), pool))
    text = f"{new:.2f}" if "." in word[0] else f"{int(new)}"
    return line[: word.start()] + text + line[word.end() :]


CASES = [
    (one, case) for _, one in sorted(shipped_rules().rules.items()) for case in one.rule.tests if case.expect.state == "firing"
]


@settings(max_examples=examples(400), deadline=None)
@given(mutants())
def test_no_alert_contradicts_its_own_numbers(mutant: tuple[CompiledRule, CaseDef]) -> None:
    compiled, case = mutant
    assert not [fault for text in said(compiled, case) for fault in broken(text)]


def whole_texts() -> Iterator[tuple[tuple[str, str], Template, str]]:
    """Every summary and cause of the shipped rules with all its optional parts, and as it is with 7 for each value."""
    for name, compiled in sorted(shipped_rules().rules.items()):
        for cause, source in [("summary", compiled.rule.summary), *((one.id, one.text) for one in compiled.rule.causes)]:
            text = Template.parse(re.sub(r"\[\?|\?\]", "", source))
            yield (name, cause), text, text.render(lambda _name: 7)


def kind(name: str, form: str) -> str:
    """What kind of number a field shows; empty for one of a kind that no text compares."""
    if form in ("GiB", "MiB", "KiB"):
        return "size"
    if form:
        return "" if form == "words" else form
    return "tokens" if re.search(r"ctx|n_prompt|train|asked_per|slots|tokens", name) else ""


def test_every_comparison_of_a_shipped_text_is_a_claim_here() -> None:
    """A new text with two numbers of one kind gets a claim, or a line that says that it compares nothing."""
    unclaimed = set()
    for where, text, shown in whole_texts():
        kinds = [kind(name, form) for _, parts in text.sections for _, name, form in parts if name]
        if any(one and kinds.count(one) > 1 for one in kinds) and not any(one.pattern.search(shown) for one in CLAIMS):
            unclaimed.add(where)
    assert unclaimed == NO_COMPARISON


def test_every_claim_is_of_a_shipped_text() -> None:
    everything = "\n".join(shown for _, _, shown in whole_texts())
    assert [one.pattern.pattern for one in CLAIMS if not one.pattern.search(everything)] == []


def test_a_text_that_contradicts_itself_is_seen() -> None:
    """What was said in earnest, of a log that two servers wrote."""
    assert list(broken("s: its context falls short: a slot has 32768 tokens of context, 4096 were asked for"))
    assert list(broken("s will not fit in memory: the machine can give it 12.0 GiB, it needs at least 12.0 GiB"))
    assert not list(broken("s: its context falls short: a slot has 4096 tokens of context, 32768 were asked for"))
