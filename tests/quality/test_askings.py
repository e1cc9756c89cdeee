"""A server is measured; one that does not behave is named in one sentence, and costs no more than is stated."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_llama import Answer, Fake, running

from sentinel.quality.asking import measure, plan
from sentinel.quality.http import Address, Client, Trouble, address
from sentinel.quality.listening import acting_flags
from sentinel.quality.measurement import Measurement
from sentinel.quality.prefixes import prefixes
from sentinel.sources.fs import Roots


def measured(fake: Fake, key: str = "", seconds: float = 10.0, passes: int = 1) -> Measurement:
    with running(fake):
        client = Client(Address("127.0.0.1", fake.port), key, seconds)
        return measure(client, plan(client), passes)


def test_every_prefix_is_asked_once_a_pass_and_nothing_is_reused() -> None:
    fake = Fake()
    found = measured(fake, passes=2)
    bodies = [body for path, body in fake.asked if path == "/completion"]
    assert len(bodies) == 3 + 2 * len(prefixes())
    assert all(body["n_predict"] == 1 and not body["cache_prompt"] and body["temperature"] == 0 for body in bodies)
    assert [len(one) for one in found.passes] == [len(prefixes())] * 2
    assert found.tokens > 2 * len(prefixes())


def test_what_it_is_is_kept_without_its_path() -> None:
    subject = measured(Fake()).subject
    assert (subject.model, subject.context, subject.slots, subject.vocabulary_size) == ("m.gguf", 4096, 2, 1000)
    assert len(subject.vocabulary) == 64


@pytest.mark.parametrize("reply", [(500, {"error": {"message": "output that does not match the expected Content-only format"}}),
                                   (200, {"content": "\ufffd"})])  # fmt: skip
def test_a_build_that_cannot_say_half_a_character_is_made_to_say_another(reply: Answer) -> None:
    """Both are b10434's; its probabilities do not depend on the bias."""
    fake = Fake()
    fake.instead["/completion"] = lambda body: reply if _unsaid(body) else fake.completion(body)
    assert len(measured(fake).passes[0]) == len(prefixes())
    assert [body["prompt"] for _, body in fake.asked if "logit_bias" in body] == ["7 * 8 ="]


def test_an_old_build_that_shows_the_bias_itself_is_not_believed() -> None:
    fake = Fake()

    def biased(body: dict[str, Any]) -> Answer:
        if _unsaid(body):
            return 200, {"content": "\ufffd"}
        if "logit_bias" not in body:
            return fake.completion(body)
        row = {"id": body["logit_bias"][0][0], "token": "a", "logprob": 0.0}
        return 200, {"content": "a", "completion_probabilities": [{"top_logprobs": [row]}]}

    fake.instead["/completion"] = biased
    assert set(measured(fake).passes[0]) == {one.name for one in prefixes()} - {"arithmetic-02"}


def _unsaid(body: dict[str, Any]) -> bool:
    return body["prompt"] == "7 * 8 =" and "logit_bias" not in body


def test_prefixes_that_do_not_fit_are_left_out() -> None:
    with running(Fake(context=60)) as fake:
        planned = plan(Client(Address("127.0.0.1", fake.port)))
    assert 0 < len(planned.asked) < len(prefixes())
    assert {name.split("-")[0] for name in planned.left_out} == {"long"}


def test_what_is_left_is_computed_from_what_each_question_costs() -> None:
    """By their number most of a pass seemed over before its long prefixes, which take most of its time."""
    lefts: list[tuple[float, float]] = []
    fake = Fake()
    with running(fake):
        client = Client(Address("127.0.0.1", fake.port), "", 10.0)
        planned = plan(client, estimated=False)
        measure(client, planned, 1, lambda _done, _all, spent, left: lefts.append((spent, left)))
    long = sum(planned.lengths[one.name] for one in prefixes() if one.category == "long")
    at = len(planned.asked) - sum(one.category == "long" for one in prefixes()) - 1
    spent, left = lefts[at]
    assert left / (spent + left) == pytest.approx(long / planned.tokens)
    assert lefts[-1][1] == 0.0


def test_a_wrong_key_is_not_a_missing_one() -> None:
    with pytest.raises(Trouble, match="does not take this API key"):
        measured(Fake(key="secret"), key="other")


def test_it_is_asked_with_its_key() -> None:
    assert measured(Fake(key="secret"), key="secret").passes


WRONG: dict[str, tuple[Fake, str]] = {
    "wants a key": (Fake(key="secret"), "--api-key-file"),
    "another program": (Fake(instead={"/props": lambda _: (404, {})}), "has no /props: it is not llama-server"),
    "a web page": (Fake(instead={"/props": lambda _: (200, b"<html>")}), "no JSON"),
    "other JSON": (Fake(instead={"/props": lambda _: (200, {"a": 1})}), "is not llama-server"),
    "a list": (Fake(instead={"/props": lambda _: (200, [])}), "refused /props"),
    "deep JSON": (Fake(instead={"/props": lambda _: (200, b"[" * 100_000)}), "no JSON"),
    "loading": (Fake(instead={"/props": lambda _: (503, {"error": {"message": "Loading model"}})}), "not ready (Loading model)"),
    "elsewhere": (Fake(instead={"/props": lambda _: (302, {})}), "status 302"),
    "a huge answer": (Fake(instead={"/completion": lambda _: (200, b" " * (5 << 20))}), "more than 4 MiB"),
    "no tokens": (Fake(instead={"/tokenize": lambda _: (200, {"tokens": ["a"]})}), "no token numbers"),
    "an embedding server": (
        Fake(instead={"/completion": lambda _: (501, {"error": {"message": "This server does not support completions."}})}),
        "does not support completions",
    ),
    "no probabilities": (Fake(instead={"/completion": lambda _: (200, {"content": "a"})}), "gives no probabilities"),
    "no content": (Fake(instead={"/completion": lambda _: (200, {"choices": []})}), "not llama-server"),
    "a smaller vocabulary than its tokens": (Fake(vocabulary=50), "it has 50 tokens, and answers with token"),
    "ends amid the check": (
        Fake(ends_after=20),
        "closed the connection amid its answer to /completion",
    ),
    "a tiny context": (Fake(context=2), "no prefix fits"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_server_that_does_not_behave_is_named_in_one_sentence(what: str) -> None:
    fake, said = WRONG[what]
    with pytest.raises(Trouble) as trouble:
        measured(fake)
    assert said in str(trouble.value)
    assert "\n" not in str(trouble.value)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def ask(listener: socket.socket, respond: Callable[[socket.socket], object], seconds: float) -> str:
    """What is said of whoever responds like this."""

    def serve() -> None:
        with listener.accept()[0] as connection:
            respond(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with pytest.raises(Trouble) as trouble:
        Client(Address("127.0.0.1", listener.getsockname()[1]), seconds=seconds).get("/props")
    thread.join(10)
    return str(trouble.value)


def test_one_that_never_answers_is_left(listener: socket.socket) -> None:
    over = threading.Event()
    assert "did not answer /props within 0.3 s" in ask(listener, lambda _: over.wait(0.5), 0.3)


def test_one_that_sends_a_byte_now_and_then_is_left_too(listener: socket.socket) -> None:
    def drip(connection: socket.socket) -> None:
        pause = threading.Event()
        for byte in b"HTTP/1.1 200 OK\r\nX: " + b"a" * 40:
            try:
                connection.sendall(bytes([byte]))
            except OSError:
                return
            pause.wait(0.02)

    assert "within 0.3 s" in ask(listener, drip, 0.3)


def test_what_is_not_http_is_named(listener: socket.socket) -> None:
    def greet(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"SSH-2.0-OpenSSH_9\r\n")

    assert "does not speak HTTP" in ask(listener, greet, 5)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
def test_one_that_is_killed_amid_an_answer_is_no_stranger(sent: bytes, listener: socket.socket) -> None:
    def die(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(sent)

    assert "closed the connection amid its answer to /props" in ask(listener, die, 5)


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(Trouble, match="nothing listens"):
        Client(Address("127.0.0.1", port)).get("/props")


class TestAddresses:
    @pytest.mark.parametrize(
        ("written", "shown", "loopback"),
        [
            ("8080", "http://127.0.0.1:8080", True),
            ("localhost:8080", "http://localhost:8080", True),
            ("http://127.0.0.2:80/llm/", "http://127.0.0.2:80/llm", True),
            ("[::1]:8080", "http://[::1]:8080", True),
            ("10.0.0.2:8080", "http://10.0.0.2:8080", False),
            ("localhost.example.org:1", "http://localhost.example.org:1", False),
        ],
    )
    def test_what_is_understood(self, written: str, shown: str, loopback: bool) -> None:
        assert (str(address(written)), address(written).is_loopback) == (shown, loopback)

    @pytest.mark.parametrize(
        "written",
        ["0", "99999", "https://a", "ftp://a", "http://u:p@127.0.0.1:1", "http://", "http://a b:1", "http://[::1:1", "a:b", "http://h/?q=1",
         "http://127.0.0.1:1/\r\nX: y", "127.0.0.1:1/\u00e9"],
    )  # fmt: skip
    def test_what_is_refused(self, written: str) -> None:
        with pytest.raises(Trouble):
            address(written)


def test_only_flags_that_act_are_kept(tmp_path: Path) -> None:
    words = "llama-server -m /home/ann/m.gguf -c 4096 -ctk q4_0 --api-key s3cret --rope-freq-base 5000 -fa on --alias ann -np 2"
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cmdline").write_bytes(words.replace(" ", "\0").encode() + b"\0")
    assert acting_flags(7, Roots(proc=tmp_path)) == ("--rope-freq-base 5000", "-c 4096", "-ctk q4_0", "-fa on", "-np 2")
    assert acting_flags(8, Roots(proc=tmp_path)) == ()
