"""A reference survives its file, and a hostile file is refused in one sentence."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from effort import examples
from fake_llama import Fake
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.quality.answer import Answer, parse
from sentinel.quality.measurement import Measurement, Subject
from sentinel.quality.prefixes import VERSION, digest, prefixes
from sentinel.quality.reference import MOST_BYTES, NotReference, decode, encode
from sentinel.quality.store import NoReference, find, keep, load, name_for, place

SUBJECT = Subject("m.gguf", "F16", 5, 6, "b10434", 4096, 4, ("-np 4", "-ctk q4_0"), "a" * 64, 1000)


def measured(form: str = "logprob") -> Measurement:
    answers = {one.name: parse(Fake(form=form).completion({"prompt": one.text})[1]) for one in prefixes()[:6]}
    whole = {name: answer for name, answer in answers.items() if answer is not None}
    return Measurement(
        SUBJECT, (whole, {**whole, "code-01": Answer((), is_number=False)}), VERSION, digest(), "now", "it", 9, 1.5
    )


@pytest.mark.parametrize("form", ["logprob", "2024"])
def test_it_survives_its_file(form: str) -> None:
    text = encode(measured(form))
    again = decode(text.encode())
    assert encode(again) == text
    assert again.subject == SUBJECT
    assert (again.made, again.name, again.tokens, again.seconds) == ("now", "it", 9, 1.5)
    for before, after in zip(measured(form).answers(), again.answers(), strict=True):
        assert before.is_number == after.is_number
        assert [c.logprob for c in after.choices] == pytest.approx([c.logprob for c in before.choices], abs=1e-6)
        assert [c.token for c in after.choices] == [c.token for c in before.choices]


def changed(*path: str | int, to: object) -> bytes:
    """The file with one value replaced."""
    document = json.loads(encode(measured()))
    at: Any = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = to
    return json.dumps(document).encode()


HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not JSON"),
    "not text": (b"\xff\xfe", "no JSON"),
    "deep": (b"[" * 200_000, "no JSON that can be read (RecursionError)"),
    "huge": (b" " * (MOST_BYTES + 1), "larger than 4 MiB"),
    "huge number": (b'{"format": ' + b"9" * 5000 + b"}", "not JSON"),
    "a list": (b"[]", "the file is no object"),
    "another file": (b'{"format": "x"}', "no reference"),
    "a newer one": (changed("version", to=2), "version 2"),
    "NaN": (encode(measured()).replace('"seconds":1.5', '"seconds":NaN').encode(), "NaN is no number"),
    "a NaN probability": (changed("passes", 0, "code-01", 0, 1, to=float("nan")), "NaN is no number"),
    "infinity": (changed("passes", 0, "code-01", 0, 1, to=-1e300), "likely token"),
    "no probability at all": (changed("passes", 0, "code-01", to=[[0, -9000]]), "likely token"),
    "above one": (changed("passes", 0, "code-01", 0, 1, to=1), "likely token"),
    "more than all": (changed("passes", 0, "code-01", 1, 1, to=0.0), "more than all"),
    "twice": (changed("passes", 0, "code-01", 1, 0, to=0), "twice"),
    "a text for a number": (changed("passes", 0, "code-01", 0, 1, to="-1"), "likely token"),
    "a token that is not there": (changed("passes", 0, "code-01", 0, 0, to=10**9), "likely token"),
    "a negative token": (changed("passes", 0, "code-01", 0, 0, to=-1), "likely token"),
    "true": (changed("passes", 0, "code-01", 0, 0, to=True), "likely token"),
    "no tokens": (changed("passes", 0, "code-01", to=[]), "no token"),
    "many choices": (changed("passes", 0, "code-01", to=[[0, -1]] * 101), "at most 100"),
    "no passes": (changed("passes", to=[]), "no passes"),
    "many passes": (changed("passes", to=[{}] * 6), "at most 5"),
    "an empty pass": (changed("passes", 0, to={}), "without answers"),
    "many prefixes": (changed("passes", 0, to={f"a-{at:04}": None for at in range(600)}), "too many"),
    "a strange prefix": (changed("passes", 0, to={"\x1b[31m": None}), "no prefix"),
    "a long text": (changed("tokens", 0, 1, to="x" * 300), "token that is none"),
    "a token of a float": (changed("tokens", 0, 0, to=1.5), "token that is none"),
    "no digest": (changed("vocabulary", "digest", to="../../etc"), "SHA-256"),
    "flags of numbers": (changed("server", "flags", to=[1]), "a flag"),
    "many flags": (changed("server", "flags", to=["-c 1"] * 65), "at most 64"),
    "a negative count": (changed("model", "bytes", to=-1), "no count"),
    "a float count": (changed("vocabulary", "size", to=1.5), "no count"),
    "no model": (changed("model", to=None), "model is no object"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_refused_in_one_sentence(what: str) -> None:
    data, said = HOSTILE[what]
    with pytest.raises(NotReference) as refused:
        decode(data)
    assert said in str(refused.value)
    assert len(str(refused.value)) < 300


@settings(max_examples=examples(100), deadline=None)
@given(data=st.data())
def test_a_mutated_file_is_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(encode(replace(measured(), passes=measured().passes[:1])).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(32, 126))
    try:
        again = decode(bytes(whole))
    except NotReference:
        return
    assert decode(encode(again).encode()) == again


class TestFiles:
    def test_a_name_is_kept_in_the_state_folder_and_found_again(self, tmp_path: Path) -> None:
        keep(place(tmp_path, "8080"), measured(), replace=False)
        assert load(find(tmp_path, "8080")).subject == SUBJECT
        assert [path.name for path in (tmp_path / "quality").iterdir()] == ["8080.json"]

    def test_what_is_there_is_replaced_only_if_asked(self, tmp_path: Path) -> None:
        path = tmp_path / "a.json"
        path.write_text("mine", encoding="ascii")
        with pytest.raises(NoReference, match="--replace"):
            keep(path, measured(), replace=False)
        assert path.read_text(encoding="ascii") == "mine"
        keep(path, measured(), replace=True)
        assert load(path).subject == SUBJECT

    @pytest.mark.parametrize(
        ("make", "said"),
        [
            (lambda path: None, "there is no reference"),
            (lambda path: path.mkdir(), "a directory"),
            (os.mkfifo, "named pipe"),
            (lambda path: path.write_bytes(b"{"), "not JSON"),
        ],
    )
    def test_what_is_no_reference_is_named(self, make: Callable[[Path], object], said: str, tmp_path: Path) -> None:
        make(tmp_path / "a.json")
        with pytest.raises(NoReference, match=said):
            load(tmp_path / "a.json")

    def test_a_folder_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("", encoding="ascii")
        with pytest.raises(NoReference, match="cannot be written"):
            keep(tmp_path / "file" / "a.json", measured(), replace=False)

    def test_what_is_no_path_is_no_reference(self, tmp_path: Path) -> None:
        with pytest.raises(NoReference):
            find(tmp_path, "x" * 5000)

    def test_names(self, tmp_path: Path) -> None:
        for wrong in ("", "../x", ".hidden", "a b", "x" * 65, "a\n"):
            with pytest.raises(NoReference):
                place(tmp_path, wrong)
        assert [name_for(server) for server in ("8080", "http://127.0.0.1:8080/", "llama.service", "://")] == [
            "8080",
            "127.0.0.1-8080",
            "llama.service",
            "server",
        ]
