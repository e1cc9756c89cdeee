"""The verdict on two measurements: same, shifted, broken, not comparable, and what decides."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from fake_llama import Fake

from sentinel.quality.answer import Answer, Choice, Token, parse
from sentinel.quality.comparison import CATEGORY_FLOOR, FLOOR, NOTED, SCALE, compare, size_in_words
from sentinel.quality.measurement import Measurement, Subject
from sentinel.quality.prefixes import VERSION, digest, prefixes

SUBJECT = Subject("m.gguf", vocabulary="a" * 64, vocabulary_size=1000)


def asked(fake: Fake, only: Callable[[str], bool] = lambda _category: True) -> Mapping[str, Answer]:
    """Answers of a fake; those of a category that is not meant are an unmoved one's."""
    plain = replace(fake, moved=0.0)
    found = {one.name: parse((fake if only(one.category) else plain).completion({"prompt": one.text})[1]) for one in prefixes()}
    return {name: answer for name, answer in found.items() if answer is not None}


def measured(*passes: Mapping[str, Answer], subject: Subject = SUBJECT) -> Measurement:
    return Measurement(subject, passes, VERSION, digest())


PLAIN = asked(Fake())
REFERENCE = measured(PLAIN, PLAIN, PLAIN)


def test_the_same_answers_are_the_same() -> None:
    found = compare(REFERENCE, measured(PLAIN))
    assert found.verdict == "same"
    assert found.whole is not None
    assert (found.whole.divergence.value, found.whole.same_first.value, found.whole.chance) == (0.0, 1.0, 1.0)
    assert found.whole.prefixes == len(prefixes()) >= 96


def test_answers_that_moved_are_shifted_with_a_size() -> None:
    found = compare(REFERENCE, measured(asked(Fake(moved=4.0))))
    assert found.verdict == "shifted"
    assert found.whole is not None
    assert found.whole.divergence.low < found.whole.divergence.value < found.whole.divergence.high
    assert found.size.split(":")[0] in {word for _, word, _ in SCALE}


def test_a_certain_change_below_the_floor_is_not_reported() -> None:
    found = compare(REFERENCE, measured(asked(Fake(moved=0.1))))
    assert found.whole is not None
    assert found.whole.chance is not None
    assert found.whole.chance < 0.005
    assert 0 < found.whole.divergence.value < NOTED
    assert (found.verdict, found.why.split()[0]) == ("same", "no")


def test_a_change_as_of_other_kernels_is_mentioned_and_not_reported() -> None:
    """The same Q4_K_M weights with -fa off: 0.0035 bits, and a chance of 0.0005."""
    found = compare(REFERENCE, measured(asked(Fake(moved=0.5))))
    assert found.whole is not None
    assert NOTED < found.whole.divergence.value < FLOOR
    assert found.verdict == "same"
    assert "other kernels" in found.why


def test_a_change_as_large_as_the_own_noise_is_not_reported() -> None:
    noisy = [asked(Fake(moved=moved)) for moved in (1.0, 1.2, 1.4, 1.1)]
    found = compare(measured(*noisy[:3]), measured(noisy[3]))
    assert found.verdict == "same"


def test_what_moves_one_category_alone_is_seen_there() -> None:
    found = compare(REFERENCE, measured(asked(Fake(moved=3.0), lambda category: category == "long")))
    assert found.whole is not None
    assert found.parts is not None
    assert found.whole.divergence.value < FLOOR
    assert found.parts["long"].divergence.value > CATEGORY_FLOOR
    assert (found.verdict, found.why) == ("shifted", "in long alone")


def test_it_is_deterministic() -> None:
    after = measured(asked(Fake(moved=0.5)))
    assert compare(REFERENCE, after) == compare(REFERENCE, after)


def test_with_one_pass_on_each_side_the_size_decides() -> None:
    assert compare(measured(PLAIN), measured(PLAIN)).verdict == "same"
    found = compare(measured(PLAIN), measured(asked(Fake(moved=4.0))))
    assert found.verdict == "shifted"
    assert found.whole is not None
    assert found.whole.chance is None


def test_answers_of_an_old_build_are_compared_by_text() -> None:
    found = compare(REFERENCE, measured(asked(Fake(form="2024"))))
    assert found.verdict == "same"


def test_probabilities_among_the_kept_alone_are_compared_with_whole_ones() -> None:
    """Builds of autumn 2024 at temperature 0."""
    cut = {
        name: Answer(tuple(Choice(c.token, c.logprob - math.log(answer.kept)) for c in answer.choices))
        for name, answer in PLAIN.items()
    }
    assert compare(REFERENCE, measured(cut)).verdict == "same"


def constant(answer: Answer) -> Answer:
    return Answer((Choice(Token(7, " t7"), -0.1), *answer.choices[1:]))


def flat(answer: Answer) -> Answer:
    return Answer(tuple(Choice(choice.token, -12.0) for choice in answer.choices))


@pytest.mark.parametrize(
    ("spoilt", "said"), [(lambda _: Answer((), is_number=False), "NaN"), (flat, "flat"), (constant, "same token")]
)
def test_a_broken_model_is_called_broken(spoilt: Callable[[Answer], Answer], said: str) -> None:
    found = compare(REFERENCE, measured({name: spoilt(answer) for name, answer in PLAIN.items()}))
    assert found.verdict == "broken"
    assert said in found.why


def test_one_nan_is_enough() -> None:
    found = compare(REFERENCE, measured({**PLAIN, "long-01": Answer((), is_number=False)}))
    assert found.verdict == "broken"


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (measured(PLAIN, subject=replace(SUBJECT, vocabulary="b" * 64)), "another model or tokenizer"),
        (measured(PLAIN, subject=replace(SUBJECT, vocabulary_size=1001)), "1000 and 1001 tokens"),
        (replace(measured(PLAIN), prefix_version=99), "other prefixes"),
        (measured({"code-01": PLAIN["code-01"]}), "only 1 prefixes"),
        (
            measured(
                {n: Answer(tuple(Choice(Token(c.token.id, "other"), c.logprob) for c in a.choices)) for n, a in PLAIN.items()}
            ),
            "the vocabulary differs: token",
        ),
    ],
)
def test_what_cannot_be_compared_is_not(after: Measurement, said: str) -> None:
    found = compare(REFERENCE, after)
    assert found.verdict == "not comparable"
    assert said in found.why
    assert found.whole is None


def test_every_size_has_its_words() -> None:
    said = [size_in_words(bits) for bits in (0.0, 0.01, 0.05, 0.2, 1.0)]
    assert len(set(said)) == len(SCALE)
