"""`sentinel quality`: learned, checked, compared; exit codes, words, and mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_llama import Fake, running

from sentinel.api import client
from sentinel.cli import quality
from sentinel.cli.main import main
from sentinel.quality import asking
from sentinel.quality.prefixes import prefixes


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path / "state/sentinel/quality"


@pytest.fixture
def fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third of the prefixes: what is shown does not depend on them."""
    monkeypatch.setattr(asking, "prefixes", lambda: prefixes()[::3])


@pytest.fixture
def fake() -> Iterator[Fake]:
    with running(Fake()) as made:
        yield made


def test_what_is_learned_is_the_same_until_it_moves(fake: Fake, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = str(fake.port)
    assert main(["quality", "learn", port]) == 0
    said = capsys.readouterr()
    assert "104 prefixes, 3 times: it evaluates" in said.err
    assert f"{state}/{port}.json" in said.out
    assert main(["quality", "check", port]) == 0
    assert "SAME" in capsys.readouterr().out
    fake.moved = 4.0
    assert main(["quality", "check", port]) == 1
    shown = capsys.readouterr().out
    assert "SHIFTED" in shown
    assert "not that answers became worse" in shown
    assert "Jensen-Shannon" in shown


@pytest.mark.usefixtures("fewer")
def test_intervals_are_there_on_eighty_columns(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    main(["quality", "learn", str(fake.port)])
    fake.moved = 4.0
    capsys.readouterr()
    main(["quality", "check", str(fake.port)])
    shown = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in shown)
    table = [line for line in shown if line.startswith((" " * 12, "all "))]
    assert table[0].endswith("95 %")
    assert " to " in table[-1]


@pytest.mark.usefixtures("fewer")
def test_no_path_and_no_prompt_of_anybody_is_kept(fake: Fake, state: Path) -> None:
    main(["quality", "learn", str(fake.port), "--as", "mine"])
    text = (state / "mine.json").read_text(encoding="ascii")
    assert "/home/ann" not in text
    assert "capital" not in text


def test_a_reference_from_elsewhere_serves(fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(tmp_path / "f16.json")
    assert main(["quality", "learn", str(fake.port), "-o", file, "--passes", "2"]) == 0
    capsys.readouterr()
    assert main(["quality", "check", str(fake.port), "--against", file, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "same"
    assert found["all"]["divergence_bits"]["value"] == 0.0
    assert set(found["categories"]) == {"code", "api", "indentation", "prose", "arithmetic", "languages", "json", "long"}


@pytest.mark.usefixtures("fewer")
def test_two_files_are_compared_without_a_server(fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = str(tmp_path / "one.json"), str(tmp_path / "other.json")
    main(["quality", "learn", str(fake.port), "-o", one, "--passes", "2"])
    fake.moved = 4.0
    main(["quality", "learn", str(fake.port), "-o", other, "--passes", "2"])
    asked = len(fake.asked)
    capsys.readouterr()
    assert main(["quality", "check", "--compare", one, other]) == 1
    assert main(["quality", "check", "--compare", one, one]) == 0
    assert len(fake.asked) == asked


@pytest.mark.usefixtures("fewer")
def test_another_vocabulary_is_not_comparable_and_nothing_is_spent_on_it(
    fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["quality", "learn", str(fake.port)])
    fake.vocabulary = 998
    fake.asked.clear()
    capsys.readouterr()
    assert main(["quality", "check", str(fake.port)]) == 3
    said = capsys.readouterr()
    assert "NOT COMPARABLE" in said.out
    assert said.err == ""
    assert sum(path == "/completion" for path, _ in fake.asked) == 3  # how long a question takes
    file = str(tmp_path / "kept.json")
    assert main(["quality", "check", str(fake.port), "-o", file]) == 3
    assert main(["quality", "check", "--compare", file, file]) == 0


@pytest.mark.usefixtures("fewer")
def test_a_broken_model_is_not_learned_and_fails_the_check(fake: Fake, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["quality", "learn", str(fake.port)])
    row = [{"id": 1, "token": " a", "logprob": None}]
    fake.instead["/completion"] = lambda _: (200, {"content": " a", "completion_probabilities": [{"top_logprobs": row}]})
    assert main(["quality", "check", str(fake.port)]) == 2
    assert "BROKEN" in capsys.readouterr().out
    assert main(["quality", "learn", str(fake.port), "--as", "broken"]) == 2
    assert "no reference is kept" in capsys.readouterr().err
    assert not (state / "broken.json").exists()


def test_a_server_that_ends_amid_the_check_is_reported_with_how_far_it_came(
    fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.ends_after = 40
    assert main(["quality", "learn", str(fake.port)]) == 3
    assert "the measurement ended after 37 of 312 answers" in capsys.readouterr().err


@pytest.mark.usefixtures("fewer")
def test_a_key_is_read_from_its_file(fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake.key = "s3cret"
    assert main(["quality", "learn", str(fake.port)]) == 3
    assert "--api-key-file" in capsys.readouterr().err
    (tmp_path / "key").write_text("s3cret\n", encoding="ascii")
    assert main(["quality", "learn", str(fake.port), "--api-key-file", str(tmp_path / "key"), "--as", "keyed"]) == 0
    assert "s3cret" not in "".join(capsys.readouterr())


MISTAKES: list[tuple[list[str], str]] = [
    (["check"], "say which server"),
    (["check", "8080"], "there is no reference at"),
    (["check", "8080", "--compare", "a", "b"], "asks no server"),
    (["check", "--compare", "FILE", "FILE"], "is not JSON"),
    (["check", "8080", "--against", "FILE", "-o", "FILE"], "exists and is left as it is"),
    (["check", "8080", "--against", "../x"], "there is no reference at ../x"),
    (["check", "8080", "--against", "a b"], "is no name for a reference"),
    (["learn", "10.0.0.2:8080"], "is not on this machine's loopback"),
    (["learn", "8080", "--passes", "1"], "write 2 to 5"),
    (["learn", "8080", "--passes", "6"], "write 2 to 5"),
    (["learn", "8080", "--as", "a/b"], "is no name for a reference"),
    (["learn", "8080", "-o", "FILE"], "exists and is left as it is"),
    (["learn", "8080", "-o", "UNDER"], "is no folder in which you may write"),
    (["learn", "8080", "--api-key-file", "MISSING"], "cannot be read"),
    (["learn", "8080", "--api-key-file", "EMPTY"], "holds no key"),
]


@pytest.mark.parametrize(("words", "said"), MISTAKES, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_mistake_is_one_sentence(words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "FILE").write_text("{", encoding="ascii")
    (tmp_path / "EMPTY").write_text("\n", encoding="ascii")
    files = {name: str(tmp_path / name) for name in ("FILE", "EMPTY", "MISSING")} | {"UNDER": str(tmp_path / "FILE/x.json")}
    assert main(["quality", *(files.get(word, word) for word in words)]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.usefixtures("fewer")
def test_a_name_is_asked_of_the_daemon(fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def daemon(answer: Callable[[], tuple[int, dict[str, Any]]]) -> None:
        monkeypatch.setattr(client, "get", lambda _path, _sockets=None: answer())

    monkeypatch.setattr(quality, "port_of", lambda _pid: fake.port)
    daemon(lambda: (200, {"servers": [{"name": "127.0.0.1:80", "called": "gemma, port 80", "pid": 7}]}))
    # as the table of `sentinel status` shows it
    assert main(["quality", "learn", "gemma :80"]) == 0
    daemon(lambda: (200, {"servers": [{"name": "llama.service", "called": "big", "pid": 7}]}))
    assert main(["quality", "learn", "llama.service"]) == 0
    assert main(["quality", "check", "big", "--against", "llama.service"]) == 0
    assert main(["quality", "learn", "other"]) == 2
    assert "big, llama.service" in capsys.readouterr().err
    monkeypatch.setattr(quality, "port_of", lambda _pid: None)
    assert main(["quality", "learn", "big"]) == 2
    assert "give its port" in capsys.readouterr().err
