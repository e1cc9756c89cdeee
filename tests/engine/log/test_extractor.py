"""The fast way over whole blobs finds exactly what each pattern finds on each line, and nothing else."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from effort import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentinel.engine.log.envelope import strip
from sentinel.engine.log.extractor import Extractor
from sentinel.engine.log.match import PatternError
from sentinel.engine.log.prefilter import is_whole, loosened
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.builds import BuildRange
from sentinel.model.entity import Value
from sentinel.model.event import EventDef, FieldType, Pattern
from sentinel.model.input_limits import SPAN_LIMIT

_ANY = BuildRange(None, None)
_ENVELOPES = [
    "{}",
    "0.00.372.203 I {}",
    "[ 8081] 0.00.372.203 W {}",
    "[54697] {}",
    "Nov 23 16:05:12 host llama-server[42]: {}",
    "2026-11-23T16:05:12+0000 host llama-server[42]: 0.00.372.203 I {}",
    "llama-1  | {}",
    "\x1b[0m\x1b[34m0.00.043.040\x1b[0m \x1b[32mI \x1b[0m{}\x1b[0m",
    "←[0m{}←[0m",
    "6,24119,43460234301,-;{}",
    "[12345.678901] {}",
]


_AROUND_JSON = ("{}", "Nov 23 16:05:12 host llama-server[42]: {}", "llama-1  | {}")


def event(
    name: str, *regexes: str, example: str = "", fields: dict[str, FieldType] | None = None, starts_run: bool = False
) -> EventDef:
    patterns = tuple(Pattern(regex, example, _ANY) for regex in regexes)
    return EventDef(name, "llama-server", patterns, fields or {}, starts_run=starts_run)


def names(extractor: Extractor, text: str) -> list[str]:
    return [match.event.name for match in extractor.events(text.encode())]


@settings(max_examples=examples(300), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_wording_is_found_in_every_envelope(
    definitions: dict[str, EventDef], extractors: dict[str, Extractor], data: st.DataObject
) -> None:
    definition = definitions[data.draw(st.sampled_from(sorted(definitions)))]
    pattern = data.draw(st.sampled_from(definition.patterns))
    # The builds that wrote JSON had no stamps and no router; the message that is made of it stands in no log.
    as_json = pattern.example.startswith("{")
    envelopes = [one for one in _ENVELOPES if not as_json or one in _AROUND_JSON]
    line = data.draw(st.sampled_from(envelopes)).format(pattern.example if as_json else strip(pattern.example).message)
    before = data.draw(st.lists(st.sampled_from(["", "noise", "slot x", "0.00.1 I ...", "é", '{"a":1}']), max_size=4))
    blob = "\n".join([*before, line, "after"]).encode()
    found = [match for match in extractors[definition.source].events(blob) if match.event is definition]
    assert [match.line_index for match in found] == [len(before)]


def test_the_lines_of_a_blob_give_the_same_events_one_by_one(extractors: dict[str, Extractor], logs_blob: bytes) -> None:
    extractor = extractors["llama-server"]
    together = [(m.line_index, m.event.name, m.pattern_index, m.fields, m.text) for m in extractor.events(logs_blob)]
    alone = [
        (number, m.event.name, m.pattern_index, m.fields, m.text)
        for number, line in enumerate(logs_blob.split(b"\n"))
        for m in extractor.events(line)
    ]
    assert together == alone
    assert len(together) > 100


def test_within_an_event_the_first_pattern_wins_and_several_events_may_share_a_line() -> None:
    extractor = Extractor([event("a", "^x(?P<n>1)", "^x"), event("b", "1$"), event("start", "^x1", starts_run=True)])
    found = list(extractor.events(b"x1\nx2"))
    assert [(m.event.name, m.pattern_index, m.line_index) for m in found] == [
        ("start", 0, 0),
        ("a", 0, 0),
        ("b", 0, 0),
        ("a", 1, 1),
    ]


def test_what_only_the_filter_takes_is_no_event_and_another_pattern_may_claim_it() -> None:
    """The filter has no upper limits: the pattern as written decides."""
    extractor = Extractor([event("short", r"^a{1,20}$", r"^a{25}$"), event("any", r"^a{1,40}$")])

    assert names(extractor, "a" * 20 + "\n") == ["short", "any"]
    assert names(extractor, "a" * 21 + "\n") == ["any"]
    assert names(extractor, "a" * 25 + "\n") == ["short", "any"]
    assert names(extractor, "a" * 41 + "\n") == []
    (match, _) = extractor.events(b"a" * 25 + b"\n")
    assert match.pattern_index == 1


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int", "42", 42),
        ("int", "4" * 5000, None),
        ("float", "1.5", 1.5),
        ("float", "inf", None),
        ("float", "-nan", None),
        ("float", "1.2.3", None),
        ("MiB", "14.5", 15204352),
        ("GiB", "2", 2147483648),
        ("kB", "4", 4096),
        ("MiB", "inf", None),
        ("flag", "true", True),
        ("flag", "0", False),
        ("flag", "perhaps", None),
        ("text", "a b é", "a b é"),
    ],
)
def test_captures_become_values_or_are_left_out(kind: FieldType, text: str, value: Value | None) -> None:
    extractor = Extractor([event("e", "^v=(?P<v>.*)", fields={"v": kind})])
    (match,) = extractor.events(f"v={text}".encode())
    assert match.fields == ({} if value is None else {"v": value})


def test_what_was_read_of_one_match_is_the_same_of_the_next() -> None:
    extractor = Extractor([event("e", "^a(?P<x>b)?(?P<y>c)(?P<n>\\d+)", fields={"n": "int"}), event("other", "^d(?P<z>e)")])
    text = b"abc1\nde\nac2\nac99999999999999999999\n"
    first = [match.fields for match in extractor.events(text)]
    assert first == [{"x": "b", "y": "c", "n": 1}, {"z": "e"}, {"y": "c", "n": 2}, {"y": "c"}]
    assert [match.fields for match in extractor.events(text)] == first


def test_a_group_that_did_not_take_part_is_left_out() -> None:
    (match,) = Extractor([event("e", "^a(?P<x>b)?(?P<y>c)")]).events(b"ac")
    assert match.fields == {"y": "c"}


def test_evidence_is_the_matched_part_and_short() -> None:
    extractor = Extractor([event("e", "^begin x+")])
    (match,) = extractor.events(b"begin " + b"x" * 1000 + b" a secret")
    assert match.text == "begin " + "x" * (SPAN_LIMIT - 6)
    (match,) = extractor.events(b"begin x a secret")
    assert match.text == "begin x"


def test_a_bad_pattern_is_named_with_its_reason() -> None:
    with pytest.raises(PatternError, match=r"event 'broken', pattern 2: .*missing \)"):
        Extractor([event("broken", "^ok", "^(")])
    with pytest.raises(PatternError, match=r"event 'looks', pattern 1: invalid perl operator: \(\?="):
        Extractor([event("looks", "^(?=ahead)")])


def test_events_of_several_sources_are_refused() -> None:
    other = EventDef("k", "kernel", (Pattern("^x", "x", _ANY),))
    with pytest.raises(ValueError, match="of one source, not of kernel, llama-server"):
        Extractor([event("a", "^x"), other])


def test_no_events_at_all_find_nothing() -> None:
    assert list(Extractor([]).events(b"anything\n")) == []


def test_self_check_says_what_an_example_does_wrong() -> None:
    extractor = Extractor(
        [
            event("wrong", "^a", example="b"),
            event("second", "^c", "^cd", example="cd"),
            event("thief", "^sto", example="sto"),
            event("robbed", "^stolen", example="stolen"),
            event("twin1", "^same", example="same line"),
            event("twin2", "line$", example="same line"),
        ]
    )
    assert [(event.name, index, what) for event, index, what in extractor.self_check()] == [
        ("wrong", 0, "does not match its own example 'b'"),
        ("second", 1, "its example is claimed by pattern 1; make one narrower"),
        ("robbed", 0, "its example is also claimed by event 'thief'"),
    ]


@pytest.mark.parametrize(
    "regex",
    [
        r"^a$",
        r"a|^b$",
        r"^(?:a|b)c$",
        r"^[$^]a\$$",
        r"\Aa\z",
        r"^\bword\b",
        r"^[]a]+$",
        r"^\Q^a$\E$",
        r"(?i)^a$",
        r"^(?P<x>a)(?P<y>b)$",
    ],
)
def test_a_loosened_pattern_finds_what_the_pattern_finds_inside_an_envelope(regex: str) -> None:
    extractor = Extractor([event("e", regex)])
    for message in ("a", "b", "ac", "$a$", "word", "]a", "^a$", "A", "ab"):
        alone = names(extractor, message)
        for envelope in _ENVELOPES:
            assert names(extractor, envelope.format(message)) == alone, (message, envelope)


@pytest.mark.parametrize(
    "regex", [r"^[^{]*(?:code|status) \d$", r"^(?:code|status) [^x-]+", r"^(?:code|status)\s\d", r"^(?:code|status)\W\d"]
)
def test_what_matches_a_line_end_does_not_take_the_next_lines_with_it(regex: str) -> None:
    """A hit of the filter over several lines hid all but the first: `[^"{]*` in front, or `[^"]+` at the end."""
    found = Extractor([event("e", regex)]).events(b"a line\ncode 1\nstatus\n2\nstatus 3\n")
    assert [match.line_index for match in found] == [1, 4]


@pytest.mark.parametrize(
    ("regex", "whole"),
    [
        ("^a$", True),
        ("^a|b$", False),
        ("^(?:a|b)$", True),
        (r"^a\$", False),
        ("a$", False),
        ("^(?s:a.)$", False),
        ("^[|]$", True),
    ],
)
def test_which_patterns_match_whole_messages_only(regex: str, whole: bool) -> None:
    assert is_whole(regex) is whole


def test_loosening_drops_names_and_keeps_the_rest() -> None:
    assert "?P<" not in loosened(r"^(?P<a>x)\((?P<b>[(?P<c>)]+)$").replace("[(?P<c>)]", "")


_HOSTILE = [
    "{{ 'srv  llama_server: model loaded' }}",
    "a prompt that says srv    load_model: loading model 'x'",
    '0.00.1 W srv    operator(): got exception: {"error":{"message":"main: model loaded"}}',
    "0.02.188.128 W srv    operator(): got exception: ggml_cuda_init: failed to initialize ROCm: x",
    "0.02.667.867 W common_chat_peg_parse: unparsed Content-only output: slot      release: id  0 | task 0 | stop processing",
    "llama_model_loader: - kv  15: tokenizer.chat_template str = srv  llama_server: listening on http://x",
    "print_info: general.name          = warning: no usable GPU found, --gpu-layers option will be ignored",
    '{"type":"log","time":1,"level":"warn","msg":"unparsed output\\nsrv  llama_server: model loaded\\n"}',
    "\tsrv  llama_server: model loaded",
    "this can take a while...",
    "...and so on",
]


@pytest.mark.parametrize("line", _HOSTILE)
def test_text_that_quotes_a_log_line_is_no_event(extractors: dict[str, Extractor], line: str) -> None:
    assert names(extractors["llama-server"], line) == []


def test_a_line_of_ten_megabytes_hides_nothing_and_costs_little(extractors: dict[str, Extractor]) -> None:
    blob = b"x eval time = " * 750_000 + b"\nsrv  llama_server: model loaded\n"
    begin = time.process_time()
    found = Counter(match.event.name for match in extractors["llama-server"].events(blob))
    assert found == {"model_loaded": 1}
    assert time.process_time() - begin < 3.0


def test_the_pass_over_all_lines_is_small_enough_for_an_automaton(extractors: dict[str, Extractor]) -> None:
    """With 25,000 instructions, most of them for limited repeats, RE2 gave up, and lines cost ten times as much.

    Fixed text is cheap: with 3,500 instructions of it more than the 16,200 of today the corpus cost the same, with 10,500 more a
    tenth more (measured).
    """
    sizes = {source: extractor._net.programsize for source, extractor in extractors.items() if extractor._net is not None}
    assert sizes
    assert max(sizes.values()) < 20_000, sizes


def test_lines_that_nobody_wants_cost_about_nothing(extractors: dict[str, Extractor]) -> None:
    """A floor far below the measured 1.9 million lines a second: it catches a net that lost its DFA, not a busy machine."""
    blob = b"0.00.199.540 I print_info: n_embd                = 256\n" * 200_000
    begin = time.process_time()
    assert list(extractors["llama-server"].events(blob)) == []
    assert 200_000 / (time.process_time() - begin) > 200_000


def test_some_of_the_events_are_found_as_by_an_extractor_of_their_own(ruleset: RuleSet) -> None:
    whole = ruleset.extractors["llama-server"]
    part = ruleset.extractor("llama-server", lambda one: one.starts_run or one.fields)
    alone = Extractor([one for one in ruleset.events.values() if one.source == "llama-server" and (one.starts_run or one.fields)])
    data = "\n".join(p.example for one in ruleset.events.values() for p in one.patterns).encode()

    def found(extractor: Extractor) -> list[tuple[int, str, int]]:
        return [(match.line_index, match.event.name, match.pattern_index) for match in extractor.events(data)]

    assert found(part) == found(alone)
    assert 100 < len(found(part)) < len(found(whole))
    assert list(ruleset.extractor("nobody", lambda one: True).events(data)) == []


@pytest.mark.parametrize(
    "why",
    [
        "MoE cache requires a GPU backend",
        "MoE cache requires a MoE model",
        "MoE cache does not support tensor parallelism",
        "MoE cache is too small to hold the experts of one token",
        "failed to create the MoE cache context",
        "failed to allocate the MoE cache buffers",
    ],
)
def test_every_reason_why_b11549_has_no_cache_of_experts_is_found(extractors: dict[str, Extractor], why: str) -> None:
    """Word for word as they stand in its library; only the first was seen in a log."""
    line = f"0.00.060.969 E llama_init_from_model: failed to initialize the context: {why}\n"
    (match,) = extractors["llama-server"].events(line.encode())
    assert (match.event.name, match.fields["why"]) == ("moe_cache_refused", why)
