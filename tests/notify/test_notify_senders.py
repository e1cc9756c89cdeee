"""Webhook, command, Apprise against receivers of our own: delivered, refused, and what may have arrived; nothing of a secret."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from email import message_from_string
from email.policy import default
from pathlib import Path

import pytest
from real_server import free_port
from receivers import HttpReceiver, http_receiver, mail_receiver
from sample_transitions import FIRING, as_shown

from sentinel.notify.command import Command
from sentinel.notify.message import Message, compose
from sentinel.notify.post import Target, _connection
from sentinel.notify.secrets import Redactor, secret_parts
from sentinel.notify.webhook import Webhook

SECRET = "s3cr3t-t0ken-77"
NO_SECRETS = Redactor(())


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as one:
        yield one


@pytest.fixture
def message() -> Message:
    return compose([as_shown(FIRING)], "gpu-1", "k1")


def webhook(url: str, seconds: float = 5.0, **headers: str) -> Webhook:
    return Webhook(Target(url, headers, seconds, Redactor([url, *headers.values()])))


def test_a_webhook_gets_everything_with_a_key_that_tells_a_repeat(receiver: HttpReceiver, message: Message) -> None:
    assert webhook(f"{receiver.url}/hook?x=1").send(message).kind == "delivered"

    (got,) = receiver.taken
    assert got.path == "/hook?x=1"
    assert got.headers["Idempotency-Key"] == got.body["key"] == "k1"
    assert got.headers["Content-Type"] == "application/json"
    assert got.body["alerts"][0]["rule"] == "cpu-fallback"
    assert {"title", "text", "status", "severity", "host", "repeat"} <= set(got.body)


def test_a_template_is_filled(receiver: HttpReceiver, message: Message) -> None:
    target = Target(receiver.url, {}, 5.0, NO_SECRETS)
    hook = Webhook(
        target, {"text": "{severity}: {summary}", "all": "{alerts}", "n": 3, "at": ["{{{host}}}"], "again": "{repeat}"}
    )

    assert hook.send(message).kind == "delivered"
    body = receiver.taken[0].body
    assert body["text"] == "critical: llama-server.service: 0 of 47 requested layers are on a GPU"
    assert body["all"][0]["rule"] == "cpu-fallback"
    assert (body["n"], body["at"], body["again"]) == (3, ["{gpu-1}"], False)


@pytest.mark.parametrize(
    ("mode", "kind", "says"),
    [
        ("500", "refused", "answered 500"),
        ("404", "refused", "answered 404 Not Found: refused"),
        ("429", "refused", "answered 429"),
        ("302", "refused", "points to another address"),
        ("502", "unsure", "answered 502"),
        ("504", "unsure", "answered 504"),
        ("drop", "unsure", "closed the connection"),
    ],
)
def test_what_is_not_taken_is_refused_or_may_have_arrived(
    receiver: HttpReceiver, message: Message, mode: str, kind: str, says: str
) -> None:
    receiver.mode = mode
    receiver.headers = {"Retry-After": "77", "Location": "http://192.0.2.1/"}
    outcome = webhook(f"{receiver.url}/{SECRET}").send(message)

    assert outcome.kind == kind
    assert says in outcome.why
    assert SECRET not in outcome.why
    assert outcome.after == (0.0 if mode == "drop" else 77.0)


def test_a_receiver_that_does_not_listen_has_it_not(message: Message) -> None:
    outcome = webhook(f"http://127.0.0.1:{free_port()}/{SECRET}").send(message)
    assert outcome.kind == "refused"
    assert "Connection refused" in outcome.why
    assert SECRET not in outcome.why


@pytest.mark.parametrize("mode", ["hang", "drip"])
def test_a_receiver_that_hangs_may_have_it_and_is_cut_off_in_time(receiver: HttpReceiver, message: Message, mode: str) -> None:
    """Also one that sends a byte now and then, which no time limit of a single read ends."""
    receiver.mode = mode
    begun = time.monotonic()
    outcome = webhook(receiver.url, seconds=1.0).send(message)

    assert outcome.kind == "unsure"
    assert "does not answer in time" in outcome.why
    assert time.monotonic() - begun < 5.0


def test_time_that_was_spent_on_connecting_is_not_given_again(
    receiver: HttpReceiver, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing had been sent, and a receiver that drips afterwards would never have been cut off."""
    receiver.mode = "drip"
    real = http.client.HTTPConnection.connect

    def slow(connection: http.client.HTTPConnection) -> None:
        time.sleep(0.3)
        real(connection)

    monkeypatch.setattr(http.client.HTTPConnection, "connect", slow)
    outcome = webhook(receiver.url, seconds=0.2).send(message)
    assert outcome.kind == "refused"
    assert "does not answer in time" in outcome.why
    assert receiver.seen == []


@pytest.mark.parametrize(
    ("url", "host", "port"), [("http://[::1]/x", "::1", 80), ("https://[fe80::7]/x", "fe80::7", 443), ("http://a:1/", "a", 1)]
)
def test_an_address_without_a_port_has_the_usual_one(url: str, host: str, port: int) -> None:
    connection = _connection(Target(url, {}, 1.0, NO_SECRETS))
    assert (connection.host, connection.port) == (host, port)


def test_a_header_of_ones_own_takes_the_place_of_ours(receiver: HttpReceiver, message: Message) -> None:
    target = Target(receiver.url, {"content-type": "application/x-own"}, 5.0, NO_SECRETS)
    assert Webhook(target).send(message).kind == "delivered"
    headers = {name.lower(): value for name, value in receiver.taken[0].headers.items()}
    assert headers["content-type"] == "application/x-own"
    assert len([name for name in receiver.taken[0].headers if name.lower() == "content-type"]) == 1


@pytest.mark.parametrize(("mode", "too_large"), [("400", True), ("413", True), ("500", False), ("404", False)])
def test_some_refusals_may_be_for_the_size(receiver: HttpReceiver, message: Message, mode: str, too_large: bool) -> None:
    receiver.mode = mode
    assert webhook(receiver.url).send(message).too_large is too_large


@pytest.mark.parametrize(
    ("mode", "answered"), [("500", True), ("404", True), ("403", True), ("401", False), ("429", False), ("503", False)]
)
def test_others_may_be_for_what_is_in_it_unless_they_are_about_the_receiver(
    receiver: HttpReceiver, message: Message, mode: str, answered: bool
) -> None:
    receiver.mode = mode
    assert webhook(receiver.url).send(message).answered is answered


def test_a_connection_that_is_refused_is_about_no_message(message: Message) -> None:
    assert not webhook("http://127.0.0.1:1").send(message).answered


@pytest.mark.parametrize("url", ["https://127.0.0.1:{port}/x", "http://no-such-host.invalid/x"])
def test_no_tls_and_no_such_name_are_one_sentence(receiver: HttpReceiver, message: Message, url: str) -> None:
    outcome = webhook(url.format(port=receiver.port)).send(message)
    assert outcome.kind == "refused"
    assert outcome.why.count("\n") == 0


def test_a_password_in_the_address_becomes_a_header_and_is_shown_nowhere(receiver: HttpReceiver, message: Message) -> None:
    receiver.mode = "401"
    outcome = webhook(receiver.url.replace("://", f"://bot:{SECRET}@")).send(message)

    assert receiver.seen[0].headers["Authorization"].startswith("Basic ")
    # The receiver repeats the header in its answer.
    assert receiver.seen[0].headers["Authorization"].removeprefix("Basic ") not in outcome.why
    assert SECRET not in outcome.why
    assert "answered 401" in outcome.why


def script(folder: Path, text: str) -> str:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_a_command_gets_its_words_as_they_are_and_the_message_on_standard_input(
    tmp_path: Path, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/nowhere")
    program = script(tmp_path, f'cat > {tmp_path}/in; printf "%s\\n" "$@" > {tmp_path}/words; env > {tmp_path}/env')
    words = (program, "$(touch /tmp/x)", "a b; c", "*")

    assert Command(words, 10.0, NO_SECRETS).send(message).kind == "delivered"
    assert json.loads((tmp_path / "in").read_text())["alerts"][0]["rule"] == "cpu-fallback"
    assert (tmp_path / "words").read_text().splitlines() == list(words[1:])
    assert "CREDENTIALS_DIRECTORY" not in (tmp_path / "env").read_text()


def test_a_command_that_fails_has_said_why(tmp_path: Path, message: Message) -> None:
    program = script(tmp_path, f"echo 'no route for {SECRET}' >&2; exit 3")
    outcome = Command((program,), 10.0, Redactor([SECRET])).send(message)
    assert outcome.kind == "refused"
    assert outcome.why == f"{program} ended with 3: no route for ***"


@pytest.mark.parametrize(("code", "for_content", "may_be"), [(65, True, True), (1, False, True), (75, False, False)])
def test_a_command_may_say_that_it_is_about_the_data(
    tmp_path: Path, message: Message, code: int, for_content: bool, may_be: bool
) -> None:
    outcome = Command((script(tmp_path, f"exit {code}"),), 10.0, NO_SECRETS).send(message)
    assert (outcome.too_large, outcome.answered) == (for_content, may_be)


def test_a_secret_that_is_quoted_is_not_cut_in_half(tmp_path: Path, message: Message) -> None:
    """Its first half would not be recognised."""
    program = script(tmp_path, f"echo '{'x' * 150} {SECRET}' >&2; exit 3")
    outcome = Command((program,), 10.0, Redactor([SECRET])).send(message)
    assert outcome.why.endswith("x ***")


def test_a_command_that_is_not_there_is_refused(tmp_path: Path, message: Message) -> None:
    assert "cannot be started" in Command((str(tmp_path / "none"),), 10.0, NO_SECRETS).send(message).why


def test_without_a_place_for_temporary_files_a_command_is_refused_with_a_sentence(
    tmp_path: Path, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container whose files are read only."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    outcome = Command((script(tmp_path, "exit 0"),), 10.0, NO_SECRETS).send(message)
    assert (outcome.kind, outcome.why.partition(": ")[2]) == ("refused", "No such file or directory")
    assert not outcome.answered


def test_a_command_is_killed_with_all_that_it_started_when_its_time_is_over(
    tmp_path: Path, message: Message, eventually: Callable[..., None]
) -> None:
    program = script(tmp_path, f"sleep 600 & echo $! > {tmp_path}/child; wait")
    outcome = Command((program,), 1.0, NO_SECRETS).send(message)

    assert outcome.kind == "unsure"
    assert "did not end within 1 s" in outcome.why
    child = Path(f"/proc/{(tmp_path / 'child').read_text().strip()}/stat")
    # Whoever inherits it may not have buried it yet.
    eventually(lambda: not child.exists() or child.read_text().rpartition(")")[2].split()[0] in "ZX", "the child is killed")


class TestApprise:
    """The library itself, with its JSON and its mail service."""

    @pytest.fixture(autouse=True)
    def _needs_it(self) -> None:
        pytest.importorskip("apprise", reason="needs Apprise (pip install .[notify])")

    def sender(self, url: str):  # type: ignore[no-untyped-def]
        from sentinel.notify.apprise_service import Apprise

        return Apprise("phone", url, Redactor(secret_parts("apprise", url)))

    @pytest.mark.parametrize(
        ("mode", "for_content", "may_be"),
        [("400", True, True), ("422", True, True), ("500", False, True), ("404", False, True), ("401", False, False)],
    )
    def test_what_a_service_answers_is_known(
        self, receiver: HttpReceiver, message: Message, mode: str, for_content: bool, may_be: bool
    ) -> None:
        receiver.mode = mode
        outcome = self.sender(f"json://127.0.0.1:{receiver.port}").send(message)
        assert (outcome.too_large, outcome.answered) == (for_content, may_be)

    def test_json(self, receiver: HttpReceiver, message: Message) -> None:
        sender = self.sender(f"json://user:{SECRET}@127.0.0.1:{receiver.port}/path")
        assert sender.send(message).kind == "delivered"
        body = receiver.taken[0].body
        assert body["title"] == "gpu-1: llama-server.service: 0 of 47 requested layers are on a GPU"
        assert "Cause: ROCm did not start" in body["message"]
        assert body["type"] == "failure"

        receiver.mode = "500"
        outcome = sender.send(message)
        assert outcome.kind == "refused"
        assert outcome.why.startswith("json: not delivered: Failed to send JSON")
        assert SECRET not in outcome.why

    def test_a_redirect_is_not_followed(self, receiver: HttpReceiver, message: Message) -> None:
        """By 301 and 302 the POST would become a GET, and its 200 a delivery; by 307 it would go to somebody else."""
        with http_receiver() as other:
            receiver.mode = "307"
            receiver.headers = {"Location": f"{other.url}/"}
            assert self.sender(f"json://127.0.0.1:{receiver.port}/path").send(message).kind == "refused"
            assert other.seen == []

    def test_mail(self, message: Message) -> None:
        with mail_receiver() as mail:
            url = f"mailto://127.0.0.1:{mail.port}/?from=sentinel@example.org&to=you@example.org&mode=insecure&format=text"
            assert self.sender(url).send(message).kind == "delivered"
        (sent,) = mail.mails
        assert "you@example.org" in sent
        assert "gpu-1" in sent

    def test_what_a_name_holds_is_text_in_a_mail_of_html_and_lines_stay_lines(self) -> None:
        hostile = replace(FIRING, summary="<img src=http://192.0.2.1/> & <b>bold")
        with mail_receiver() as mail:
            url = f"mailto://127.0.0.1:{mail.port}/?from=sentinel@example.org&to=you@example.org&mode=insecure&format=html"
            sender = self.sender(url)
            assert (
                sender.send(compose([as_shown(hostile), as_shown(FIRING) | {"fingerprint": "b"}], "gpu-1", "k")).kind
                == "delivered"
            )
        parsed = message_from_string(mail.mails[0], policy=default)
        html = parsed.get_body(("html",))
        assert html is not None
        said = html.get_content()
        assert "&lt;img" in said
        assert "<img" not in said
        assert "<b>" not in said
        assert said.count("<br") >= 4

    def test_a_receiver_that_is_down_is_refused_without_its_address(self, message: Message) -> None:
        outcome = self.sender(f"json://user:{SECRET}@127.0.0.1:{free_port()}/path").send(message)
        assert outcome.kind == "refused"
        assert SECRET not in outcome.why

    @pytest.mark.parametrize("url", ["nothing", f"nosuchservice://{SECRET}/x", f"tgram://{SECRET}"])
    def test_an_address_that_it_does_not_know_is_one_sentence(self, url: str) -> None:
        from sentinel.notify.apprise_service import NotUsable

        with pytest.raises(NotUsable) as said:
            self.sender(url)
        assert SECRET not in str(said.value)
        assert "phone" in str(said.value)
        assert "\n" not in str(said.value)


def test_apprise_is_not_imported_until_a_channel_asks_for_it() -> None:
    """It brings 20 MB along."""
    code = "import sentinel.cli.notify, sys; print('apprise' in sys.modules, 'requests' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
