"""Measures one server: who it is, what a measurement will cost, and its answers in several passes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from sentinel.model.text import clean
from sentinel.quality.answer import KEPT, MOST_CHARACTERS, Answer, NoAnswer, parse
from sentinel.quality.http import Client, Trouble
from sentinel.quality.measurement import Measurement, Subject
from sentinel.quality.prefixes import VERSION, Prefix, digest, prefixes

#: Greedy, no penalty, nothing reused: the probabilities are the model's alone. Builds of 2024 sample before they report them.
_ASKED: Mapping[str, Any] = {
    "n_predict": 1,
    "n_probs": KEPT,
    "temperature": 0,
    "cache_prompt": False,
    "repeat_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "post_sampling_probs": False,
    "stream": False,
    "seed": 1,
}
#: b10434 answers so, with status 500, where the likeliest token is no whole character: its parser wants whole text.
_UNREADABLE = "does not match the expected"
#: Tokens that one question evaluates beside its prefix: the beginning of text, and the one that is generated.
_BESIDE = 2
_MOST_TOKENS = 100_000

#: Answers so far, and of all; seconds since the beginning, and to the end.
Progress = Callable[[int, int, float, float], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """A server, the prefixes that fit into its context, and what a pass costs. Seconds are estimated from two questions, or 0."""

    subject: Subject
    asked: tuple[Prefix, ...]
    left_out: tuple[str, ...]
    tokens: int
    #: of each prefix
    seconds_of: Mapping[str, float]
    #: a token that is a whole character by itself
    harmless: int
    #: of each prefix, with what its question evaluates beside it
    lengths: Mapping[str, int]

    @property
    def seconds(self) -> float:
        """Of a pass."""
        return sum(self.seconds_of.values())


def plan(client: Client, flags: tuple[str, ...] = (), *, estimated: bool = True) -> Plan:
    """Look at the server before anything is spent but six hundred tokens, or none where no time is estimated. Raises Trouble."""
    subject = _subject(client)
    found = hashlib.sha256()
    lengths: dict[str, int] = {}
    for one in prefixes():
        numbers = _tokens(client, one.text)
        lengths[one.name] = len(numbers) + _BESIDE
        found.update(f"{one.name} {numbers}\n".encode())
    subject = replace(subject, vocabulary=found.hexdigest(), flags=flags)
    fitting = tuple(one for one in prefixes() if subject.context is None or lengths[one.name] < subject.context)
    left_out = tuple(one.name for one in prefixes() if one not in fitting)
    if not fitting:
        raise Trouble(f"no prefix fits into the context of {client.at}: {subject.context} tokens", "give it more with -c")
    tokens = sum(lengths[one.name] for one in fitting)
    harmless = (_tokens(client, "a") or [0])[-1]
    seconds = _estimate(client, subject, fitting, lengths, harmless) if estimated else {}
    return Plan(subject, fitting, left_out, tokens, seconds, harmless, lengths)


def measure(
    client: Client, planned: Plan, passes: int, progress: Progress = lambda _done, _all, _seconds, _left: None
) -> Measurement:
    """All passes. Raises Trouble."""
    began = time.monotonic()
    found: list[Mapping[str, Answer]] = []
    # By count alone a pass seems nearly over before its long prefixes, which take most of its time.
    weight = planned.seconds_of or planned.lengths
    done, everything = 0.0, passes * sum(weight[one.name] for one in planned.asked)
    for number in range(passes):
        given: dict[str, Answer] = {}
        for count, (name, answer) in enumerate(answers(client, planned, number), 1):
            if answer is not None:
                given[name] = answer
            done, spent = done + weight[name], time.monotonic() - began
            left = spent * (everything - done) / done if done else 0.0
            progress(number * len(planned.asked) + count, passes * len(planned.asked), spent, max(left, 0.0))
        found.append(in_order(client, planned, given))
    return Measurement(
        planned.subject, tuple(found), VERSION, digest(), tokens=planned.tokens * passes, seconds=time.monotonic() - began
    )


def answers(
    client: Client,
    planned: Plan,
    number: int,
    skip: Collection[str] = (),
    before: Callable[[int], None] = lambda _tokens: None,
) -> Iterator[tuple[str, Answer | None]]:
    """One pass. Each begins a fifth of the way further, so that what goes before a prefix differs. None: it shows nothing.

    `before` is called before each question with what it evaluates, and may raise. Raises Trouble.
    """
    start = number * len(planned.asked) // 5
    for one in (*planned.asked[start:], *planned.asked[:start]):
        if one.name not in skip:
            before(planned.lengths[one.name])
            yield one.name, _ask(client, one, planned.subject, planned.harmless)


def in_order(client: Client, planned: Plan, given: Mapping[str, Answer]) -> dict[str, Answer]:
    """The answers of a pass in the order of the prefixes. Raises Trouble where there are none."""
    if not given:
        raise Trouble(f"{client.at} gives no probabilities", "is it an embedding server, or behind a proxy that drops them?")
    return {one.name: given[one.name] for one in planned.asked if one.name in given}


def _ask(client: Client, one: Prefix, subject: Subject, harmless: int) -> Answer | None:
    """The answer; None where the likeliest token is no whole character, and this build then says nothing of probabilities.

    Builds since December 2024 take them before any bias (server-context.cpp, get_token_probabilities), so they are made to
    generate another token. An older one would show the bias itself as the likeliest.
    """
    asked = {"prompt": one.text, **_ASKED}
    status, body = client.post("/completion", asked)
    if status == 500 and _UNREADABLE in str(body):
        answer = None
    elif (answer := _parsed(client, subject, (status, body))) is not None:
        return answer
    answer = _parsed(client, subject, client.post("/completion", {**asked, "logit_bias": [[harmless, 100.0]]}))
    if answer is None or not answer.is_number:
        return answer
    return None if answer.first.token.id in (None, harmless) else answer


def _parsed(client: Client, subject: Subject, reply: tuple[int, Any]) -> Answer | None:
    body = _checked(client, "/completion", reply)
    try:
        answer = parse(body)
    except NoAnswer as error:
        raise Trouble(f"{client.at} cannot be measured: {error}") from error
    size = subject.vocabulary_size
    for choice in answer.choices if answer is not None else ():
        if size is not None and choice.token.id is not None and choice.token.id >= size:
            said = f"{client.at} says that it has {size} tokens, and answers with token {choice.token.id}"
            raise Trouble(f"{said}: it is not what it says")
    return answer


def _estimate(
    client: Client, subject: Subject, asked: tuple[Prefix, ...], lengths: Mapping[str, int], harmless: int
) -> dict[str, float]:
    """Seconds of each question, from the longest and the shortest. The first question pays for what the server has put off."""
    longest = max(asked, key=lambda one: lengths[one.name])
    shortest = min(asked, key=lambda one: lengths[one.name])
    _ask(client, shortest, subject, harmless)
    spent = []
    for one in (longest, shortest):
        began = time.monotonic()
        _ask(client, one, subject, harmless)
        spent.append(time.monotonic() - began)
    a_token = max(spent[0] - spent[1], 0.0) / max(lengths[longest.name] - lengths[shortest.name], 1)
    each = max(spent[1] - a_token * lengths[shortest.name], 0.0)
    return {one.name: each + a_token * lengths[one.name] for one in asked}


def _subject(client: Client) -> Subject:
    """From /props and /v1/models; what a build does not say stays unknown."""
    props = _checked(client, "/props", client.get("/props"))
    settings = props.get("default_generation_settings")
    if not isinstance(settings, Mapping):
        raise Trouble(f"what answers at {client.at} is not llama-server: its /props has no settings", "is the port right?")
    status, models = client.get("/v1/models")
    meta: Mapping[str, Any] = {}
    name = ""
    if status == 200 and isinstance(models, Mapping) and isinstance(models.get("data"), list) and models["data"]:
        first = models["data"][0]
        if isinstance(first, Mapping):
            meta = first["meta"] if isinstance(first.get("meta"), Mapping) else {}
            name = _text(first.get("id"))
    path = _text(props.get("model_path")) or name
    return Subject(
        model=PurePath(path).name,
        quantization=_text(props.get("model_ftype")) or _text(meta.get("ftype")),
        parameters=_count(meta.get("n_params")),
        bytes=_count(meta.get("size")),
        build=_text(props.get("build_info")),
        context=_count(settings.get("n_ctx")),
        slots=_count(props.get("total_slots")),
        vocabulary_size=_count(meta.get("n_vocab")),
    )


def _tokens(client: Client, text: str) -> list[int]:
    body = _checked(client, "/tokenize", client.post("/tokenize", {"content": text}))
    numbers = body.get("tokens")
    if (
        not isinstance(numbers, list)
        or len(numbers) > _MOST_TOKENS
        or not all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 1 << 31 for n in numbers)
    ):
        raise Trouble(f"what answers at {client.at} is not llama-server: /tokenize gives no token numbers", "is the port right?")
    return numbers


def _checked(client: Client, path: str, answer: tuple[int, Any]) -> Mapping[str, Any]:
    """The body of a good answer. Raises Trouble with what the others mean."""
    status, body = answer
    if status == 200 and isinstance(body, Mapping):
        return body
    error = body.get("error") if isinstance(body, Mapping) else None
    message = _text(error.get("message") if isinstance(error, Mapping) else error)
    if status == 401:
        if client.key:
            raise Trouble(f"{client.at} does not take this API key", "give the file of the one that it was started with")
        raise Trouble(f"{client.at} wants an API key", "give a file that holds it: --api-key-file FILE")
    if status == 503:
        raise Trouble(f"{client.at} is not ready ({message or 'status 503'})", "ask again when it has loaded its model")
    if status == 404:
        raise Trouble(f"what answers at {client.at} has no {path}: it is not llama-server", "is the port right?")
    said = f": {message}" if message else ""
    raise Trouble(f"{client.at} refused {path} with status {status}{said}")


def _text(value: object) -> str:
    return clean(value)[:MOST_CHARACTERS] if isinstance(value, str) else ""


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 63 else None
